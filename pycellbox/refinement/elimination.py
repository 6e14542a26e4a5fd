"""Backward elimination of interactions in the quadratic model of the loss."""

from __future__ import annotations

import numpy as np

from pycellbox.problem import Array

_FLAT = 1e-14


def eliminate(
    theta: Array,
    normal: Array,
    n_weights: int,
    variance: float,
    threshold: float,
    most: int | None = None,
) -> tuple[Array, Array]:
    """Set weights to zero as long as that costs less than ``threshold``, the cheapest first.

    Near the minimum, holding weight q at zero and letting the others adjust raises the sum of
    squares by w_q²/C_qq, C being the inverse of the normal matrix (Hassibi and Stork, Optimal
    brain surgeon, NIPS 1993).

    Parameters
    ----------
    theta : ndarray, (θ,)
        The minimum; the first ``n_weights`` entries may go.
    normal : ndarray, (θ, θ)
        JᵀJ at the minimum.
    n_weights : int
    variance : float
        Of the noise, in the units of the residuals.
    threshold : float
        In units of the variance: of one weight.
    most : int, optional
        At most this many.

    Returns
    -------
    theta : ndarray, (θ,)
        With zeros, and what the others became.
    alive : ndarray of bool, (θ,)
    """
    theta = theta.copy()
    C = inverse(normal)
    alive = np.ones(theta.size, dtype=bool)
    for _ in range(n_weights if most is None else most):
        price = np.full(n_weights, np.inf)
        left = np.flatnonzero(alive[:n_weights])
        price[left] = theta[left] ** 2 / np.diag(C)[left] / variance
        q = int(np.argmin(price))
        if not price[q] < threshold:
            break
        theta -= C[:, q] * (theta[q] / C[q, q])
        C -= np.outer(C[:, q], C[q] / C[q, q])
        alive[q] = False
        theta[~alive] = 0.0
    return theta, alive


def inverse(normal: Array) -> Array:
    """Inverse of a positive definite matrix that may be singular to rounding.

    Directions in which it is flat to rounding have the largest inverse that can be told from an
    infinite one: what lies along them is free to leave out.
    """
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-200))
    values, vectors = np.linalg.eigh(normal / scale / scale[:, None])
    parts = vectors / scale[:, None]
    out: Array = (parts / np.maximum(values, _FLAT * max(values[-1], 1.0))) @ parts.T
    return out
