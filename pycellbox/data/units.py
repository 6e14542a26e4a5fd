"""Units of time: how they are spelt, and times of one in another."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.options import checked, did_you_mean, instance, shown, text
from pycellbox.common.plain import as_number
from pycellbox.errors import DataError, OptionError

_Timed = TypeVar("_Timed", bound=xr.Dataset | xr.DataArray)

_SPELT = {
    "ms": ("ms", "msec", "msecs", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "week": ("wk", "wks", "week", "weeks"),
}
UNIT_OF = {word: unit for unit, words in _SPELT.items() for word in words}
"""Spellings of units of time, in small letters, and the unit that each is."""
_SECONDS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
    "week": Fraction(604800),
}
SAME_TIME = 1e-9
"""Times that differ by less than this share of the whole span are one: 60 min and 1 h are."""
_TIMED = ("time", "phase_start", "drive_time")
"""Coordinates that hold times."""
NO_UNIT = "1"
"""What times have that count in no unit of their own, and so in any that they meet."""
_WITH_UNIT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([^\W\d]+)", re.IGNORECASE)
_MINUS = str.maketrans("\u2212\u2013", "--")


def distinct(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return times in order, of those that only rounding parts the first."""
    times = np.unique(times)
    slack = SAME_TIME * float(np.abs(times).max(initial=0.0))
    return times[np.diff(times, prepend=-np.inf) > slack]


def unit_of(spelling: object) -> str:
    """Return the unit that a spelling means; one that is not known here as it is."""
    word = str(spelling).strip()
    return UNIT_OF.get(word.lower(), word)


def same_unit(one: object, other: object) -> bool:
    """Whether two spellings mean one unit of time."""
    return unit_of(one) == unit_of(other)


def ratio_of(given: object, wanted: object, what: str) -> Fraction:
    """Return how many of the wanted unit of time are one of the given; 1 where either has none.

    Raises
    ------
    DataError
        A unit is not known, so that nothing can be converted.
    """
    if NO_UNIT in (unit_of(given), unit_of(wanted)) or same_unit(given, wanted):
        return Fraction(1)
    for unit in (unit_of(given), unit_of(wanted)):
        if unit not in _SECONDS:
            raise DataError(
                f"{what} is in {str(given)!r}, which is to be in {str(wanted)!r}; {unit!r} is no "
                f"unit that is converted{did_you_mean(unit, UNIT_OF)}: give the times in one of "
                f"{', '.join(_SECONDS)}, and say so in the attribute units."
            )
    return _SECONDS[unit_of(given)] / _SECONDS[unit_of(wanted)]


def converted(
    times: npt.NDArray[np.float64], given: object, wanted: object, what: str
) -> npt.NDArray[np.float64]:
    """Return times of one unit in another; what is infinite or NaN stays so.

    Raises
    ------
    DataError
        See `ratio_of`.
    """
    ratio = ratio_of(given, wanted, what)
    # Both whole numbers: 10 min are exactly 600 s, and 90 min the double nearest to 1.5 h.
    return times * float(ratio.numerator) / float(ratio.denominator)


def common_unit(dataset: xr.Dataset) -> str | None:
    """Return the unit in which all times of a dataset are to be: that of its responses.

    Without responses over time, that of its phases or else of its driving signals; None for none.
    """
    if "time" in dataset["response"].dims:
        return str(dataset["time"].attrs["units"])
    said = [dataset[name].attrs.get("units") for name in _TIMED[1:] if name in dataset.variables]
    return next((unit for unit in said if isinstance(unit, str) and unit.strip()), None)


def in_common_unit(
    dataset: xr.Dataset, name: str, times: npt.NDArray[np.float64], counts: Any
) -> npt.NDArray[np.float64]:
    """Return times of a coordinate of a dataset in `common_unit`.

    Parameters
    ----------
    dataset : Dataset
    name : str
        Of the coordinate.
    times : ndarray
        What it has.
    counts : bool
        Whether its unit makes a difference.

    Raises
    ------
    DataError
        It says no unit, and that makes a difference; or its unit cannot be converted.
    """
    units, wanted = dataset[name].attrs.get("units"), common_unit(dataset)
    if units is None or not str(units).strip():
        if "time" in dataset["response"].dims and counts and wanted != NO_UNIT:
            raise DataError(
                f"{name} has no attribute units; say what it counts in, e.g. "
                f"dataset[{name!r}].attrs['units'] = {wanted!r}, the unit of the responses."
            )
        return times
    if not isinstance(units, str):
        raise DataError(f"{name} has the units {shown(units)}; they need a text, like 'min'.")
    return converted(times, units, wanted, name)


