"""A problem held by the NumPy backend: losses and exact discrete gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pycellbox.backends.numpy.integrate import integrate, reverse
from pycellbox.backends.numpy.setting import evaluation, evaluation_of
from pycellbox.backends.numpy.tangents import along
from pycellbox.backends.numpy.tape import Tape
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import UNSTABLE, check_gradient, check_memory
from pycellbox.numerics.equations import Equations
from pycellbox.numerics.losses import loss_and_seeds
from pycellbox.numerics.lowering import Lowering, equations_of
from pycellbox.numerics.residuals import by_reverse, residuals_and_jacobian
from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steps import fixed_steps
from pycellbox.numerics.tableaux import stages_of
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import FixedStep, Solver


class NumpySession(PlainSession):
    """A problem with its buffers, its input constant from 0 on."""

    # The last whole trajectory of an equation, with its parameters, while its steps are on the
    # tape: least squares ask for residuals first, and for their derivative only where it is used.
    _last: tuple[Parameters, Any] | None = None

    def __init__(self, problem: Problem, solver: Solver, loss: Loss) -> None:
        self.problem, self.solver, self.error = problem, solver, loss
        self.equations = equations_of(problem.structure)
        self.drive = self.equations.drive(problem.perturbation)
        self._kept = tape_for(self.equations, solver, self.drive.initial, keep=True)
        if isinstance(solver, FixedStep):
            steps = sum(count for count, _ in fixed_steps(solver, problem.times))
            check_memory(solver, steps, self._kept.bytes(steps))
        self._running = tape_for(self.equations, solver, self.drive.initial, keep=False)

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        return self._solve(parameters)

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
            value, seeds, trajectory = self._forward(parameters, rows, True, prefix)
            gradient = self._reversed(parameters, trajectory, seeds, inputs)
        check_gradient(gradient, UNSTABLE)
        return value, gradient

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        with evaluation_of(self.problem, rows):
            return self._forward(parameters, rows, False, prefix)[0]

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """See `pycellbox.backends.protocol.Session.residuals_and_jacobian`."""
        if isinstance(self.equations, Lowering):
            return residuals_and_jacobian(self.problem, parameters, self._solve)
        with evaluation_of(self.problem):
            trajectory = self._whole(parameters)
            self._ended(trajectory).check(self.problem.conditions, self.problem.times)
            slopes = along(trajectory)
            if slopes is None:
                return self._by_reverse(parameters, trajectory)
            problem, measured = self.problem, self.problem.weight > 0
            rows = slopes[measured][:, problem.structure.layout.free]
            if not np.isfinite(rows).all():
                trajectory.check_derivatives()
                raise DivergenceError(f"the Jacobian is not finite: {UNSTABLE}")
        residual = ((trajectory.states - problem.response) * problem.weight)[measured]
        return residual, rows * problem.weight[measured][:, None]

    def _whole(self, parameters: Parameters) -> Any:
        """Integrate all conditions, finite or not, with what derivatives need."""
        if self._last is not None:
            known = self._last[0]
            if all(np.array_equal(array, known[name]) for name, array in parameters.items()):
                return self._last[1]
        self._last = None
        found = self._through(parameters, self.problem.times, None, True, strict=False)
        self._last = {name: array.copy() for name, array in parameters.items()}, found
        return found

    def _ended(self, trajectory: Any) -> Solution:
        """Return what a trajectory comes to."""
        found = Solution.integrated(trajectory.states, len(trajectory.tape.sizes))
        return replace(found, faults=trajectory.field.faults)

    def _solve(self, parameters: Parameters, times: Array | None = None) -> Solution:
        with evaluation_of(self.problem):
            if times is None and not isinstance(self.equations, Lowering):
                return self._ended(self._whole(parameters))
            times = self.problem.times if times is None else times
            return self._ended(self._through(parameters, times, None, False, strict=False))

    def _by_reverse(self, parameters: Parameters, trajectory: Any) -> tuple[Array, Array]:
        def gradient(seeds: Array) -> Parameters:
            return self._reversed(parameters, trajectory, seeds)

        return by_reverse(self.problem, trajectory.states, gradient)

    def _reversed(
        self, parameters: Parameters, trajectory: Any, seeds: Array, inputs: bool = False
    ) -> Parameters:
        gradient = self._back(trajectory, seeds, inputs)
        if parameters.keys() <= gradient.keys():
            return gradient
        # A time of 0 takes no steps, and what they do not reach has a derivative of zero.
        return {name: np.zeros_like(array) for name, array in parameters.items()} | gradient

    def _back(self, trajectory: Any, seeds: Array, inputs: bool) -> Parameters:
        return reverse(trajectory, seeds, inputs)

    def _through(
        self,
        parameters: Parameters,
        times: Array,
        index: Array | None,
        keep: bool,
        *,
        strict: bool = True,
    ) -> Any:
        """Integrate some of the conditions, or all, with what `_back` needs if ``keep``."""
        drive = self.drive if index is None else self.drive.rows(index)
        field = self.equations.field(parameters, drive)
        tape = self._kept if keep else self._running
        return integrate(self.solver, field, times, tape, strict=strict)

    def _forward(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None,
        keep: bool,
        prefix: int | None = None,
    ) -> tuple[float, Array, Any]:
        problem, times = self.problem, self.problem.times[:prefix]
        response, weight = problem.response[:, :prefix], problem.weight[:, :prefix]
        index = None
        if rows is not None:
            index = np.asarray(rows)
            response, weight = response[index], weight[index]
        if keep:
            self._last = None
        trajectory = self._through(parameters, times, index, keep)
        with np.errstate(over="ignore", invalid="ignore"):
            value, seeds = loss_and_seeds(self.error, trajectory.states, response, weight)
        if not np.isfinite(value):
            raise DivergenceError("the loss is not finite: the trajectory is finite but too large.")
        return value, seeds, trajectory


def trajectories(
    equations: Equations,
    solver: Solver,
    parameters: Parameters,
    drive: object,
    times: Array,
) -> Solution:
    """Integrate all conditions of a drive."""
    field = equations.field(parameters, drive)
    tape = tape_for(equations, solver, field.initial, keep=False)
    with evaluation(*field.initial.shape):
        found = integrate(solver, field, times, tape, strict=False)
    return replace(Solution.integrated(found.states, len(tape.sizes)), faults=field.faults)


def tape_for(equations: Equations, solver: Solver, initial: Array, *, keep: bool) -> Tape:
    """Return a tape for the steps of a problem, kept for the way back or not."""
    with_z = isinstance(equations, Lowering) and equations.envelope.needs_z
    conditions, nodes = initial.shape
    return Tape(stages_of(solver), conditions, nodes, initial.dtype, keep, with_z)
