"""Fixed steps of the kernel by `jax.lax.scan`, and their exact reverse.

The reverse is written out as in the NumPy backend: automatic differentiation of the scan gives the
same numbers, but keeps more of each step and took half as much time again.

States are (n, c) here, conditions last, which the products with M like best.
"""

from __future__ import annotations

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
    """M (n, n) and a, b, c (n,) of the kernel, or their gradient."""

    M: Any
    a: Any
    b: Any
    c: Any


class Inputs(NamedTuple):
    """p inside the envelope, v outside it (None: absent), and the initial state: (n, c).

    Or the derivative with respect to them.
    """

    inside: jax.Array | None
    outside: jax.Array | None
    initial: jax.Array


def turned(inputs: Inputs) -> Inputs:
    """Transpose each array."""
    return Inputs(*(None if array is None else array.T for array in inputs))


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Matrix product in the dtype of its factors: GPUs would shorten float32 to 10 bits."""
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


class _Scaled(NamedTuple):
    """a, c and b∘v multiplied by the step size."""

    a: jax.Array
    c: jax.Array
    outside: jax.Array | None

    @classmethod
    def by(cls, h: jax.Array, network: Network, inputs: Inputs) -> _Scaled:
        outside = inputs.outside
        return cls(
            network.a[:, None] * h,
            network.c[:, None] * h,
            None if outside is None else network.b[:, None] * outside * h,
        )

    def increment(self, x: jax.Array, phi: jax.Array) -> jax.Array:
        """h·f(x) for a φ that is known."""
        out = phi * self.a - x * self.c
        return out if self.outside is None else out + self.outside


class _Adjoint(NamedTuple):
    """Derivative with respect to the state, and what has been collected on the way back.

    M̄ (n, n); Σ h κ∘φ, Σ h κ∘X and, where there is v, Σ h κ, each (n, c); Σ h κ∘a∘φ', where the
    derivative with respect to p is wanted.
    """

    state: jax.Array
    M: jax.Array
    phi: jax.Array
    x: jax.Array
    outside: jax.Array | None
    inside: jax.Array | None

    def gradient(self, inputs: Inputs) -> Network:
        """Gradient with respect to M, a, b and c."""
        a, c = self.phi.sum(axis=1), -self.x.sum(axis=1)
        if self.outside is None or inputs.outside is None:
            return Network(self.M, a, jnp.zeros_like(a), c)
        return Network(self.M, a, (self.outside * inputs.outside).sum(axis=1), c)

    def input_gradient(self, network: Network, inputs: Inputs, at_start: jax.Array) -> Inputs:
        """Gradient with respect to p, v and x₀, (c, n), the last with seeds of its own."""
        outside = None if self.outside is None else network.b[:, None] * self.outside
        return turned(Inputs(self.inside, outside, self.state + at_start))


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

    ``segments`` is the number of parts of the trajectory that are kept for the reverse one at a
    time; with more than one, each is integrated again before it is reversed.
    """

    tableau: Tableau
    envelope: str
    order: int | None
    segments: int = 1

    def within(self, steps: int, state: Array, budget: int) -> Method:
        """Return it with as many segments as keep the records of so many steps in ``budget``."""
        per_stage = 2 if envelope(self.envelope, self.order).needs_z else 1
        needed = steps * int(state.nbytes) * (1 + per_stage * self.tableau.stages)
        return self._replace(segments=max(1, min(steps, -(-needed // budget))))

    def oriented(self, drive: Inputs, rows: Any) -> Inputs:
        """Turn the drive's arrays, (c, n) as they come, into those of some conditions, (n, c)."""
        return turned(drive if rows is None else jax.tree.map(lambda array: array[rows], drive))

    def slope(self, network: Network, inputs: Inputs, x: jax.Array) -> jax.Array:
        """See `pycellbox.backends.jax.scans.Method.slope`."""
        z = product(network.M, x)
        if inputs.inside is not None:
            z = z + inputs.inside
        phi = envelope(self.envelope, self.order).value(z)
        out = network.a[:, None] * phi - network.c[:, None] * x
        return out if inputs.outside is None else out + network.b[:, None] * inputs.outside

    def forward(
        self, network: Network, inputs: Inputs, steps: Grid, start: Any, *, keep: bool
    ) -> tuple[jax.Array, jax.Array, Any]:
        """Record x, each stage's φ and maybe z."""
        phi = envelope(self.envelope, self.order)

        def step(carry: Any, point: Grid) -> tuple[Any, Any]:
            x, out = carry
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
            out = lax.dynamic_update_index_in_dim(out, following, point.slots, 0)
            record = (x, tuple(phis), tuple(zs) if phi.needs_z else None) if keep else None
            return (following, out), record

        (x, out), records = lax.scan(step, start, steps)
        return x, out, records

    def nothing(self, network: Network, inputs: Inputs, driven: bool) -> _Adjoint:
        """See `pycellbox.backends.jax.scans.Method.nothing`."""
        x = jnp.zeros_like(inputs.initial)
        outside = None if inputs.outside is None else x
        inside = x if driven and inputs.inside is not None else None
        return _Adjoint(x, jnp.zeros_like(network.M), x, x, outside, inside)

    def reverse(
        self,
        network: Network,
        inputs: Inputs,
        steps: Grid,
        records: Any,
        seeds: jax.Array,
        carry: _Adjoint,
    ) -> _Adjoint:
        """Carry the adjoint from the end of the steps to their start.

        The formulas are those of `pycellbox.backends.numpy.kernel.Reverser`.
        """
        A, b = self.tableau.A, self.tableau.b
        phi = envelope(self.envelope, self.order)
        MT = network.M.T

        def step(carry: _Adjoint, point: Any) -> tuple[_Adjoint, None]:
            (h, slot), (x, phis, zs) = point
            adjoint = carry.state + lax.dynamic_index_in_dim(seeds, slot, keepdims=False)
            scaled = _Scaled.by(h, network, inputs)
            states = _stage_states(scaled, A, x, phis)
            bars: list[jax.Array] = []  # of the later stages, the last one first
            _, M, along_phi, along_x, along, inside = carry
            for s in reversed(range(len(b))):
                later = [A[r][s] for r in reversed(range(s + 1, len(b)))]
                kappa = combine(combine(None, [b[s]], [adjoint]), later, bars)
                slope = phi.slope(None if zs is None else zs[s], phis[s])
                g = kappa * scaled.a * slope
                bars.append(product(MT, g) - scaled.c * kappa)
                M = M + product(g, states[s].T)
                along_phi = along_phi + h * kappa * phis[s]
                along_x = along_x + h * kappa * states[s]
                along = None if along is None else along + h * kappa
                inside = None if inside is None else inside + g
            state = combine(adjoint, [1] * len(b), bars)
            return _Adjoint(state, M, along_phi, along_x, along, inside), None

        carry, _ = lax.scan(step, carry, (steps, records), reverse=True)
        return carry
