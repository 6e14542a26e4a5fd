"""The embedded backend: always there, exact discrete gradients, the reference for the others."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.integrate import integrate
from pycellbox.backends.numpy.session import NumpySession, tape_for
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.backends.numpy.steady import SteadyEquations, find
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.backends.protocol import SteadyStates
from pycellbox.errors import BackendError
from pycellbox.numerics.differences import FiniteDifferenceSession
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Gradient, Solver, SteadyState

_SUPPORTED: tuple[Gradient, ...] = ("discrete", "finite-difference")


class NumpyBackend:
    """All conditions as one matrix ODE in NumPy; gradients by a hand-written reverse sweep."""

    name = "numpy"
    finds_steady_states = True

    def version(self) -> str:
        """Return NumPy's version."""
        return f"numpy {np.__version__}"

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
    ) -> Array:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        _check_solver(solver)
        lowering = Lowering(structure)
        drive = lowering.drive(perturbation)
        tape = tape_for(structure, solver, drive, keep=False)
        envelope = envelope_kernel(structure.model)
        coefficients = lowering.coefficients(parameters)
        with evaluation(*perturbation.shape):
            return integrate(solver, envelope, coefficients, drive, times, tape).states

    def steady_states(
        self,
        structure: Structure,
        solver: SteadyState,
        parameters: Parameters,
        perturbation: Array,
        horizon: float,
    ) -> SteadyStates:
        """See `pycellbox.backends.protocol.Backend.steady_states`."""
        lowering = Lowering(structure)
        equations = SteadyEquations(
            solver,
            envelope_kernel(structure.model),
            lowering.coefficients(parameters),
            lowering.drive(perturbation),
        )
        with evaluation(*perturbation.shape):
            return find(equations, horizon)

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> NumpySession | NumpySteadySession | FiniteDifferenceSession:
        """See `pycellbox.backends.protocol.Backend.session`."""
        if isinstance(solver, SteadyState):
            return self._steady_session(problem, solver, loss, gradient)
        gradient = gradient or "discrete"
        if gradient not in _SUPPORTED:
            raise BackendError(
                f"the numpy backend has no gradient {gradient!r}; it has "
                f"{', '.join(_SUPPORTED)} (discrete is exact)."
            )
        _check_solver(solver)
        session = NumpySession(problem, solver, loss)
        return session if gradient == "discrete" else FiniteDifferenceSession(session)

    def _steady_session(
        self, problem: Problem, solver: SteadyState, loss: Loss, gradient: Gradient | None
    ) -> NumpySteadySession | FiniteDifferenceSession:
        if gradient not in (None, "implicit", "finite-difference"):
            raise BackendError(
                f"SteadyState has no gradient {gradient!r}; it has implicit (the implicit function "
                "theorem) and finite-difference."
            )
        session = NumpySteadySession(problem, solver, loss)
        return FiniteDifferenceSession(session) if gradient == "finite-difference" else session


def _check_solver(solver: Solver) -> None:
    if type(solver) not in TABLEAUX:
        known = ", ".join(kind.__name__ for kind in TABLEAUX)
        raise BackendError(
            f"the numpy backend has no solver {solver!r}; it has {known}. backend='julia' has "
            "every algorithm of OrdinaryDiffEq."
        )
