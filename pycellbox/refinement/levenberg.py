"""Least squares by Levenberg and Marquardt's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.problem import Array
from pycellbox.refinement.sensitivity import Sensitivity

_LONGEST = 1.0  # change of any weight, or of the logarithm of any rate, in one step
_LOG_RATES = (-6.0, 6.0)
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
    """

    theta: Array
    normal: Array
    squares: float
    losses: list[float]


def minimise(
    sensitivity: Sensitivity,
    theta: Array,
    support: Array,
    weight: Array,
    ridge: float,
    iterations: int,
) -> LeastSquares:
    """Minimise Σ (weight∘(x − y))² + ridge²·|θ|².

    Parameters
    ----------
    sensitivity : Sensitivity
    theta : ndarray, (θ,)
        Start.
    support : ndarray of bool, (n, n)
        Interactions in θ.
    weight : ndarray, (c, t, n)
        Zero where a response does not count.
    ridge : float
        Keeps what the data do not tell from running away.
    iterations : int
        At most this many steps, refused ones included.

    Notes
    -----
    Marquardt's scaling by the diagonal, and Nielsen's control of the damping (Damping parameter
    in Marquardt's method, Technical University of Denmark, 1999).
    """
    observed = sensitivity.problem.response
    counted = max(int(np.count_nonzero(weight)), 1)
    n_weights = int(support.sum())

    def residual(at: Array) -> Array:
        try:
            x = sensitivity.states(sensitivity.unpack(at, support))
        except DivergenceError:
            return np.full(1, np.inf)
        return ((x - observed) * weight).ravel()

    def linearise(at: Array) -> Array:
        J = sensitivity.jacobian(sensitivity.unpack(at, support), support)
        # Rows that do not count may be as large as 1e8, beside which nothing else would be seen.
        return J[weight > 0] * weight[weight > 0][:, None]

    def normal_equations(J: Array, r: Array, at: Array) -> tuple[Array, Array]:
        A = J.T @ J
        A[np.diag_indices_from(A)] += ridge**2
        return A, J.T @ r[weight.ravel() > 0] + ridge**2 * at

    r = residual(theta)
    squares = float(r @ r)
    cost = squares + ridge**2 * float(theta @ theta)
    losses = [squares / counted]
    A, g = normal_equations(linearise(theta), r, theta)
    damping, growth, still = 1e-3, 2.0, 0
    for _ in range(iterations):
        step = -np.linalg.solve(A + damping * np.diag(np.diag(A)), g)
        step *= min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))
        trial = theta + step
        trial[n_weights:] = np.clip(trial[n_weights:], *_LOG_RATES)
        r_trial = residual(trial)
        squares_trial = float(r_trial @ r_trial)
        cost_trial = squares_trial + ridge**2 * float(trial @ trial)
        if not cost_trial < cost:
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
        A, g = normal_equations(linearise(theta), r, theta)
        still = still + 1 if decrease < _SMALL else 0
        if still == 2:
            break
    return LeastSquares(theta, A, squares, losses)
