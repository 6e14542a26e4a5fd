"""Fixed steps of the kernel by `jax.lax.scan`, and their exact reverse.

The reverse is written out as in the NumPy backend: automatic differentiation of the scan gives the
same numbers, but keeps more of each step and took half as much time again.

States are (n, c) here, conditions last, which the products with M like best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pycellbox.backends.jax.envelopes import envelope
from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.scans import combine
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array


class Network(NamedTuple):
    """M (n, n), a, b, c (n,) and shifts (k, n) of the kernel (None: none), or their gradient."""

    M: Any
    a: Any
    b: Any
    c: Any
    shifts: Any = None


class Inputs(NamedTuple):
    """p inside the envelope, v outside it (None: absent), and the initial state: (n, c).

    Or the derivative with respect to them. Beside them which nodes move, as numbers 0 and 1 (None:
    all), and how much of each shift is a part of p, (k, c) (None: there are none).
    """

    inside: Any
    outside: Any
    initial: Any
    moves: Any = None
    reach: Any = None

    def laid(self, network: Network) -> Inputs:
        """Return them with the shifts in p."""
        if self.reach is None:
            return self
        return self._replace(inside=self.inside + product(network.shifts.T, self.reach))


def turned(inputs: Inputs) -> Inputs:
    """Transpose each array."""
    return Inputs(*(None if array is None else array.T for array in inputs))


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Matrix product in the dtype of its factors: GPUs would shorten float32 to 10 bits."""
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


class _Scaled(NamedTuple):
    """a, c and b∘v multiplied by the step size, zero of nodes that do not move."""

    a: jax.Array
    c: jax.Array
    outside: jax.Array | None

    @classmethod
    def by(cls, h: jax.Array, network: Network, inputs: Inputs) -> _Scaled:
        outside, moves = inputs.outside, inputs.moves
        scaled = cls(
            network.a[:, None] * h,
            network.c[:, None] * h,
            None if outside is None else network.b[:, None] * outside * h,
        )
        return scaled if moves is None else jax.tree.map(lambda array: array * moves, scaled)

    def increment(self, x: jax.Array, phi: jax.Array) -> jax.Array:
        """h·f(x) for a φ that is known."""
        out = phi * self.a - x * self.c
        return out if self.outside is None else out + self.outside


class _Along(NamedTuple):
    """Σ h κ, where there is v, and Σ h κ∘a∘φ', where the derivative by p is needed; (n, c)."""

    outside: Any
    inside: Any


class _Adjoint(NamedTuple):
    """Derivative with respect to the state, and what has been collected on the way back.

    M̄ (n, n); Σ h κ∘φ and Σ h κ∘X, each (n, c); what the inputs need, maybe segment by segment.
    """

    state: jax.Array
    M: jax.Array
    phi: jax.Array
    x: jax.Array
    inputs: _Along

    def gradient(self, inputs: Inputs) -> Network:
        """Gradient with respect to M, a, b, c and shifts."""
        a, c = self.phi.sum(axis=1), -self.x.sum(axis=1)
        outside, inside = self.inputs
        b, shifts = jnp.zeros_like(a), None
        if outside is not None and inputs.outside is not None:
            b = _whole((outside * inputs.outside).sum(axis=-1), 1)
        if inputs.reach is not None:
            shifts = _whole(product(inputs.reach, jnp.swapaxes(inside, -2, -1)), 2)
        return Network(self.M, a, b, c, shifts)

    def input_gradient(self, network: Network, inputs: Inputs, initial: jax.Array) -> Inputs:
        """Gradient with respect to p, v and x₀, (c, n)."""
        outside, inside = self.inputs
        outside = None if outside is None else network.b[:, None] * outside
        return turned(Inputs(inside, outside, initial))


def _whole(parts: jax.Array, axes: int) -> jax.Array:
    """Sum over the segments, where there are such: an axis more."""
    return parts if parts.ndim == axes else parts.sum(axis=0)


def _stage_states(scaled: _Scaled, A: Any, x: jax.Array, phis: Any) -> list[jax.Array]:
    """States of the stages again, from what was kept of them: cheaper than to keep them."""
    states: list[jax.Array] = []
    kh: list[jax.Array] = []
    for weights, phi in zip(A, phis, strict=True):
        states.append(combine(x, weights, kh))
        kh.append(scaled.increment(states[-1], phi))
    return states


