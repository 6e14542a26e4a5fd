"""Standard deviations of predictions, and how far from them how many measurements are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pycellbox.common.options import number
from pycellbox.data.transforms import as_measured, center_of
from pycellbox.problem import Array

_NORMAL = 1e10  # degrees of freedom
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
    freedom : float or ndarray, (n,), optional
        Degrees of freedom of Student's distribution, of all nodes or of each, which errors are
        taken to have whatever the sizes: of the normal one where they are infinite.
    """

    sizes: Array
    said: str
    freedom: float | Array | None = None

    def reach(self, share: float) -> float | Array:
        """Return by how many standard deviations a share of the errors is at most off.

        With one more error than there are, which may be of any size, as in conformal prediction:
        infinite where there are too few for the share. Of Student's distribution one number for
        each node where they differ.
        """
        if self.freedom is not None:
            from scipy.special import stdtrit  # not needed by an import of pycellbox

            found: Array = stdtrit(np.minimum(self.freedom, _NORMAL), (1 + share) / 2)
            return found
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
        nodes = self.total.shape[-1:]
        each = [np.broadcast_to(one.reach(share), nodes) for one in self.calibrations]
        reach = np.stack(each)[self.which]
        half: Array = self.total * (reach if self.total.ndim == 2 else reach[:, None])
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


def on_measured_scale(found: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """Return predictions with intervals on the scale on which the data of their fit were measured.

    The ends go back as the response does, and hold the same share; the standard deviations are
    those of a lognormal distribution.
    """
    center = center_of(data)
    if center is None:
        return found
    logs, back = center.reindex(node=found["node"]).notnull(), found.copy()
    for name in ("response", "lower", "upper"):
        back[name] = as_measured(found[name], data).assign_attrs(found[name].attrs)
    back["response"].attrs.pop("long_name", None)
    for name in ("sd", "sd_state"):
        square = found[name] ** 2
        with np.errstate(over="ignore"):
            there = back["response"] * np.exp(square / 2) * np.sqrt(np.expm1(square))
        back[name] = there.where(logs, found[name]).transpose(*found[name].dims)
        back[name].attrs = found[name].attrs
    return back
