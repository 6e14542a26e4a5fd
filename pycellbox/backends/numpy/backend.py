"""The embedded backend."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.course_session import NumpyCourseSession, through_treatment
from pycellbox.backends.numpy.session import NumpySession, trajectories
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.backends.numpy.settling import Settling
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.errors import BackendError
from pycellbox.models import Structure
from pycellbox.numerics.differences import NOT_OF_INPUTS, FiniteDifferenceSession
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.tableaux import IMPLICIT, TABLEAUX, tableau_of
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver, SteadyState
from pycellbox.treatment import Treatment

Session = NumpySession | NumpySteadySession | FiniteDifferenceSession


class NumpyBackend:
    """All conditions as one matrix ODE in NumPy; gradients by a hand-written reverse sweep."""

    name = "numpy"

    def version(self) -> str:
        """Return NumPy's version."""
        return f"numpy {np.__version__}"

    def supports(
        self,
        solver: Solver,
        gradient: Gradient | None = None,
        inputs: bool = False,
        treated: bool = False,
    ) -> str:
        """See `pycellbox.backends.protocol.Backend.supports`."""
        if tableau_of(solver.through_time) is None:
            known = ", ".join(
                [kind.__name__ for kind in TABLEAUX] + [f"Adaptive({name!r})" for name in IMPLICIT]
            )
            return (
                f"the numpy backend has no solver {solver.through_time!r}; it has {known}. "
                "backend='julia' has every algorithm of OrdinaryDiffEq."
            )
        if isinstance(solver, SteadyState):
            exact, why, who = "implicit", "the implicit function theorem", "SteadyState"
        else:
            exact, why, who = "discrete", "exact", "the numpy backend"
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
        treatment: Treatment | None = None,
    ) -> Solution:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        self._check(solver)
        equations = equations_of(structure)
        if isinstance(solver, SteadyState):
            end, index = float(times[-1]), np.arange(len(perturbation))
            settling = Settling(equations, solver, perturbation, treatment, end, keep=False)
            with evaluation(*perturbation.shape):
                return settling.find(parameters, index).solution
        if treatment is not None:
            return through_treatment(equations, solver, parameters, treatment, times)
        return trajectories(equations, solver, parameters, equations.drive(perturbation), times)

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> Session:
        """See `pycellbox.backends.protocol.Backend.session`."""
        self._check(solver, gradient)
        session: NumpySession | NumpySteadySession
        if isinstance(solver, SteadyState):
            session = NumpySteadySession(problem, solver, loss)
        elif problem.treatment is not None:
            session = NumpyCourseSession(problem, solver, loss)
        else:
            session = NumpySession(problem, solver, loss)
        return FiniteDifferenceSession(session) if gradient == "finite-difference" else session

    def _check(self, solver: Solver, gradient: Gradient | None = None) -> None:
        if why := self.supports(solver, gradient):
            raise BackendError(why)
