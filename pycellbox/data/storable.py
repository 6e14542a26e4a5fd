"""What a file can hold of a dataset, and how each kind is written and comes back as it was.

A NetCDF file knows numbers and texts. Everything else is written as the nearest of these, in the
conventions of xarray where there are some, with a note in JSON that says what it was.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.options import shown
from pycellbox.errors import DataError

Note: TypeAlias = dict[str, Any]

OWN_ATTRIBUTES = ("pycellbox_checksum", "pycellbox_kinds")
"""Attributes by which a file of ours describes itself; none of the user's."""

# HDF5 and NetCDF keep their own records under these names.
_RESERVED = re.compile(
    r"CLASS|NAME|REFERENCE_LIST|DIMENSION_LIST|DIMENSION_LABELS|_nc3_strict|_NCProperties"
    r"|_Netcdf4Dimid|_Netcdf4Coordinates"
)
_NULLABLE = re.compile(r"U?Int(8|16|32|64)|Float(32|64)|boolean|string|str")
_EPOCH = "since 1970-01-01T00:00:00"
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

# Cells of object arrays: how they are written as text is str(), or isoformat() for dates.
_CELLS: dict[type, tuple[str, Any]] = {
    str: ("text", str),
    bool: ("boolean", "True".__eq__),
    int: ("integer", int),
    float: ("real", float),
    datetime.date: ("date", datetime.date.fromisoformat),
}
_READ_CELL = dict(_CELLS.values())
_READ_ATTRIBUTE: dict[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "bool": "True".__eq__,
    "numpy bool": lambda text: np.bool_(text == "True"),
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "Timestamp": pd.Timestamp,
}
_MISSING = {"None": None, "nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}


def check_text(text: str, what: str) -> None:
    """Raise a `DataError` if a file would not give a text back."""
    if "\0" in text:
        raise DataError(f"{what} is {text[:60]!r}, with a NUL character; remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{what} is {text[:60]!r}, with half a character at position {error.start + 1}; "
            "repair it, e.g. with .encode('utf-8', 'replace').decode()."
        ) from None


def check_name(name: object, what: str) -> str:
    """Return the name of a variable, a dimension or an attribute, if a file can keep it."""
    if not isinstance(name, str):
        raise DataError(
            f"{what} {shown(name)} has a {type(name).__name__} for a name; names are text: rename "
            "it."
        )
    check_text(name, f"the name of {what}")
    if not name or "/" in name or name in (".", "..") or not name.isprintable():
        raise DataError(
            f"{what} {shown(name)} has a name that no file keeps; names need at least one "
            "character, and no slash or line break: rename it."
        )
    if _RESERVED.fullmatch(name):
        raise DataError(f"{what} {shown(name)} has a name that HDF5 keeps for itself; rename it.")
    return name


def encode(variable: xr.Variable, name: str) -> tuple[npt.NDArray[Any], dict[str, Any], Note]:
    """Return what to write for a variable: numbers or texts, attributes, and a note.

    Raises
    ------
    DataError
        No file would give the variable back; the message names it and says what to do.
    """
    what = f"the variable {shown(name)}"
    values, extra, note = _plain(variable, what)
    attrs, kinds = encode_attrs(variable.attrs, what)
    added = {key: value for key, value in extra.items() if key not in attrs}
    if added:
        note["added"] = list(added)
    if kinds:
        note["attributes"] = kinds
    return values, {**attrs, **added}, note


def decode(values: npt.NDArray[Any], attrs: Mapping[str, Any], note: Note) -> Any:
    """Return the array and the attributes that `encode` was given."""
    kept = {key: value for key, value in attrs.items() if key not in note.get("added", ())}
    return _original(values, note), decode_attrs(kept, note.get("attributes", {}))


def encode_attrs(attrs: Mapping[Any, Any], owner: str) -> tuple[dict[str, Any], Note]:
    """Return attributes as texts and numbers, and what those were that differ."""
    plain: dict[str, Any] = {}
    kinds: Note = {}
    for key, value in attrs.items():
        name = check_name(key, f"{owner}'s attribute" if isinstance(key, str) else owner)
        what = f"the attribute {shown(name)} of {owner}"
        if isinstance(value, str) and not isinstance(value, Enum):
            check_text(value, what)
            plain[name] = str(value)
        elif type(value) is int and -(2**63) <= value < 2**63:
            plain[name] = np.int64(value)
            kinds[name] = "int"
        elif type(value) is float:
            plain[name] = np.float64(value)
            kinds[name] = "float"
        elif isinstance(value, bool | np.bool_):
            plain[name] = str(bool(value))
            kinds[name] = "bool" if isinstance(value, bool) else "numpy bool"
        elif isinstance(value, np.datetime64):
            plain[name] = str(value)
            kinds[name] = str(value.dtype)
        elif type(value) in (datetime.date, datetime.datetime, pd.Timestamp):
            plain[name] = value.isoformat()
            kinds[name] = type(value).__name__
        elif isinstance(value, np.integer | np.floating) and value.dtype.char in "bBhHiIlLqQfd":
            plain[name] = value
        else:
            raise DataError(
                f"{what} is a {type(value).__name__}; a file keeps text, numbers, booleans and "
                "dates: write it as text, e.g. with json.dumps."
            )
    return plain, kinds


def decode_attrs(attrs: Mapping[str, Any], kinds: Note) -> dict[str, Any]:
    """Return attributes as `encode_attrs` was given them."""
    found = dict(attrs)
    for key, kind in kinds.items():
        if kind in _READ_ATTRIBUTE:
            found[key] = _READ_ATTRIBUTE[kind](attrs[key])
        else:
            found[key] = np.array(attrs[key], dtype=kind)[()]
    return found


def _plain(variable: xr.Variable, what: str) -> tuple[npt.NDArray[Any], dict[str, Any], Note]:
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype):
        return _plain_extension(variable, str(dtype), what)
    values = variable.values
    kind, size = dtype.kind, dtype.itemsize
    if kind == "b":
        return values.astype(np.int8), {"dtype": "bool"}, {"dtype": "bool"}
    if kind in "iuf" and size <= 8:
        half = dtype == np.float16  # NetCDF has none
        stored = np.dtype(np.float32) if half else dtype.newbyteorder("=")
        note = {} if stored == dtype else {"dtype": dtype.str}
        return values.astype(stored, copy=False), {}, note
    if kind in "mM" and (unit := np.datetime_data(dtype))[1] == 1 and unit[0] in _UNITS:
        units = {"units": f"{_UNITS[unit[0]]} {_EPOCH}", "calendar": "proleptic_gregorian"}
        numbers = values.astype(dtype.newbyteorder("=")).view(np.int64)
        plain_units = {"units": _UNITS[unit[0]]}
        return numbers, units if kind == "M" else plain_units, {"dtype": dtype.str}
    if kind in "UO":
        return _plain_cells(values, dtype.str if kind == "U" else "object", what)
    raise DataError(
        f"{what} has the dtype {dtype}, which a file does not keep; convert it to numbers, "
        "booleans, text or dates with .astype(...), or remove it."
    )


