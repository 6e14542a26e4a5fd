"""A problem held by the NumPy backend: losses and exact discrete gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pycellbox.backends.numpy.integrate import Tape, Trajectory, integrate, reverse
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import UNSTABLE, check_gradient, check_memory
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.losses import loss_and_seeds
from pycellbox.numerics.lowering import Coefficients, Drive, Lowering
from pycellbox.numerics.steps import fixed_steps
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import FixedStep, Solver


class NumpySession:
    """A problem with its buffers."""

    def __init__(self, problem: Problem, solver: Solver, loss: Loss) -> None:
        self.problem, self.solver, self.loss = problem, solver, loss
        self.lowering = Lowering(problem.structure)
        self.drive = self.lowering.drive(problem.perturbation)
        self.envelope = envelope_kernel(problem.structure.model)
        self._kept = tape_for(problem.structure, solver, self.drive, keep=True)
        if isinstance(solver, FixedStep):
            steps = sum(count for count, _ in fixed_steps(solver, problem.times))
            check_memory(solver, steps, self._kept.bytes(steps))
        self._running = tape_for(problem.structure, solver, self.drive, keep=False)

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


def tape_for(structure: Structure, solver: Solver, drive: Drive, *, keep: bool) -> Tape:
    """Return a tape for the steps of a problem, kept for the way back or not."""
    conditions, nodes = drive.initial.shape
    with_z = envelope_kernel(structure.model).needs_z
    stages = TABLEAUX[type(solver)].stages
    return Tape(stages, conditions, nodes, drive.initial.dtype, keep, with_z)
