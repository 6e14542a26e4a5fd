"""DataFrames made into labelled arrays: a row per condition, or per condition and time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.data.cells import as_labels, as_numbers, cell_namer, check_unique
from pycellbox.data.columns import Settled, Surroundings, settle
from pycellbox.data.dims import STEADY
from pycellbox.data.gene_names import check_gene_names
from pycellbox.data.variables import check_not_empty
from pycellbox.errors import DataError


def from_frame(frame: pd.DataFrame, name: str, around: Surroundings) -> xr.DataArray:
    """Read a DataFrame with its labels and times in its index or in columns.

    Returns
    -------
    xarray.DataArray
        (condition, node) or (condition, time, node), float64; ``time`` has the attribute
        ``units`` if a heading said its unit.
    """
    check_not_empty({"condition": frame.shape[0], "node": frame.shape[1]}, name)
    settled = settle(frame, name, around)
    check_not_empty({"node": settled.cells.shape[1]}, name)
    nodes = as_labels(settled.cells.columns, "node", name)
    conditions = as_labels(settled.conditions, "condition", name)
    if settled.times is not None:
        return _from_rows_in_time(settled, settled.times, conditions, nodes, name)
    return labelled_array(
        _frame_cells(settled.cells), name, {"condition": conditions, "node": nodes}
    )


def labelled_array(
    values: npt.NDArray[Any], name: str, axes: dict[str, npt.NDArray[Any]]
) -> xr.DataArray:
    """Label an array of cells, all of which must read as numbers and all labels be unique."""
    for dimension in STEADY:
        check_unique(axes[dimension], dimension, name)
    check_gene_names(axes["node"].tolist(), name)
    numbers = as_numbers(values, cell_namer(name, axes)).astype(np.float64, copy=False)
    return xr.DataArray(numbers, coords=axes, dims=tuple(axes), name=name)


def _from_rows_in_time(
    settled: Settled,
    given: npt.NDArray[Any],
    rows: npt.NDArray[Any],
    nodes: npt.NDArray[Any],
    name: str,
) -> xr.DataArray:
    """Spread rows of a condition and a time each over a full (condition, time, node) grid."""
    row_times = as_numbers(given, cell_namer(f"the time of {name}", {"condition": rows}))
    missing = np.isnan(row_times)
    if missing.any():
        raise DataError(
            f"{name}: the time of condition {str(rows[missing][0])!r} is missing; every row of a "
            "time course needs its time."
        )
    described = cell_namer(name, {"condition": rows, "node": nodes})
    values = as_numbers(_frame_cells(settled.cells), described)

    conditions, condition_codes = _in_order_of_appearance(rows)
    times, time_codes = np.unique(row_times, return_inverse=True)
    codes = condition_codes * len(times) + time_codes
    repeated = np.flatnonzero(np.bincount(codes) > 1)
    if len(repeated):
        c, t = divmod(int(repeated[0]), len(times))
        raise DataError(
            f"{name} has condition {str(conditions[c])!r} at time {times[t]:g} more than once; "
            "give each condition and time one row: rename the replicates, or average them and "
            "give their spread as sigma."
        )
    grid = np.full((len(conditions) * len(times), len(nodes)), np.nan)
    grid[codes] = values
    axes = {"condition": conditions, "time": times, "node": nodes}
    result = labelled_array(grid.reshape(len(conditions), len(times), len(nodes)), name, axes)
    if settled.unit is not None:
        result["time"].attrs["units"] = settled.unit
    return result


def _in_order_of_appearance(
    labels: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the distinct labels, and for each entry the position of its label among them."""
    positions: dict[str, int] = {}
    codes = [positions.setdefault(label, len(positions)) for label in labels.tolist()]
    return np.array(list(positions), dtype=np.str_), np.array(codes)


def _frame_cells(frame: pd.DataFrame) -> npt.NDArray[Any]:
    """Cells as float64 if all columns are numbers, else as objects to be looked at one by one."""
    kinds = pd.api.types
    if all(kinds.is_numeric_dtype(t) and not kinds.is_complex_dtype(t) for t in frame.dtypes):
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    return frame.to_numpy(dtype=object)