def time_unit(data: xr.Dataset | xr.DataArray) -> str | None:
    """Return the unit of a dataset's times, or of phases or signals; None for none."""
    for name in _TIMED:
        if name in data.coords and "units" in data[name].attrs:
            return str(data[name].attrs["units"])
    return None


@checked(data=instance(xr.Dataset | xr.DataArray, "a dataset or a labelled array"), unit=text())
def in_unit(data: _Timed, unit: str) -> _Timed:
    """Return a dataset, or a labelled array, with its times in another unit.

    Parameters
    ----------
    data : Dataset or DataArray
        With ``time``, ``phase_start`` or ``drive_time``, and their attribute ``units``. Without a
        unit, or with the unit "1", they count in whatever unit is wanted.
    unit : str
        One of ms, s, min, h, d and week, in any spelling.

    Returns
    -------
    Dataset or DataArray
        With these coordinates converted and the attribute set, and all else as it was.

    Raises
    ------
    DataError
        A unit is not known, so that nothing can be converted.

    Examples
    --------
    >>> hours = pcb.data.in_unit(data, "h")  # doctest: +SKIP
    """
    for name in _TIMED:
        if name not in data.coords:
            continue
        given, attrs = data[name], data[name].attrs
        times = converted(given.values.astype(np.float64), attrs.get("units", NO_UNIT), unit, name)
        coords = {name: (given.dims, times, {**attrs, "units": unit})}
        data = cast(_Timed, data.assign_coords(coords))
    return data


def meeting(data: _Timed, own: xr.Dataset | xr.DataArray) -> _Timed:
    """Return data in the unit of time of what they meet; times that rounding parts are its own."""
    given, unit = time_unit(data), time_unit(own)
    if given is None or unit is None:
        return data
    if not same_unit(given, unit):
        data = in_unit(data, unit)
    if "time" not in data.indexes or "time" not in own.indexes:
        return data
    times, grid = data["time"].values, own["time"].values
    kinds = {times.dtype.kind, grid.dtype.kind}
    if "f" not in kinds or not kinds <= set("iuf") or np.array_equal(times, grid):
        return data
    nearest = np.abs(times[:, None] - grid).argmin(axis=1)
    slack = SAME_TIME * max(np.abs(grid).max(initial=0), np.abs(times).max(initial=0))
    close = np.abs(times - grid[nearest]) <= slack
    snapped = np.where(close, grid[nearest], times)
    return cast(_Timed, data.assign_coords(time=("time", snapped, data["time"].attrs)))


def unit_said(given: Any) -> str | None:
    """Return the unit in a text such as "10 min"; None where there is none."""
    found = _with_unit(given)
    return None if found is None else unit_of(found[2])


def _with_unit(given: Any) -> Any:
    return _WITH_UNIT.fullmatch(given.strip().translate(_MINUS)) if isinstance(given, str) else None


def read_time(name: str, given: Any, unit: str) -> float:
    """Read a time such as 10, "10 min" or "-inf" in this unit; a plain number is in it.

    Raises
    ------
    OptionError
        It is none, or its unit cannot be converted.
    """
    time = as_number(given)
    said = unit_said(given)
    if said is not None and unit_of(unit) == NO_UNIT:
        raise OptionError(
            f"{name}={shown(given)}, and the data's time has no unit; give a plain number, or say "
            "its unit with data['time'].attrs['units'] = 'min'."
        )
    if said in _SECONDS:
        value = np.array([float(_with_unit(given)[1])])
        time = float(converted(value, said, unit, name)[0])
    elif isinstance(given, str):
        with contextlib.suppress(ValueError):
            time = float(given.translate(_MINUS).replace("\u221e", "inf"))
    if time is not None and not np.isnan(time):
        return time
    raise OptionError(
        f"{name}={shown(given)}; it needs a time: a number in the data's unit ({unit}), or a text "
        f"with one of {', '.join(_SECONDS)}, such as '10 min'."
    )
