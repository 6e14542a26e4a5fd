"""Priors of parameters: distances to what is known of them before, in standard deviations."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pycellbox.common.labels import listed
from pycellbox.errors import DataWarning, warn
from pycellbox.models import Layout
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters


class Priors:
    """Those of effective parameters that are more than bounds.

    Parameters
    ----------
    layout : Layout
        Of effective parameters.

    Attributes
    ----------
    size : int
        Entries that have one and are fitted.
    names : list of str
        Of the parameters that have one.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        known = [p for p in layout.parameters if p.prior is not None and np.isinf(p.prior.ends[1])]
        self.names = [p.name for p in known]
        each = [
            (entry, p.prior)
            for p in known
            for entry in range(layout.size)[layout.places[p.name]]
            if not layout.fixed[entry]
        ]
        self.size = len(each)
        self._at = np.array([entry for entry, _ in each], dtype=np.intp)
        self._first = np.array([prior.first for _, prior in each], dtype=np.float64)
        self._second = np.array([prior.second for _, prior in each], dtype=np.float64)
        self._by_factors = np.array([prior.by_factors for _, prior in each], dtype=bool)

    def distances(self, effective: Parameters) -> Array:
        """Return them, (size,), in standard deviations."""
        value, factors = self._values(effective), self._by_factors
        off = value - self._first
        with np.errstate(divide="ignore", invalid="ignore"):
            off[factors] = np.log(value[factors] / self._first[factors])
        scaled: Array = off / self._second
        return scaled

    def slopes(self, effective: Parameters) -> Array:
        """Differentiate each by its own entry, (size,)."""
        by = np.where(self._by_factors, self._values(effective), 1.0)
        with np.errstate(divide="ignore"):
            found: Array = 1 / (self._second * by)
        return found

    def jacobian(self, effective: Parameters) -> Parameters:
        """Differentiate them by the effective parameters, arrays with a leading axis (size,)."""
        whole = np.zeros((self.size, self._layout.size))
        whole[np.arange(self.size), self._at] = self.slopes(effective)
        return self._layout.split(whole)

    def squares(self, effective: Parameters) -> tuple[float, Parameters]:
        """Sum of their squares, and its derivative by the effective parameters that have one."""
        off, whole = self.distances(effective), np.zeros(self._layout.size)
        whole[self._at] = 2 * off * self.slopes(effective)
        gradient = self._layout.split(whole)
        return float(off @ off), {name: gradient[name] for name in self.names}

    def _values(self, effective: Parameters) -> Array:
        values: Array = self._layout.join(effective)[self._at].astype(np.float64)
        return values


def weight_of(loss: Loss, measured: int) -> float:
    """Weight of a squared distance beside the mean loss of so many measurements.

    Where it is −log of the posterior density: "mse" is twice that of the noise, the others are it.
    """
    return (1.0 if loss.name == "mse" else 0.5) / max(measured, 1)


def doubt_noise(layout: Layout, data: xr.Dataset) -> None:
    """Say what the noise counts as, where priors are weighed against it and it is not given.

    Warns
    -----
    DataWarning
    """
    names = Priors(layout).names
    if names and "sigma" not in data:
        warn(
            f"the prior(s) of {listed(names)} are weighed against the noise, and the data have no "
            "sigma: it counts as 1 in the unit of the response. Give it: "
            "data.assign(sigma=0.1 * xr.ones_like(data['response'])), or "
            "pcb.data.pooled_sigma of replicates.",
            DataWarning,
        )
