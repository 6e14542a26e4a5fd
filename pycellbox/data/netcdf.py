"""Datasets as NetCDF files, written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.data.schema import validate
from pycellbox.errors import DataError, ResultFileError


def save_data(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset to a NetCDF file, whole or not at all.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset that passes `validate`.
    path : str or path-like
        The file, by custom with the suffix ``.nc``. One that exists is replaced.

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
    with written_whole(path) as part:
        try:
            checked.to_netcdf(part, engine="h5netcdf", encoding=encoding)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the dataset cannot be written as NetCDF ({error}); remove or convert what it "
                "has beyond the schema."
            ) from error


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


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to, and move it over ``path`` once the block ends without an error.

    The path lies beside the target, because only within one file system is the move a single
    step. After an error nothing is left of it and the target is as it was.

    Parameters
    ----------
    path : str or path-like
        The file to write or replace.

    Yields
    ------
    pathlib.Path
        A file that does not exist yet, in the folder of ``path``.

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
        yield part
        os.replace(part, target)
    except ResultFileError:
        raise
    except OSError as error:
        raise ResultFileError(f"cannot write {str(path)!r}: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _read(source: Path) -> xr.Dataset:
    try:
        # A unit such as "hours" must not turn the times into timedeltas.
        with xr.open_dataset(
            source,
            engine="h5netcdf",
            decode_times={"time": False},
            decode_timedelta={"time": False},
        ) as stored:
            return stored.load()
    except ImportError:
        raise  # a missing library is no fault of the file
    except Exception as error:  # h5py reports damage by whatever it stumbled over
        raise ResultFileError(
            f"{str(source)!r} cannot be read as NetCDF: it is damaged or another kind of file "
            f"({type(error).__name__}: {error})."
        ) from error


def _make_attrs_plain(dataset: xr.Dataset) -> None:
    """Turn NumPy scalars back into the Python numbers they were written from."""
    for owner in (dataset, *dataset.variables.values()):
        for key, value in owner.attrs.items():
            if isinstance(value, np.int64 | np.float64):
                owner.attrs[key] = value.item()
