"""Declarations from their options by name, as files keep them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pycellbox.common.options import did_you_mean, instance, shown
from pycellbox.errors import ModelError

T = TypeVar("T")


def entries(what: str, options: object) -> dict[str, Any]:
    """Return options by name as a new dict, or say that they are none."""
    given = instance(what, options, Mapping, "a mapping with options by name")
    return dict(given)


def rebuild(kind: type[T], options: object, *, what: str = "") -> T:
    """Make a dataclass of options that its ``to_dict`` gave, or its user wrote.

    Raises
    ------
    ModelError
        An option is unknown, or one that has no default is missing.
    """
    what = what or kind.__name__
    given = entries(what, options)
    fields = [f for f in dataclasses.fields(kind) if f.init]  # type: ignore[arg-type]
    known = [f.name for f in fields]
    for name in given:
        if name not in known:
            raise ModelError(
                f"{what} has no option {shown(name)}{did_you_mean(name, known)}; it has "
                f"{', '.join(known)}."
            )
    unset = dataclasses.MISSING
    for f in fields:
        if f.name not in given and f.default is unset and f.default_factory is unset:
            raise ModelError(f"{what} lacks the option {f.name}, which has no default.")
    return kind(**given)
