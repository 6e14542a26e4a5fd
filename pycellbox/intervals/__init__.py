"""How far new measurements may be from what one fit predicts, without fitting again."""

from __future__ import annotations

from pycellbox.intervals.screens import Screen
from pycellbox.intervals.spreads import INTERVAL, Calibration, Spreads

__all__ = ["INTERVAL", "Calibration", "Screen", "Spreads"]
