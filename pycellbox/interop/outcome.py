"""What a run of a foreign configuration hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from pycellbox.result import Fit


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes
    ----------
    folder : Path
        Where the results are.
    fit : Fit
        As saved in ``fit.nc``.
    data : Dataset
        All conditions, with their ``role``: train, validation, test, or unused.
    name : str
        What kind of experiment it was.
    truth : Dataset, optional
        W and alpha of the network the data was simulated with.
    """

    folder: Path
    fit: Fit
    data: xr.Dataset
    name: str
    truth: xr.Dataset | None = None

    @property
    def test(self) -> xr.Dataset | None:
        """The test conditions, in their order; None if there are none."""
        rows = self.data["role"].values == "test"
        return self.data.isel(condition=rows) if rows.any() else None
