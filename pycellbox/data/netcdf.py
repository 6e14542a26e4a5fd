"""Datasets as NetCDF files, written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.data.schema import validate
from pycellbox.errors import DataError, PycellboxError, ResultFileError


def save_data(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a dataset to a NetCDF file, whole or not at all.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset that passes `validate`.
    path : str or path-like
        The file, by custom with the suffix ``.nc``. One that exists is replaced.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    DataError
        The dataset breaks the schema, or has a variable that no NetCDF file can hold.
    ResultFileError
        The file cannot be written.

    Examples
    --------
    >>> pcb.data.save_data(dataset, "melanoma.nc")  # doctest: +SKIP
    """
    checked = validate(dataset)
    # By default xarray marks NaN as a fill value; here NaN is plain data. The checksum finds
    # a file whose numbers were damaged.
    encoding: dict[Any, dict[str, Any]] = {
        name: {"_FillValue": None, "fletcher32": True}
        for name in ("perturbation", "response", "sigma")
        if name in checked.variables
    }

    def write(part: Path) -> None:
        try:
            checked.to_netcdf(part, engine="h5netcdf", encoding=encoding)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the dataset cannot be written as NetCDF ({error}); remove or convert what it "
                "has beyond the schema."
            ) from error

    return write_whole(path, write)


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
        The file is missing, is not NetCDF, is damaged, or holds no dataset of pycellbox.
    DataError
        The file holds a dataset that breaks the schema.

    Examples
    --------
    >>> dataset = pcb.open_data("melanoma.nc")  # doctest: +SKIP
    """
    source = Path(path)
    if not source.is_file():
        raise ResultFileError(f"there is no file {str(source)!r}; check the path.")
    dataset = _read(source)
    if not {"perturbation", "response"} & set(dataset.variables):
        raise ResultFileError(
            f"{str(source)!r} holds no pycellbox dataset; if it is a saved fit, open it with "
            "pcb.load."
        )
    _make_attrs_plain(dataset)
    try:
        return validate(dataset)
    except DataError as error:
        raise DataError(f"{str(source)!r}: {error}") from error


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Write a file beside its target, then move it there: whole or not at all.

    It lies beside the target because only within one file system is the move a single step.
    After an error nothing is left of it, and the target is as it was.

    Parameters
    ----------
    path : str or path-like
        The file to make or replace.
    write : callable
        Is given the path of a file that does not exist yet, and writes it.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ResultFileError
        The folder is missing, or the file cannot be written.
    """
    # Through a symbolic link its target is replaced, not the link.
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise ResultFileError(
            f"cannot write {str(path)!r}: there is no folder {str(target.parent)!r}; make it first."
        )
    if target.is_dir():
        raise ResultFileError(f"cannot write {str(path)!r}: it is a folder; give a file name.")
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        write(part)
        os.replace(part, target)
    except PycellboxError:
        raise  # says already what is wrong
    except OSError as error:
        raise ResultFileError(f"cannot write {str(path)!r}: {error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return Path(path)


def _read(source: Path) -> xr.Dataset:
    try:
        # A unit such as "hours" must not turn the times into timedeltas.
        with xr.open_dataset(
            source,
            engine="h5netcdf",
            decode_times={"time": False},
            decode_timedelta={"time": False},
        ) as stored:
            dataset: xr.Dataset = stored.load()
            return dataset
    except ImportError:
        raise  # a missing library is no fault of the file
    except Exception as error:  # h5py reports damage by whatever it stumbled over
        raise ResultFileError(
            f"{str(source)!r} cannot be read as NetCDF: it is damaged or another kind of file "
            f"({type(error).__name__}: {error})."
        ) from error


def _make_attrs_plain(dataset: xr.Dataset) -> None:
    """Turn NumPy scalars back into the Python numbers they were written from."""
    for attrs in (dataset.attrs, *(variable.attrs for variable in dataset.variables.values())):
        for key, value in attrs.items():
            if isinstance(value, np.int64 | np.float64):
                attrs[key] = value.item()
