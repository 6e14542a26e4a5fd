"""Draws from the posterior of small fits, by stochastic gradient Langevin dynamics."""

from __future__ import annotations

from pycellbox.sampling.api import sample
from pycellbox.sampling.result import Samples

__all__ = ["Samples", "sample"]
