"""What is compiled: solutions, losses and gradients as functions of arrays alone.

A program is compiled once for each method, shape and dtype, not for each session, batch or prefix.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.losses import loss_and_seeds
from pycellbox.backends.jax.scans import (
    Method,
    trajectory,
    trajectory_and_pull_back,
    trajectory_and_tangents,
)
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
    """A problem on the device: the drive as its plan has it, response and weight (c, t, n)."""

    drive: Any
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
def solution(method: Method, parameters: Any, drive: Any, steps: Grid, times: int) -> jax.Array:
    """States at the requested times, (c, t, n)."""
    states = trajectory(method, parameters, method.oriented(drive, None), steps, times)
    return jnp.transpose(states, (2, 0, 1))


@functools.partial(jax.jit, static_argnames=("method", "loss"))
def value(
    method: Method, loss: Loss, parameters: Any, data: Data, rows: Any, steps: Grid, prefix: Any
) -> Outcome:
    """Loss of some conditions over the first times."""
    response, weight = _observed(data, rows, prefix)
    inputs = method.oriented(data.drive, rows)
    states = trajectory(method, parameters, inputs, steps, response.shape[0])
    total, _ = loss_and_seeds(loss, states, response, weight)
    return Outcome(total, jnp.isfinite(states).all((0, 1)))


@functools.partial(jax.jit, static_argnames=("method", "loss", "driven"))
def value_and_gradient(
    method: Method,
    loss: Loss,
    parameters: Any,
    data: Data,
    rows: Any,
    steps: Grid,
    prefix: Any,
    *,
    driven: bool,
) -> tuple[Outcome, Any, Any]:
    """Loss of some conditions over the first times, and its gradient.

    With ``driven`` also that of the inputs, which is another program.
    """
    response, weight = _observed(data, rows, prefix)
    inputs, times = method.oriented(data.drive, rows), response.shape[0]
    states, pull_back = trajectory_and_pull_back(
        method, parameters, inputs, steps, times, driven=driven
    )
    total, seeds = loss_and_seeds(loss, states, response, weight)
    return Outcome(total, jnp.isfinite(states).all((0, 1))), *pull_back(seeds)


@functools.partial(jax.jit, static_argnames=("method", "driven"))
def back(
    method: Method, parameters: Any, drive: Any, steps: Grid, seeds: jax.Array, *, driven: bool
) -> tuple[Any, Any]:
    """Gradient of Σ seeds·states, (c, t, n), as `value_and_gradient` gives it."""
    inputs = method.oriented(drive, None)
    due = jnp.transpose(seeds, (1, 2, 0))
    _, pull_back = trajectory_and_pull_back(
        method, parameters, inputs, steps, due.shape[0], driven=driven
    )
    return pull_back(due)


@functools.partial(jax.jit, static_argnames=("method",))
def jacobian(
    method: Method, parameters: Any, data: Data, steps: Grid, entries: Any
) -> tuple[jax.Array, Any]:
    """States, (c, t, n), and what `value_and_gradient` gives beside the loss, row by row.

    That of entries (m, 3) of the states, weighted.
    """
    inputs, times = method.oriented(data.drive, None), data.weight.shape[1]
    states, pull_back = trajectory_and_pull_back(method, parameters, inputs, steps, times)

    def row(entry: jax.Array) -> Any:
        condition, time, node = entry
        weight = data.weight[condition, time, node]
        return pull_back(jnp.zeros_like(states).at[time, node, condition].set(weight))

    return jnp.transpose(states, (2, 0, 1)), lax.map(row, entries)


@functools.partial(jax.jit, static_argnames=("method", "times"))
def tangents(
    method: Method, parameters: Any, drive: Any, steps: Grid, times: int, basis: Any, start: Any
) -> tuple[jax.Array, jax.Array]:
    """States, (c, t, n), and their derivatives along p tangents, (c, t, n, p).

    The tangents are ``basis`` of the parameters and ``start``, (c, n, p), of the initial state.
    """
    arguments = method.oriented(drive, None), steps, times, basis, jnp.transpose(start)
    states, along = trajectory_and_tangents(method, parameters, *arguments)
    return jnp.transpose(states, (2, 0, 1)), jnp.transpose(along, (3, 1, 2, 0))
