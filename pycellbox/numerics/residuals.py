"""Residuals of a problem and their derivative with respect to every parameter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.numerics.checks import UNSTABLE, check_gradient
from pycellbox.numerics.sensitivity import MOST_ENTRIES, Sensitivity, Solve
from pycellbox.numerics.solution import Solution
from pycellbox.problem import Array, Parameters, Problem

_PACE = 0.0625
"""Steps of the sensitivity equation: short enough for six digits."""


def residuals_and_jacobian(
    problem: Problem, parameters: Parameters, solve: Solve
) -> tuple[Array, Array]:
    """Residuals (x − y)/sigma of the measured entries, (m,), and their derivative, (m, θ).

    Parameters
    ----------
    problem : Problem
    parameters : dict of ndarray
        Effective ones; θ are those of their entries that are not fixed.
    solve : callable (parameters, times or None)
        As for `Sensitivity`. Where it settles conditions in steady states, their derivative is
        that of the fixed point, and the integrated ones have that of their trajectory.

    Raises
    ------
    DivergenceError
        A trajectory or its derivative is not finite.
    SolverError
        The Jacobian is too large for the memory.
    """
    size = problem.structure.layout.free.size
    if problem.response.size * max(size, problem.structure.n_nodes**2) > MOST_ENTRIES:
        raise SolverError(
            f"the Jacobian of {problem.response.size} responses with respect to {size} parameters "
            f"is too large: it has more than {MOST_ENTRIES:g} entries. Use fewer conditions."
        )
    exact = {name: array.astype(np.float64) for name, array in parameters.items()}
    found = solve(exact, None)
    found.check(problem.conditions, problem.times)
    J = np.zeros((*problem.response.shape, size))
    for rows in (np.flatnonzero(found.settled), np.flatnonzero(~found.settled)):
        if not rows.size:
            continue
        part = Sensitivity(problem.rows(rows), partial(_of_rows, solve, rows))
        if found.settled[rows[0]]:
            J[rows, -1] = part.steady_jacobian(exact, found.states[rows, -1])
        else:
            J[rows] = part.jacobian(exact, problem.structure.mask, pace=_PACE)
    measured = problem.weight > 0
    residual = ((found.states - problem.response) * problem.weight)[measured]
    rows = J[measured] * problem.weight[measured][:, None]
    if not (np.isfinite(rows).all() and np.isfinite(residual).all()):
        raise DivergenceError(f"the Jacobian is not finite: {UNSTABLE}")
    return residual, rows


def by_reverse(
    problem: Problem, states: Array, gradient: Callable[[Array], Parameters]
) -> tuple[Array, Array]:
    """As `residuals_and_jacobian`, row by row: one way back for each residual of any equation.

    Parameters
    ----------
    problem : Problem
    states : ndarray, (c, t, n)
    gradient : callable (seeds)
        Returns that of Σ seeds·states, seeds (c, t, n), with respect to the parameters.
    """
    layout, measured = problem.structure.layout, problem.weight > 0
    rows = np.empty((np.count_nonzero(measured), layout.free.size))
    for row, place in zip(rows, np.argwhere(measured), strict=True):
        seeds = np.zeros_like(problem.response)
        seeds[tuple(place)] = problem.weight[tuple(place)]
        row[:] = layout.join(gradient(seeds))[layout.free]
    check_gradient({"the residuals": rows}, UNSTABLE)
    return ((states - problem.response) * problem.weight)[measured], rows


def _of_rows(solve: Solve, rows: Array, parameters: Parameters, times: Array | None) -> Solution:
    return solve(parameters, times).rows(rows)
