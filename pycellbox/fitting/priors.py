"""Priors of parameters: distances to what is known of them before, in standard deviations."""

from __future__ import annotations

from typing import Any

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
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._each: list[tuple[str, Any, Array]] = []
        for p in layout.parameters:
            if p.prior is not None and np.isinf(p.prior.ends[1]):
                free = np.ones(p.shape, bool) if p.fixed is None else ~p.fixed
                self._each.append((p.name, p.prior, free))
        self.size = sum(int(free.sum()) for _, _, free in self._each)

    @property
    def names(self) -> list[str]:
        """Of the parameters that have one."""
        return [name for name, _, _ in self._each]

    def distances(self, effective: Parameters) -> Array:
        """Return them, (size,), in standard deviations."""
        found = [np.zeros(0)]
        for name, prior, free in self._each:
            value = effective[name][free].astype(np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                off = np.log(value / prior.first) if prior.by_factors else value - prior.first
            found.append(off / prior.second)
        return np.concatenate(found)

    def slopes(self, effective: Parameters) -> Array:
        """Differentiate each by its own entry, (size,)."""
        found = [np.zeros(0)]
        for name, prior, free in self._each:
            value = effective[name][free].astype(np.float64)
            with np.errstate(divide="ignore"):
                by = value if prior.by_factors else np.ones_like(value)
                found.append(1 / (prior.second * by))
        return np.concatenate(found)

    def jacobian(self, effective: Parameters) -> Parameters:
        """Differentiate them by the effective parameters, arrays with a leading axis (size,)."""
        whole, at = np.zeros((self.size, self._layout.size)), 0
        for name, _, free in self._each:
            columns = self._layout.places[name].start + np.flatnonzero(free)
            whole[at + np.arange(columns.size), columns] = 1
            at += columns.size
        return self._layout.split(whole * self.slopes(effective)[:, None])

    def squares(self, effective: Parameters) -> tuple[float, Parameters]:
        """Sum of their squares, and its derivative by the effective parameters that have one."""
        off, slopes = self.distances(effective), self.slopes(effective)
        gradient, at = {}, 0
        for name, _, free in self._each:
            here = slice(at, at + int(free.sum()))
            whole = np.zeros(free.shape)
            whole[free] = 2 * off[here] * slopes[here]
            gradient[name], at = whole, here.stop
        return float(off @ off), gradient


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
