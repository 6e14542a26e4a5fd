"""How far new measurements may be from what one fit predicts, without fitting again."""

from __future__ import annotations

from pycellbox.intervals.about import labelled, of_estimate
from pycellbox.intervals.spreads import INTERVAL

__all__ = ["INTERVAL", "labelled", "of_estimate"]
