"""Losses and their derivatives on arrays."""

from __future__ import annotations

import numpy as np

from pycellbox.objective import Loss
from pycellbox.problem import Array


def loss_and_seeds(
    loss: Loss, states: Array, response: Array, weight: Array
) -> tuple[float, Array]:
    """Mean loss over the measured entries, and its derivative with respect to the states.

    Parameters
    ----------
    loss : Loss
    states, response, weight : ndarray, (c, t, n)
        ``weight`` is 1/sigma, zero where not measured.

    Returns
    -------
    value : float
        Summed in float64 whatever the dtype of the arrays.
    seeds : ndarray, (c, t, n)
    """
    residual = (states - response) * weight
    count = max(int(np.count_nonzero(weight)), 1)
    if loss.name == "mse":
        total = np.sum(residual * residual, dtype=np.float64)
        slope = 2 * residual
    elif loss.name == "mae":
        total = np.sum(np.abs(residual), dtype=np.float64)
        slope = np.sign(residual)
    else:
        near = np.clip(residual, -loss.delta, loss.delta)
        # r²/2 inside and δ|r| − δ²/2 outside are both near·(r − near/2).
        total = np.sum(near * (residual - near / 2), dtype=np.float64)
        slope = near
    return float(total) / count, slope * weight / count
