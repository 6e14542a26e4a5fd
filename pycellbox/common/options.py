"""One check for each kind of option; what passes comes back as a plain Python value.

Plain, because options are kept in files: whatever of NumPy's, or of the standard library's
`numbers`, stands for an integer or a real number is taken and turned into ``int`` or ``float``.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import operator
import sys
from collections.abc import Iterable, Sequence, Sized
from decimal import Decimal
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from pycellbox.errors import ModelError

T = TypeVar("T")
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


def integer(
    name: str,
    value: object,
    least: int = 1,
    most: int | None = None,
    *,
    error: type[Exception] = ModelError,
) -> int:
    """Return an integer from ``least`` to ``most``, or say what is needed."""
    found = as_integer(value)
    if found is None or found < least or (most is not None and found > most):
        needs = f"an integer ≥ {least}" if most is None else f"an integer from {least} to {most}"
        raise error(f"{name}={shown(value)}; it needs {needs}.")
    return found


def number(
    name: str,
    value: object,
    low: float = 0.0,
    high: float = math.inf,
    *,
    above: bool = False,
    up_to: bool = False,
    error: type[Exception] = ModelError,
) -> float:
    """Return a finite number ≥ ``low`` (> if ``above``) and < ``high`` (≤ if ``up_to``)."""
    found = as_number(value)
    fits = found is not None and math.isfinite(found)
    if found is None or not fits or not _between(found, low, high, above, up_to):
        limit = "" if high == math.inf else f" and {'≤' if up_to else '<'} {high:g}"
        sign = ">" if above else "≥"
        raise error(f"{name}={shown(value)}; it needs a finite number {sign} {low:g}{limit}.")
    return found


def choice(
    name: str, value: object, allowed: Sequence[T], *, error: type[Exception] = ModelError
) -> T:
    """Return the one of ``allowed`` that equals the value, or say which there are."""
    # True equals 1, and was not meant.
    if isinstance(value, str | Real) and not isinstance(value, bool | np.bool_):
        for one in allowed:
            if value == one:
                return one
    hint = did_you_mean(value, allowed)
    known = ", ".join(map(repr, allowed))
    raise error(f"{name}={shown(value)} is unknown{hint}; choose one of {known}.")


def nearest(word: object, known: Iterable[T]) -> T | None:
    """Return the known word that a wrong one is probably meant to be."""
    if not isinstance(word, str) or len(word) > 80:
        return None
    words = {str(one).lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), words, n=1)
    return words[near[0]] if near else None


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `` (did you mean …?)`` with the nearest known word; nothing if none is near."""
    near = nearest(word, known)
    return "" if near is None else f" (did you mean {near!r}?)"


def flag(name: str, value: object, *, error: type[Exception] = ModelError) -> bool:
    """Return True or False, NumPy's too, or say that it is neither."""
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name}={shown(value)}; it needs True or False.")
    return bool(value)


def instance(
    name: str,
    value: object,
    kinds: type[T] | tuple[type[T], ...],
    needs: str,
    *,
    error: type[Exception] = ModelError,
) -> T:
    """Return a value that is of one of the kinds, or say what is needed."""
    if not isinstance(value, kinds):
        raise error(f"{name} is a {type(value).__name__}; it needs {needs}.")
    return value


def text(name: str, value: object, *, error: type[Exception] = ModelError) -> str:
    """Return a text as ``str``, NumPy's too, or say that it is none."""
    return str(instance(name, value, str, "a text", error=error))


def length(values: object) -> int:
    """Return the number of entries to go through one by one, of a range too; 0 of an array."""
    if isinstance(values, np.ndarray) or not isinstance(values, Sized):
        return 0
    try:
        return len(values)
    except OverflowError:  # of a range
        return sys.maxsize


def several(
    name: str, values: object, needs: str = "a list", *, error: type[Exception] = ModelError
) -> list[Any]:
    """Return the entries of a list, an array or the like, or say that there are none such."""
    scalar = isinstance(values, str | bytes) or not isinstance(values, Sized)
    if scalar or not np.iterable(values) or length(values) > MOST_ENTRIES:
        raise error(f"{name}={shown(values)}; it needs {needs}.")
    return list(values)


def check_dtype(dtype: object) -> np.dtype[Any]:
    """float64 or float32 as a NumPy dtype."""
    resolved = None
    if isinstance(dtype, str | type | np.dtype):  # None would be float64 to NumPy
        with contextlib.suppress(TypeError, ValueError):
            resolved = np.dtype(dtype)
    if resolved not in (np.float64, np.float32):
        raise ModelError(f"dtype={shown(dtype)}; choose 'float64' or 'float32'.")
    return resolved  # type: ignore[no-any-return]


def settle(owner: object, name: str, value: object) -> None:
    """Put the plain value of an option into a frozen dataclass."""
    object.__setattr__(owner, name, value)


def shown(value: object) -> str:
    """Write out a value for a message, cut where it is long."""
    try:
        words = repr(value)
    except Exception:  # of an object of the user's, or an integer of thousands of digits
        words = f"a {type(value).__name__}"
    words = " ".join(words.split())
    return words if len(words) <= 80 else words[:77] + "..."


def _between(found: float, low: float, high: float, above: bool, up_to: bool) -> bool:
    return (found > low if above else found >= low) and (found <= high if up_to else found < high)


def _is_flag(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "b"
