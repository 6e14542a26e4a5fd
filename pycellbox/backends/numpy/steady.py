"""Steady states, with conditions that are not proven to settle integrated in NumPy."""

from __future__ import annotations

from pycellbox.backends.numpy.rest import FieldIntegration
from pycellbox.numerics import search
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.numerics.steady_field import SteadyField
from pycellbox.problem import Array


def find(
    equations: SteadyEquations | SteadyField, horizon: float, start: Array | None = None
) -> Solution:
    """See `pycellbox.numerics.search.find`."""
    return search.find(equations, horizon, integration_of(equations).reached, start)


def integration_of(equations: SteadyEquations | SteadyField) -> FieldIntegration:
    """Return what integrates the conditions that are not proven to settle."""
    return FieldIntegration(equations.field, equations.solver.integrator)
