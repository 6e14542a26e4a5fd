"""Predictions with the ends of their intervals, as pictures take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.errors import DataError, OptionError
from pycellbox.result import Fit

Array = npt.NDArray[Any]
_ENDS = ("lower", "upper")
_ROOM = 0.75
"""How far beyond what is measured and predicted a picture goes for intervals, in its range."""
_FAR = 10.0
ALPHA = 0.18


@dataclass(frozen=True)
class Predicted:
    """Predictions, and the ends of their intervals where they have some.

    Attributes
    ----------
    response : DataArray
    ends : tuple of DataArray
        Lower and upper ones, or none.
    said : str
        What intervals hold.
    """

    response: xr.DataArray
    ends: tuple[xr.DataArray, ...] = ()
    said: str = ""

    def map(self, change: Callable[[xr.DataArray], xr.DataArray]) -> Predicted:
        """Do something to each array."""
        return Predicted(change(self.response), tuple(map(change, self.ends)), self.said)


def has_ends(given: Any) -> bool:
    """Whether something is what ``predict(..., interval=)`` gives."""
    return isinstance(given, xr.Dataset) and set(_ENDS) <= set(given.variables)


def predicted_of(given: Any) -> Predicted:
    """Take predictions, an array or a dataset of a fit's, or of an ensemble's, with its ``mean``.

    Raises
    ------
    DataError
        A dataset without predictions, or without the ends of intervals.
    """
    if isinstance(given, xr.DataArray):
        return Predicted(given)
    name = "response" if "response" in given else "mean"
    if not has_ends(given) or name not in given:
        raise DataError(
            "predictions in a dataset need response (or mean), lower and upper, as "
            f"fit.predict(..., interval=0.9) gives them; it has {', '.join(map(str, given))}."
        )
    ends = tuple(given[end] for end in _ENDS)
    return Predicted(given[name], ends, said_of(given.attrs.get("interval")) or "interval")


def said_of(share: object) -> str:
    """Words for a share of new measurements; none where there is none."""
    return f"{100 * share:g} % interval" if isinstance(share, float) else ""


def check_asked(interval: float | None, fit: object) -> None:
    """Refuse an interval that is asked of something else than a fit.

    Raises
    ------
    OptionError
    """
    if interval is not None and not isinstance(fit, Fit):
        raise OptionError(
            f"interval={interval} goes with a fit; predictions bring their own: give what "
            f"predict(..., interval={interval}) returns."
        )


def limits(values: list[Array], ends: list[Array]) -> tuple[float, float]:
    """Limits of an axis that shows values, and of intervals what does not dwarf these."""
    shown = np.concatenate([each.ravel() for each in values])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    span = (high - low) or 1.0
    around = np.concatenate([np.zeros(0), *(each.ravel() for each in ends)])
    around = np.clip(around[~np.isnan(around)], low - _ROOM * span, high + _ROOM * span)
    low, high = min([low, *around]), max([high, *around])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def within(ends: Array, limits: tuple[float, float]) -> Array:
    """Return ends of intervals as numbers that can be drawn: what is far outside as outside."""
    span = _FAR * (limits[1] - limits[0])
    clipped: Array = np.clip(ends, limits[0] - span, limits[1] + span)
    return clipped
