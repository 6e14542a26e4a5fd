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


class Method(Protocol):
    """An equation and a tableau: hashable, a program is compiled for it and for shapes."""

    @property
    def parts(self) -> int:
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

    def stepper(self, parameters: Any, inputs: Any) -> Callable[[Grid, jax.Array], Any]:
        """Make what steps from a state to the following one, with a record for the way back."""
        ...

    def observe(self, parameters: Any, inputs: Any, steps: Grid, states: jax.Array) -> jax.Array:
        """Return requested states, (t, n, c), with the nodes that follow from them."""
        ...

    def observe_back(
        self,
        parameters: Any,
        inputs: Any,
        steps: Grid,
        states: jax.Array,
        due: jax.Array,
        carry: Any,
    ) -> tuple[jax.Array, Any]:
        """Return what seeds, (t, n, c), are of the states before `observe`, and the adjoint.

        That is ``carry``, with what the seeds collect by the way.
        """
        ...

    def nothing(self, parameters: Any, inputs: Any, driven: bool) -> Any:
        """Make the adjoint of the end, before there are seeds.

        It has the derivative with respect to the ``state``, (n, c), and what has been collected,
        which its ``gradient(inputs)`` makes that of the parameters, or of what stands for them.
        """
        ...

    def reverser(self, parameters: Any, inputs: Any) -> Callable[[Grid, Any, jax.Array, Any], Any]:
        """Make what carries the adjoint over one step, given its record.

        The third argument is the derivative with respect to the state after the step.
        """
        ...

    def at_start(
        self, parameters: Any, inputs: Any, carry: Any, due: jax.Array, driven: bool
    ) -> Any:
        """Gradient of the inputs and the initial state from the adjoint there.

        ``due`` are the seeds of the initial state. What nobody has asked for may be None.
        """
        ...


def forward(
    method: Method, parameters: Any, inputs: Any, steps: Grid, start: Any, *, keep: bool
) -> tuple[jax.Array, jax.Array, Any]:
    """Return the last and the requested states, and maybe a record of each step."""
    one = method.stepper(parameters, inputs)

    def step(carry: Any, point: Grid) -> tuple[Any, Any]:
        x, out = carry
        following, record = one(point, x)
        out = lax.dynamic_update_index_in_dim(out, following, point.slots, 0)
        return (following, out), record if keep else None

    (x, out), records = lax.scan(step, start, steps)
    return x, out, records


def reverse(
    method: Method,
    parameters: Any,
    inputs: Any,
    steps: Grid,
    records: Any,
    seeds: jax.Array,
    carry: Any,
) -> Any:
    """Carry the adjoint from the end of the steps to their start."""
    one = method.reverser(parameters, inputs)

    def step(carry: Any, piece: Any) -> tuple[Any, None]:
        point, record = piece
        due = lax.dynamic_index_in_dim(seeds, point.slots, keepdims=False)
        return one(point, record, carry.state + due, carry), None

    carry, _ = lax.scan(step, carry, (steps, records), reverse=True)
    return carry


def trajectory(method: Method, parameters: Any, inputs: Any, steps: Grid, times: int) -> jax.Array:
    """States at the requested times, (t, n, c)."""
    start = _start(inputs, times)
    _, out, _ = forward(method, parameters, inputs, steps, start, keep=False)
    return method.observe(parameters, inputs, steps, out[:times])


def trajectory_and_pull_back(
    method: Method, parameters: Any, inputs: Any, steps: Grid, times: int, *, driven: bool = False
) -> tuple[jax.Array, Callable[[jax.Array], tuple[Any, Any]]]:
    """States at the requested times, (t, n, c), and what turns their seeds into a gradient.

    That of the inputs is asked for by ``driven``.
    """
    start = _start(inputs, times)
    if method.parts == 1:
        _, out, records = forward(method, parameters, inputs, steps, start, keep=True)
    else:
        parts = jax.tree.map(lambda v: jnp.reshape(v, (method.parts, -1)), steps)

        def onwards(carry: Any, part: Grid) -> tuple[Any, jax.Array]:
            x, out, _ = forward(method, parameters, inputs, part, carry, keep=False)
            return (x, out), carry[0]

        (_, out), starts = lax.scan(onwards, start, parts)

    def pull_back(due: jax.Array) -> tuple[Any, Any]:
        carry = method.nothing(parameters, inputs, driven)
        due, carry = method.observe_back(parameters, inputs, steps, out[:times], due, carry)
        # A step that reaches no requested time has seeds of zero.
        seeds = jnp.concatenate([due, jnp.zeros_like(start[1][:1])])

        def back(carry: Any, piece: Any) -> tuple[Any, None]:
            part, x = piece
            _, _, records = forward(method, parameters, inputs, part, (x, start[1]), keep=True)
            return reverse(method, parameters, inputs, part, records, seeds, carry), None

        if method.parts == 1:
            carry = reverse(method, parameters, inputs, steps, records, seeds, carry)
        else:
            carry, _ = lax.scan(back, carry, (parts, starts), reverse=True)
        # A state asked for at time 0 is the initial one, which no step has reached.
        at_start = jnp.where((steps.slots == 0).any(), 0, due[0])
        return carry.gradient(inputs), method.at_start(parameters, inputs, carry, at_start, driven)

    return method.observe(parameters, inputs, steps, out[:times]), pull_back


def trajectory_and_tangents(
    method: Method, parameters: Any, inputs: Any, steps: Grid, times: int, basis: Any, start: Any
) -> tuple[jax.Array, jax.Array]:
    """States at the requested times, (t, n, c), and derivatives of them, (p, t, n, c).

    ``basis`` are p tangents of the parameters, and ``start`` those of the initial state, (p, n, c),
    that go with them.
    """
    x, out = _start(inputs, times)

    def pushed(function: Any, point: Any, tangents: Any) -> Any:
        """Value of a function of parameters and another argument, and its p derivatives."""
        along = lambda *moved: jax.jvp(function, (parameters, point), moved)  # noqa: E731
        return jax.vmap(along, out_axes=(None, 0))(basis, tangents)

    def step(carry: Any, point: Grid) -> tuple[Any, None]:
        x, X, *found = carry
        now = pushed(lambda p, x: method.stepper(p, inputs)(point, x)[0], x, X)
        put = lax.dynamic_update_index_in_dim
        found = [put(kept, one, point.slots, 0) for kept, one in zip(found, now, strict=True)]
        return (*now, *found), None

    along = jnp.broadcast_to(start, (times + 1, *start.shape))
    (*_, out, along), _ = lax.scan(step, (x, start, out, along), steps)
    tangents = jnp.swapaxes(along[:times], 0, 1)
    seen = lambda p, x: method.observe(p, inputs, steps, x)  # noqa: E731
    found: tuple[jax.Array, jax.Array] = pushed(seen, out[:times], tangents)
    return found


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
