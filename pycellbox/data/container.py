"""Datasets in one NetCDF file: written whole, sealed by a checksum, read as data alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.files import PATH, check_ending, write_whole
from pycellbox.common.texts import read_json
from pycellbox.data.hdf5 import ForeignError, arrays_of, check_content
from pycellbox.data.storable import (
    OWN_ATTRIBUTES,
    check_name,
    decode,
    decode_attrs,
    encode,
    encode_attrs,
)
from pycellbox.errors import DataError, FileWarning, ResultFileError, warn

ENDINGS = (".nc",)
_CHECKSUM, _KINDS = OWN_ATTRIBUTES
# Stands in the file as a text, of which HDF5 keeps no checksum of its own.
_SEAL = re.compile(rb"pycellbox sha256 ([0-9a-f]{64})")
_UNSEALED = b"pycellbox sha256 " + b"0" * 64
_WHOLE = 64 * 2**20  # a file up to this size, in bytes, is read before it is looked into


def write_datasets(path: str | os.PathLike[str], groups: Mapping[str, xr.Dataset]) -> Path:
    """Write datasets to a NetCDF file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Its name needs to end in ``.nc``.
    groups : mapping
        Datasets by the name of their group; that of the file itself is "".

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    DataError
        A variable or an attribute is of a kind that no file gives back.
    ResultFileError
        The file cannot be written.
    """
    check_ending(path, ENDINGS)
    return write_whole(path, _sealed(_image(groups)))


def read_datasets(path: str | os.PathLike[str]) -> dict[str, xr.Dataset]:
    """Read what `write_datasets` wrote, or another program of the same meaning.

    Returns
    -------
    dict
        Datasets in memory by the name of their group, "" for the file itself.

    Raises
    ------
    ResultFileError
        The file is missing, damaged, was changed after it was written, or is no NetCDF file of
        plain data.

    Warns
    -----
    FileWarning
        It has no checksum.
    """
    source = PATH("path", path)
    image = _read(source)
    marks = _SEAL.findall(image)
    # A file that says it is ours, and has no checksum that can be read, has been changed too.
    ours = bool(marks) or any(name.encode() in image for name in OWN_ATTRIBUTES)
    if ours and marks != [_digest(_SEAL.sub(_UNSEALED, image))]:
        raise ResultFileError(
            f"{str(source)!r} is not as pycellbox wrote it: it is damaged, or another program has "
            "changed it or written it anew. Take the original; or, if the change to a dataset is "
            "meant, read it with xarray.open_dataset, look at it, and write it with pcb.save_data."
        )
    try:
        groups = _ours(image) if marks else _foreign(image)
    except (ImportError, ResultFileError):
        raise  # a missing library is no fault of the file
    except Exception as error:  # h5py reports damage by whatever it stumbled over
        raise _damaged(source, error) from error
    if not marks:
        warn(
            f"{str(source)!r} has no checksum: an older pycellbox wrote it, or another program, so "
            "that a change to it would go unnoticed. Writing it again with pycellbox adds one.",
            FileWarning,
        )
    return groups


def _read(source: Path) -> bytes:
    """Read a file, a large one only if what it holds is as large."""
    try:
        if os.path.isdir(source):
            zarr = source.suffix == ".zarr" or any(
                os.path.exists(source / name) for name in (".zgroup", "zarr.json")
            )
            raise ResultFileError(
                f"{str(source)!r} is a folder; "
                + ("Zarr is not supported: " if zarr else "")
                + "pycellbox reads NetCDF files, whose names end in .nc."
            )
        if not os.path.isfile(source):
            raise ResultFileError(f"there is no file {str(source)!r}; check the path.")
        size = source.stat().st_size
        if size > _WHOLE:
            _check_large(source, size)
        return source.read_bytes()
    except ResultFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResultFileError(f"cannot read {str(source)!r}: {reason}.") from error


def _check_large(source: Path, size: int) -> None:
    import h5py

    try:
        with (
            source.open("rb") as raw,
            mmap(raw.fileno(), 0, access=ACCESS_READ) as image,
            h5py.File(source, "r") as file,
        ):
            held = arrays_of(file, image)
            # Before attributes are looked for in all of it.
            if size > _WHOLE + 10 * held:
                raise ForeignError(
                    f"it has {size / 1e6:.0f} MB and holds {held / 1e6:.0f} MB of data; what the "
                    "rest is is unknown"
                )
            check_content(file, image)
    except Exception as error:
        raise _damaged(source, error) from error


def _damaged(source: Path, error: Exception) -> ResultFileError:
    if isinstance(error, ForeignError):
        return ResultFileError(f"{str(source)!r} is not read: {error}.")
    said = " ".join(str(error).split())[:200]
    return ResultFileError(
        f"{str(source)!r} cannot be read as NetCDF: it is damaged, incomplete or of another format "
        f"({type(error).__name__}: {said})."
    )


def _image(groups: Mapping[str, xr.Dataset]) -> bytes:
    """Make the file in memory: HDF5 does not bear a disk that is full."""
    import h5netcdf

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        file.attrs[_CHECKSUM] = _UNSEALED.decode()
        for name, dataset in groups.items():
            _write_group(file.create_group(name) if name else file, dataset, name or "the dataset")
    return buffer.getvalue()


def _write_group(group: Any, dataset: xr.Dataset, owner: str) -> None:
    attrs, kinds = encode_attrs(dataset.attrs, owner)
    notes: dict[str, Any] = {"coords": [], "variables": {}, "attributes": kinds}
    group.dimensions = {check_name(d, "the dimension"): n for d, n in dataset.sizes.items()}
    for name, variable in dataset.variables.items():
        label = check_name(name, "the variable")
        values, variable_attrs, note = encode(variable, label)
        dtype = _text_type() if values.dtype == object else values.dtype
        target = group.create_variable(label, variable.dims, dtype, data=values)
        for key, value in variable_attrs.items():
            target.attrs[key] = value
        notes["variables"][label] = note
        if name in dataset.coords:
            notes["coords"].append(label)
    if "coordinates" not in attrs:  # for xarray, which reads names without blanks
        extra = [c for c in notes["coords"] if c not in dataset.dims and " " not in c]
        if extra:
            attrs["coordinates"] = " ".join(extra)
            notes["added"] = ["coordinates"]
    for key, value in {**attrs, _KINDS: json.dumps(notes)}.items():
        group.attrs[key] = value


def _text_type() -> Any:
    import h5py

    return h5py.string_dtype()


def _sealed(image: bytes) -> bytes:
    if len(_SEAL.findall(image)) != 1:
        raise DataError(
            "a text of the dataset reads like the checksum of a pycellbox file; remove it."
        )
    return image.replace(_UNSEALED, _UNSEALED[:-64] + _digest(image))


def _digest(image: bytes) -> bytes:
    return hashlib.sha256(image).hexdigest().encode()


def _ours(image: bytes) -> dict[str, xr.Dataset]:
    import h5netcdf
    import h5py

    with h5py.File(io.BytesIO(image), "r") as plain:
        check_content(plain, image)
    with h5netcdf.File(io.BytesIO(image), "r", decode_vlen_strings=True) as file:
        return {"": _read_group(file)} | {
            name: _read_group(group) for name, group in file.groups.items()
        }


def _read_group(group: Any) -> xr.Dataset:
    notes = read_json(group.attrs[_KINDS])
    variables = {}
    for name, note in notes["variables"].items():
        stored = group.variables[name]
        values, attrs = decode(np.asarray(stored[...]), dict(stored.attrs), note)
        variables[name] = xr.Variable(stored.dimensions, values, attrs)
    added = (*OWN_ATTRIBUTES, *notes.get("added", ()))
    attrs = {key: value for key, value in group.attrs.items() if key not in added}
    dataset = xr.Dataset(variables, attrs=decode_attrs(attrs, notes["attributes"]))
    return dataset.set_coords([name for name in notes["coords"] if name not in dataset.coords])


def _foreign(image: bytes) -> dict[str, xr.Dataset]:
    """Read by the conventions of NetCDF what has no notes of ours."""
    import h5py

    with h5py.File(io.BytesIO(image), "r") as plain:
        check_content(plain, image)
    # A unit such as "hours" must not turn the times into timedeltas.
    times: Any = {"time": False, "phase_start": False}
    groups = xr.open_groups(
        io.BytesIO(image), engine="h5netcdf", decode_times=times, decode_timedelta=times
    )
    found = {name.strip("/"): dataset.load() for name, dataset in groups.items()}
    for dataset in found.values():
        for attrs in (dataset.attrs, *(v.attrs for v in dataset.variables.values())):
            attrs.update({key: _python_number(value) for key, value in attrs.items()})
    return found


def _python_number(value: Any) -> Any:
    """Turn NumPy scalars back into the Python numbers they were written from."""
    return value.item() if isinstance(value, np.int64 | np.float64) else value
