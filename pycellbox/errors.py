"""The exceptions and warnings of pycellbox: two small families, a base for each."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType

_HERE = str(Path(__file__).parent) + os.sep
#: Places in the code that have warned in the user's call; None outside of `once`.
_warned: ContextVar[set[tuple[CodeType, int]] | None] = ContextVar("_warned", default=None)


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


def warn(message: str, category: type[PycellboxWarning]) -> None:
    """Warn at the line of the user's code that called into pycellbox.

    Each place that calls this is a sort of warning of its own; see `once`.
    """
    frame, level = sys._getframe(1), 2
    warned, place = _warned.get(), (frame.f_code, frame.f_lineno)
    if warned is not None:
        if place in warned:
            return
        warned.add(place)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
