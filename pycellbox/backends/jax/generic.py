"""Steps of any equation that is written for an array library, and their exact reverse.

What is kept of a step is its state; on the way back JAX differentiates one step at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pycellbox.backends.jax.frames import PLACE, frozen, mapped
from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.scans import combine
from pycellbox.backends.jax.space import BACK, FORWARD
from pycellbox.numerics.equations import Equations
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array


@dataclass(frozen=True)
class Frame:
    """Equations and a drive without its arrays: equal where a program would be.

    Attributes
    ----------
    key : hashable
        Of the equations' structure and of what the drive has beside arrays.
    """

    key: Hashable
    equations: Equations = field(compare=False)
    drive: Any = field(compare=False)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["arrays", "initial", "perturbation", "moves"],
    meta_fields=["frame"],
)
@dataclass(frozen=True)
class Given:
    """A drive, taken apart.

    Attributes
    ----------
    frame : Frame
    arrays : list of Array
        Those of the drive.
    initial : Array, (c, n), within programs (n, c)
    perturbation : Array, (c, n)
    moves : Array of bool, (c, n), or None
        Which nodes follow the equation; None for all.
    """

    frame: Frame
    arrays: list[Any]
    initial: Any
    perturbation: Any
    moves: Any = None

    @classmethod
    def of(
        cls,
        structure: Hashable,
        equations: Equations,
        drive: Any,
        perturbation: Array,
        moves: Array | None,
    ) -> Given:
        """Take a drive apart; ``structure`` is the key of the equations' structure."""
        arrays: list[Any] = []

        def kept(array: Any) -> Any:
            arrays.append(array)
            return PLACE

        empty = mapped(drive, kept)
        frame = Frame((structure, frozen(empty)), equations, empty)
        return cls(frame, arrays, drive.initial, perturbation, moves)

    def drive(self, perturbation: Any = None) -> Any:
        """Put the drive together again, or make that of a perturbation."""
        if perturbation is not None:
            return self.frame.equations.drive(perturbation)
        arrays = iter(self.arrays)
        return mapped(self.frame.drive, lambda _: next(arrays))

    def rate(
        self, parameters: Any, drive: Any, x: jax.Array, *, forward: bool = False
    ) -> jax.Array:
        """dx/dt at states (c, n), in their dtype; to be differentiated forward, or else back."""
        found = self.frame.equations.rate(FORWARD if forward else BACK, x, drive, parameters)
        rate = jnp.asarray(found).astype(x.dtype)
        return rate if self.moves is None else jnp.where(self.moves, rate, 0)

    def observe(
        self, parameters: Any, drive: Any, x: jax.Array, *, forward: bool = False
    ) -> jax.Array:
        """States (c, n) with what follows from them."""
        space = FORWARD if forward else BACK
        return jnp.asarray(self.frame.equations.observe(space, x, drive, parameters))


