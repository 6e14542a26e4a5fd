"""The exceptions of pycellbox: one small family, one base to catch them all."""

from __future__ import annotations


class PycellboxError(Exception):
    """Base of every error that pycellbox raises on purpose."""


class DataError(PycellboxError, ValueError):
    """The dataset breaks the schema: the message names what, where, and how to mend it."""


class ModelError(PycellboxError, ValueError):
    """A model, objective, schedule or parameter set that cannot be what was meant."""


class SolverError(PycellboxError, ValueError):
    """A solver, gradient or time grid that cannot be used as asked."""


class DivergenceError(PycellboxError, ArithmeticError):
    """A trajectory left the range of finite numbers, or the step size fell below rounding."""


class BackendError(PycellboxError, RuntimeError):
    """A backend is unknown, missing, or cannot do what was asked."""


class ResultFileError(PycellboxError, OSError):
    """A file is not a pycellbox file, is damaged, or comes from a newer version."""
