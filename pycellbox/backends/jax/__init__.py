"""JAX: the same numerics compiled by XLA, on a GPU where JAX has one."""

from __future__ import annotations

from pycellbox.backends.jax.backend import JaxBackend

__all__ = ["JaxBackend"]
