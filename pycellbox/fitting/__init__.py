"""The training loop, schedules, stopping."""

from __future__ import annotations

from pycellbox.fitting.api import fit
from pycellbox.initialization import Initialization

__all__ = ["Initialization", "fit"]
