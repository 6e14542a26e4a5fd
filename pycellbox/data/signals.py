"""Driving signals of a dataset, ``drive(condition, drive_time, input)``: checked, and as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along, listed
from pycellbox.common.options import did_you_mean, shown
from pycellbox.data.cells import as_labels, as_numbers, cell_namer, check_unique, first_of
from pycellbox.data.storable import check_text
from pycellbox.data.units import SAME_TIME, distinct, in_common_unit
from pycellbox.data.variables import array_of, check_not_empty
from pycellbox.errors import DataError

Array: TypeAlias = npt.NDArray[Any]

DRIVE = ("condition", "drive_time", "input")
INTERPOLATIONS = ("step", "linear")
AFTER = ("refuse", "hold")
_CHOICES = {"interpolation": INTERPOLATIONS, "after": AFTER}


@dataclass(frozen=True)
class Signals:
    """What drives each condition beside the perturbation of nodes.

    Attributes
    ----------
    values : ndarray, (c, k, m)
    times : ndarray, (k,)
        Increasing.
    labels : tuple of str, length m
    linear : bool
        Whether signals go straight from value to value; else each value stays until the next.
    holds : bool
        Whether the last value stays for ever; else nothing is known of what comes after it.
    """

    values: Array
    times: Array
    labels: tuple[str, ...]
    linear: bool
    holds: bool

    @property
    def end(self) -> float:
        """Time until which they are known."""
        return np.inf if self.holds else float(self.times[-1])

    def on(self, grid: Array, begin: Array) -> Array:
        """Return them in the segments of a grid, (c, s, m): what they are from each time on.

        Linear ones are a line in each segment, (c, s, 2m): all values where the condition begins,
        as if it had been that line since then, and then all slopes.

        Parameters
        ----------
        grid : ndarray, (s,)
            Has all of their times that are later than its first.
        begin : ndarray, (c,)
            When each condition begins; until then it has what it begins with.
        """
        slack = SAME_TIME * max(float(np.abs(grid).max()), float(np.abs(self.times).max()))
        since = np.maximum(grid, begin[:, None])
        index = np.maximum(np.searchsorted(self.times, since + slack, side="right") - 1, 0)
        rows = np.arange(len(begin))[:, None]
        values: Array = self.values[rows, index]
        if not self.linear:
            return values
        slopes = np.zeros_like(self.values)
        slopes[:, :-1] = np.diff(self.values, axis=1) / np.diff(self.times)[:, None]
        slope = slopes[rows, index]
        ago = (self.times[index] - begin[:, None])[:, :, None]
        return np.concatenate([values - slope * ago, slope], axis=2)


def signals_of(data: xr.Dataset) -> Signals | None:
    """Return the driving signals of valid data, or None."""
    if "drive" not in data.variables:
        return None
    drive = data["drive"].transpose(*DRIVE)
    return Signals(
        drive.values.astype(np.float64),
        data["drive_time"].values.astype(np.float64),
        tuple(labels_along(data, "input")),
        drive.attrs.get("interpolation", "step") == "linear",
        drive.attrs.get("after", "refuse") == "hold",
    )


def read_drive(dataset: xr.Dataset, axes: Mapping[str, Array]) -> dict[str, Array]:
    """Check the variable ``drive`` and its coordinates; return all in canonical form.

    Raises
    ------
    DataError
        Something is missing, or is not as the schema has it.
    """
    drive = dataset["drive"]
    check_not_empty(drive.sizes, "drive")
    for dim in ("drive_time", "input"):
        if dim not in dataset.coords:
            raise DataError(
                f"the dimension {dim} of drive has no labels; add them with "
                f"dataset.assign_coords({dim}=[...])."
            )
    for name, choices in _CHOICES.items():
        given = drive.attrs.get(name, choices[0])
        if not isinstance(given, str) or given not in choices:
            raise DataError(
                f"the attribute {name} of drive is {shown(given)}{did_you_mean(given, choices)}; "
                f"it needs to be {' or '.join(map(repr, choices))}."
            )
    labels = as_labels(dataset["input"].values, "input", "drive")
    check_unique(labels, "input", "drive")
    for label in labels.tolist():
        check_text(label, "an input label")
    if both := [label for label in labels.tolist() if label in axes["node"].tolist()]:
        raise DataError(
            f"{listed(both)}: an input of drive and a node have the same name; rename one, e.g. "
            f"with dataset.assign_coords(input=['{both[0]} signal', ...])."
        )
    times = _times(dataset)
    along = {"condition": axes["condition"], "drive_time": times, "input": labels}
    values = array_of(drive, along)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{first_of(bad, cell_namer('drive', along))} is NaN or infinite; a signal has a value "
            "at each of its times: fill gaps in the way that is right for it, e.g. with "
            "dataset['drive'].interpolate_na('drive_time') or .ffill('drive_time')."
        )
    return {"drive": values, "drive_time": times, "input": labels}


def _times(dataset: xr.Dataset) -> Array:
    given = dataset["drive_time"].values
    namer = cell_namer("drive_time", {"drive_time": np.arange(len(given)) + 1})
    times = np.array(as_numbers(np.asarray(given, dtype=object), namer), np.float64)
    if not np.isfinite(times).all():
        raise DataError(
            f"{first_of(~np.isfinite(times), namer)} is NaN or infinite; signals have finite times."
        )
    backward = np.flatnonzero(np.diff(times) <= 0)
    if len(backward):
        i = int(backward[0])
        raise DataError(
            f"drive_time is not strictly increasing: {times[i + 1]:g} follows {times[i]:g}; sort "
            "it with dataset.sortby('drive_time') and keep each time once."
        )
    return in_common_unit(dataset, "drive_time", times, np.any(times != 0))


def check_covers(data: xr.Dataset) -> None:
    """Refuse canonical data in which a condition would need a signal where it is not known.

    Raises
    ------
    DataError
    """
    signals = signals_of(data)
    if signals is None:
        return
    begin = np.zeros(len(signals.values))
    if "phase_start" in data.variables:
        begin = np.broadcast_to(data["phase_start"].values[..., 0], begin.shape)
    if (begin == -np.inf).any():
        label = data["condition"].values[begin == -np.inf][0]
        raise DataError(
            f"condition {str(label)!r} is pre-treated since -inf, and there is a drive, of which "
            "nothing is known then: let the first phase start at a finite time, and drive_time "
            "there or before."
        )
    first = float(signals.times[0])
    if begin.min() < first - SAME_TIME * float(np.abs(signals.times).max()):
        label = data["condition"].values[int(begin.argmin())]
        raise DataError(
            f"drive begins at {first:g}, and condition {str(label)!r} at {begin.min():g}: give "
            f"its values from {begin.min():g} on; signals are not extrapolated."
        )
    if "time" in data["response"].dims:
        check_end(signals.end, float(data["time"].values[-1]), "the data go on to")


def check_end(end: float, last: float, what: str) -> None:
    """Refuse a time after that until which driving signals are known.

    Raises
    ------
    DataError
    """
    if last > end + SAME_TIME * max(abs(end), abs(last)):
        raise DataError(
            f"drive ends at {end:g}, and {what} {last:g}: give its values until {last:g}, or, if "
            "its last ones stay from then on, say so with dataset['drive'].attrs['after'] = "
            "'hold'; signals are not extrapolated."
        )


def same_kind(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether two valid datasets have the same driving signals, steps both or lines both."""
    first, second = signals_of(one), signals_of(other)
    if first is None or second is None:
        return first is second
    return set(first.labels) == set(second.labels) and first.linear == second.linear


