"""The performance core in Julia, through juliacall. Arrays are shared, not copied."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pycellbox.backends import julia_runtime
from pycellbox.backends.julia_calls import (
    Errand,
    address,
    call,
    call_locked,
    located,
    row_numbers,
)
from pycellbox.backends.julia_training import JuliaTrainingRun
from pycellbox.backends.protocol import SteadyStates, TrainingPlan
from pycellbox.errors import BackendError
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Adaptive, Gradient, Solver, SteadyState, Tsit5

_ADJOINTS = {
    "adjoint": "gauss",
    "gauss": "gauss",
    "interpolating": "interpolating",
    "quadrature": "quadrature",
    "forward": "forward",
}


class JuliaBackend:
    """Fixed steps with exact discrete gradients; adaptive solvers with SciML's adjoints."""

    name = "julia"
    finds_steady_states = True

    def __init__(self) -> None:
        self._cellbox = julia_runtime.start()

    def version(self) -> str:
        """Return the versions of Julia and of the Julia package."""
        return str(self._cellbox.python_version())

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
    ) -> Array:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        dtype = perturbation.dtype
        inputs = _in_order(structure, parameters, dtype)
        u = np.ascontiguousarray(perturbation)
        when = np.ascontiguousarray(times, dtype=np.float64)
        out = np.empty((u.shape[0], when.size, u.shape[1]), dtype)
        call(
            self._cellbox.python_solve,
            dtype.name,
            julia_structure(self._cellbox, structure),
            (u.shape[0], when.size),
            address(u),
            address(out),
            (address(when), when.size),
            _solver(self._cellbox, solver, default_gradient(solver)),
            tuple(address(a) for a in inputs),
        )
        return out

    def ode_problem(
        self, structure: Structure, parameters: Parameters, perturbation: Array, horizon: float
    ) -> Any:
        """Return the network as a Julia ODEProblem."""
        inputs = _in_order(structure, parameters, np.float64)
        u = np.ascontiguousarray(perturbation, dtype=np.float64)
        call(self._cellbox.load_sciml)
        return call(
            self._cellbox.python_ode_problem,
            julia_structure(self._cellbox, structure),
            u.shape,
            address(u),
            horizon,
            tuple(address(a) for a in inputs),
        )

    def steady_states(
        self,
        structure: Structure,
        solver: SteadyState,
        parameters: Parameters,
        perturbation: Array,
        horizon: float,
    ) -> SteadyStates:
        """See `pycellbox.backends.protocol.Backend.steady_states`."""
        dtype, (c, n) = perturbation.dtype, perturbation.shape
        inputs = _in_order(structure, parameters, dtype)
        u = np.ascontiguousarray(perturbation)
        states, residual = np.empty((c, n), dtype), np.empty(c, dtype)
        settled = np.empty(c, np.uint8)
        call(
            self._cellbox.python_steady_states,
            dtype.name,
            julia_structure(self._cellbox, structure),
            (c, n),
            address(u),
            (address(states), address(residual), address(settled)),
            horizon,
            _solver(self._cellbox, solver, "implicit"),
            tuple(address(a) for a in inputs),
        )
        return SteadyStates(states, residual, settled.astype(bool))

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> JuliaSession:
        """See `pycellbox.backends.protocol.Backend.session`."""
        chosen = default_gradient(solver) if gradient is None else gradient
        return JuliaSession(self._cellbox, problem, solver, loss, chosen)


def default_gradient(solver: Solver) -> Gradient:
    """Exact where the steps are our own, the continuous adjoint for those of OrdinaryDiffEq."""
    if isinstance(solver, SteadyState):
        return "implicit"
    return "adjoint" if isinstance(solver, Adaptive) else "discrete"


# Julia's sessions of which Python's counterpart is gone.
_GONE: list[Any] = []


def _left_behind() -> tuple[Any, ...]:
    gone = []
    while _GONE:
        gone.append(_GONE.pop())
    return tuple(gone)


