"""Losses and their derivatives on JAX arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pycellbox.objective import Loss


def loss_and_seeds(
    loss: Loss, states: jax.Array, response: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean loss over the measured entries, and its derivative with respect to the states.

    Parameters
    ----------
    loss : Loss
    states, response, weight : Array
        Of one shape; ``weight`` is 1/sigma, zero where not measured.

    Returns
    -------
    value : Array, ()
        Summed in float64 whatever the dtype of the arrays.
    seeds : Array
        Like ``states``.
    """
    residual = (states - response) * weight
    count = jnp.maximum(jnp.count_nonzero(weight), 1)
    if loss.name == "mse":
        terms, slope = residual * residual, 2 * residual
    elif loss.name == "mae":
        terms, slope = jnp.abs(residual), jnp.sign(residual)
    else:
        slope = jnp.clip(residual, -loss.delta, loss.delta)
        # r²/2 inside and δ|r| − δ²/2 outside are both near·(r − near/2).
        terms = slope * (residual - slope / 2)
    value = jnp.sum(terms, dtype=jnp.float64) / count
    return value, slope * weight / count.astype(states.dtype)
