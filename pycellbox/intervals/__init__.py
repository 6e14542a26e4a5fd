"""How far new measurements may be from what one fit predicts, without fitting again."""

from __future__ import annotations

from pycellbox.intervals.screens import Screen
from pycellbox.intervals.spreads import INTERVAL, Calibration, Spreads, on_measured_scale
from pycellbox.intervals.trained import Trained, check

__all__ = ["INTERVAL", "Calibration", "Screen", "Spreads", "Trained", "check", "on_measured_scale"]
