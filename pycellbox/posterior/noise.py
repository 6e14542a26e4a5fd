"""How much measurements of a fit's data scatter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import xarray as xr


@dataclass(frozen=True)
class Noise:
    """That of the measurements.

    Attributes
    ----------
    by : str
        Where it is from, in words.
    sd : DataArray, (node,), or None
        Standard deviation, where it is estimated; None where the data have a sigma.
    freedom : float
        Degrees of freedom from which it is estimated; infinite where it is known.
    variance : float
        Of all residuals together.
    """

    by: str = "the sigma of the data"
    sd: xr.DataArray | None = None
    freedom: float = math.inf
    variance: float = 1.0
