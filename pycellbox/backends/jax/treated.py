"""Steps through the segments of a treatment: those of another method, with inputs that change.

All segments are one scan: each step takes the inputs of its own, and a step of size zero begins it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pycellbox.backends.jax import generic, kernel
from pycellbox.backends.jax.grid import Grid
from pycellbox.problem import Array


class Course(NamedTuple):
    """Inputs of all segments, and where the state begins.

    Attributes
    ----------
    inputs : pytree
        As the method has them, each array with a leading axis of segments; the initial states are
        the model's own when a segment begins.
    initial : Array, (c, n), within programs (n, c)
    own : Array of bool, likewise
        Where that is the model's own.
    jump : Array of bool, likewise, or None
        States that take on the model's own whenever a segment begins.
    """

    inputs: Any
    initial: Any
    own: Any
    jump: Any

    def during(self, segment: Any) -> Any:
        """Return the inputs of one segment."""
        return _picked(self.inputs, segment)


def _picked(arrays: Any, segment: Any) -> Any:
    pick = lax.dynamic_index_in_dim
    return jax.tree.map(lambda array: pick(array, segment, keepdims=False), arrays)


class _Adjoint(NamedTuple):
    """The adjoint of the method, with its inputs' part segment by segment.

    Beside it the derivative with respect to the states that a segment sets anew, (s, n, c), where
    that is wanted.
    """

    within: Any
    levels: jax.Array | None

    @property
    def state(self) -> jax.Array:
        """Derivative with respect to the state, (n, c)."""
        state: jax.Array = self.within.state
        return state

    def gradient(self, course: Course) -> Any:
        """Gradient with respect to the parameters, or what stands for them."""
        return self.within.gradient(course.inputs)


class Method(NamedTuple):
    """As `pycellbox.backends.jax.scans.Method`, by the method of one segment."""

    one: kernel.Method | generic.Method
    parts: int = 1

    def within(self, steps: int, state: Array, budget: int) -> Method:
        """Return it in as many parts as keep the records of so many steps in ``budget``."""
        return self._replace(parts=self.one.within(steps, state, budget).parts)

    def forwards(self) -> Method:
        """Return it with derivatives forward, of equations that are no network."""
        assert isinstance(self.one, generic.Method)
        return self._replace(one=self.one.forwards(), parts=1)

    def oriented(self, course: Course, rows: Any) -> Course:
        """Turn the arrays; they are those of the rows already."""
        inputs = jax.vmap(lambda drive: self.one.oriented(drive, None))(course.inputs)
        return Course(inputs, *(None if array is None else array.T for array in course[1:]))

    def stepper(self, parameters: Any, course: Course) -> Callable[[Grid, jax.Array], Any]:
        """See `pycellbox.backends.jax.scans.Method.stepper`."""

        def step(point: Grid, x: jax.Array) -> tuple[jax.Array, Any]:
            inputs = course.during(point.segments)
            if course.jump is not None:
                x = jnp.where(course.jump & (point.sizes == 0), inputs.initial, x)
            found: tuple[jax.Array, Any] = self.one.stepper(parameters, inputs)(point, x)
            return found

        return step

    def observe(self, parameters: Any, course: Course, steps: Grid, states: jax.Array) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.observe`."""
        if not isinstance(self.one, generic.Method):
            return states
        return self._seen(self.one, parameters, course, None, steps, states)

    def _seen(
        self,
        one: generic.Method,
        parameters: Any,
        course: Course,
        u: Any,
        steps: Grid,
        states: jax.Array,
    ) -> jax.Array:
        """Observe each time with the inputs of the segment whose step has reached it."""

        def at(x: jax.Array, segment: Any) -> jax.Array:
            given = None if u is None else _picked(u, segment)
            return one.seen(parameters, course.during(segment), given, x)

        segments = jnp.zeros(len(states) + 1, jnp.int32).at[steps.slots].set(steps.segments)
        return jax.vmap(at)(states, segments[:-1])

    def observe_back(
        self,
        parameters: Any,
        course: Course,
        steps: Grid,
        states: jax.Array,
        due: jax.Array,
        carry: _Adjoint,
    ) -> tuple[jax.Array, _Adjoint]:
        """See `pycellbox.backends.jax.scans.Method.observe_back`."""
        one = self.one
        if not isinstance(one, generic.Method):
            return due, carry
        u = None if carry.within.inputs is None else course.inputs.perturbation

        def seen(parameters: Any, u: Any, states: jax.Array) -> jax.Array:
            return self._seen(one, parameters, course, u, steps, states)

        *more, due = jax.vjp(seen, parameters, u, states)[1](due)
        return due, carry._replace(within=carry.within.plus(*more))

    def nothing(self, parameters: Any, course: Course, driven: bool) -> _Adjoint:
        """See `pycellbox.backends.jax.scans.Method.nothing`."""
        segments = course.inputs.initial.shape[0]
        of_one = self.one.nothing(parameters, course.during(0), driven)
        whole = jax.tree.map(lambda v: jnp.broadcast_to(v, (segments, *v.shape)), of_one.inputs)
        levels = jnp.zeros_like(course.inputs.initial) if driven else None
        return _Adjoint(of_one._replace(inputs=whole), levels)

    def reverser(
        self, parameters: Any, course: Course
    ) -> Callable[[Grid, Any, jax.Array, _Adjoint], _Adjoint]:
        """See `pycellbox.backends.jax.scans.Method.reverser`."""

        def step(point: Grid, record: Any, adjoint: jax.Array, carry: _Adjoint) -> _Adjoint:
            at = point.segments
            whole, levels = carry.within.inputs, carry.levels
            begin = carry.within._replace(inputs=_picked(whole, at))
            one = self.one.reverser(parameters, course.during(at))
            found = one(point, record, adjoint, begin)
            whole = jax.tree.map(lambda v, part: v.at[at].set(part), whole, found.inputs)
            state = found.state
            if course.jump is not None:
                anew = course.jump & (point.sizes == 0)
                if levels is not None:
                    levels = levels.at[at].add(jnp.where(anew, state, 0))
                state = jnp.where(anew, 0, state)
            return _Adjoint(found._replace(inputs=whole, state=state), levels)

        return step

    def at_start(
        self, parameters: Any, course: Course, carry: _Adjoint, due: jax.Array, driven: bool
    ) -> tuple[Any, jax.Array]:
        """Gradient of the inputs of each segment, None unless ``driven``, and of x₀, (c, n).

        That of x₀ is wanted in any case: it may be a steady state.
        """
        start, levels = carry.state, carry.levels
        if levels is None:
            return None, start.T
        if course.jump is not None:
            start = jnp.where(course.jump, levels[0], start)
        # A state that the dose has set has had its share already.
        given = course.own if course.jump is None else course.own & ~course.jump
        levels = levels.at[0].add(jnp.where(given, start, 0))

        def of_one(inputs: Any, along: Any, level: jax.Array) -> Any:
            adjoint = carry.within._replace(inputs=along)
            return adjoint.input_gradient(parameters, inputs, level)

        return jax.vmap(of_one)(course.inputs, carry.within.inputs, levels), start.T
