"""Times: at which a solution is wanted, and data brought to the sort and unit of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.arrays import unmasked
from pycellbox.common.options import HORIZON, shown
from pycellbox.data.cells import as_numbers
from pycellbox.data.transforms import in_scale_of
from pycellbox.data.units import meeting
from pycellbox.errors import DataError, OptionError

MOST_TIMES = 1_000_000


def time_grid(horizon: float | None, times: Any = None) -> npt.NDArray[np.float64]:
    """Return the times at which a solution is wanted, as float64, (t,).

    Raises
    ------
    OptionError
        Neither or both are given, or they are not finite, increasing and ≥ 0 (horizon > 0).
    """
    if (horizon is None) == (times is None):
        raise OptionError(
            "give either horizon= (end of the integration, for steady states) or times=; "
            + ("neither was given." if horizon is None else "both were given.")
        )
    if times is None:
        return np.array([HORIZON("horizon", horizon)])
    try:
        cells = np.atleast_1d(unmasked(times))
        if cells.dtype.kind == "b":
            raise DataError("True and False are no times")
        if cells.size > MOST_TIMES:
            raise DataError(f"there are {cells.size:,}, and at most {MOST_TIMES:,} can be")
        grid = as_numbers(cells, lambda index: f"times: entry {index[0] + 1}").astype(np.float64)
    except (TypeError, ValueError) as error:  # as DataErrors are
        raise OptionError(f"times={shown(times)}; they need to be numbers ({error}).") from None
    if grid.ndim != 1 or grid.size == 0 or not np.isfinite(grid).all():
        raise OptionError(f"times={shown(times)}; they need to be a list of finite numbers.")
    if grid[0] < 0 or (np.diff(grid) <= 0).any():
        raise OptionError(
            f"times={shown(grid.tolist())}; they need to increase strictly from 0 or later."
        )
    return grid


def of_same_kind(data: xr.Dataset, own: xr.Dataset, what: str) -> xr.Dataset:
    """Return data in the fit's unit of time and on its scale.

    Steady states are refused where it has courses, and the reverse.

    Raises
    ------
    DataError
        With ``what`` as the name of ``data``; ``own`` is what the fit has.
    """
    course, own_course = ("time" in each["response"].dims for each in (data, own))
    if course and not own_course:
        raise DataError(
            f"{what} are time courses, and the fit is of steady states, whose time has no unit: "
            "take one time, data.isel(time=-1, drop=True), or compare "
            "fit.predict(data, times=...) with what was measured by pcb.metrics."
        )
    if own_course and not course:
        raise DataError(
            f"{what} are steady states, and the fit is of time courses: give the responses with "
            "their time, or compare fit.predict(data, times=[...]) at a late time with what was "
            "measured by pcb.metrics."
        )
    try:
        data = meeting(data, own)
    except DataError as error:
        raise DataError(f"{what} have times in another unit than the fit: {error}") from None
    try:
        return in_scale_of(data, own)
    except DataError as error:
        raise DataError(f"{what} have another scale than the fit: {error}") from None
