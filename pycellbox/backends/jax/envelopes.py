"""Envelopes φ and their slopes on JAX arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pycellbox.numerics.envelopes import formula


class Envelope(NamedTuple):
    """φ(z) and φ'(z), the latter of z and φ(z); ``z`` may be None unless ``needs_z``."""

    value: Callable[[jax.Array], jax.Array]
    slope: Callable[[jax.Array | None, jax.Array], jax.Array]
    needs_z: bool = False


def envelope(name: str, order: int | None) -> Envelope:
    """Return the envelope of a model."""
    value, slope, needs_z = formula(name, order)
    return Envelope(partial(value, jnp), partial(slope, jnp), needs_z)
