"""Solvers and gradients, by the field's names: what to use, not how it is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from pycellbox.common.options import NAMED, Value, checked, choice, instance, integer, number

Gradient = Literal[
    "discrete",
    "implicit",
    "finite-difference",
    "adjoint",
    "gauss",
    "interpolating",
    "quadrature",
    "forward",
]
GRADIENTS: tuple[Gradient, ...] = (
    "discrete", "implicit", "finite-difference", "adjoint", "gauss", "interpolating", "quadrature",
    "forward",
)  # fmt: skip
GRADIENT = choice(*GRADIENTS)

_STEP = checked(dt=number(0, above=True))
_TOLERANCES = {"rtol": number(0, above=True), "atol": number(0, above=True)}
_MOST_STEPS = {"max_steps": integer()}


class Method:
    """What a solver says of itself, so that nobody outside a backend asks for its class."""

    steady: ClassVar[bool] = False
    """Whether it finds steady states, and no time courses."""
    holds_error: ClassVar[bool] = True
    """Whether it holds itself to a tolerance."""

    @property
    def through_time(self) -> Any:
        """The solver that integrates through times."""
        return self


@dataclass(frozen=True)
class FixedStep(Method):
    """Common to the fixed-step methods.

    Parameters
    ----------
    dt : float
        Longest step, in units of time. Between two requested times the steps are equal and as
        few as keep them no longer than ``dt``, so that every requested time is a grid point.

    Notes
    -----
    Steps of h are stable for a node that decays at the rate c up to h·c = ``reach``. Beyond it the
    states grow where those of the equation fall, and an evaluation raises `DivergenceError`.
    """

    dt: float
    order: ClassVar[int]
    reach: ClassVar[float] = 2.0
    holds_error: ClassVar[bool] = False


@_STEP
@dataclass(frozen=True)
class Euler(FixedStep):
    """Explicit Euler, order 1, one stage.

    Parameters
    ----------
    dt : float
        Longest step, in units of time; the steps between two requested times are equal.
    """

    order: ClassVar[int] = 1


@_STEP
@dataclass(frozen=True)
class Midpoint(FixedStep):
    """Explicit midpoint rule, order 2, two stages.

    Parameters
    ----------
    dt : float
        Longest step, in units of time; the steps between two requested times are equal.
    """

    order: ClassVar[int] = 2


@_STEP
@dataclass(frozen=True)
class Heun(FixedStep):
    """Heun's trapezoidal rule, order 2, two stages: the original CellBox default.

    Parameters
    ----------
    dt : float
        Longest step, in units of time; the steps between two requested times are equal.
    """

    order: ClassVar[int] = 2


@_STEP
@dataclass(frozen=True)
class RK4(FixedStep):
    """The classical Runge-Kutta method, order 4, four stages.

    Parameters
    ----------
    dt : float
        Longest step, in units of time; the steps between two requested times are equal.
    """

    order: ClassVar[int] = 4
    # 1 + z + z²/2 + z³/6 + z⁴/24 = 1
    reach: ClassVar[float] = 2.785293563405282


@checked(**_TOLERANCES, **_MOST_STEPS)
@dataclass(frozen=True)
class Tsit5(Method):
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


def _is_julia(value: object) -> bool:
    return type(value).__module__.split(".")[0] == "juliacall"


def _algorithm(given: object) -> object:
    if not isinstance(given, str) and not _is_julia(given):
        raise ValueError
    return given


@checked(
    algorithm=Value(_algorithm, "a name such as 'Rodas5P', or a Julia algorithm object"),
    **_TOLERANCES,
    **_MOST_STEPS,
)
@dataclass(frozen=True)
class Adaptive(Method):
    """An adaptive solver by the name that OrdinaryDiffEq has for it.

    The Julia backend has all of them. Its gradients are continuous adjoints of SciMLSensitivity or
    forward sensitivities: those of the exact solution to within the tolerances. The NumPy backend
    has "KenCarp4" and "Kvaerno5", implicit methods of order 4 and 5 for stiff equations, with
    exact derivatives of the steps taken.

    Parameters
    ----------
    algorithm : str or Julia object
        For stiff equations "KenCarp4" or "Kvaerno5"; with Julia also "Rodas5P" or "TRBDF2", for
        others "Tsit5", "DP5", "Vern7"; or an algorithm made with juliacall or diffeqpy, such as
        ``de.Tsit5()``.
    rtol, atol : float
        Tolerances of the solution and of the adjoint equation.
    max_steps : int
        Steps after which the solve is given up.
    """

    algorithm: Any = "Tsit5"
    rtol: float = 1e-3
    atol: float = 1e-6
    max_steps: int = 100_000


@checked(
    tol=number(0, above=True),
    lead=number(0, above=True),
    integrator=instance(
        Euler | Midpoint | Heun | RK4 | Tsit5 | Adaptive,
        "one of Euler, Midpoint, Heun, RK4, Tsit5, Adaptive",
    ),
    max_iterations=integer(),
)
@dataclass(frozen=True)
class SteadyState(Method):
    """The steady state itself, as a fixed point, for steady-state data.

    The network is integrated for a short time, the fixed point near there is found by accelerated
    iteration or Newton's method, and the gradient comes from the implicit function theorem. A
    fixed point counts only if it is proven to be where the trajectory from x(0) ends; conditions
    without one (unstable, oscillating, or too slow) are integrated to the horizon and named. Where
    the network is contracting for every input, which is found out first, there is but one steady
    state, and nothing is integrated.

    Parameters
    ----------
    tol : float
        Largest change ``|G(x) − x|`` of the fixed-point map, relative to ``1 + |x|``.
        The distance to the exact steady state is larger by a factor 1/(1 − contraction).
    lead : float
        Time integrated first, in units of the slowest decay time 1/min α.
    integrator : Euler, Midpoint, Heun, RK4, Tsit5 or Adaptive
        What integrates; `Adaptive` on the NumPy backend, for stiff equations.
    max_iterations : int
        Accelerated iterations before Newton's method takes over.

    Notes
    -----
    A network is called contracting where one quadratic form bounds the distance of any two of its
    trajectories; roughly, up to a norm of 1 to 2 of diag(ε sup φ'/α) W. Where it is not, the same
    is tried with the slopes that occur near the states found: for all conditions together, and up
    to 256 nodes for each of them and by its eigenvalues. Beyond, where that takes longer than
    integrating, what has no proof is integrated.

    Other equations are integrated longer and longer, up to the horizon, until Newton's method with
    their Jacobian leads to a root that has no eigenvalue with Re ≥ 0 and is so near that the
    Jacobian is as good as constant on the way. ``lead`` is then in units of the fastest change at
    the beginning. Sums of states that an equation conserves keep their values and do not count as
    directions; where they depend on parameters, or steady states form a line, conditions are
    integrated.
    """

    tol: float = 1e-10
    lead: float = 5.0
    integrator: Euler | Midpoint | Heun | RK4 | Tsit5 | Adaptive = field(
        default_factory=lambda: Tsit5(rtol=1e-6, atol=1e-8)
    )
    max_iterations: int = 100
    steady: ClassVar[bool] = True

    @property
    def through_time(self) -> Any:
        """Return what integrates."""
        return self.integrator


Solver: TypeAlias = Euler | Midpoint | Heun | RK4 | Tsit5 | Adaptive | SteadyState
SOLVERS: dict[str, type[Solver]] = {
    "Euler": Euler,
    "Midpoint": Midpoint,
    "Heun": Heun,
    "RK4": RK4,
    "Tsit5": Tsit5,
    "Adaptive": Adaptive,
    "SteadyState": SteadyState,
}


def _solver(given: object) -> Solver:
    """Return a declaration; algorithms of Julia are wrapped."""
    kinds = tuple(SOLVERS.values())
    found: Solver = Adaptive(given) if _is_julia(given) else instance(kinds, "").read(given)
    return found


SOLVER = Value(_solver, f"one of {', '.join(SOLVERS)}, such as pcb.Heun(dt=0.1)")


def solver_to_dict(solver: Solver) -> dict[str, Any]:
    """Name and options of a solver as plain values, for provenance."""
    options = {f.name: getattr(solver, f.name) for f in dataclasses.fields(solver)}
    if isinstance(solver, Adaptive) and not isinstance(solver.algorithm, str):
        # An object cannot be written down; its name serves for those that are known by name.
        options["algorithm"] = str(solver.algorithm).split("{")[0].split("(")[0].split(".")[-1]
    if isinstance(solver, SteadyState):
        options["integrator"] = solver_to_dict(solver.integrator)
    return {"name": type(solver).__name__, **options}


def solver_from_dict(options: Mapping[str, Any]) -> Solver:
    """Rebuild a solver from `solver_to_dict`."""
    fields = NAMED("solver", options)
    name = choice(*SOLVERS)("solver", fields.pop("name", None))
    if isinstance(fields.get("integrator"), Mapping):
        fields["integrator"] = solver_from_dict(fields["integrator"])
    return SOLVERS[name](**fields)
