"""The backend `julia`: the performance core, through juliacall."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycellbox.backends.julia import runtime
from pycellbox.backends.julia.calls import address, call
from pycellbox.backends.julia.objects import (
    default_gradient,
    in_order,
    julia_solver,
    julia_structure,
)
from pycellbox.backends.julia.session import JuliaSession
from pycellbox.backends.protocol import SteadyStates
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Gradient, Solver, SteadyState


class JuliaBackend:
    """Fixed steps with exact discrete gradients; adaptive solvers with SciML's adjoints."""

    name = "julia"
    finds_steady_states = True

    def __init__(self) -> None:
        self._core = runtime.start()

    def version(self) -> str:
        """Return the versions of Julia and of the Julia package."""
        return str(self._core.python_version())

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
        inputs = in_order(structure, parameters, dtype)
        u = np.ascontiguousarray(perturbation)
        when = np.ascontiguousarray(times, dtype=np.float64)
        out = np.empty((u.shape[0], when.size, u.shape[1]), dtype)
        call(
            self._core.python_solve,
            dtype.name,
            julia_structure(self._core, structure),
            (u.shape[0], when.size),
            address(u),
            address(out),
            (address(when), when.size),
            julia_solver(self._core, solver, default_gradient(solver)),
            tuple(address(a) for a in inputs),
        )
        return out

    def ode_problem(
        self, structure: Structure, parameters: Parameters, perturbation: Array, horizon: float
    ) -> Any:
        """Return the network as a Julia ODEProblem."""
        inputs = in_order(structure, parameters, np.float64)
        u = np.ascontiguousarray(perturbation, dtype=np.float64)
        call(self._core.load_sciml)
        return call(
            self._core.python_ode_problem,
            julia_structure(self._core, structure),
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
        inputs = in_order(structure, parameters, dtype)
        u = np.ascontiguousarray(perturbation)
        states, residual = np.empty((c, n), dtype), np.empty(c, dtype)
        settled = np.empty(c, np.uint8)
        call(
            self._core.python_steady_states,
            dtype.name,
            julia_structure(self._core, structure),
            (c, n),
            address(u),
            (address(states), address(residual), address(settled)),
            horizon,
            julia_solver(self._core, solver, "implicit"),
            tuple(address(a) for a in inputs),
        )
        return SteadyStates(states, residual, settled.astype(bool))

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> JuliaSession:
        """See `pycellbox.backends.protocol.Backend.session`."""
        chosen = default_gradient(solver) if gradient is None else gradient
        return JuliaSession(self._core, problem, solver, loss, chosen)
