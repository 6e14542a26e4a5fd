"""What every backend refuses: gradients that blew up, records beyond the memory, other states."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import Solver


def check_memory(solver: Solver, steps: int, size: float, others: str = "julia or jax") -> None:
    """Raise if the records of the steps, in bytes, take more than half of the machine's memory.

    Parameters
    ----------
    solver : Solver
    steps : int
    size : float
        Bytes.
    others : str
        Backends that keep only some of them.

    Raises
    ------
    SolverError
        With the number of steps and the bytes.
    """
    most = _memory() / 2
    if size > most:
        raise SolverError(
            f"{solver!r} takes {steps:,} steps, whose records take {size / 1e9:,.1f} GB for the "
            f"gradient, of the {most / 1e9:,.1f} GB that may be used here: use longer steps, "
            f"Tsit5, or the {others} backend: only some of them are kept there."
        )


def _memory() -> float:
    """Bytes of memory that the machine has."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 8e9


def check_gradient(gradient: Parameters, why: str) -> None:
    """Raise if an entry is not finite.

    Raises
    ------
    DivergenceError
        With the parameter's name, and ``why`` as the likely reason and its remedy.
    """
    for name, array in gradient.items():
        if not np.isfinite(array).all():
            raise DivergenceError(f"the gradient with respect to {name} is not finite: {why}")


def check_arrays(
    given: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    optional: Collection[str] = (),
) -> None:
    """Raise unless numbers of these names and shapes are given, which may come out of a file.

    Raises
    ------
    ValueError
    """
    if not set(shapes) - set(optional) <= set(given) <= set(shapes):
        raise ValueError(f"there are {', '.join(given) or 'no'} arrays for {', '.join(shapes)}")
    for name, array in given.items():
        if array.shape != shapes[name] or array.dtype.kind not in "if":
            raise ValueError(f"{name} are no numbers of shape {shapes[name]}")


UNSTABLE = "the network is unstable over this horizon; shorten it, use a smaller step, or shrink W."


class ConditionError(DivergenceError):
    """What went wrong in one condition, which has a number until someone knows its label.

    Parameters
    ----------
    row : int
    before, after : str
        What is said before and after "condition ...".
    """

    def __init__(self, row: int, before: str, after: str) -> None:
        super().__init__(row, before, after)
        self.row, self._before, self._after = row, before, after

    def __str__(self) -> str:
        return self.of(f"number {self.row + 1}")

    def of(self, which: str) -> str:
        """Return the message about a condition by any name."""
        return f"{self._before} condition {which} {self._after}"

    def at(self, row: int) -> ConditionError:
        """Return it for another number."""
        return ConditionError(row, self._before, self._after)


@contextmanager
def labelled(conditions: Sequence[str], index: Array | None = None) -> Iterator[None]:
    """Name the condition of a `ConditionError` by its label; with ``index`` of some of them."""
    try:
        yield
    except ConditionError as error:
        row = error.row if index is None else int(index[error.row])
        raise DivergenceError(error.of(repr(conditions[row]))) from None


@contextmanager
def renumbered(index: Array) -> Iterator[None]:
    """Count the condition of a `ConditionError` among all, where some were asked for."""
    try:
        yield
    except ConditionError as error:
        raise error.at(int(index[error.row])) from None


def lost(row: int, end: float, fault: str = "") -> ConditionError:
    """Say that the trajectory of a condition left the finite numbers, and which fault it was."""
    why = fault or (
        "the equations are unstable or the step too long; use a smaller dt, Tsit5, "
        "pcb.Adaptive('KenCarp4') for stiff ones, or smaller W."
    )
    return ConditionError(row, "the trajectory of", f"is not finite by t = {end:g}: {why}")
