"""Where the equations of a field have no value, or no derivative, along steps that were taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pycellbox.numerics.checks import ConditionError
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
    for _ in stepped(field, tableau, sizes):
        if row in field.faults:
            return field.faults[row]
    return ""


def check_derivatives(field: Field, way: Iterable[tuple[float, Array]]) -> None:
    """Raise if an equation, observable or start has no derivative along a way.

    Parameters
    ----------
    field : Field
    way : iterable of (float, ndarray)
        Times and states, (c, n), from where it begins.

    Raises
    ------
    ConditionError
        With the time, the equation and its state.
    """
    begins = True
    for time, x in way:
        for row, what in ((begins and field.start_breaks()) or field.breaks(x)).items():
            raise ConditionError(row, "the gradient of", f"is not finite at t = {time:g}: {what}")
        begins = False


def stepped(field: Field, tableau: Tableau, sizes: Array) -> Iterator[tuple[float, Array]]:
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
