"""Where the equations of a field have no value, or no derivative, along steps that were taken."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.numerics.equations import Field
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array


def fault(field: Field, tableau: Tableau, sizes: Array, row: int) -> str:
    """Return which equation of a condition has no value on the way, and where; empty if all have.

    Parameters
    ----------
    field : Field
    tableau : Tableau
    sizes : ndarray, (s,)
        Of the steps.
    row : int
    """
    for _ in _stepped(field, tableau, sizes):
        if row in field.faults:
            return field.faults[row]
    return ""


def check_derivatives(field: Field, tableau: Tableau, sizes: Array) -> None:
    """Raise if an equation has no derivative at a state of the steps.

    Raises
    ------
    DivergenceError
        With the condition, the time, the equation and its state.
    """
    for time, x in _stepped(field, tableau, sizes):
        for row, what in field.breaks(x).items():
            raise DivergenceError(
                f"the gradient of condition number {row + 1} is not finite at t = {time:g}: {what}"
            )


def _stepped(field: Field, tableau: Tableau, sizes: Array) -> Iterator[tuple[float, Array]]:
    """Yield the time and the states where each step begins, and where the last ends."""
    x, time = field.initial, 0.0
    with np.errstate(all="ignore"):
        for h in sizes:
            yield time, x
            slopes: list[Array] = []
            for weights in tableau.A:
                moved = [h * w * k for w, k in zip(weights, slopes, strict=False)]
                slopes.append(field.value(x + sum(moved)))
            x, time = x + sum(h * w * k for w, k in zip(tableau.b, slopes, strict=True)), time + h
        yield time, x
