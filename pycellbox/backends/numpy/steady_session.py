"""A steady-state problem held with what the last evaluation found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pycellbox.backends.numpy.course_session import of_interest
from pycellbox.backends.numpy.setting import evaluation_of
from pycellbox.backends.numpy.settling import Settled, Settling
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import check_arrays, check_gradient
from pycellbox.numerics.losses import loss_and_seeds
from pycellbox.numerics.lowering import Lowering, equations_of
from pycellbox.numerics.residuals import by_reverse, residuals_and_jacobian
from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import SteadyState


class NumpySteadySession(PlainSession):
    """Loss at the steady state and its derivative by the implicit function theorem.

    The states, adjoints and inverse of one evaluation are the start of the next. That changes
    nothing but the time it takes: states are used only where the network has one steady state.
    """

    def __init__(self, problem: Problem, solver: SteadyState, loss: Loss) -> None:
        self.problem, self.solver, self.error = problem, solver, loss
        self.equations = equations_of(problem.structure)
        self._settling = Settling(
            self.equations,
            solver,
            problem.perturbation,
            problem.treatment,
            float(problem.times[-1]),
            keep=True,
        )
        self.drive = self._settling.drive
        self._states = self.drive.initial.copy()
        self._adjoint: Array | None = None
        self._correction: Array | None = None
        self._settled = np.ones(len(problem.conditions), dtype=bool)
        self._all = np.arange(len(problem.conditions))

    @property
    def settled(self) -> Array:
        """Which conditions settled in the last evaluation; bool, (c,)."""
        return self._settled

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        with evaluation_of(self.problem, rows):
            return self._forward(parameters, rows)[0]

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.loss_and_gradient`."""
        with evaluation_of(self.problem, rows):
            value, seeds, found = self._forward(parameters, rows)
            if self._adjoint is None:
                self._adjoint = np.zeros_like(self.drive.initial)
            begin = self._adjoint if rows is None else self._adjoint[found.index]
            gradient = self._settling.reverse(found, seeds, begin, inputs)
            if rows is not None:
                self._adjoint[found.index] = begin
            self._correction = found.equations.correction
        check_gradient(
            gradient,
            "a steady state is about to lose its stability, or the network is unstable; shrink W.",
        )
        return value, of_interest(gradient, inputs)

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        return self._solve(parameters)

    def _solve(self, parameters: Parameters, times: Array | None = None) -> Solution:
        with evaluation_of(self.problem):
            if times is None:
                return self._settling.find(parameters, self._all).solution
            return self._settling.through(parameters, times)

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """See `pycellbox.backends.protocol.Session.residuals_and_jacobian`."""
        if isinstance(self.equations, Lowering):
            return residuals_and_jacobian(self.problem, parameters, self._solve)
        with evaluation_of(self.problem):
            _, _, found = self._forward(parameters, None)

            def gradient(seeds: Array) -> Parameters:
                due = seeds[:, 0]
                return self._settling.reverse(found, due, np.zeros_like(due), False)

            return by_reverse(self.problem, found.solution.states, gradient)

    def warm(self) -> Parameters:
        """See `pycellbox.backends.protocol.Session.warm`."""
        found = {"states": self._states, "adjoint": self._adjoint, "correction": self._correction}
        return {name: array.copy() for name, array in found.items() if array is not None}

    def warm_up(self, state: Mapping[str, Array]) -> None:
        """See `pycellbox.backends.protocol.Session.warm_up`."""
        (c, n), optional = self._states.shape, ("adjoint", "correction")
        shapes = {"states": (c, n), "adjoint": (c, n), "correction": (n, n)}
        check_arrays(state, shapes, optional)
        found = {name: np.array(array) for name, array in state.items()}
        self._states = found["states"]
        self._adjoint, self._correction = found.get("adjoint"), found.get("correction")

    def _forward(
        self, parameters: Parameters, rows: Sequence[int] | Array | None
    ) -> tuple[float, Array, Settled]:
        problem = self.problem
        index = self._all if rows is None else np.asarray(rows)
        found = self._settling.find(parameters, index, self._states[index], self._correction)
        steady = found.solution
        self._states[index] = steady.states[:, -1]
        self._settled[index] = steady.settled
        with np.errstate(over="ignore", invalid="ignore"):
            value, seeds = loss_and_seeds(
                self.error, steady.states, problem.response[index], problem.weight[index]
            )
        if not np.isfinite(value):
            raise DivergenceError("the loss is not finite: the states are finite but too large.")
        return value, seeds[:, 0, :], found
