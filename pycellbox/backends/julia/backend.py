"""The backend `julia`: the performance core, through juliacall."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycellbox.backends.julia import runtime
from pycellbox.backends.julia.calls import address, call
from pycellbox.backends.julia.expressed import JuliaExpressedSession
from pycellbox.backends.julia.expressed_steady import course_of
from pycellbox.backends.julia.objects import (
    default_gradient,
    in_order,
    julia_solver,
    julia_structure,
    why_not,
)
from pycellbox.backends.julia.session import JuliaSession
from pycellbox.backends.julia.treatments import JuliaTreatment
from pycellbox.errors import BackendError
from pycellbox.models import Structure
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver
from pycellbox.treatment import Treatment


class JuliaBackend:
    """Fixed steps with exact discrete gradients; adaptive solvers with SciML's adjoints."""

    name = "julia"

    def __init__(self) -> None:
        self._core = runtime.start()

    def version(self) -> str:
        """Return the versions of Julia and of the Julia package."""
        return str(self._core.python_version())

    def supports(
        self,
        solver: Solver,
        gradient: Gradient | None = None,
        inputs: bool = False,
        treated: bool = False,
    ) -> str:
        """See `pycellbox.backends.protocol.Backend.supports`."""
        chosen = default_gradient(solver) if gradient is None else gradient
        return why_not(solver, chosen, inputs, treated)

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
        treatment: Treatment | None = None,
    ) -> Solution:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        if why := self.supports(solver, treated=treatment is not None):
            raise BackendError(why)
        equations = equations_of(structure)
        if isinstance(equations, Expressed):
            gradient = default_gradient(solver)
            held = course_of(
                self._core, equations, solver, gradient, perturbation, times, treatment
            )
            return held.solution(parameters)
        dtype, (c, n) = perturbation.dtype, perturbation.shape
        laid = julia_structure(self._core, structure)
        chosen = julia_solver(self._core, solver, default_gradient(solver))
        inputs = in_order(structure, parameters, dtype)
        addresses = tuple(address(a) for a in inputs)
        u = np.ascontiguousarray(perturbation)
        course: JuliaTreatment | None = None
        if treatment is not None:
            course = JuliaTreatment(self._core, laid, solver, treatment)
            course.start(parameters)
        given = address(u) if course is None else course.handed
        if solver.steady:
            states, residual = np.empty((c, n), dtype), np.empty(c, dtype)
            settled = np.empty(c, np.uint8)
            out = address(states), address(residual), address(settled)
            core, end = self._core.python_steady_states, float(times[-1])
            call(core, dtype.name, laid, (c, n), given, out, end, chosen, addresses)
            return Solution.steady(states, settled.astype(bool), residual)
        when = np.ascontiguousarray(times, dtype=np.float64)
        through = np.empty((c, when.size, n), dtype)
        at = address(when), when.size
        core = self._core.python_solve
        call(
            core, dtype.name, laid, (c, when.size), given, address(through), at, chosen, addresses,
        )  # fmt: skip
        return Solution.integrated(through, rested=None if course is None else course.rested())

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

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> JuliaSession | JuliaExpressedSession:
        """See `pycellbox.backends.protocol.Backend.session`."""
        chosen = default_gradient(solver) if gradient is None else gradient
        if why := why_not(solver, chosen, treated=problem.treatment is not None):
            raise BackendError(why)
        equations = equations_of(problem.structure)
        if isinstance(equations, Expressed):
            return JuliaExpressedSession(self._core, problem, equations, solver, loss, chosen)
        return JuliaSession(self._core, problem, solver, loss, chosen, self.solve)
