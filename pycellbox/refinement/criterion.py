"""The criterion that a refinement lowers: how well a network fits, and what its edges cost."""

from __future__ import annotations

import math

import numpy as np

from pycellbox.problem import Array, Problem

# Below this share of the response's scale a residual is rounding, not noise.
_ROUNDING = 1e-12


def criterion(squares: float, variance: float, edges: int, price: float) -> float:
    """Σ (weight∘(x − y))² / variance + price · edges; the smaller, the better.

    With the price of `price_of_an_edge` the extended Bayesian information criterion of Chen and
    Chen (Biometrika 95:759, 2008; γ = 1/2) for a known variance, up to a constant.

    Parameters
    ----------
    squares : float
        Sum of squared residuals, in units of sigma² where the data has one.
    variance : float
        Of the noise, in the same units.
    edges : int
    price : float
        Of an edge, in variances.
    """
    return squares / variance + price * edges


def price_of_an_edge(problem: Problem) -> float:
    """Return log N + log P for N measured responses and P interactions that the model allows."""
    measured = int(np.count_nonzero(problem.weight))
    candidates = int(np.count_nonzero(problem.structure.mask))
    return math.log(max(measured, 2)) + math.log(max(candidates, 1))


def squares_of(problem: Problem, states: Array) -> float:
    """Sum of squared residuals over all measured responses, of states (c, t, n)."""
    return float(np.sum(((states - problem.response) * problem.weight) ** 2))


def variance_of(problem: Problem, squares: float) -> float:
    """Mean squared residual, and never quite zero."""
    y = problem.response * problem.weight
    floor = _ROUNDING**2 * max(float(np.max(y * y, initial=0.0)), 1e-200)
    return max(squares / max(int(np.count_nonzero(problem.weight)), 1), floor)


def robust_scale(problem: Problem, states: Array) -> float:
    """Size of a usual residual: the standard deviation of Gaussian ones, blind to a few far off."""
    measured = problem.weight > 0
    off = np.abs((states - problem.response) * problem.weight)[measured]
    # 0.6745: the median of |e| of a standard Gaussian e.
    scale = float(np.median(off)) / 0.6745 if off.size else 0.0
    return max(scale, math.sqrt(variance_of(problem, 0.0)))
