"""Profile likelihood: how far each parameter may go while the others make up for it."""

from __future__ import annotations

from pycellbox.profiles.api import profile
from pycellbox.profiles.result import Profile

__all__ = ["Profile", "profile"]
