"""The embedded backend: always there, exact discrete gradients, the reference for the others."""

from __future__ import annotations

from pycellbox.backends.numpy.backend import NumpyBackend

__all__ = ["NumpyBackend"]
