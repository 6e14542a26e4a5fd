"""The training loop, schedules, stopping."""

from __future__ import annotations

from pycellbox.fitting.api import fit
from pycellbox.fitting.parametrisation import Initialisation
from pycellbox.fitting.schedule import LBFGS, AdamW, Stage

__all__ = ["LBFGS", "AdamW", "Initialisation", "Stage", "fit"]