class JuliaSession:
    """A problem whose arrays a Julia session reads and writes where they lie."""

    def __init__(
        self, cellbox: Any, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient
    ) -> None:
        self.problem, self._cellbox = problem, cellbox
        structure = problem.structure
        self._dtype = problem.perturbation.dtype
        n = structure.n_nodes
        names = ("W", *structure.model.rates)
        self._parameters = {k: np.zeros((n, n) if k == "W" else n, self._dtype) for k in names}
        self._gradient = {k: np.zeros_like(v) for k, v in self._parameters.items()}
        # Julia reads these as long as the session lives.
        self._shared = (
            np.ascontiguousarray(problem.perturbation),
            np.ascontiguousarray(problem.response),
            np.ascontiguousarray(problem.weight),
        )
        u, y, w = self._shared
        times = np.ascontiguousarray(problem.times, dtype=np.float64)
        self._structure = julia_structure(cellbox, structure)
        call_locked(cellbox.python_release, _left_behind())
        self._session = call(
            cellbox.python_session,
            self._dtype.name,
            self._structure,
            (u.shape[0], y.shape[1]),
            (address(u), address(y), address(w)),
            (address(times), times.size),
            _solver(cellbox, solver, gradient),
            call_locked(cellbox.python_loss, loss.name, loss.delta),
            tuple(address(v) for v in self._parameters.values()),
            tuple(address(v) for v in self._gradient.values()),
        )
        # Address and number of rows, and the prefix; what comes of them.
        self._wish, self._value = np.zeros(3, np.int64), np.zeros(1)
        # Not there and then: an object may go in any thread, and while Julia is at work.
        weakref.finalize(self, _GONE.append, self._session)
        places = (self._session, address(self._wish), address(self._value))
        self._to_value = Errand(cellbox.python_write_value, *places)
        self._to_gradient = Errand(cellbox.python_write_value_and_gradient, *places)

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.value_and_gradient`."""
        self._set(parameters)
        index = row_numbers(rows)
        self._wish[:] = (*located(index), prefix or 0)
        self._to_gradient.run()
        return float(self._value[0]), {name: array.copy() for name, array in self._gradient.items()}

    def value(self, parameters: Parameters, rows: Sequence[int] | Array | None = None) -> float:
        """See `pycellbox.backends.protocol.Session.value`."""
        self._set(parameters)
        index = row_numbers(rows)
        self._wish[:] = (*located(index), 0)
        self._to_value.run()
        return float(self._value[0])

    @property
    def settled(self) -> Array:
        """See `pycellbox.backends.protocol.Session`."""
        settled = np.empty(len(self.problem.conditions), np.uint8)
        call_locked(self._cellbox.python_settled, self._session, address(settled))
        return settled.astype(bool)

    def training_run(self, plan: TrainingPlan) -> JuliaTrainingRun:
        """Return a run that makes many iterations in one call."""
        return JuliaTrainingRun(self, plan)

    def _set(self, parameters: Parameters) -> None:
        for name, array in self._parameters.items():
            np.copyto(array, parameters[name])


def _in_order(structure: Structure, parameters: Parameters, dtype: DTypeLike) -> list[Array]:
    """W and the rates, as Julia takes them."""
    names = ("W", *structure.model.rates)
    return [np.ascontiguousarray(parameters[name], dtype=dtype) for name in names]


def julia_structure(cellbox: Any, structure: Structure) -> Any:
    """Lay the model over the nodes in Julia."""
    is_drug = np.ascontiguousarray(structure.is_drug, dtype=np.uint8)
    mask = np.ascontiguousarray(structure.mask, dtype=np.uint8)
    options = structure.model.to_dict()
    kept = ("envelope", "form", "degree", "order", "drugs", "dose_saturation")
    return call_locked(
        cellbox.python_structure,
        tuple(options[k] for k in kept),
        structure.n_nodes,
        address(is_drug),
        address(mask),
    )


def _solver(cellbox: Any, solver: Solver, gradient: Gradient) -> Any:
    if isinstance(solver, SteadyState):
        if gradient != "implicit":
            raise BackendError(
                f"SteadyState has no gradient {gradient!r}; it has implicit (the implicit function "
                "theorem)."
            )
        integrator = _solver(cellbox, solver.integrator, "discrete")
        return call_locked(
            cellbox.SteadyState, solver.tol, solver.lead, integrator, solver.max_iterations
        )
    if isinstance(solver, Tsit5) and gradient == "discrete":
        return call_locked(cellbox.Tsit5, solver.rtol, solver.atol, solver.max_steps)
    if isinstance(solver, Tsit5 | Adaptive):
        if gradient not in _ADJOINTS:
            raise BackendError(
                f"the julia backend has no gradient {gradient!r} for {type(solver).__name__}; it "
                f"has {', '.join(_ADJOINTS)}, and discrete for Tsit5."
            )
        call(cellbox.load_sciml)
        return call_locked(
            cellbox.python_adaptive,
            solver.algorithm if isinstance(solver, Adaptive) else "Tsit5",
            solver.rtol,
            solver.atol,
            solver.max_steps,
            _ADJOINTS[gradient],
        )
    if gradient != "discrete":
        raise BackendError(
            f"the julia backend has no gradient {gradient!r} for fixed steps; discrete is exact."
        )
    return call_locked(cellbox.fixed_step, type(solver).__name__, solver.dt)
