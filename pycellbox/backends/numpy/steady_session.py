"""A steady-state problem held with what the last evaluation found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pycellbox.backends.numpy.integrate import reverse
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.backends.numpy.steady import SteadyEquations, find, integrated
from pycellbox.backends.protocol import SteadyStates
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import check_gradient
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.losses import loss_and_seeds
from pycellbox.numerics.lowering import Coefficients, Lowering
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import SteadyState


class NumpySteadySession:
    """Loss at the steady state and its derivative by the implicit function theorem.

    The states, adjoints and inverse of one evaluation are the start of the next. That changes
    nothing but the time it takes: states are used only where the network has one steady state.
    """

    def __init__(self, problem: Problem, solver: SteadyState, loss: Loss) -> None:
        self.problem, self.solver, self.loss = problem, solver, loss
        self.lowering = Lowering(problem.structure)
        self.drive = self.lowering.drive(problem.perturbation)
        self.envelope = envelope_kernel(problem.structure.model)
        self._states = self.drive.initial.copy()
        self._adjoint: Array | None = None
        self._correction: Array | None = None
        self.settled = np.ones(len(problem.conditions), dtype=bool)

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.value`."""
        with evaluation(*self.problem.perturbation.shape):
            return self._forward(parameters, rows)[0]

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.value_and_gradient`."""
        with evaluation(*self.problem.perturbation.shape):
            value, seeds, equations, steady, index = self._forward(parameters, rows)
            gradient = self.lowering.pull_back(
                self._settled_gradient(equations, steady, seeds, index)
            )
            if not steady.settled.all():
                rest = np.flatnonzero(~steady.settled)
                integrated = self.lowering.pull_back(
                    self._integrated_gradient(equations, rest, seeds[rest])
                )
                gradient = {name: g + integrated[name] for name, g in gradient.items()}
        check_gradient(
            gradient,
            "a steady state is about to lose its stability, or the network is unstable; shrink W.",
        )
        return value, gradient

    def _forward(
        self, parameters: Parameters, rows: Sequence[int] | Array | None
    ) -> tuple[float, Array, SteadyEquations, SteadyStates, Array]:
        problem = self.problem
        index = np.arange(len(problem.conditions)) if rows is None else np.asarray(rows)
        drive = self.drive if rows is None else self.drive.rows(index)
        coefficients = self.lowering.coefficients(parameters)
        equations = SteadyEquations(self.solver, self.envelope, coefficients, drive)
        equations.correction = self._correction
        steady = find(equations, float(problem.times[-1]), self._states[index])
        self._states[index] = steady.states
        self.settled[index] = steady.settled
        states = steady.states[:, None, :]
        with np.errstate(over="ignore", invalid="ignore"):
            value, seeds = loss_and_seeds(
                self.loss, states, problem.response[index], problem.weight[index]
            )
        if not np.isfinite(value):
            raise DivergenceError("the loss is not finite: the states are finite but too large.")
        return value, seeds[:, 0, :], equations, steady, index

    def _settled_gradient(
        self, equations: SteadyEquations, steady: SteadyStates, seeds: Array, index: Array
    ) -> Coefficients:
        if self._adjoint is None:
            self._adjoint = np.zeros_like(self.drive.initial)
        if not steady.settled.all():
            keep = np.flatnonzero(steady.settled)
            equations, seeds, index = equations.rows(keep), seeds[keep], index[keep]
            states = steady.states[keep]
        else:
            states = steady.states
        adjoint = equations.adjoint(states, seeds, self._adjoint[index])
        self._adjoint[index] = adjoint.mu
        self._correction = equations.correction
        return equations.gradient(states, adjoint)

    def _integrated_gradient(
        self, equations: SteadyEquations, rows: Array, seeds: Array
    ) -> Coefficients:
        trajectory = integrated(equations.rows(rows), self.problem.times, keep=True)
        return reverse(trajectory, seeds[:, None, :])
