"""The numerics, on plain arrays behind one small protocol."""

from __future__ import annotations

from pycellbox.backends.protocol import Backend, Session
from pycellbox.backends.registry import BACKEND, BackendName, available_backends, get_backend

__all__ = ["BACKEND", "Backend", "BackendName", "Session", "available_backends", "get_backend"]
