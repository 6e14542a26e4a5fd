"""Phases of a dataset as arrays: when each starts, what is given in it, and one grid for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.data.cells import as_numbers, cell_namer, first_of
from pycellbox.data.dims import PHASED, STEADY
from pycellbox.data.given import as_dataset
from pycellbox.data.units import SAME_TIME, distinct
from pycellbox.errors import DataError

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Phases:
    """What is given to each condition, and when.

    Attributes
    ----------
    inputs : ndarray, (c, p, n)
        u in each phase; 0 in phases that a condition has not.
    starts : ndarray, (c, p)
        When each starts: increasing, −∞ for a pre-treatment, NaN for phases that a condition has
        not. A constant perturbation is one phase that starts at 0.
    shared : bool
        Whether all conditions have the same starts.
    """

    inputs: Array
    starts: Array
    shared: bool

    @property
    def doses(self) -> Array:
        """All inputs there are, a row for each condition and phase, (c·p, n)."""
        conditions, phases, nodes = self.inputs.shape
        return self.inputs.reshape(conditions * phases, nodes)

    @property
    def perturbed(self) -> Array:
        """Which nodes are perturbed in some phase of each condition, (c, n)."""
        perturbed: Array = (self.inputs != 0).any(axis=1)
        return perturbed

    @property
    def pretreated(self) -> Array:
        """Which conditions begin in the steady state of their first phase, (c,)."""
        pretreated: Array = self.starts[:, 0] == -np.inf
        return pretreated

    @property
    def begin(self) -> Array:
        """When each condition begins, at 0 or before, (c,)."""
        second = self.starts[:, 1] if self.starts.shape[1] > 1 else np.nan
        return np.where(self.pretreated, np.fmin(0.0, second), self.starts[:, 0])

    def grid(self, more: Array | tuple[()] = ()) -> Array:
        """All times at which a condition begins or changes phase; what rounding parts is one.

        And ``more`` of them, as far as they are later than the first.
        """
        begin, starts = self.begin, self.starts
        changes = starts[np.isfinite(starts) & (starts > begin[:, None])]
        later = np.asarray(more, np.float64)
        return distinct(np.concatenate([begin, changes, later[later > begin.min(initial=0)]]))

    def on(self, grid: Array) -> tuple[Array, Array]:
        """Return u from each time of a grid on, (c, s, n), and who has not begun then, (c, s)."""
        slack = SAME_TIME * _span(grid)
        # The phase that each condition is in: the last that has begun.
        begun = self.starts[:, :, None] <= grid + slack
        phase = np.maximum(begun.sum(axis=1) - 1, 0)
        inputs = np.take_along_axis(self.inputs, phase[:, :, None], axis=1)
        waiting: Array = grid + slack < self.begin[:, None]
        return inputs, waiting


def perturbation_of(data: xr.Dataset) -> xr.DataArray:
    """Return the perturbation, (condition[, phase], node), of a dataset that has it in any order.

    Raises
    ------
    DataError
        It is missing, or has other dims or no labels.
    """
    u = as_dataset(data, "perturbation")["perturbation"]
    dims = PHASED if "phase" in u.dims else STEADY
    if set(u.dims) != set(dims) or not set(STEADY) <= set(u.coords):
        raise DataError(
            f"perturbation has dims {u.dims} and labels along {sorted(map(str, u.indexes))}; it "
            "needs (condition[, phase], node), with labels of conditions and nodes."
        )
    return u.transpose(*dims)


def phases_of(data: xr.Dataset) -> Phases:
    """Read the phases of a dataset, which has at least a perturbation, in any order of its dims.

    Raises
    ------
    DataError
        The perturbation is missing, has other dims or no labels, or is not finite.
    """
    u = perturbation_of(data)
    dims = u.dims
    axes = {d: np.array(labels_along(u, d)) for d in STEADY}
    if "phase" in dims:
        axes = {"condition": axes["condition"], "phase": np.arange(u.sizes["phase"]) + 1, **axes}
    describe = cell_namer("perturbation", axes)
    values = as_numbers(u.values, describe)
    c = len(values)
    if "phase" not in dims:
        values, starts, shared = values[:, None], np.zeros((c, 1)), True
    elif "phase_start" not in data.variables:
        raise DataError("perturbation has a dim phase, and the dataset no phase_start.")
    else:
        given = data["phase_start"]
        shared = "condition" not in given.dims
        given = given if shared else given.transpose("condition", "phase")
        starts = np.broadcast_to(given.values.astype(np.float64), values.shape[:2])
        values = np.where(np.isnan(starts)[:, :, None], 0, values)
    if not np.isfinite(values).all():
        bad = ~np.isfinite(values) if "phase" in dims else ~np.isfinite(values[:, 0])
        raise DataError(f"{first_of(bad, describe)} is NaN or infinite; 0 means not perturbed.")
    return Phases(values, starts, shared)


def _span(times: Array) -> float:
    return float(np.abs(times).max(initial=0.0)) or 1.0
