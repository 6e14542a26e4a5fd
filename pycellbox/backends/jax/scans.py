"""Trajectories through requested times, and the way back, whatever the equation.

States are (n, c) here, conditions last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from pycellbox.backends.jax.grid import Grid


class Adjoint(Protocol):
    """What is carried back along the steps."""

    @property
    def state(self) -> jax.Array:
        """Derivative with respect to the state, (n, c)."""
        ...

    def gradient(self, inputs: Any) -> Any:
        """Gradient with respect to the parameters, or what stands for them."""
        ...

    def input_gradient(self, parameters: Any, inputs: Any, at_start: jax.Array) -> Any:
        """Gradient with respect to the inputs, (c, n), and x₀, which has seeds of its own."""
        ...


class Method(Protocol):
    """An equation and a tableau: hashable, a program is compiled for it and for shapes."""

    @property
    def segments(self) -> int:
        """Parts of the trajectory that are kept for the reverse one at a time.

        With more than one, each is integrated again before it is reversed.
        """
        ...

    def oriented(self, drive: Any, rows: Any) -> Any:
        """Make the inputs of some conditions, with the initial state as ``initial``, (n, c)."""
        ...

    def slope(self, parameters: Any, inputs: Any, x: jax.Array) -> jax.Array:
        """dx/dt."""
        ...

    def forward(
        self, parameters: Any, inputs: Any, steps: Grid, start: Any, *, keep: bool
    ) -> tuple[jax.Array, jax.Array, Any]:
        """Return the last and the requested states, and a record of each step."""
        ...

    def nothing(self, parameters: Any, inputs: Any, driven: bool) -> Any:
        """Make the adjoint of the end, before there are seeds."""
        ...

    def reverse(
        self,
        parameters: Any,
        inputs: Any,
        steps: Grid,
        records: Any,
        seeds: jax.Array,
        carry: Any,
    ) -> Any:
        """Carry the adjoint from the end of the steps to their start."""
        ...


def trajectory(method: Method, parameters: Any, inputs: Any, steps: Grid, times: int) -> jax.Array:
    """States at the requested times, (t, n, c)."""
    _, out, _ = method.forward(parameters, inputs, steps, _start(inputs, times), keep=False)
    return out[:times]


def trajectory_and_pull_back(
    method: Method, parameters: Any, inputs: Any, steps: Grid, times: int, *, driven: bool = False
) -> tuple[jax.Array, Callable[[jax.Array], tuple[Any, Any]]]:
    """States at the requested times, (t, n, c), and what turns their seeds into a gradient.

    That of the inputs is asked for by ``driven``, and None otherwise.
    """
    start = _start(inputs, times)
    if method.segments == 1:
        _, out, records = method.forward(parameters, inputs, steps, start, keep=True)
    else:
        parts = Grid(*(jnp.reshape(v, (method.segments, -1)) for v in steps))

        def onwards(carry: Any, part: Grid) -> tuple[Any, jax.Array]:
            x, out, _ = method.forward(parameters, inputs, part, carry, keep=False)
            return (x, out), carry[0]

        (_, out), starts = lax.scan(onwards, start, parts)

    def pull_back(due: jax.Array) -> tuple[Any, Any]:
        # A step that reaches no requested time has seeds of zero.
        seeds = jnp.concatenate([due, jnp.zeros_like(start[1][:1])])

        def back(carry: Any, piece: Any) -> tuple[Any, None]:
            part, x = piece
            _, _, records = method.forward(parameters, inputs, part, (x, start[1]), keep=True)
            return method.reverse(parameters, inputs, part, records, seeds, carry), None

        carry: Adjoint = method.nothing(parameters, inputs, driven)
        if method.segments == 1:
            carry = method.reverse(parameters, inputs, steps, records, seeds, carry)
        else:
            carry, _ = lax.scan(back, carry, (parts, starts), reverse=True)
        if not driven:
            return carry.gradient(inputs), None
        # A state asked for at time 0 is the initial one.
        at_start = jnp.where((steps.slots == 0).any(), 0, due[0])
        return carry.gradient(inputs), carry.input_gradient(parameters, inputs, at_start)

    return out[:times], pull_back


def _start(inputs: Any, times: int) -> tuple[jax.Array, jax.Array]:
    """Make the initial state, and room for the requested ones and for one that nobody wants."""
    x = inputs.initial
    # A first requested time of 0 is reached by no step.
    return x, jnp.broadcast_to(x, (times + 1, *x.shape))


def combine(x: jax.Array | None, weights: Any, terms: Any) -> Any:
    """Return x + Σ weights·terms, leaving out weights of zero; None for an empty sum."""
    for weight, term in zip(weights, terms, strict=False):
        if weight == 0:
            continue
        scaled = term if weight == 1 else weight * term
        x = scaled if x is None else x + scaled
    return x
