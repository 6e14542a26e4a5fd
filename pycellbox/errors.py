"""The exceptions and warnings of pycellbox: two small families, a base for each."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

_HERE = str(Path(__file__).parent) + os.sep
_Place = tuple[str, int]  # file and line
#: Places in the code that have warned in the user's call; None outside of `once`.
_warned: ContextVar[set[_Place] | None] = ContextVar("_warned", default=None)
#: Where warnings go instead; None outside of `collected`.
_collected: ContextVar[list[Said] | None] = ContextVar("_collected", default=None)


class PycellboxError(Exception):
    """Base of every error that pycellbox raises on purpose."""


class OptionError(PycellboxError, ValueError):
    """An option or argument is not what is needed: the message names both, and what is near."""


class DataError(PycellboxError, ValueError):
    """The dataset breaks the schema: the message names what, where, and how to fix it."""


class ModelError(PycellboxError, ValueError):
    """Options of a model that contradict each other, or parameters that cannot be its own."""


class SolverError(PycellboxError, ValueError):
    """A solver cannot do what it is asked for: these data, this gradient, so many steps."""


class DivergenceError(PycellboxError, ArithmeticError):
    """A trajectory left the range of finite numbers, or the step size fell below rounding."""


class BackendError(PycellboxError, RuntimeError):
    """A backend is not ready, or cannot do what was asked."""


class ResultFileError(PycellboxError, OSError):
    """A file is not a pycellbox file, is damaged, or comes from a newer version."""


class PycellboxWarning(UserWarning):
    """Base of every warning of pycellbox, to filter them all: what was found, and the remedy."""


class DataWarning(PycellboxWarning):
    """Data that can be used, but probably do not mean what they are taken for."""


class NumericsWarning(PycellboxWarning):
    """A result whose numbers are less exact than the user may think."""


class BackendWarning(PycellboxWarning):
    """Something is computed elsewhere, or otherwise, than was asked for."""


class FileWarning(PycellboxWarning):
    """A file that can be read, but cannot be vouched for."""


@contextmanager
def once() -> Iterator[None]:
    """Let every sort of warning come once, however many fits and predictions are made inside."""
    token = _warned.set(set() if (warned := _warned.get()) is None else warned)
    try:
        yield
    finally:
        _warned.reset(token)


@dataclass(frozen=True)
class Said:
    """A warning that is kept, and can go to another process.

    Attributes
    ----------
    message : str
    category : type
    place : tuple
        In the code, which makes it a sort of its own.
    """

    message: str
    category: type[PycellboxWarning]
    place: _Place


@contextmanager
def collected() -> Iterator[list[Said]]:
    """Keep warnings in a list instead of giving them: whoever has it gives them elsewhere."""
    found: list[Said] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def warn(message: str, category: type[PycellboxWarning]) -> None:
    """Warn at the line of the user's code that called into pycellbox.

    Each place that calls this is a sort of warning of its own; see `once`.
    """
    frame = sys._getframe(1)
    say_again(Said(message, category, (frame.f_code.co_filename, frame.f_lineno)))


def say_again(said: Said) -> None:
    """Give a warning as if it came from its own place."""
    kept, warned = _collected.get(), _warned.get()
    if warned is not None:
        if said.place in warned:
            return
        warned.add(said.place)
    if kept is not None:
        kept.append(said)
        return
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(said.message, said.category, stacklevel=level)
