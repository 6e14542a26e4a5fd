"""Objects of a model's own, taken apart: their arrays, and what a program is compiled for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np


class Place:
    """Stands where an array was."""


PLACE = Place()


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Copy a value with every array in it, or the place of one, changed.

    Looks into tuples, lists, mappings, and the attributes of dataclasses and plain objects.
    """
    if isinstance(value, np.ndarray | jax.Array | Place):
        return change(value)
    if isinstance(value, Mapping):
        return type(value)({name: mapped(part, change) for name, part in value.items()})  # type: ignore[call-arg]
    if isinstance(value, tuple | list):
        parts = [mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    names = _attributes(value)
    if not names:
        return value
    out = copy.copy(value)
    for name in names:  # frozen dataclasses too
        object.__setattr__(out, name, mapped(getattr(value, name), change))
    return out


def frozen(value: Any) -> Hashable:
    """Make a key that is equal for equal values."""
    kind = type(value)
    if isinstance(value, Mapping):
        return kind, tuple((name, frozen(part)) for name, part in value.items())
    if isinstance(value, tuple | list):
        return kind, tuple(map(frozen, value))
    names = _attributes(value)
    if names:
        return kind, tuple((name, frozen(getattr(value, name))) for name in names)
    try:
        hash(value)
    except TypeError:
        return kind, pickle.dumps(value)
    return kind, value


def _attributes(value: Any) -> list[str]:
    """Names of what an object holds: fields, and what was attached to it since."""
    if isinstance(value, type) or callable(value):
        return []
    fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    return list(dict.fromkeys([*fields, *getattr(value, "__dict__", {})]))
