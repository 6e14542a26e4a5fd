"""Doubts: data that can be used, but would be taken for something else than they probably are."""

from __future__ import annotations

from pycellbox.doubts.data import doubt_data
from pycellbox.doubts.extrapolation import doubt_extrapolation

__all__ = ["doubt_data", "doubt_extrapolation"]