class Method(NamedTuple):
    """What a program is compiled for, besides shapes.

    ``parts`` is the number of parts of the trajectory that are kept for the reverse one at a time;
    with more than one, each is integrated again before it is reversed.
    """

    tableau: Tableau
    envelope: str
    order: int | None
    parts: int = 1

    def within(self, steps: int, state: Array, budget: int) -> Method:
        """Return it in as many parts as keep the records of so many steps in ``budget``."""
        per_stage = 2 if envelope(self.envelope, self.order).needs_z else 1
        needed = steps * int(state.nbytes) * (1 + per_stage * self.tableau.stages)
        return self._replace(parts=max(1, min(steps, -(-needed // budget))))

    def oriented(self, drive: Inputs, rows: Any) -> Inputs:
        """Turn the drive's arrays, (c, n) as they come, into those of some conditions, (n, c)."""
        return turned(drive if rows is None else jax.tree.map(lambda array: array[rows], drive))

    def slope(self, network: Network, inputs: Inputs, x: jax.Array) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.slope`."""
        z, inputs = product(network.M, x), inputs.laid(network)
        if inputs.inside is not None:
            z = z + inputs.inside
        phi = envelope(self.envelope, self.order).value(z)
        out = network.a[:, None] * phi - network.c[:, None] * x
        if inputs.outside is not None:
            out = out + network.b[:, None] * inputs.outside
        return out if inputs.moves is None else out * inputs.moves

    def stepper(self, network: Network, inputs: Inputs) -> Callable[[Grid, jax.Array], Any]:
        """Record x, each stage's φ and maybe z."""
        phi, inputs = envelope(self.envelope, self.order), inputs.laid(network)

        def step(point: Grid, x: jax.Array) -> tuple[jax.Array, Any]:
            scaled = _Scaled.by(point.sizes, network, inputs)
            kh: list[jax.Array] = []
            phis: list[jax.Array] = []
            zs: list[jax.Array] = []
            for weights in self.tableau.A:
                state = combine(x, weights, kh)
                z = product(network.M, state)
                if inputs.inside is not None:
                    z = z + inputs.inside
                phis.append(phi.value(z))
                zs.append(z)
                kh.append(scaled.increment(state, phis[-1]))
            following = combine(x, self.tableau.b, kh)
            return following, (x, tuple(phis), tuple(zs) if phi.needs_z else None)

        return step

    def observe(
        self, network: Network, inputs: Inputs, steps: Grid, states: jax.Array
    ) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.observe`: all nodes are states."""
        return states

    def observe_back(
        self,
        network: Network,
        inputs: Inputs,
        steps: Grid,
        states: jax.Array,
        due: jax.Array,
        carry: Any,
    ) -> tuple[jax.Array, Any]:
        """See `pycellbox.backends.jax.scans.Method.observe_back`."""
        return due, carry

    def nothing(self, network: Network, inputs: Inputs, driven: bool) -> _Adjoint:
        """See `pycellbox.backends.jax.scans.Method.nothing`."""
        x = jnp.zeros_like(inputs.initial)
        outside = None if inputs.outside is None else x
        driven = driven or inputs.reach is not None
        inside = x if driven and inputs.inside is not None else None
        return _Adjoint(x, jnp.zeros_like(network.M), x, x, _Along(outside, inside))

    def reverser(
        self, network: Network, inputs: Inputs
    ) -> Callable[[Grid, Any, jax.Array, _Adjoint], _Adjoint]:
        """See `pycellbox.backends.jax.scans.Method.reverser`.

        The formulas are those of `pycellbox.backends.numpy.kernel.Reverser`.
        """
        A, b = self.tableau.A, self.tableau.b
        phi = envelope(self.envelope, self.order)
        MT, moves = network.M.T, inputs.moves

        def step(point: Grid, record: Any, adjoint: jax.Array, carry: _Adjoint) -> _Adjoint:
            h, (x, phis, zs) = point.sizes, record
            scaled = _Scaled.by(h, network, inputs)
            states = _stage_states(scaled, A, x, phis)
            bars: list[jax.Array] = []  # of the later stages, the last one first
            _, M, along_phi, along_x, (along, inside) = carry
            for s in reversed(range(len(b))):
                later = [A[r][s] for r in reversed(range(s + 1, len(b)))]
                kappa = combine(combine(None, [b[s]], [adjoint]), later, bars)
                slope = phi.slope(None if zs is None else zs[s], phis[s])
                g = kappa * scaled.a * slope
                bars.append(product(MT, g) - scaled.c * kappa)
                M = M + product(g, states[s].T)
                by_time = h * kappa if moves is None else h * kappa * moves
                along_phi = along_phi + by_time * phis[s]
                along_x = along_x + by_time * states[s]
                along = None if along is None else along + by_time
                inside = None if inside is None else inside + g
            state = combine(adjoint, [1] * len(b), bars)
            return _Adjoint(state, M, along_phi, along_x, _Along(along, inside))

        return step

    def at_start(
        self, network: Network, inputs: Inputs, carry: _Adjoint, due: jax.Array, driven: bool
    ) -> Any:
        """See `pycellbox.backends.jax.scans.Method.at_start`."""
        return carry.input_gradient(network, inputs, carry.state + due) if driven else None
