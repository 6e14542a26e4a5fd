"""The works of `trajectories.py`: each module has some, and here they are gathered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from harness.report import Row

MODULES = ("lynx", "forecast", "oscillators", "ecology", "tracking", "circuit", "speed")


def best(rows: list[Row]) -> str:
    """Smallest value of all starts."""
    return f"{min(row['value'] for row in rows):.2f}"


@dataclass(frozen=True)
class Work:
    """Something that is measured, from one start or from many.

    Attributes
    ----------
    name : str
        For ``--only`` and for the file of rows; unique.
    title, goal : str
        As the table says them.
    run : callable
        Does it once, with the number of the start and the name of the backend, and returns a row of
        plain values: ``value``, what counts, and whatever else `measured` and `reached` need;
        ``seconds`` where not all of the call is to be counted. A `PycellboxError` is a start that
        failed.
    reached : callable, optional
        Whether a row reaches the goal; without it the table counts no starts.
    measured : callable
        What the table says of the rows that did not fail.
    once : bool
        Whether there is but one start.
    most : int, optional
        Starts that there are at most, such as parts of the data to be left out.
    """

    name: str
    title: str
    goal: str
    run: Callable[[int, str], Row]
    reached: Callable[[Row], bool] | None = None
    measured: Callable[[list[Row]], str] = best
    once: bool = False
    most: int | None = None


def every() -> list[Work]:
    """Return the works of all modules, in the order of the table."""
    return [work for name in MODULES for work in import_module(f"works.{name}").WORKS]
