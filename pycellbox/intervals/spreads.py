"""Standard deviations of predictions, and how far from them how many measurements are."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import xarray as xr

from pycellbox.common.options import number
from pycellbox.problem import Array

INTERVAL = number(0, 1, above=True)
"""Share of new measurements that an interval is to hold."""


@dataclass(frozen=True)
class Calibration:
    """How large errors are beside their standard deviations, as those inside a fit's rows were.

    Attributes
    ----------
    sizes : ndarray, (k,)
        Of errors over their standard deviations, without sign.
    said : str
        Which errors these are.
    normal : bool
        Whether errors are taken to be those of a normal distribution, whatever the sizes.
    """

    sizes: Array
    said: str
    normal: bool = False

    def reach(self, share: float) -> float:
        """Return by how many standard deviations a share of the errors is at most off.

        With one more error than there are, which may be of any size, as in conformal prediction:
        infinite where there are too few for the share.
        """
        if self.normal:
            return NormalDist().inv_cdf((1 + share) / 2)
        count = self.sizes.size
        rank = int(np.ceil(share * (count + 1)))
        return float(np.sort(self.sizes)[rank - 1]) if rank <= count else float("inf")


@dataclass(frozen=True)
class Spreads:
    """Of predictions (c[, t], n).

    Attributes
    ----------
    state : ndarray
        Standard deviation of the response itself; NaN of nodes of which nothing is known.
    noise : ndarray
        That of measuring it, likewise.
    calibrations : tuple of Calibration
    which : ndarray of int, (c,)
        The calibration of each condition.
    """

    state: Array
    noise: Array
    calibrations: tuple[Calibration, ...]
    which: Array

    @property
    def total(self) -> Array:
        """Standard deviation of a new measurement."""
        return np.hypot(self.state, self.noise)

    def half(self, share: float) -> Array:
        """Half the width of the intervals that are to hold a share of new measurements."""
        reach = np.array([one.reach(share) for one in self.calibrations])[self.which]
        half: Array = self.total * reach.reshape(-1, *[1] * (self.total.ndim - 1))
        return half

    def about(self, predicted: xr.DataArray, share: float) -> xr.Dataset:
        """Return predictions with the ends of their intervals and their standard deviations."""
        half, plain = self.half(share), predicted.drop_attrs()
        words = f"of the interval that is to hold {share:.0%} of new measurements"
        made = {
            "lower": (predicted.values - half, f"lower end {words}"),
            "upper": (predicted.values + half, f"upper end {words}"),
            "sd": (self.total, "standard deviation of a new measurement"),
            "sd_state": (self.state, "standard deviation of the response, without measuring it"),
        }
        found = xr.Dataset({"response": predicted})
        for name, (values, long_name) in made.items():
            found[name] = plain.copy(data=values).assign_attrs(long_name=long_name)
        used = [self.calibrations[k].said for k in np.unique(self.which)]
        return found.assign_attrs(interval=share, calibrated_by="; ".join(used))
