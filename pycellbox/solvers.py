"""Solvers and gradients, by the field's names: what to use, not how it is done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from pycellbox.errors import SolverError

Gradient = Literal["discrete", "finite-difference", "adjoint", "forward"]
GRADIENTS: tuple[Gradient, ...] = ("discrete", "finite-difference", "adjoint", "forward")


@dataclass(frozen=True)
class _FixedStep:
    """Common to the fixed-step methods.

    Parameters
    ----------
    dt : float
        Longest step, in units of time. Between two requested times the steps are equal and as
        few as keep them no longer than ``dt``, so that every requested time is a grid point.
    """

    dt: float
    order: ClassVar[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dt", _positive(type(self).__name__, "dt", self.dt))


@dataclass(frozen=True)
class Euler(_FixedStep):
    """Explicit Euler, order 1, one stage."""

    order: ClassVar[int] = 1


@dataclass(frozen=True)
class Midpoint(_FixedStep):
    """Explicit midpoint rule, order 2, two stages."""

    order: ClassVar[int] = 2


@dataclass(frozen=True)
class Heun(_FixedStep):
    """Heun's trapezoidal rule, order 2, two stages: the original CellBox default."""

    order: ClassVar[int] = 2


@dataclass(frozen=True)
class RK4(_FixedStep):
    """The classical Runge-Kutta method, order 4, four stages."""

    order: ClassVar[int] = 4


@dataclass(frozen=True)
class Tsit5:
    """Adaptive Runge-Kutta 5(4) of Tsitouras (Comput. Math. Appl. 62:770, 2011).

    All conditions share one step, and the error is held to
    ``atol + rtol·max(|x before|, |x after|)`` in root mean square over all entries.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute error a step may make.
    max_steps : int
        Attempted steps after which the solve is given up.

    Notes
    -----
    The step also stays inside the method's region of stability for every state the network can
    reach. Error control alone does not see this: once a condition has settled, its error is nil
    at any step, and the exact derivative of the steps then taken grows without bound although the
    solution looks right.
    """

    rtol: float = 1e-3
    atol: float = 1e-6
    max_steps: int = 100_000
    order: ClassVar[int] = 5

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            object.__setattr__(self, name, _positive("Tsit5", name, getattr(self, name)))
        if isinstance(self.max_steps, bool) or not isinstance(self.max_steps, int | np.integer):
            raise SolverError(f"Tsit5 was given max_steps={self.max_steps!r}; it needs an integer.")
        if self.max_steps < 1:
            raise SolverError(f"Tsit5 was given max_steps={self.max_steps}; it needs at least 1.")


Solver: TypeAlias = Euler | Midpoint | Heun | RK4 | Tsit5
SOLVERS: dict[str, type[Solver]] = {
    "Euler": Euler,
    "Midpoint": Midpoint,
    "Heun": Heun,
    "RK4": RK4,
    "Tsit5": Tsit5,
}


def check_solver(solver: object) -> Solver:
    """Return ``solver`` if it is one of the solver declarations, else say what is needed."""
    if isinstance(solver, type) and solver in SOLVERS.values():
        raise SolverError(
            f"solver is the class {solver.__name__}; make one, e.g. {solver.__name__}(...)."
        )
    if not isinstance(solver, Euler | Midpoint | Heun | RK4 | Tsit5):
        raise SolverError(
            f"solver is {solver!r}; use one of {', '.join(SOLVERS)}, e.g. pcb.Heun(dt=0.1)."
        )
    return solver


def solver_to_dict(solver: Solver) -> dict[str, Any]:
    """Name and options of a solver as plain values, for provenance."""
    return {"name": type(solver).__name__, **dataclasses.asdict(solver)}


def solver_from_dict(options: Mapping[str, Any]) -> Solver:
    """Rebuild a solver from `solver_to_dict`."""
    fields = dict(options)
    name = fields.pop("name", None)
    if name not in SOLVERS:
        raise SolverError(f"unknown solver {name!r}; known: {', '.join(SOLVERS)}.")
    return SOLVERS[name](**fields)


def _positive(owner: str, name: str, value: object) -> float:
    number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not number or not 0 < float(value) < math.inf:  # type: ignore[arg-type]
        raise SolverError(f"{owner} was given {name}={value!r}; it needs a finite number > 0.")
    return float(value)  # type: ignore[arg-type]
