"""The embedded backend: always there, exact discrete gradients, the reference for the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pycellbox.backends.checks import UNSTABLE, check_gradient, check_memory
from pycellbox.backends.lowering import Coefficients, Drive, Lowering
from pycellbox.backends.numpy.envelopes import envelope_kernel
from pycellbox.backends.numpy.integrate import Tape, Trajectory, fixed_steps, integrate, reverse
from pycellbox.backends.numpy.losses import loss_and_seeds
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.backends.numpy.steady import SteadyEquations, find
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.backends.numpy.tableaux import TABLEAUX
from pycellbox.backends.protocol import SteadyStates
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import FixedStep, Gradient, Solver, SteadyState

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
        tape = _tape(structure, solver, drive, keep=False)
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


class NumpySession:
    """A problem with its buffers."""

    def __init__(self, problem: Problem, solver: Solver, loss: Loss) -> None:
        self.problem, self.solver, self.loss = problem, solver, loss
        self.lowering = Lowering(problem.structure)
        self.drive = self.lowering.drive(problem.perturbation)
        self.envelope = envelope_kernel(problem.structure.model)
        self._kept = _tape(problem.structure, solver, self.drive, keep=True)
        if isinstance(solver, FixedStep):
            steps = sum(count for count, _ in fixed_steps(solver, problem.times))
            check_memory(solver, steps, self._kept.bytes(steps))
        self._running = _tape(problem.structure, solver, self.drive, keep=False)

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.value_and_gradient`."""
        with evaluation(*self.problem.perturbation.shape):
            value, seeds, trajectory = self._forward(parameters, rows, self._kept, prefix)
            gradient = self.lowering.pull_back(reverse(trajectory, seeds))
        check_gradient(gradient, UNSTABLE)
        return value, gradient

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.value`."""
        with evaluation(*self.problem.perturbation.shape):
            return self._forward(parameters, rows, self._running, prefix)[0]

    def _forward(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None,
        tape: Tape,
        prefix: int | None = None,
    ) -> tuple[float, Array, Trajectory]:
        problem, drive, times = self.problem, self.drive, self.problem.times[:prefix]
        response, weight = problem.response[:, :prefix], problem.weight[:, :prefix]
        if rows is not None:
            index = np.asarray(rows)
            drive, response, weight = drive.rows(index), response[index], weight[index]
        coefficients: Coefficients = self.lowering.coefficients(parameters)
        trajectory = integrate(self.solver, self.envelope, coefficients, drive, times, tape)
        with np.errstate(over="ignore", invalid="ignore"):
            value, seeds = loss_and_seeds(self.loss, trajectory.states, response, weight)
        if not np.isfinite(value):
            raise DivergenceError("the loss is not finite: the trajectory is finite but too large.")
        return value, seeds, trajectory


class Differentiable(Protocol):
    """What central differences need of a session."""

    problem: Problem

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """Loss, over the first ``prefix`` times if that is given."""
        ...


class FiniteDifferenceSession:
    """Central differences of a session's value: for checks, one solve pair per parameter."""

    def __init__(self, session: Differentiable) -> None:
        self._session = session

    @property
    def settled(self) -> Array:
        """As of the session."""
        settled: Array = self._session.settled  # type: ignore[attr-defined]
        return settled

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.value_and_gradient`."""
        mask = self._session.problem.structure.mask

        def value(parameters: Parameters) -> float:
            return self._session.value(parameters, rows, prefix)

        point = {name: array.copy() for name, array in parameters.items()}
        gradient = {name: np.zeros_like(array) for name, array in point.items()}
        for name, array in point.items():
            # Balances truncation (h²) against rounding (eps/h) of a central difference.
            relative = float(np.cbrt(np.finfo(array.dtype).eps))
            for index in np.argwhere(mask) if name == "W" else np.argwhere(array == array):
                at = tuple(index)
                centre = array[at]
                h = relative * max(1.0, abs(float(centre)))
                array[at] = centre + h
                above, upper = array[at], value(point)
                array[at] = centre - h
                gradient[name][at] = (upper - value(point)) / (above - array[at])
                array[at] = centre
        return value(parameters), gradient

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.value`."""
        return self._session.value(parameters, rows, prefix)


def _check_solver(solver: Solver) -> None:
    if type(solver) not in TABLEAUX:
        known = ", ".join(kind.__name__ for kind in TABLEAUX)
        raise BackendError(
            f"the numpy backend has no solver {solver!r}; it has {known}. backend='julia' has "
            "every algorithm of OrdinaryDiffEq."
        )


def _tape(structure: Structure, solver: Solver, drive: Drive, *, keep: bool) -> Tape:
    conditions, nodes = drive.initial.shape
    with_z = envelope_kernel(structure.model).needs_z
    stages = TABLEAUX[type(solver)].stages
    return Tape(stages, conditions, nodes, drive.initial.dtype, keep, with_z)
