"""The training loop, schedules, stopping."""

from __future__ import annotations

from pycellbox.fitting.api import fit
from pycellbox.fitting.parametrization import Initialization

__all__ = ["Initialization", "fit"]
