"""What options need, said by declaration: one `Value` for each kind, `checked` to hold to them.

What passes comes back as a plain Python value, because options are kept in files: whatever of
NumPy's, or of the standard library's `numbers`, stands for an integer or a real number is taken
and turned into ``int`` or ``float``.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from pycellbox.common.frozen import Frozen
from pycellbox.common.plain import MOST_ENTRIES, as_integer, as_number, several
from pycellbox.errors import OptionError

T = TypeVar("T")


@dataclass(frozen=True)
class Value:
    """What an option needs.

    Attributes
    ----------
    read : callable
        Turns what was given into the value that is used; raises ValueError if it is not what is
        needed, with a hint if there is one.
    needs : str
        What is needed, for the message.
    """

    read: Callable[[Any], Any]
    needs: str

    def __call__(self, name: str, given: object) -> Any:
        """Return the value of an option of this name, or raise an `OptionError`."""
        try:
            return self.read(given)
        except OptionError:
            raise
        except ValueError as error:
            hint = f" ({error})" if str(error) else ""
            raise OptionError(f"{name}={shown(given)}{hint}; it needs {self.needs}.") from None


def checked(**values: Value) -> Callable[[T], T]:
    """Check arguments of a function, or options of a dataclass, before anything else is done.

    Arguments that are not named here, and defaults, are left as they are. A call that does not fit
    the signature is an `OptionError` too, which names the keyword that was probably meant.
    """

    def decorate(target: T) -> T:
        function: Any = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
        signature = inspect.signature(function)
        where = function.__qualname__.removesuffix(".__init__")
        assert set(values) <= set(signature.parameters), where

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            try:
                bound = signature.bind(*args, **given)
            except TypeError as error:
                raise OptionError(_misfit(where, signature, given, error)) from None
            for name, value in values.items():
                if name in bound.arguments:
                    bound.arguments[name] = value(f"{where}: {name}", bound.arguments[name])
            return function(*bound.args, **bound.kwargs)

        if not isinstance(target, type):
            return call  # type: ignore[return-value]
        setattr(target, "__init__", call)  # noqa: B010  # mypy knows it as a method
        return target

    return decorate


def integer(least: int = 1, most: int | None = None) -> Value:
    """Take any kind of integer from ``least`` to ``most``, or to the largest that files keep."""
    largest = 2**63 - 1 if most is None else most

    def read(given: object) -> int:
        found = as_integer(given)
        if found is None or found < least or found > largest:
            raise ValueError("beyond 2⁶³" if found is not None and found > 2**63 else "")
        return found

    return Value(
        read, f"an integer ≥ {least}" if most is None else f"an integer from {least} to {most}"
    )


def number(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    up_to: bool = False,
    infinite: bool = False,
) -> Value:
    """Take a finite number ≥ ``low`` (> if ``above``) and < ``high`` (≤ if ``up_to``).

    With ``infinite`` take infinity as well.
    """

    def read(given: object) -> float:
        found = as_number(given)
        if infinite and found == math.inf:
            return math.inf
        fits = found is not None and math.isfinite(found)
        if found is None or not fits or not (found > low if above else found >= low):
            raise ValueError
        if not (found <= high if up_to else found < high):
            raise ValueError
        return found

    limits = [f"{'>' if above else '≥'} {low:g}"] * (low > -math.inf)
    limits += [f"{'≤' if up_to else '<'} {high:g}"] * (high < math.inf)
    words = f"a finite number {' and '.join(limits)}".rstrip()
    return Value(read, words + (", or infinity" if infinite else ""))


def choice(*allowed: Any) -> Value:
    """Take the one of the values that equals what was given."""

    def read(given: object) -> Any:
        # True equals 1, and was not meant.
        if isinstance(given, str | Real | np.bool_):
            for one in allowed:
                if given == one and isinstance(given, bool | np.bool_) == isinstance(one, bool):
                    return one
        raise ValueError(_hint(given, allowed))

    return Value(read, "one of " + ", ".join(map(repr, allowed)))


def flag() -> Value:
    """Take True or False, NumPy's too."""
    return Value(choice(True, False).read, "True or False")


