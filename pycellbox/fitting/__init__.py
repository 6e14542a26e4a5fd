"""The training loop, schedules, stopping."""

from __future__ import annotations

from pycellbox.fitting.api import fit
from pycellbox.fitting.parametrization import Initialization
from pycellbox.fitting.schedule import LBFGS, AdamW, Stage

__all__ = ["LBFGS", "AdamW", "Initialization", "Stage", "fit"]
