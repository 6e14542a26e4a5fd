"""Keys of foreign configurations: which there are, what each needs, and which do nothing here.

A configuration is read against a table of `Key`. Whatever is not in the table, or is not what the
table asks for, is an error that names it and the nearest that would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pycellbox.common.options import Value, did_you_mean, integer, shown
from pycellbox.errors import OptionError


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
    OptionError
        An unknown key, a wrong value, two spellings that disagree, or a key that must be given
        and is not.
    """
    if not isinstance(given, Mapping):
        raise OptionError(f"{where} is {shown(given)}; it needs keys with values.")
    by_name = {name: key for key in keys for name in (key.name, *key.aliases)}
    values: dict[str, Any] = {}
    for name, raw in given.items():
        key = by_name.get(name)
        if key is None:
            if name in (elsewhere or {}):
                raise OptionError(
                    f"{where}: the key {name!r} belongs to {(elsewhere or {})[name]}, not here."
                )
            hint = did_you_mean(name, by_name) or f"; known: {', '.join(by_name)}"
            raise OptionError(f"{where}: unknown key {shown(name)}{hint}.")
        value = key.value(f"{where}: {name}", raw)
        if key.name in values and values[key.name] != value:
            raise OptionError(
                f"{where}: {key.name} is given in two spellings that disagree "
                f"({shown(values[key.name])} and {shown(value)}); keep one."
            )
        values[key.name] = value
        if key.unused:
            unused.add(name, key.unused)
    for key in keys:
        if key.name not in values:
            if key.default is MISSING:
                raise OptionError(
                    f"{where} lacks the key {key.name!r}; it needs {key.value.needs}."
                )
            values[key.name] = key.default
    return values


def name(needs: str = "a text") -> Value:
    """Take a text with something in it that can be seen."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ValueError
        return value

    return Value(read, needs)


def plain_name() -> Value:
    """Take a text that may be part of a file's name and leads to no other folder."""

    def read(value: Any) -> str:
        text: str = name().read(value)
        if any(sign in text for sign in "/\\:") or len(text.encode()) > 100:
            raise ValueError
        return text

    return Value(read, "a short name without / \\ :, for it becomes part of a folder's name")


def count(low: int, high: int = 2**31) -> Value:
    """Take an integer from ``low`` to ``high``; 1e3 is one too."""
    plain = integer(low, high)

    def read(value: Any) -> Any:
        whole = isinstance(value, float) and value.is_integer()
        return plain.read(int(value) if whole else value)

    return Value(read, plain.needs)


def anything() -> Value:
    """Take any value: for keys that do nothing."""
    return Value(lambda value: value, "any value")
