"""Matching by label, and the correlation that all scores share."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import instance
from pycellbox.data.units import meeting
from pycellbox.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


def aligned(
    left: xr.DataArray, right: xr.DataArray, left_name: str, right_name: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Bring ``left`` into the order of ``right``; they must have the same dims and labels."""
    for array, name in ((left, left_name), (right, right_name)):
        instance(xr.DataArray, "a labelled DataArray")(name, array)
    if set(left.dims) != set(right.dims):
        raise DataError(
            f"{left_name} has dims {left.dims} and {right_name} has {right.dims}; they must agree."
        )
    left, right = _with_text(meeting(left, right)), _with_text(right)
    for dim in right.dims:
        if dim not in left.indexes or dim not in right.indexes:
            raise DataError(f"{left_name} and {right_name} need labels along {dim!r}.")
        a, b = left.indexes[dim], right.indexes[dim]
        if isinstance(a, pd.MultiIndex) or isinstance(b, pd.MultiIndex):
            raise DataError(f"labels along {dim!r} are a MultiIndex; give one label for each.")
        if not (a.is_unique and b.is_unique):
            raise DataError(f"labels along {dim!r} are not unique.")
        odd = a.symmetric_difference(b, sort=False)
        if len(odd):
            owner, other = (left_name, right_name) if odd[0] in a else (right_name, left_name)
            raise DataError(
                f"{left_name} and {right_name} differ in {len(odd)} label(s) along {dim!r}: "
                f"{odd[0]!r} is in {owner} but not in {other}."
            )
    order = {dim: right.indexes[dim] for dim in right.dims}
    return left.sel(order).transpose(*right.dims), right


def _with_text(array: xr.DataArray) -> xr.DataArray:
    """Write labels that are numbers as text, as everything else does; times stay numbers."""
    numbers = [
        dim
        for dim, index in array.indexes.items()
        if dim in array.dims and dim != "time" and pd.api.types.is_numeric_dtype(index.dtype)
    ]
    labels = {dim: labels_along(array, str(dim)) for dim in numbers}
    return array.assign_coords(labels) if labels else array


def pearson_rows(p: Floats, o: Floats, measured: Bools) -> Floats:
    """Correlate the measured entries of each row; NaN for fewer than two or a constant."""
    result = np.full(len(o), np.nan)
    for i, m in enumerate(measured):
        a, b = p[i, m], o[i, m]
        # A constant is told by its range: rounding in the mean leaves a spurious variance.
        if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            continue
        # Scaled to unit norm before the product, so that tiny or huge values do not overflow.
        a, b = a - a.mean(), b - b.mean()
        r = (a / np.linalg.norm(a)) @ (b / np.linalg.norm(b))
        result[i] = np.clip(r, -1.0, 1.0)
    return result