def _plain_extension(
    variable: xr.Variable, dtype: str, what: str
) -> tuple[npt.NDArray[Any], dict[str, Any], Note]:
    array = getattr(variable.data, "array", variable.data)  # pandas' own, under xarray's cover
    if dtype == "category":
        categories = np.asarray(array.categories, dtype=object)
        texts, _, of_categories = _plain_cells(categories, "object", f"{what}, its categories")
        cells = np.array(["", *texts], dtype=object)[array.codes + 1]
        gone = {"NA": np.flatnonzero(array.codes < 0).tolist()}
        return cells, {}, {
            "dtype": dtype,
            "ordered": bool(array.ordered),
            "categories": texts.tolist(),
            "cells": of_categories["cells"],
            "missing": gone,
        }  # fmt: skip
    if not _NULLABLE.fullmatch(dtype):
        raise DataError(
            f"{what} has the dtype {dtype}, which a file does not keep; convert it to numbers, "
            "text or dates with .astype(...), or remove it."
        )
    return _plain_cells(np.asarray(array, dtype=object), dtype, what)


def _plain_cells(
    values: npt.NDArray[Any], dtype: str, what: str
) -> tuple[npt.NDArray[Any], dict[str, Any], Note]:
    """Write the cells of an object array as text; all that are there are of one kind."""
    texts: list[str] = []
    missing: dict[str, list[int]] = {}
    kinds: dict[str, object] = {}
    for position, cell in enumerate(values.ravel().tolist()):
        token = _missing_token(cell)
        if token is not None:
            missing.setdefault(token, []).append(position)
            texts.append("")
            continue
        plain = str(cell) if isinstance(cell, np.str_) else cell
        plain = plain.item() if isinstance(plain, np.generic) else plain
        if type(plain) not in _CELLS:
            raise DataError(
                f"{what} holds {shown(cell)}, a {type(cell).__name__}, which a file does not keep; "
                "convert it to numbers, booleans, text or dates with .astype(...), or remove it."
            )
        kinds.setdefault(_CELLS[type(plain)][0], cell)
        text = plain.isoformat() if isinstance(plain, datetime.date) else str(plain)
        check_text(text, f"a cell of {what}")
        texts.append(text)
    if len(kinds) > 1:
        first, second = list(kinds.values())[:2]
        raise DataError(
            f"{what} mixes {shown(first)} and {shown(second)}, {' and '.join(list(kinds)[:2])}; a "
            "file keeps one kind of cell: convert them with .astype(str), or remove the variable."
        )
    note: Note = {"dtype": dtype, "cells": next(iter(kinds), "text")}
    if missing:
        note["missing"] = missing
    return np.array(texts, dtype=object).reshape(values.shape), {}, note


def _missing_token(cell: object) -> str | None:
    if cell is None:
        return "None"
    if cell is pd.NA:
        return "NA"
    if cell is pd.NaT:
        return "NaT"
    return "nan" if isinstance(cell, float) and cell != cell else None


def _original(values: npt.NDArray[Any], note: Note) -> Any:
    dtype = note.get("dtype")
    if dtype is None:
        return values
    if "cells" not in note:
        kind = np.dtype(dtype)
        as_written = values.view(kind.newbyteorder("=")) if kind.kind in "mM" else values
        return as_written.astype(kind)
    read = _READ_CELL[note["cells"]]
    cells = np.empty(values.size, dtype=object)
    gone = {i: token for token, where in note.get("missing", {}).items() for i in where}
    for position, text in enumerate(values.ravel().tolist()):
        cells[position] = _MISSING[gone[position]] if position in gone else read(text)
    if dtype == "category":
        categories = [read(text) for text in note["categories"]]
        cells[list(gone)] = None
        return pd.Categorical(cells, categories=categories, ordered=note["ordered"])
    if dtype == "object" or dtype[0] in "<>=|":
        return cells.reshape(values.shape).astype(dtype)
    if not _NULLABLE.fullmatch(dtype):
        raise ValueError(f"a variable of the unknown dtype {dtype!r}")
    return pd.array(cells.tolist(), dtype=dtype)
