"""Everything that is measured, by name: pycellbox's backends and their peers.

A module here has ``contenders()``, which lists what it can offer without importing anything large;
`Contender.prepare` imports, builds and compiles. Every contender does the same service: NumPy
arrays were given when it was prepared, a call returns the loss as a float and the gradient with
respect to W, α and ε as NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.case import Case

Array = npt.NDArray[Any]
Gradient = tuple[float, dict[str, Array]]


class AbsentError(Exception):
    """A contender cannot run here: what is missing."""


@dataclass(frozen=True)
class Calls:
    """A contender that holds a case.

    Attributes
    ----------
    gradient : callable
        Loss and gradient.
    solve : callable or None
        States at the horizon, (c, n).
    release : callable
        Let go of what can be made again quickly, such as the tape of a trajectory.
    """

    gradient: Callable[[], Gradient]
    solve: Callable[[], Array] | None
    release: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Contender:
    """One way to compute the loss and its gradient.

    Attributes
    ----------
    name : str
        As on the command line.
    label : str
        As in the tables.
    method : {"heun", "continuous", "steady"}
        What it approximates: Heun's steps, whose exact derivative is the discrete gradient; the
        exact solution at the horizon; the steady state.
    prepare : callable
        Takes a case, raises `AbsentError`.
    optional : bool
        Only when asked for by name.
    """

    name: str
    label: str
    method: Literal["heun", "continuous", "steady"]
    prepare: Callable[[Case], Calls]
    optional: bool = False

    @property
    def ours(self) -> bool:
        return self.name.startswith("pycellbox")


def all_contenders() -> dict[str, Contender]:
    from peers import jaxes, ours, port, pytorch, torchode

    found = [c for module in (ours, port, pytorch, torchode, jaxes) for c in module.contenders()]
    return {c.name: c for c in found}


def choose(words: list[str] | None) -> list[str]:
    """Names of the contenders that contain one of the words; optional ones only by full name."""
    known = all_contenders()
    if not words:
        return [name for name, c in known.items() if not c.optional]
    chosen = [
        name
        for name, c in known.items()
        if name in words or (not c.optional and any(w in name for w in words))
    ]
    if not chosen:
        raise SystemExit(f"no contender is called {' or '.join(words)}; known: {', '.join(known)}")
    return chosen


def relative_error(gradient: dict[str, Array], reference: dict[str, Array]) -> float:
    """Largest difference over W, α, ε, each relative to the largest entry of its reference.

    Diagonal entries of W do not count: the model has none, whatever a peer computes for them.
    """
    errors = []
    for name, wanted in reference.items():
        difference = np.abs(np.asarray(gradient[name], dtype=np.float64) - wanted)
        if name == "W":
            np.fill_diagonal(difference, 0)
        errors.append(difference.max() / np.abs(wanted).max())
    return float(max(errors))
