"""Problems of equations of the user's own, held by Julia."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pycellbox.backends.julia.expressed_steady import ExpressedSteady, course_of
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import (
    UNSTABLE,
    check_gradient,
    check_memory,
    labelled,
)
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START, Gradients
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.rest import Pretreatment
from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steps import fixed_steps
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import FixedStep, Gradient, Solver


class JuliaExpressedSession(PlainSession):
    """Losses, exact discrete gradients and Jacobians of an equation of the user's own."""

    def __init__(
        self, core: Any, problem: Problem, equations: Expressed, solver: Solver, loss: Loss,
        gradient: Gradient,
    ) -> None:  # fmt: skip
        self.problem, self.solver = problem, solver
        if isinstance(solver, FixedStep):
            steps = sum(count for count, _ in fixed_steps(solver, problem.times))
            stages, size = TABLEAUX[type(solver)].stages, problem.perturbation.nbytes
            check_memory(solver, steps, stages * size * steps, "jax")
        self._held = course_of(
            core, equations, solver, gradient, problem.perturbation, problem.times,
            problem.treatment, (problem.response, problem.weight, loss),
        )  # fmt: skip

    @property
    def settled(self) -> Array | None:
        """See `pycellbox.backends.protocol.Session.settled`."""
        return self._held.settled if isinstance(self._held, ExpressedSteady) else None

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        with labelled(self.problem.conditions):
            return self._held.solution(parameters)

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        index = None if rows is None else np.asarray(rows)
        self._begin(parameters, index)
        with self._explained(parameters, index):
            return self._held.course.value(index, prefix)

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.loss_and_gradient`."""
        held, treatment = self._held, self.problem.treatment
        index = None if rows is None else np.asarray(rows)
        rest = self._begin(parameters, index)
        with self._explained(parameters, index):
            found = held.value_and_gradient(index, prefix)
        value, of_parameters, of_inputs, of_initial = found
        gradient: dict[str, Array] = Gradients(held.scattered(of_parameters, index))
        before = None
        if rest is not None:
            of_rest, of_initial, before = rest.reverse(of_initial, None, inputs)
            for name, array in of_rest.items():
                gradient[name] = gradient[name] + array
        finite = all(np.isfinite(array).all() for array in (*gradient.values(), of_initial))
        if not finite:
            held.check_derivatives(parameters, self.problem.conditions)
        whole = {name: gradient[name] for name in held.equations.structure.model.parameters}
        if inputs:
            whole |= {START: of_initial, INPUT: of_inputs if treatment else of_inputs[:, 0]}
            if before is not None:
                whole[PRETREATMENT] = before
        check_gradient(whole, UNSTABLE)
        return value, whole

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """See `pycellbox.backends.protocol.Session.residuals_and_jacobian`."""
        held, free = self._held, self.problem.structure.layout.free
        rest = self._begin(parameters, None)
        with self._explained(parameters):
            if rest is None and held.direct:
                residuals, jacobian = held.jacobian(free)
            else:
                residuals, jacobian = self._by_reverse(rest)
        if not (np.isfinite(jacobian).all() and np.isfinite(residuals).all()):
            held.check_derivatives(parameters, self.problem.conditions)
            raise DivergenceError(f"the Jacobian is not finite: {UNSTABLE}")
        return residuals, jacobian

    def _by_reverse(self, rest: Pretreatment | None) -> tuple[Array, Array]:
        """Residuals and Jacobian row by row, where trajectories begin in what parameters decide."""
        problem, held, layout = self.problem, self._held, self.problem.structure.layout
        states, _ = held.course.states()
        residuals = (states - problem.response) * problem.weight
        measured = np.argwhere(problem.weight > 0)
        rows = np.empty((len(measured), layout.free.size), states.dtype)
        for row, place in zip(rows, map(tuple, measured), strict=True):
            of_parameters, of_initial = held.derivatives(place)
            gradient = Gradients(held.scattered(of_parameters, None))
            if rest is not None:
                for name, array in rest.reverse(of_initial, None, inputs=False)[0].items():
                    gradient[name] = gradient[name] + array
            row[:] = problem.weight[place] * layout.join(gradient)[layout.free]
        return residuals[problem.weight > 0], rows

    def _begin(self, parameters: Parameters, index: Array | None) -> Pretreatment | None:
        with labelled(self.problem.conditions, index):
            return self._held.begin(parameters, index)

    @contextmanager
    def _explained(self, parameters: Parameters, index: Array | None = None) -> Iterator[None]:
        """Name conditions by their labels, and which equation had no value, where that was it."""
        with labelled(self.problem.conditions, index), self._held.explained(parameters, index):
            yield
