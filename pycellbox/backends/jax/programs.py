"""What is compiled: solutions, losses and gradients as functions of arrays alone.

A program is compiled once for each method, shape and dtype, not for each session, batch or prefix.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.kernel import (
    Inputs,
    Method,
    Network,
    oriented,
    trajectory,
    trajectory_and_pull_back,
)
from pycellbox.backends.jax.losses import loss_and_seeds
from pycellbox.objective import Loss


def float64() -> AbstractContextManager[Any]:
    """Return a context in which JAX has float64, in this thread and not outside of it."""
    if hasattr(jax, "enable_x64"):
        context: AbstractContextManager[Any] = jax.enable_x64(True)
        return context
    from jax.experimental import enable_x64  # JAX before 0.8, the last for Python 3.10

    context = enable_x64()
    return context


class Data(NamedTuple):
    """A problem on the device: the drive's arrays (c, n), response and weight (c, t, n)."""

    drive: Inputs
    response: jax.Array
    weight: jax.Array


class Outcome(NamedTuple):
    """Loss, (), and whether each condition's states are finite, (c,)."""

    value: jax.Array
    finite: jax.Array


def _observed(data: Data, rows: Any, prefix: Any) -> tuple[jax.Array, jax.Array]:
    """Response and weight of the rows, (t, n, c), the weight zero beyond the prefix."""
    response, weight = data.response, data.weight
    if rows is not None:
        response, weight = response[rows], weight[rows]
    response, weight = (jnp.transpose(v, (1, 2, 0)) for v in (response, weight))
    return response, jnp.where((jnp.arange(weight.shape[0]) < prefix)[:, None, None], weight, 0)


@functools.partial(jax.jit, static_argnames=("method", "times"))
def solution(method: Method, network: Network, drive: Inputs, steps: Grid, times: int) -> jax.Array:
    """States at the requested times, (c, t, n), for a drive of arrays (c, n)."""
    states = trajectory(method, network, oriented(drive, None), steps, times)
    return jnp.transpose(states, (2, 0, 1))


@functools.partial(jax.jit, static_argnames=("method", "loss"))
def value(
    method: Method, loss: Loss, network: Network, data: Data, rows: Any, steps: Grid, prefix: Any
) -> Outcome:
    """Loss of some conditions over the first times."""
    response, weight = _observed(data, rows, prefix)
    inputs = oriented(data.drive, rows)
    states = trajectory(method, network, inputs, steps, response.shape[0])
    total, _ = loss_and_seeds(loss, states, response, weight)
    return Outcome(total, jnp.isfinite(states).all((0, 1)))


@functools.partial(jax.jit, static_argnames=("method", "loss", "driven"))
def value_and_gradient(
    method: Method,
    loss: Loss,
    network: Network,
    data: Data,
    rows: Any,
    steps: Grid,
    prefix: Any,
    *,
    driven: bool,
) -> tuple[Outcome, Network, Inputs | None]:
    """Loss of some conditions over the first times, and its gradient.

    With ``driven`` also that of the inputs, (c, n), which is another program.
    """
    response, weight = _observed(data, rows, prefix)
    inputs, times = oriented(data.drive, rows), response.shape[0]
    states, pull_back = trajectory_and_pull_back(
        method, network, inputs, steps, times, driven=driven
    )
    total, seeds = loss_and_seeds(loss, states, response, weight)
    slope, to_drive = pull_back(seeds)
    outcome = Outcome(total, jnp.isfinite(states).all((0, 1)))
    return outcome, slope, None if to_drive is None else oriented(to_drive, None)
