"""Datasets and labelled arrays as callers hand them in: of the right kind, with what is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import instance
from pycellbox.data.cells import as_labels, as_numbers, cell_namer, check_unique
from pycellbox.data.schema import DATASET
from pycellbox.errors import DataError


def as_dataset(value: object, *variables: str, name: str = "data") -> xr.Dataset:
    """Return a Dataset that has these variables, or raise a `DataError`."""
    dataset: xr.Dataset = DATASET(name, value)
    for variable in variables:
        if variable not in dataset.variables:
            raise DataError(f"the dataset has no variable {variable!r}.")
    return dataset


def as_array(value: object, name: str, *dims: str) -> xr.DataArray:
    """Return a DataArray in this order of its dims, each label once, or raise a `DataError`."""
    needs = f"a DataArray with the dims ({', '.join(dims)})"
    array: xr.DataArray = instance(xr.DataArray, needs)(name, value)
    if set(array.dims) != set(dims) or not set(dims) <= set(array.coords):
        raise DataError(
            f"{name} has dims {array.dims} and labels along {sorted(map(str, array.indexes))}; it "
            f"needs labelled dims {dims}."
        )
    check_labels(array, name, *dims)
    return array.transpose(*dims)


def check_labels(array: xr.DataArray, name: str, *dims: str) -> None:
    """Raise a `DataError` if a label of conditions or nodes is missing or occurs twice."""
    for dim in dims:
        if dim != "time":
            check_unique(as_labels(array[dim].values, dim, name), dim, name)


def real_numbers(array: xr.DataArray, name: str) -> npt.NDArray[Any]:
    """Return the cells of a labelled array as floats; `DataError` names one that is no number."""
    dims = map(str, array.dims)
    axes = {dim: np.array(labels_along(array, dim), dtype=np.str_) for dim in dims}
    return as_numbers(array.values, cell_namer(name, axes))
