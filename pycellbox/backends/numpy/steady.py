"""Steady states, with conditions that are not proven to settle integrated in NumPy."""

from __future__ import annotations

from pycellbox.backends.numpy.rest import FieldIntegration
from pycellbox.numerics import steady
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.problem import Array


def find(equations: SteadyEquations, horizon: float, start: Array | None = None) -> Solution:
    """See `pycellbox.numerics.steady.find`."""
    return steady.find(equations, horizon, integration_of(equations).reached, start)


def integration_of(equations: SteadyEquations) -> FieldIntegration:
    """Return what integrates the conditions that are not proven to settle."""
    return FieldIntegration(equations.field, equations.solver.integrator)
