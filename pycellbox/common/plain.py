"""What stands for an integer, a real number or a list, whoever's kind it is."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sized
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

#: Of a list that is gone through one by one; a range can have any number.
MOST_ENTRIES = 10_000_000


def as_integer(value: object) -> int | None:
    """Return any kind of integer as ``int``; None for everything else, True and False included."""
    if isinstance(value, bool | np.bool_) or _is_flag(value):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def as_number(value: object) -> float | None:
    """Return any kind of real number as ``float``, NaN and infinities too; None for the rest."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf":
        value = value[()]
    if isinstance(value, bool | np.bool_ | np.timedelta64) or not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond the range of floats
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]
    except ValueError:  # a signalling NaN of Decimal
        return math.nan


def length(values: object) -> int:
    """Return the number of entries to go through one by one, of a range too; 0 of an array."""
    if isinstance(values, np.ndarray) or not isinstance(values, Sized):
        return 0
    try:
        return len(values)
    except OverflowError:  # of a range
        return sys.maxsize
    except TypeError:  # of an array of xarray's without dims
        return 0


def several(values: object) -> list[Any]:
    """Return the entries of a list, an array or the like; ValueError if there are none such."""
    scalar = isinstance(values, str | bytes) or not isinstance(values, Sized)
    if scalar or not np.iterable(values) or length(values) > MOST_ENTRIES:
        raise ValueError
    return list(values)


def _is_flag(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "b"
