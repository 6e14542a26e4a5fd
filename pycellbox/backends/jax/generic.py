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

    def rate(self, parameters: Any, drive: Any, x: jax.Array) -> jax.Array:
        """dx/dt at states (c, n), in their dtype."""
        found = self.frame.equations.rate(jnp, x, drive, parameters)
        rate = jnp.asarray(found).astype(x.dtype)
        return rate if self.moves is None else jnp.where(self.moves, rate, 0)


class _Adjoint(NamedTuple):
    """Derivatives with respect to the state, (n, c), the parameters and maybe the perturbation.

    The last is (c, n), maybe segment by segment.
    """

    state: jax.Array
    parameters: Any
    inputs: Any

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
    """As `pycellbox.backends.jax.scans.Method`; the equations come with the inputs."""

    tableau: Tableau
    parts: int = 1

    def within(self, steps: int, state: Array, budget: int) -> Method:
        """Return it in as many parts as keep the states of so many steps in ``budget``."""
        return self._replace(parts=max(1, min(steps, -(-steps * state.nbytes // budget))))

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
            kh.append(h * inputs.rate(parameters, drive, combine(x, weights, kh).T).T)
        return combine(x, self.tableau.b, kh)

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
            total = jax.tree.map(jnp.add, (carry.parameters, carry.inputs), tuple(more))
            return _Adjoint(state, *total)

        return step

    def at_start(
        self, parameters: Any, inputs: Given, carry: _Adjoint, due: jax.Array, driven: bool
    ) -> Any:
        """See `pycellbox.backends.jax.scans.Method.at_start`."""
        return carry.input_gradient(parameters, inputs, carry.state + due) if driven else None
