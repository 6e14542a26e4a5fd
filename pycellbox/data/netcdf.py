"""Datasets as NetCDF files."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from pycellbox.common.files import PATH, check_ending
from pycellbox.common.options import checked
from pycellbox.data.container import ENDINGS, read_datasets, write_datasets
from pycellbox.data.schema import DATASET, validate
from pycellbox.errors import DataError, ResultFileError


@checked(dataset=DATASET, path=PATH)
def save_data(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a dataset to a NetCDF file, whole or not at all.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset that passes `validate`.
    path : str or path-like
        The file, whose name needs to end in ``.nc``. One that exists is replaced.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    DataError
        The dataset breaks the schema.
    ResultFileError
        The name has another ending, or the file cannot be written.

    Examples
    --------
    >>> pcb.data.save_data(dataset, "melanoma.nc")  # doctest: +SKIP
    """
    check_ending(path, ENDINGS)
    return write_datasets(path, {"": validate(dataset)})


@checked(path=PATH)
def open_data(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a dataset from a NetCDF file written by `save_data`.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    xarray.Dataset
        The dataset, checked by `validate` and held in memory.

    Raises
    ------
    ResultFileError
        The file is missing, is not NetCDF, is damaged, was changed after it was written, or holds
        no dataset of pycellbox.
    DataError
        The file holds a dataset that breaks the schema.

    Warns
    -----
    FileWarning
        The file has no checksum: an older pycellbox wrote it, or another program.

    Notes
    -----
    A dataset that you have read with ``xarray.open_dataset``, changed, and written again keeps the
    checksum that it had, and is refused. Write it with `save_data` instead.

    Examples
    --------
    >>> dataset = pcb.open_data("melanoma.nc")  # doctest: +SKIP
    """
    dataset = read_datasets(path).get("", xr.Dataset())
    if not {"perturbation", "response"} & set(dataset.variables):
        raise ResultFileError(
            f"{str(path)!r} holds no pycellbox dataset; if it is a saved fit, open it with "
            "pcb.load."
        )
    try:
        return validate(dataset)
    except DataError as error:
        raise DataError(f"{str(path)!r}: {error}") from error