def text(needs: str = "a text") -> Value:
    """Take a text, NumPy's too, as ``str``."""
    return Value(lambda given: str(instance(str, needs).read(given)), needs)


def instance(kinds: Any, needs: str) -> Value:
    """Take what is of one of the kinds, a type or a union of types."""

    def read(given: object) -> Any:
        if not isinstance(given, kinds):
            if isinstance(given, type) and issubclass(given, kinds):
                raise ValueError(f"the class; make one: {given.__name__}(...)")
            raise ValueError
        return given

    return Value(read, needs)


def optional(value: Value) -> Value:
    """Take None as well, for what is left out."""
    return Value(lambda given: None if given is None else value.read(given), value.needs)


def either(word: str, value: Value) -> Value:
    """Take a certain word as well."""

    def read(given: object) -> Any:
        return word if isinstance(given, str) and given == word else value.read(given)

    return Value(read, f"{value.needs}, or {word!r}")


def listed(value: Value, least: int = 1, most: int = MOST_ENTRIES) -> Value:
    """Take a list, an array or the like, of so many entries that pass, as a tuple."""

    def read(given: object) -> tuple[Any, ...]:
        entries = several(given)
        if not least <= len(entries) <= most:
            raise ValueError("too few" if len(entries) < least else "too many")
        return tuple(map(value.read, entries))

    return Value(read, f"a list in which each is {value.needs}")


def _read_texts(given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        return (text().read(given),)
    return tuple(listed(text()).read(given))


def by_name(value: Value, names: Sequence[str]) -> Value:
    """Take one value for all names, or a mapping with values for some of them, as `Frozen`."""

    def read(given: object) -> Any:
        if not isinstance(given, Mapping):
            return value.read(given)
        for name in given:
            if name not in names:
                raise ValueError(_hint(name, names) or f"{shown(name)} is unknown")
        return Frozen({str(name): value.read(one) for name, one in given.items()})

    return Value(read, f"{value.needs}, or a mapping to such from some of {', '.join(names)}")


def _read_dtype(given: object) -> str:
    if isinstance(given, str | type | np.dtype):  # None would be float64 to NumPy
        with contextlib.suppress(TypeError, ValueError):
            if (found := np.dtype(given)) in (np.float64, np.float32):
                return found.name
    raise ValueError(_hint(given, ("float64", "float32")))


def _read_named(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError
    return dict(given)


SEED = integer(0)
ONE_OR_MORE = Value(_read_texts, "a name, or a list of names")
HORIZON = number(0, above=True)
NAMED = Value(_read_named, "a mapping with options by name")
DTYPE = Value(_read_dtype, "'float64' or 'float32'")


def nearest(word: object, known: Iterable[T]) -> T | None:
    """Return the known word that a wrong one is probably meant to be."""
    if not isinstance(word, str) or len(word) > 80:
        return None
    words = {str(one).lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), words, n=1)
    return words[near[0]] if near else None


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `` (did you mean …?)`` with the nearest known word; nothing if none is near."""
    return f" ({hint})" if (hint := _hint(word, known)) else ""


def settle(owner: object, name: str, value: object) -> None:
    """Put a value into a frozen dataclass that is being made."""
    object.__setattr__(owner, name, value)


def shown(value: object) -> str:
    """Write out a value for a message, cut where it is long."""
    try:
        words = repr(value)
    except Exception:  # of an object of the user's, or an integer of thousands of digits
        words = f"a {type(value).__name__}"
    words = " ".join(words.split())
    return words if len(words) <= 80 else words[:77] + "..."


def as_text(value: object) -> str:
    """Return a text as it is, and anything else as in a message."""
    return str(value) if isinstance(value, str) else shown(value)


def _hint(word: object, known: Iterable[object]) -> str:
    near = nearest(word, known)
    return "" if near is None else f"did you mean {near!r}?"


def _misfit(
    where: str, signature: inspect.Signature, given: Mapping[str, Any], error: TypeError
) -> str:
    known = [name for name in signature.parameters if name != "self"]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            return f"{where} has no option {name!r}{hint}; it has {', '.join(known)}."
    return f"{where}: {error}; its options are {', '.join(known)}."
