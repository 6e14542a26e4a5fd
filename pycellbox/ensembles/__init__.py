"""Ensembles: a fit made again on resampled data, many times, and what the fits agree on."""

from __future__ import annotations

from pycellbox.ensembles.api import ensemble
from pycellbox.ensembles.result import Ensemble

__all__ = ["Ensemble", "ensemble"]
