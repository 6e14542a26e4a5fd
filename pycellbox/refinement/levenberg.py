"""Least squares by Levenberg and Marquardt's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.problem import Array
from pycellbox.refinement.trajectories import Trajectories

_LONGEST = 1.0  # change of any weight, logarithm of a rate, or shift, in one step
_OTHERS = np.array([[-6.0], [6.0]])  # change of any but the weights, in all
_SMALL = 1e-6  # relative decrease that counts as none
_STUCK = 1e12


@dataclass(frozen=True)
class LeastSquares:
    """Where the sum of squares ended.

    Attributes
    ----------
    theta : ndarray, (θ,)
    normal : ndarray, (θ, θ)
        JᵀJ, with the ridge on its diagonal.
    squares : float
        Sum of squared residuals.
    losses : list of float
        Mean square residual at the start and after each step.
    steps : int
        How many were tried, refused ones included.
    """

    theta: Array
    normal: Array
    squares: float
    losses: list[float]
    steps: int


def minimize(
    trajectories: Trajectories,
    theta: Array,
    support: Array,
    weight: Array,
    ridge: float,
    anchor: Array,
    iterations: int,
) -> LeastSquares | None:
    """Minimize Σ (weight∘(x − y))² + ridge²·|θ − anchor|².

    A step after which the trajectory or its derivative is not finite counts as infinitely bad: it
    is refused, and a shorter one tried. None if that holds for the start.

    Parameters
    ----------
    trajectories : Trajectories
    theta : ndarray, (θ,)
        Start.
    support : ndarray of bool, (n, n)
        Interactions in θ.
    weight : ndarray, (c, t, n)
        Zero where a response does not count.
    ridge : float
        Keeps what the data do not tell from running away.
    anchor : ndarray, (θ,)
        Where it keeps it; the logarithms of rates, and shifts, stay within six of it.
    iterations : int
        At most this many steps, refused ones included.

    Notes
    -----
    Marquardt's scaling by the diagonal, and Nielsen's control of the damping (Damping parameter
    in Marquardt's method, Technical University of Denmark, 1999).
    """
    observed = trajectories.problem.response
    counts = weight > 0
    counted = max(int(np.count_nonzero(counts)), 1)
    n_weights = int(support.sum())

    def residual(at: Array) -> Array | None:
        x = trajectories.trial(at, support)
        return None if x is None else ((x - observed) * weight)[counts]

    def normal_equations(at: Array, r: Array) -> tuple[Array, Array] | None:
        J = trajectories.trial_jacobian(at, support)
        if J is None:
            return None
        # Rows that do not count may be as large as 1e8, beside which nothing else would be seen.
        J = J[counts] * weight[counts][:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            A, g = J.T @ J, J.T @ r + ridge**2 * (at - anchor)
        A[np.diag_indices_from(A)] += ridge**2
        return (A, g) if np.isfinite(A).all() and np.isfinite(g).all() else None

    def cost_of(at: Array, r: Array) -> tuple[float, float]:
        squares = float(r @ r)
        return squares, squares + ridge**2 * float((at - anchor) @ (at - anchor))

    r = residual(theta)
    equations = None if r is None else normal_equations(theta, r)
    if r is None or equations is None:
        return None
    squares, cost = cost_of(theta, r)
    losses = [squares / counted]
    damping, growth, still, tried = 1e-3, 2.0, 0, 0
    while tried < iterations:
        tried += 1
        A, g = equations
        step = -_solve(A + damping * np.diag(np.diag(A)), g)
        step *= min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))
        trial = theta + step
        trial[n_weights:] = np.clip(trial[n_weights:], *(anchor[n_weights:] + _OTHERS))
        r_trial, equations = residual(trial), None
        if r_trial is not None:
            squares_trial, cost_trial = cost_of(trial, r_trial)
            if cost_trial < cost:
                equations = normal_equations(trial, r_trial)
        if r_trial is None or equations is None:
            equations = (A, g)
            damping *= growth
            growth *= 2
            if damping > _STUCK:
                break
            continue
        promised = -float(2 * g @ step + step @ A @ step)
        ratio = (cost - cost_trial) / max(promised, 1e-300)
        decrease = (cost - cost_trial) / cost
        theta, r, squares, cost = trial, r_trial, squares_trial, cost_trial
        losses.append(squares / counted)
        damping *= max(1 / 5, 1 - (2 * min(ratio, 1.0) - 1) ** 3)
        growth = 2.0
        still = still + 1 if decrease < _SMALL else 0
        if still == 2:
            break
    return LeastSquares(theta, equations[0], squares, losses, tried)


def _solve(A: Array, b: Array) -> Array:
    """Solve A x = b, by least squares where A is singular to rounding."""
    try:
        x: Array = np.linalg.solve(A, b)
    except np.linalg.LinAlgError:
        x = np.linalg.lstsq(A, b, rcond=None)[0]
    return x if np.isfinite(x).all() else np.zeros_like(b)
