"""The search for steady states, from later and later states of the trajectories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pycellbox.numerics.equations import Field
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.proofs import Proofs
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.numerics.steady_field import SteadyField
from pycellbox.problem import Array
from pycellbox.solvers import SteadyState


def steady_equations(
    solver: SteadyState, field: Field, proofs: Proofs | None = None
) -> SteadyEquations | SteadyField:
    """Return the steady states of a field: a network's by proofs, others' by the Jacobian."""
    if isinstance(field, Kernel):
        return SteadyEquations(solver, field, proofs)
    return SteadyField(solver, field)


def find(
    equations: SteadyEquations | SteadyField,
    horizon: float,
    reach: Callable[[Array, float], tuple[Array, int]],
    start: Array | None = None,
) -> Solution:
    """Steady states that the trajectories from x(0) reach.

    Parameters
    ----------
    equations : SteadyEquations or SteadyField
    horizon : float
        Time to which conditions are integrated that have no steady state, or no proven one.
    reach : callable (rows, time)
        Integrates some of the conditions; returns their states at a time and the number of steps.
    start : ndarray, (c, n), optional
        Where to look first, if there is but one steady state.

    Raises
    ------
    DivergenceError
        A trajectory that has to be integrated is not finite.
    """
    initial = equations.initial
    states = np.empty_like(initial)
    residual = np.full(len(initial), np.nan, dtype=states.dtype)
    settled = np.zeros(len(initial), dtype=bool)
    steps = np.zeros(len(initial), dtype=int)

    def search(left: Array, begin: Array, prove: bool) -> Array:
        """Keep the roots found from ``begin``, where proven if need be; return what is left."""
        part = equations if left.size == len(initial) else equations.rows(left)
        root, found = part.roots(begin)
        good = np.isfinite(root).all(axis=1) & (found <= 2 * part.tolerance(root))
        if prove:
            good = part.proven(root, begin, good)
        kept = left[good]
        states[kept], residual[kept], settled[kept] = root[good], found[good], True
        return left[~good]

    def reached(left: Array, time: float) -> Array:
        """States of the conditions ``left`` at a time."""
        there, count = reach(left, time)
        steps[left] += count
        return there

    left, last = np.arange(len(initial)), 0.0
    if equations.solvable:
        unique = equations.unique
        if unique:
            left = search(left, initial if start is None else start, False)
        for time in equations.lead_times(horizon):
            if left.size:
                states[left], last = reached(left, time), time
                left = search(left, states[left], not unique)
    if left.size:
        if last != horizon:
            states[left] = reached(left, horizon)
        residual[left] = equations.rows(left).residual(states[left])
    return Solution.steady(states, settled, residual, steps)
