"""Keys of foreign configurations: which there are, what each needs, and which do nothing here.

A configuration is read against a table of `Key`. Whatever is not in the table, or is not what the
table asks for, is an error that names it and the nearest that would do.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from pycellbox.errors import ModelError


@dataclass(frozen=True)
class Value:
    """What a key needs.

    Attributes
    ----------
    read : callable
        Turns a value into the one that is used; raises ValueError if it is not what is needed.
    needs : str
        What is needed, for the message.
    choices : tuple
        All values there are, where they can be listed.
    """

    read: Callable[[Any], Any]
    needs: str
    choices: tuple[Any, ...] = ()


class _Missing:
    """The default of a key that has none."""


MISSING = _Missing()


@dataclass(frozen=True)
class Key:
    """A key of a configuration.

    Attributes
    ----------
    name : str
    value : Value
    default : object
        The value where the key is left out; `MISSING` if it must be given.
    aliases : tuple of str
        Other spellings.
    unused : str
        Why the key does nothing here; empty if it does something.
    """

    name: str
    value: Value
    default: Any = MISSING
    aliases: tuple[str, ...] = ()
    unused: str = ""


@dataclass
class Unused:
    """Keys that were given and do nothing here, each with its reason, in order of appearance."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        """Note a key; the first reason counts."""
        self.reasons.setdefault(name, reason)

    def __str__(self) -> str:
        together: dict[str, list[str]] = {}
        for name, reason in self.reasons.items():
            together.setdefault(reason, []).append(name)
        return "; ".join(f"{', '.join(names)} ({why})" for why, names in together.items())


def read_keys(
    given: object,
    keys: Sequence[Key],
    where: str,
    unused: Unused,
    elsewhere: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Read one mapping of a configuration.

    Parameters
    ----------
    given : object
        What the file holds there.
    keys : sequence of Key
    where : str
        The place, for messages: the file, and the part of it.
    unused : Unused
        Is told of the keys that do nothing.
    elsewhere : mapping, optional
        Keys that belong to another part of the configuration, and which one.

    Returns
    -------
    dict
        A value for every key, the default where it was left out.

    Raises
    ------
    ModelError
        An unknown key, a wrong value, two spellings that disagree, or a key that must be given
        and is not.
    """
    if not isinstance(given, Mapping):
        raise ModelError(f"{where} is {_shown(given)}; it needs keys with values.")
    by_name = {name: key for key in keys for name in (key.name, *key.aliases)}
    values: dict[str, Any] = {}
    for name, raw in given.items():
        key = by_name.get(name)
        if key is None:
            raise ModelError(_unknown(str(name), by_name, where, elsewhere or {}))
        value = _read(key, name, raw, where)
        if key.name in values and values[key.name] != value:
            raise ModelError(
                f"{where}: {key.name} is given in two spellings that disagree "
                f"({_shown(values[key.name])} and {_shown(value)}); keep one."
            )
        values[key.name] = value
        if key.unused:
            unused.add(name, key.unused)
    for key in keys:
        if key.name not in values:
            if key.default is MISSING:
                raise ModelError(f"{where} lacks the key {key.name!r}; it needs {key.value.needs}.")
            values[key.name] = key.default
    return values


def nearest(word: object, known: Iterable[object]) -> str:
    """Return ``; did you mean …?`` for the nearest of the known words, or all of them."""
    texts = {str(k).lower(): k for k in known}
    near = difflib.get_close_matches(str(word).lower(), texts, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {_shown(texts[near[0]])}?"
    return f"; known: {', '.join(_shown(k) for k in texts.values())}."


def one_of(*choices: Any, also: Mapping[Any, Any] | None = None) -> Value:
    """Take one of the listed values; ``also`` maps further spellings to them."""
    aliases = also or {}

    def read(value: Any) -> Any:
        # True is 1 for ==, and 0.0 is 0: neither was meant.
        if isinstance(value, bool) and not any(isinstance(c, bool) for c in choices):
            raise ValueError
        try:
            value = aliases.get(value, value)
        except TypeError:  # a list
            raise ValueError from None
        for choice in choices:
            if value == choice:
                return choice
        raise ValueError

    return Value(read, "one of " + ", ".join(map(_shown, choices)), choices)


def text(needs: str = "a text") -> Value:
    """Take any text that is not empty."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ValueError
        return value

    return Value(read, needs)


def plain_name() -> Value:
    """Take a text that may be part of a file's name and leads to no other folder."""

    def read(value: Any) -> str:
        name = text().read(value)
        if any(sign in name for sign in "/\\:") or len(name.encode()) > 100:
            raise ValueError
        return str(name)

    return Value(read, "a short name without / \\ :, for it becomes part of a folder's name")


def flag() -> Value:
    """Take true or false."""
    return one_of(True, False)


def integer(low: int, needs: str = "", high: int = 2**31) -> Value:
    """Take an integer from ``low`` to ``high``; 1e3 is one too."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not math.isfinite(value) or value % 1 or not low <= value <= high:
            raise ValueError
        return int(value)

    return Value(read, needs or f"an integer ≥ {low} and ≤ {high}")


def number(
    low: float = -math.inf, high: float = math.inf, *, above: bool = False, up_to: bool = False
) -> Value:
    """Take a finite number ≥ ``low`` (> if ``above``) and < ``high`` (≤ if ``up_to``)."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError
        x = float(value)
        if not math.isfinite(x) or x < low or (above and x == low):
            raise ValueError
        if x > high or (x == high and not up_to):
            raise ValueError
        return x

    words = "a finite number"
    if low > -math.inf:
        words += f" {'>' if above else '≥'} {low:g}"
    if high < math.inf:
        words += f" and {'≤' if up_to else '<'} {high:g}"
    return Value(read, words)


def optional(value: Value) -> Value:
    """Take null as well."""
    return Value(lambda v: None if v is None else value.read(v), value.needs, value.choices)


def anything() -> Value:
    """Take any value: for keys that do nothing."""
    return Value(lambda value: value, "any value")


def _read(key: Key, name: str, raw: Any, where: str) -> Any:
    try:
        return key.value.read(raw)
    except ValueError:
        message = f"{where}: {name} is {_shown(raw)}; it needs {key.value.needs}"
        near = nearest(raw, key.value.choices) if isinstance(raw, str) else ""
        raise ModelError(message + (near if "did you mean" in near else ".")) from None


def _unknown(
    name: str, by_name: Mapping[str, Key], where: str, elsewhere: Mapping[str, str]
) -> str:
    if name in elsewhere:
        return f"{where}: the key {name!r} belongs to {elsewhere[name]}, not here."
    return f"{where}: unknown key {name!r}{nearest(name, by_name)}"


def _shown(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 60 else words[:57] + "..."
