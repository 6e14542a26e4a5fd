"""Callables that follow a training."""

from __future__ import annotations

from collections.abc import Callable

from pycellbox.common.options import Value
from pycellbox.common.plain import several
from pycellbox.fitting.state import TrainingState

Callback = Callable[[TrainingState], object]


def _read(given: object) -> tuple[Callback, ...]:
    callbacks = [given] if callable(given) else several(given)
    if not all(map(callable, callbacks)):
        raise ValueError
    return tuple(callbacks)


CALLBACKS = Value(_read, "a callable of one argument, or a list of them")
