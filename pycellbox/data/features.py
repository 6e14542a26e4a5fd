"""Doses, in every phase, and held levels as the inputs of a linear model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.data.dims import STEADY
from pycellbox.data.given import check_labels
from pycellbox.data.phases import perturbation_of, phases_of
from pycellbox.data.units import in_unit, time_unit
from pycellbox.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Which inputs there are: those that vary in the data from which they were made.

    Attributes
    ----------
    nodes : tuple of str
    grid : ndarray, (s,)
        Times from which on a dose is an input of its own; one before them for pre-treatments.
    unit : str or None
        Of these times.
    kept : ndarray of int
        Of all (before or from a time on, node), then of held nodes, those that are inputs.
    """

    nodes: tuple[str, ...]
    grid: Floats
    unit: str | None
    kept: npt.NDArray[np.intp]

    @classmethod
    def of(cls, data: xr.Dataset) -> Features:
        """Make them of training data: no input is always 0, or the same as another of its node."""
        nodes = tuple(labels_along(perturbation_of(data), "node"))
        every = cls(nodes, phases_of(data).grid(), time_unit(data), np.arange(0))
        blocks = every._all(data)
        kept = (blocks != 0).any(axis=0)
        # From the last phase back: the dose of plain data is that of the last.
        for later in range(kept.shape[0] - 2, 0, -1):
            for earlier in range(later):
                kept[earlier] &= ~(blocks[:, earlier] == blocks[:, later]).all(axis=0)
        return cls(nodes, every.grid, every.unit, np.flatnonzero(kept))

    def __call__(self, given: xr.DataArray | xr.Dataset) -> tuple[Floats, Floats]:
        """Return the inputs of other conditions, of the same nodes in any order, and all doses.

        Parameters
        ----------
        given : DataArray or Dataset
            The perturbation, or a dataset with it.

        Returns
        -------
        inputs : ndarray, (condition, input)
        sizes : ndarray, (condition, node)
            The largest dose of every node without its sign; of nodes that are no input too, such as
            a drug that the training data do not have.
        """
        data = given.to_dataset(name="perturbation") if isinstance(given, xr.DataArray) else given
        nodes = labels_along(perturbation_of(data), "node")
        if odd := sorted({*nodes} ^ {*self.nodes}):
            raise DataError(
                f"perturbation and training data differ in {len(odd)} node(s), the first is "
                f"{odd[0]!r}; a baseline predicts for the nodes it was fitted to."
            )
        if self.unit is not None and time_unit(data) is not None:
            data = in_unit(data, self.unit)
        order = [nodes.index(node) for node in self.nodes]
        blocks = self._all(data.isel(node=order))
        columns: Floats = blocks.reshape(len(blocks), blocks.shape[1] * blocks.shape[2])
        sizes: Floats = np.abs(blocks[:, :-1]).max(axis=1)
        return columns[:, self.kept], sizes

    def _all(self, data: xr.Dataset) -> Floats:
        """Return the doses before the grid and from each of its times on, then held levels."""
        phases = phases_of(data)
        check_labels(data["perturbation"], "perturbation", *STEADY)
        inputs, waiting = phases.on(self.grid)
        before = np.where(phases.pretreated[:, None], phases.inputs[:, 0], 0)
        held: Any = np.zeros_like(before)
        if "held" in data:
            held = np.nan_to_num(data["held"].transpose(*STEADY).values)
        inputs = np.where(waiting[:, :, None], 0, inputs)
        blocks = np.concatenate([before[:, None], inputs, held[:, None]], axis=1)
        return blocks.astype(np.float64)
