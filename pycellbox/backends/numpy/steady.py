"""Steady states, with conditions that are not proven to settle integrated in NumPy."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.integrate import Trajectory, integrate
from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics import steady
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.problem import Array


def find(equations: SteadyEquations, horizon: float, start: Array | None = None) -> Solution:
    """See `pycellbox.numerics.steady.find`."""

    def reach(rows: Array, time: float) -> tuple[Array, int]:
        found = integrated(equations.rows(rows), np.array([time]), keep=False)
        return found.states[:, -1, :], len(found.tape.sizes)

    return steady.find(equations, horizon, reach, start)


def integrated(equations: SteadyEquations, times: Array, *, keep: bool) -> Trajectory:
    """Integrate all conditions, with what a reverse sweep needs if ``keep``."""
    field, solver = equations.field, equations.solver.integrator
    stages, (c, n), dtype = TABLEAUX[type(solver)].stages, field.initial.shape, field.initial.dtype
    tape = Tape(stages, c, n, dtype, keep, field.envelope.needs_z)
    return integrate(solver, field, times, tape)
