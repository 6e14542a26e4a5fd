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


def oriented(drive: Inputs, rows: Any) -> Inputs:
    """Turn the drive's arrays, (c, n) as they come, into those of some conditions, (n, c)."""

    def turned(array: Any) -> Any:
        if array is None:
            return None
        return (array if rows is None else array[rows]).T

    return Inputs(*map(turned, drive))


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Matrix product in the dtype of its factors: GPUs would shorten float32 to 10 bits."""
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


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


def trajectory(
    method: Method, network: Network, inputs: Inputs, steps: Grid, times: int
) -> jax.Array:
    """States at the requested times, (t, n, c)."""
    _, out, _ = _forward(method, network, inputs, steps, _start(inputs, times), keep=False)
    return out[:times]


def trajectory_and_pull_back(
    method: Method, network: Network, inputs: Inputs, steps: Grid, times: int, *, driven: bool
) -> tuple[jax.Array, Callable[[jax.Array], tuple[Network, Inputs | None]]]:
    """States at the requested times, (t, n, c), and what turns their seeds into a gradient.

    That of the inputs is asked for by ``driven``, and None otherwise.
    """
    start = _start(inputs, times)
    if method.segments == 1:
        _, out, records = _forward(method, network, inputs, steps, start, keep=True)
    else:
        parts = Grid(*(jnp.reshape(v, (method.segments, -1)) for v in steps))

        def onwards(carry: Any, part: Grid) -> tuple[Any, jax.Array]:
            x, out, _ = _forward(method, network, inputs, part, carry, keep=False)
            return (x, out), carry[0]

        (_, out), starts = lax.scan(onwards, start, parts)

    def pull_back(due: jax.Array) -> tuple[Network, Inputs | None]:
        # A step that reaches no requested time has seeds of zero.
        seeds = jnp.concatenate([due, jnp.zeros_like(start[1][:1])])

        def back(carry: _Adjoint, piece: Any) -> tuple[_Adjoint, None]:
            part, x = piece
            _, _, records = _forward(method, network, inputs, part, (x, start[1]), keep=True)
            return _reverse(method, network, part, inputs, records, seeds, carry), None

        carry = _Adjoint.zero(network, inputs, driven)
        if method.segments == 1:
            carry = _reverse(method, network, steps, inputs, records, seeds, carry)
        else:
            carry, _ = lax.scan(back, carry, (parts, starts), reverse=True)
        if not driven:
            return carry.gradient(inputs), None
        # A state asked for at time 0 is the initial one.
        at_start = jnp.where((steps.slots == 0).any(), 0, due[0])
        return carry.gradient(inputs), carry.input_gradient(network, at_start)

    return out[:times], pull_back


def _start(inputs: Inputs, times: int) -> tuple[jax.Array, jax.Array]:
    """Make the initial state, and room for the requested ones and for one that nobody wants."""
    x = inputs.initial
    # A first requested time of 0 is reached by no step.
    return x, jnp.broadcast_to(x, (times + 1, *x.shape))


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


def _combine(x: jax.Array | None, weights: Any, terms: Any) -> Any:
    """Return x + Σ weights·terms, leaving out weights of zero; None for an empty sum."""
    for weight, term in zip(weights, terms, strict=False):
        if weight == 0:
            continue
        scaled = term if weight == 1 else weight * term
        x = scaled if x is None else x + scaled
    return x


def _forward(
    method: Method, network: Network, inputs: Inputs, steps: Grid, start: Any, *, keep: bool
) -> tuple[jax.Array, jax.Array, Any]:
    """Return the last and the requested states, and per step x, each stage's φ and maybe z."""
    phi = envelope(method.envelope, method.order)

    def step(carry: Any, point: Grid) -> tuple[Any, Any]:
        x, out = carry
        scaled = _Scaled.by(point.sizes, network, inputs)
        kh: list[jax.Array] = []
        phis: list[jax.Array] = []
        zs: list[jax.Array] = []
        for weights in method.tableau.A:
            state = _combine(x, weights, kh)
            z = product(network.M, state)
            if inputs.inside is not None:
                z = z + inputs.inside
            phis.append(phi.value(z))
            zs.append(z)
            kh.append(scaled.increment(state, phis[-1]))
        following = _combine(x, method.tableau.b, kh)
        out = lax.dynamic_update_index_in_dim(out, following, point.slots, 0)
        record = (x, tuple(phis), tuple(zs) if phi.needs_z else None) if keep else None
        return (following, out), record

    (x, out), records = lax.scan(step, start, steps)
    return x, out, records


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

    @classmethod
    def zero(cls, network: Network, inputs: Inputs, driven: bool) -> _Adjoint:
        x = jnp.zeros_like(inputs.initial)
        outside = None if inputs.outside is None else x
        inside = x if driven and inputs.inside is not None else None
        return cls(x, jnp.zeros_like(network.M), x, x, outside, inside)

    def gradient(self, inputs: Inputs) -> Network:
        """Gradient with respect to M, a, b and c."""
        a, c = self.phi.sum(axis=1), -self.x.sum(axis=1)
        if self.outside is None or inputs.outside is None:
            return Network(self.M, a, jnp.zeros_like(a), c)
        return Network(self.M, a, (self.outside * inputs.outside).sum(axis=1), c)

    def input_gradient(self, network: Network, at_start: jax.Array) -> Inputs:
        """Gradient with respect to p, v and x₀, which has seeds of its own."""
        outside = None if self.outside is None else network.b[:, None] * self.outside
        return Inputs(self.inside, outside, self.state + at_start)


def _reverse(
    method: Method,
    network: Network,
    steps: Grid,
    inputs: Inputs,
    records: Any,
    seeds: jax.Array,
    carry: _Adjoint,
) -> _Adjoint:
    """Carry the adjoint from the end of the steps to their start.

    The formulas are those of `pycellbox.backends.numpy.kernel.Reverser`.
    """
    A, b = method.tableau.A, method.tableau.b
    phi = envelope(method.envelope, method.order)
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
            kappa = _combine(_combine(None, [b[s]], [adjoint]), later, bars)
            slope = phi.slope(None if zs is None else zs[s], phis[s])
            g = kappa * scaled.a * slope
            bars.append(product(MT, g) - scaled.c * kappa)
            M = M + product(g, states[s].T)
            along_phi = along_phi + h * kappa * phis[s]
            along_x = along_x + h * kappa * states[s]
            along = None if along is None else along + h * kappa
            inside = None if inside is None else inside + g
        state = _combine(adjoint, [1] * len(b), bars)
        return _Adjoint(state, M, along_phi, along_x, along, inside), None

    carry, _ = lax.scan(step, carry, (steps, records), reverse=True)
    return carry


def _stage_states(scaled: _Scaled, A: Any, x: jax.Array, phis: Any) -> list[jax.Array]:
    """States of the stages again, from what was kept of them: cheaper than to keep them."""
    states: list[jax.Array] = []
    kh: list[jax.Array] = []
    for weights, phi in zip(A, phis, strict=True):
        states.append(_combine(x, weights, kh))
        kh.append(scaled.increment(states[-1], phi))
    return states