class _Adjoint(NamedTuple):
    """Derivatives with respect to the state, (n, c), the parameters and maybe the perturbation.

    The last is (c, n), maybe segment by segment.
    """

    state: jax.Array
    parameters: Any
    inputs: Any

    def plus(self, parameters: Any, inputs: Any) -> _Adjoint:
        """Return it with more of what is collected."""
        more = jax.tree.map(jnp.add, (self.parameters, self.inputs), (parameters, inputs))
        return _Adjoint(self.state, *more)

    def gradient(self, inputs: Given) -> Any:
        """Gradient with respect to the parameters."""
        return self.parameters

    def input_gradient(
        self, parameters: Any, inputs: Given, initial: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Gradient with respect to the perturbation and to x₀, (c, n)."""
        start, drive = initial.T, inputs.frame.equations.drive
        _, pull = jax.vjp(lambda u: drive(u).initial.astype(start.dtype), inputs.perturbation)
        return self.inputs + pull(start)[0], start


class Method(NamedTuple):
    """As `pycellbox.backends.jax.scans.Method`; the equations come with the inputs.

    Derivatives of its steps are taken ``forward``, or else back.
    """

    tableau: Tableau
    parts: int = 1
    forward: bool = False

    def within(self, steps: int, state: Array, budget: int) -> Method:
        """Return it in as many parts as keep the states of so many steps in ``budget``."""
        return self._replace(parts=max(1, min(steps, -(-steps * state.nbytes // budget))))

    def forwards(self) -> Method:
        """Return it with derivatives forward."""
        return self._replace(forward=True, parts=1)

    def oriented(self, drive: Given, rows: Any) -> Given:
        """Turn the initial state; the drive is that of the rows already."""
        return replace(drive, initial=drive.initial.T)

    def slope(self, parameters: Any, inputs: Given, x: jax.Array) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.slope`."""
        return inputs.rate(parameters, inputs.drive(), x.T).T

    def _step(self, parameters: Any, inputs: Given, u: Any, h: jax.Array, x: jax.Array) -> Any:
        drive = inputs.drive(u)
        kh: list[jax.Array] = []
        for weights in self.tableau.A:
            state = combine(x, weights, kh).T
            kh.append(h * inputs.rate(parameters, drive, state, forward=self.forward).T)
        return combine(x, self.tableau.b, kh)

    def observe(self, parameters: Any, inputs: Given, steps: Grid, states: jax.Array) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.observe`."""
        return jax.vmap(lambda x: self.seen(parameters, inputs, None, x))(states)

    def seen(self, parameters: Any, inputs: Given, u: Any, x: jax.Array) -> jax.Array:
        """Return states, (n, c), with what follows from them."""
        drive = inputs.drive(u)
        return inputs.observe(parameters, drive, x.T, forward=self.forward).T

    def observe_back(
        self,
        parameters: Any,
        inputs: Given,
        steps: Grid,
        states: jax.Array,
        due: jax.Array,
        carry: _Adjoint,
    ) -> tuple[jax.Array, _Adjoint]:
        """See `pycellbox.backends.jax.scans.Method.observe_back`."""
        u = None if carry.inputs is None else inputs.perturbation

        def seen(parameters: Any, u: Any, states: jax.Array) -> jax.Array:
            return jax.vmap(lambda x: self.seen(parameters, inputs, u, x))(states)

        *more, due = jax.vjp(seen, parameters, u, states)[1](due)
        return due, carry.plus(*more)

    def stepper(self, parameters: Any, inputs: Given) -> Callable[[Grid, jax.Array], Any]:
        """Record the state."""
        return lambda point, x: (self._step(parameters, inputs, None, point.sizes, x), x)

    def nothing(self, parameters: Any, inputs: Given, driven: bool) -> _Adjoint:
        """See `pycellbox.backends.jax.scans.Method.nothing`."""
        u = inputs.perturbation if driven else None
        return _Adjoint(*jax.tree.map(jnp.zeros_like, (inputs.initial, parameters, u)))

    def reverser(
        self, parameters: Any, inputs: Given
    ) -> Callable[[Grid, Any, jax.Array, _Adjoint], _Adjoint]:
        """See `pycellbox.backends.jax.scans.Method.reverser`."""

        def step(point: Grid, x: Any, adjoint: jax.Array, carry: _Adjoint) -> _Adjoint:
            u, h = None if carry.inputs is None else inputs.perturbation, point.sizes
            _, pull = jax.vjp(lambda p, u, x: self._step(p, inputs, u, h, x), parameters, u, x)
            *more, state = pull(adjoint)
            return carry.plus(*more)._replace(state=state)

        return step

    def at_start(
        self, parameters: Any, inputs: Given, carry: _Adjoint, due: jax.Array, driven: bool
    ) -> Any:
        """See `pycellbox.backends.jax.scans.Method.at_start`; that of x₀ in any case."""
        start = carry.state + due
        return carry.input_gradient(parameters, inputs, start) if driven else (None, start.T)
