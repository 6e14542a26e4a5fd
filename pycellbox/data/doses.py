"""The perturbation table: doses, when each begins, and what else is said of a condition there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox.common.labels import counted, label_text
from pycellbox.common.plain import several
from pycellbox.data.cells import as_labels, as_numbers, cell_namer, is_missing
from pycellbox.data.columns import Surroundings, settle
from pycellbox.data.dims import PHASED
from pycellbox.data.frames import from_frame, labelled_array
from pycellbox.data.headings import time_heading
from pycellbox.errors import DataError

_START = re.compile(r"(phase[ _.-]?)?start([ _.-]?times?)?(?P<unit>[\W_].*)?", re.IGNORECASE)
_BEFORE = ("pre", "pretreatment", "pre-treatment", "before", "-\u221e", "\u2212\u221e")
OF_CONDITIONS = ("replicate_of", "subject")
"""Columns of a perturbation table that say something of the condition, and are no nodes."""


def is_start(heading: object) -> bool:
    """Whether a heading is that of starts: ``start``, ``Start (min)``, ``phase_start``."""
    return _as_time(heading) is not None


def start_cell(cell: object) -> Any:
    """Return a start as a number, where it is a word for a pre-treatment that has settled."""
    return "-inf" if isinstance(cell, str) and cell.strip().lower() in _BEFORE else cell


def _as_time(heading: object) -> str | None:
    """Write the heading of starts as one of time, with the unit that it says."""
    found = _START.fullmatch(str(heading).strip())
    if found is None:
        return None
    written = f"time{found['unit'] or ''}"
    return written if time_heading(written) is not None else None


def read_doses(
    frame: pd.DataFrame, name: str, around: Surroundings
) -> tuple[xr.DataArray, dict[str, dict[str, Any]]]:
    """Read doses from a frame, a row for each condition, or for each condition and start.

    Returns
    -------
    DataArray
        (condition, node); or (condition, phase, node) with the coordinate ``phase_start``.
    dict
        What columns such as ``subject`` say of each condition.
    """
    texts = {}
    for column in list(frame.columns):
        heading = label_text(column).strip().lower()
        if heading in OF_CONDITIONS and heading not in around.named:
            texts[heading] = frame[column].to_numpy(dtype=object)
            frame = frame.drop(columns=[column])
    frame, phased = _with_starts_as_times(frame, around)
    doses = from_frame(frame, name, around)
    said: dict[str, dict[str, Any]] = {}
    if texts:
        rows = as_labels(settle(frame, name, around).conditions, "condition", name).tolist()
        for heading, cells in texts.items():
            said[heading] = {}
            for row, cell in zip(rows, cells, strict=True):
                text = "" if is_missing(cell) else label_text(cell)
                if said[heading].setdefault(row, text) != text:
                    raise DataError(
                        f"{name} gives condition {row!r} two of {heading}: "
                        f"{said[heading][row]!r} and {text!r}; a condition has one."
                    )
    return (_in_phases(doses, name) if phased else doses), said


def _with_starts_as_times(frame: pd.DataFrame, around: Surroundings) -> tuple[pd.DataFrame, bool]:
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        names = [_as_time(level) or level for level in index.names]
        if names == list(index.names):
            return frame, False
        levels = [
            index.get_level_values(i).map(start_cell)
            if _as_time(level)
            else index.get_level_values(i)
            for i, level in enumerate(index.names)
        ]
        return frame.set_axis(pd.MultiIndex.from_arrays(levels, names=names), axis=0), True
    found = [c for c in frame.columns if is_start(c) and label_text(c) not in around.named]
    if not found:
        return frame, False
    if len(found) > 1:
        raise DataError(f"perturbation has {counted(len(found), 'column')} of starts; keep one.")
    renamed = frame.copy()
    renamed[found[0]] = renamed[found[0]].map(start_cell)
    return renamed.rename(columns={found[0]: _as_time(found[0])}), True


def _in_phases(doses: xr.DataArray, name: str) -> xr.DataArray:
    """Turn rows at starts, (condition, time, node), into the phases of each condition."""
    starts, values = doses["time"].values, doses.values
    there = ~np.isnan(values).all(axis=2)
    attrs = dict(doses["time"].attrs)
    axes = {d: doses[d].values for d in ("condition", "node")}
    if there.all():
        return _phased(values, ("phase", starts, attrs), axes, name)
    most = int(there.sum(axis=1).max())
    own, inputs = (
        np.full((len(values), most), np.nan),
        np.zeros((len(values), most, len(axes["node"]))),
    )
    for i, mine in enumerate(there):
        own[i, : mine.sum()] = starts[mine]
        inputs[i, : mine.sum()] = values[i, mine]
    return _phased(inputs, (("condition", "phase"), own, attrs), axes, name)


def _phased(values: Any, starts: Any, axes: dict[str, Any], name: str) -> xr.DataArray:
    array = xr.DataArray(values, coords=axes, dims=PHASED, name=name)
    return array.assign_coords(phase_start=starts)


def phased_array(table: xr.DataArray, name: str) -> xr.DataArray:
    """Read doses from a DataArray (condition, phase, node) with the coordinate phase_start."""
    if "phase_start" not in table.coords:
        raise DataError(
            f"{name} has a dim phase and no coordinate phase_start; say when each phase starts "
            "with .assign_coords(phase_start=('phase', [0, 10], {'units': 'min'}))."
        )
    table = table.transpose(*PHASED)
    flat = [table.isel(phase=i, drop=True) for i in range(table.sizes["phase"])]
    axes = {d: as_labels(table[d].values, d, name) for d in ("condition", "node")}
    describe = cell_namer(name, {"condition": axes["condition"], "phase": np.arange(len(flat)) + 1,
                                 "node": axes["node"]})  # fmt: skip
    labelled_array(flat[0].values, name, axes)
    starts = table["phase_start"]
    values = as_numbers(table.values, describe).astype(np.float64, copy=False)
    return _phased(values, (starts.dims, starts.values, dict(starts.attrs)), axes, name)


def largest(doses: xr.DataArray) -> xr.DataArray:
    """Return of each condition and node the dose of the phase in which it is largest."""
    if "phase" not in doses.dims:
        return doses
    place = np.abs(np.nan_to_num(doses.values)).argmax(axis=1)
    values = np.take_along_axis(doses.values, place[:, None], axis=1)[:, 0]
    return xr.DataArray(
        values, {d: doses[d].values for d in ("condition", "node")}, ("condition", "node")
    )


def per_label(given: Any, name: str, labels: Sequence[str], dimension: str) -> list[Any]:
    """Return a text for each label, from a mapping or Series, or a sequence in their order."""
    if isinstance(given, xr.DataArray) and given.dims == (dimension,):
        given = given.to_series()
    if isinstance(given, pd.Series):
        given = given.to_dict()
    if isinstance(given, dict):
        texts = {label_text(key): value for key, value in given.items()}
        strange = [key for key in texts if key not in labels]
        if strange:
            raise DataError(
                f"{name} names {strange[0]!r}, and there is no such {dimension}; use the labels "
                "of the tables."
            )
        return [texts.get(label, "") for label in labels]
    try:
        texts_in_order = several(given)
    except ValueError:
        texts_in_order = []
    if len(texts_in_order) != len(labels):
        raise DataError(
            f"{name} needs a mapping {{{dimension}: text}}, or a text for each of the "
            f"{counted(len(labels), dimension)} in their order."
        )
    return texts_in_order