def on_one_grid(one: xr.Dataset, other: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Give two valid datasets the same times of their signals, as far as both are known.

    Raises
    ------
    DataError
        They have other signals.
    """
    if not same_kind(one, other):
        raise DataError(
            "the datasets have other driving signals, or one has none, or those of one are steps "
            "and those of the other lines; give both the same inputs, see pcb.drive."
        )
    first = signals_of(one)
    if first is not None:
        other = other.sel(input=list(first.labels))
    second = signals_of(other)
    if first is None or second is None:
        return one, other
    if np.array_equal(first.times, second.times) and first.holds == second.holds:
        return one, other
    begin = max(first.times[0], second.times[0])
    end = min(first.end, second.end)
    times = distinct(np.concatenate([first.times, second.times]))
    times = times[(times >= begin) & (times <= end)]
    attrs = {**one["drive"].attrs, "after": AFTER[first.holds and second.holds]}
    return (
        _resampled(one, first, times, attrs),
        _resampled(other, second, times, attrs),
    )


def _resampled(
    data: xr.Dataset, signals: Signals, times: Array, attrs: Mapping[str, Any]
) -> xr.Dataset:
    values = resampled(times, signals.times, signals.values, linear=signals.linear)
    coords = {"drive_time": ("drive_time", times, data["drive_time"].attrs)}
    labels = {"input": ("input", data["input"].values, data["input"].attrs)}
    data = data.drop_dims(["drive_time", "input"]).assign_coords(coords | labels)
    return data.assign(drive=(DRIVE, values, attrs))


def resampled(times: Array, own: Array, values: Array, *, linear: bool) -> Array:
    """Return values (c, k, ...) of times (k,) at others, (c, t, ...), that lie between these."""
    slack = SAME_TIME * float(np.abs(own).max())
    at = np.clip(np.searchsorted(own, times + slack, side="right") - 1, 0, None)
    found: Array = values[:, at]
    if linear:
        following = np.minimum(at + 1, len(own) - 1)
        width = np.where(following > at, own[following] - own[at], 1.0)
        share = np.clip((times - own[at]) / width, 0, 1).reshape(-1, *[1] * (values.ndim - 2))
        found = found + share * (values[:, following] - found)
    return found
