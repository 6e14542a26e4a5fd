"""Envelopes φ and their slopes on JAX arrays; the same formulas as the NumPy backend's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Envelope(NamedTuple):
    """φ as two functions.

    Attributes
    ----------
    value : callable (z)
    slope : callable (z, phi)
        φ'(z); ``phi`` is φ(z). ``z`` is None unless ``needs_z``.
    needs_z : bool
        Whether the slope cannot be had from φ alone, so that z must be kept as well.
    """

    value: Callable[[jax.Array], jax.Array]
    slope: Callable[[jax.Array, jax.Array], jax.Array]
    needs_z: bool = False


def _tanh(z: jax.Array) -> jax.Array:
    # Takes less time than jnp.tanh in float64 and has its absolute error; infinite e²ᶻ gives 1.
    # In float32 the difference would lose digits near zero.
    return 1 - 2 / (1 + jnp.exp(2 * z)) if z.dtype == jnp.float64 else jnp.tanh(z)


def _sigmoid(z: jax.Array) -> jax.Array:
    return 0.5 * _tanh(0.5 * z) + 0.5


def _power(order: int) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]:
    """Make s → sᵏ/(1+sᵏ) and its derivative for s ≥ 0."""
    # Beyond this sᵏ/(1+sᵏ) is 1 to rounding; without the cap large s would give inf/inf.
    cap = 1e18 ** (1 / order)

    def value(s: jax.Array) -> jax.Array:
        powered = jnp.minimum(s, cap) ** order
        return powered / (1 + powered)

    def slope(s: jax.Array) -> jax.Array:
        s = jnp.minimum(s, cap)
        lower = s ** (order - 1)
        below = 1 + s * lower
        return order * (lower / below / below)

    return value, slope


def _polynomial(order: int) -> Envelope:
    power, power_slope = _power(order)
    return Envelope(
        lambda z: jnp.copysign(power(jnp.abs(z)), z),
        lambda z, phi: power_slope(jnp.abs(z)),
        needs_z=True,
    )


def _hill(order: int) -> Envelope:
    power, power_slope = _power(order)
    return Envelope(
        lambda z: 2 * power(jnp.maximum(z + 1, 0)) - 1,
        lambda z, phi: 2 * power_slope(jnp.maximum(z + 1, 0)),
        needs_z=True,
    )


def envelope(name: str, order: int | None) -> Envelope:
    """Return the envelope of a model."""
    if order is not None:
        return {"polynomial": _polynomial, "hill": _hill}[name](order)
    return {
        "tanh": Envelope(_tanh, lambda z, phi: 1 - phi * phi),
        "linear": Envelope(lambda z: z, lambda z, phi: jnp.ones_like(phi)),
        # At the corners themselves the one-sided derivative of the flat side is taken.
        "clip": Envelope(
            lambda z: jnp.clip(z, -1, 1), lambda z, phi: (jnp.abs(phi) < 1).astype(phi.dtype)
        ),
        "sigmoid": Envelope(_sigmoid, lambda z, phi: (1 - phi) * phi),
    }[name]
