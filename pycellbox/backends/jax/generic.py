"""Steps of any equation that is written for an array library, and their exact reverse.

What is kept of a step is its state; on the way back JAX differentiates one step at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

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
    data_fields=["arrays", "initial", "perturbation"],
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
    """

    frame: Frame
    arrays: list[Any]
    initial: Any
    perturbation: Any

    @classmethod
    def of(
        cls, structure: Hashable, equations: Equations, drive: Any, perturbation: Array
    ) -> Given:
        """Take a drive apart; ``structure`` is the key of the equations' structure."""
        arrays: list[Any] = []

        def kept(array: Any) -> Any:
            arrays.append(array)
            return PLACE

        empty = mapped(drive, kept)
        frame = Frame((structure, frozen(empty)), equations, empty)
        return cls(frame, arrays, drive.initial, perturbation)

    def drive(self, perturbation: Any = None) -> Any:
        """Put the drive together again, or make that of a perturbation."""
        if perturbation is not None:
            return self.frame.equations.drive(perturbation)
        arrays = iter(self.arrays)
        return mapped(self.frame.drive, lambda _: next(arrays))

    def rate(self, parameters: Any, drive: Any, x: jax.Array) -> jax.Array:
        """dx/dt at states (c, n), in their dtype."""
        return jnp.asarray(self.frame.equations.rate(jnp, x, drive, parameters)).astype(x.dtype)


class _Adjoint(NamedTuple):
    """Derivatives with respect to the state, (n, c), the parameters and maybe the perturbation."""

    state: jax.Array
    parameters: Any
    perturbation: jax.Array | None

    def gradient(self, inputs: Given) -> Any:
        """Gradient with respect to the parameters."""
        return self.parameters

    def input_gradient(
        self, parameters: Any, inputs: Given, at_start: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Gradient with respect to the perturbation and to x₀, (c, n)."""
        initial = (self.state + at_start).T
        drive = inputs.frame.equations.drive
        _, pull = jax.vjp(lambda u: drive(u).initial.astype(initial.dtype), inputs.perturbation)
        return self.perturbation + pull(initial)[0], initial


class Method(NamedTuple):
    """As `pycellbox.backends.jax.scans.Method`; the equations come with the inputs."""

    tableau: Tableau
    segments: int = 1

    def within(self, steps: int, state: Array, budget: int) -> Method:
        """Return it with as many segments as keep the states of so many steps in ``budget``."""
        return self._replace(segments=max(1, min(steps, -(-steps * state.nbytes // budget))))

    def oriented(self, drive: Given, rows: Any) -> Given:
        """Turn the initial state; the drive is that of the rows already."""
        return Given(drive.frame, drive.arrays, drive.initial.T, drive.perturbation)

    def slope(self, parameters: Any, inputs: Given, x: jax.Array) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.slope`."""
        return inputs.rate(parameters, inputs.drive(), x.T).T

    def _step(self, parameters: Any, inputs: Given, u: Any, h: jax.Array, x: jax.Array) -> Any:
        drive = inputs.drive(u)
        kh: list[jax.Array] = []
        for weights in self.tableau.A:
            kh.append(h * inputs.rate(parameters, drive, combine(x, weights, kh).T).T)
        return combine(x, self.tableau.b, kh)

    def forward(
        self, parameters: Any, inputs: Given, steps: Grid, start: Any, *, keep: bool
    ) -> tuple[jax.Array, jax.Array, Any]:
        """Record the states."""

        def step(carry: Any, point: Grid) -> tuple[Any, Any]:
            x, out = carry
            following = self._step(parameters, inputs, None, point.sizes, x)
            out = lax.dynamic_update_index_in_dim(out, following, point.slots, 0)
            return (following, out), x if keep else None

        (x, out), records = lax.scan(step, start, steps)
        return x, out, records

    def nothing(self, parameters: Any, inputs: Given, driven: bool) -> _Adjoint:
        """See `pycellbox.backends.jax.scans.Method.nothing`."""
        u = inputs.perturbation if driven else None
        return _Adjoint(*jax.tree.map(jnp.zeros_like, (inputs.initial, parameters, u)))

    def reverse(
        self,
        parameters: Any,
        inputs: Given,
        steps: Grid,
        records: Any,
        seeds: jax.Array,
        carry: _Adjoint,
    ) -> _Adjoint:
        """Carry the adjoint from the end of the steps to their start."""
        u = None if carry.perturbation is None else inputs.perturbation

        def step(carry: _Adjoint, point: Any) -> tuple[_Adjoint, None]:
            (h, slot), x = point
            adjoint = carry.state + lax.dynamic_index_in_dim(seeds, slot, keepdims=False)
            _, pull = jax.vjp(lambda p, u, x: self._step(p, inputs, u, h, x), parameters, u, x)
            *more, state = pull(adjoint)
            total = jax.tree.map(jnp.add, (carry.parameters, carry.perturbation), tuple(more))
            return _Adjoint(state, *total), None

        carry, _ = lax.scan(step, carry, (steps, records), reverse=True)
        return carry
