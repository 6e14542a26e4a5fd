"""The training loop, schedules, stopping."""

from __future__ import annotations

from pycellbox.fitting.api import fit
from pycellbox.fitting.resuming import resume
from pycellbox.fitting.state import TrainingState
from pycellbox.initialization import Initialization

__all__ = ["Initialization", "TrainingState", "fit", "resume"]
