"""The embedded backend."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.session import NumpySession, trajectories
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.backends.numpy.steady import SteadyEquations, find
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.errors import BackendError
from pycellbox.models import Structure
from pycellbox.numerics.differences import NOT_OF_INPUTS, FiniteDifferenceSession
from pycellbox.numerics.lowering import Lowering, equations_of
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver, SteadyState

Session = NumpySession | NumpySteadySession | FiniteDifferenceSession


class NumpyBackend:
    """All conditions as one matrix ODE in NumPy; gradients by a hand-written reverse sweep."""

    name = "numpy"

    def version(self) -> str:
        """Return NumPy's version."""
        return f"numpy {np.__version__}"

    def supports(
        self, solver: Solver, gradient: Gradient | None = None, inputs: bool = False
    ) -> str:
        """See `pycellbox.backends.protocol.Backend.supports`."""
        if isinstance(solver, SteadyState):
            exact, why, who = "implicit", "the implicit function theorem", "SteadyState"
        elif type(solver) in TABLEAUX:
            exact, why, who = "discrete", "exact", "the numpy backend"
        else:
            known = ", ".join(kind.__name__ for kind in TABLEAUX)
            return (
                f"the numpy backend has no solver {solver!r}; it has {known}. backend='julia' has "
                "every algorithm of OrdinaryDiffEq."
            )
        if gradient not in (None, exact, "finite-difference"):
            return (
                f"{who} has no gradient {gradient!r}; it has {exact} ({why}) and finite-difference."
            )
        if inputs and gradient == "finite-difference":
            return NOT_OF_INPUTS
        return ""

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
    ) -> Solution:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        self._check(solver)
        equations = equations_of(structure)
        drive = equations.drive(perturbation)
        if not isinstance(solver, SteadyState):
            return trajectories(equations, solver, parameters, drive, times)
        if not isinstance(equations, Lowering):  # which has no proofs: integrated
            return trajectories(equations, solver.integrator, parameters, drive, times[-1:])
        field = equations.field(parameters, drive)
        with evaluation(*perturbation.shape):
            return find(SteadyEquations(solver, field), float(times[-1]))

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> Session:
        """See `pycellbox.backends.protocol.Backend.session`."""
        self._check(solver, gradient)
        session: NumpySession | NumpySteadySession
        if not isinstance(solver, SteadyState):
            session = NumpySession(problem, solver, loss)
        elif isinstance(equations_of(problem.structure), Lowering):
            session = NumpySteadySession(problem, solver, loss)
        else:
            session = NumpySession(problem, solver.integrator, loss)
        return FiniteDifferenceSession(session) if gradient == "finite-difference" else session

    def _check(self, solver: Solver, gradient: Gradient | None = None) -> None:
        if why := self.supports(solver, gradient):
            raise BackendError(why)
