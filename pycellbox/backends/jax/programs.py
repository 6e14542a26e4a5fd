"""What is compiled: solutions, losses and gradients as functions of arrays alone.

A program is compiled once for each method, shape and dtype, not for each session, batch or prefix.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from pycellbox.backends.jax.kernel import Inputs, Network
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


class Method(Protocol):
    """How to integrate and how to differentiate that: hashable, a program is compiled for it."""

    def trajectory(
        self, network: Network, inputs: Inputs, steps: Any, times: int
    ) -> tuple[jax.Array, jax.Array]:
        """States at the requested times, (t, n, c), and whether the solver got there."""
        ...

    def trajectory_and_pull_back(
        self, network: Network, inputs: Inputs, steps: Any, times: int
    ) -> tuple[jax.Array, jax.Array, Callable[[jax.Array], Network]]:
        """As `trajectory`, and what turns seeds of the states into a gradient."""
        ...


class Data(NamedTuple):
    """A problem on the device: the drive's arrays (c, n), response and weight (c, t, n)."""

    inside: jax.Array | None
    outside: jax.Array | None
    initial: jax.Array
    response: jax.Array
    weight: jax.Array


class Outcome(NamedTuple):
    """Loss, whether each condition's states are finite, (c,), and whether the solver finished."""

    value: jax.Array
    finite: jax.Array
    finished: jax.Array


def _inputs(inside: Any, outside: Any, initial: Any, rows: Any) -> Inputs:
    def oriented(array: Any) -> Any:
        if array is None:
            return None
        return (array if rows is None else array[rows]).T

    return Inputs(oriented(inside), oriented(outside), oriented(initial))


def _observed(data: Data, rows: Any, prefix: Any) -> tuple[jax.Array, jax.Array]:
    """Response and weight of the rows, (t, n, c), the weight zero beyond the prefix."""
    response, weight = data.response, data.weight
    if rows is not None:
        response, weight = response[rows], weight[rows]
    response, weight = (jnp.transpose(v, (1, 2, 0)) for v in (response, weight))
    return response, jnp.where((jnp.arange(weight.shape[0]) < prefix)[:, None, None], weight, 0)


@functools.partial(jax.jit, static_argnames=("method", "times"))
def solution(
    method: Method, network: Network, drive: Inputs, steps: Any, times: int
) -> tuple[jax.Array, jax.Array]:
    """States at the requested times, (c, t, n), and whether the solver got there.

    The drive's arrays are (c, n), as they come.
    """
    states, finished = method.trajectory(network, _inputs(*drive, None), steps, times)
    return jnp.transpose(states, (2, 0, 1)), finished


@functools.partial(jax.jit, static_argnames=("method", "loss"))
def value(
    method: Method, loss: Loss, network: Network, data: Data, rows: Any, steps: Any, prefix: Any
) -> Outcome:
    """Loss of some conditions over the first times."""
    response, weight = _observed(data, rows, prefix)
    inputs = _inputs(data.inside, data.outside, data.initial, rows)
    states, finished = method.trajectory(network, inputs, steps, response.shape[0])
    total, _ = loss_and_seeds(loss, states, response, weight)
    return Outcome(total, jnp.isfinite(states).all((0, 1)), finished)


@functools.partial(jax.jit, static_argnames=("method", "loss"))
def value_and_gradient(
    method: Method, loss: Loss, network: Network, data: Data, rows: Any, steps: Any, prefix: Any
) -> tuple[Outcome, Network]:
    """Loss of some conditions over the first times, and its gradient."""
    response, weight = _observed(data, rows, prefix)
    inputs = _inputs(data.inside, data.outside, data.initial, rows)
    states, finished, pull_back = method.trajectory_and_pull_back(
        network, inputs, steps, response.shape[0]
    )
    total, seeds = loss_and_seeds(loss, states, response, weight)
    return Outcome(total, jnp.isfinite(states).all((0, 1)), finished), pull_back(seeds)
