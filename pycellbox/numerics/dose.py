"""The dose mapping."""

from __future__ import annotations

import numpy as np

from pycellbox.models import CellBox
from pycellbox.problem import Array


def map_dose(model: CellBox, u: Array) -> Array:
    """d(u) = tanh(κu)/κ, or u itself where the model maps no dose or maps it linearly."""
    kappa = model.kappa
    return u if not kappa else np.tanh(kappa * u) / kappa


def dose_slope(model: CellBox, u: Array) -> Array:
    """d'(u) = 1 − tanh²(κu), or 1 where the model maps no dose or maps it linearly."""
    kappa = model.kappa
    return np.ones_like(u) if not kappa else 1 - np.tanh(kappa * u) ** 2
