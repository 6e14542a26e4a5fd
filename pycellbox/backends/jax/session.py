"""A problem held by the JAX backend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import programs
from pycellbox.backends.jax.course import CoursePlan
from pycellbox.backends.jax.plan import Evaluation, Plan
from pycellbox.backends.jax.plans import NetworkPlan, plan_of
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import UNSTABLE, check_gradient, labelled, lost
from pycellbox.numerics.faults import check_derivatives, fault, stepped
from pycellbox.numerics.residuals import residuals_and_jacobian
from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Solver


class JaxSession(PlainSession):
    """A problem whose arrays lie on the device."""

    def __init__(
        self, problem: Problem, solver: Solver, loss: Loss, solve: Callable[..., Solution]
    ) -> None:
        self.problem, self.error, self._solve = problem, loss, solve
        self._plan: Plan | CoursePlan
        if problem.treatment is None:
            self._plan = plan_of(problem.structure, solver, problem.perturbation, problem.times)
        else:
            self._plan = CoursePlan(problem.structure, solver, problem.treatment, problem.times)
        with programs.float64():
            # Copies: JAX may otherwise use an array's memory, which is the caller's to change.
            self._data = programs.Data(
                *jax.tree.map(
                    jax.numpy.array, (self._plan.arrays, problem.response, problem.weight)
                )
            )

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.loss_and_gradient`."""
        if inputs:
            self._plan.check_inputs()
        program = functools.partial(programs.value_and_gradient, driven=inputs)
        with labelled(self.problem.conditions, _index(rows)):
            ready, (outcome, *found) = self._run(program, parameters, rows, prefix, inputs)
            value = self._checked(ready, outcome, prefix)
            gradient = ready.pull_back(*found)
            at_start = [] if ready.start is None else [found[1][1]]
            _check_derivatives(ready, gradient, *at_start)
        return value, gradient

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        with labelled(self.problem.conditions, _index(rows)):
            return self._checked(*self._run(programs.value, parameters, rows, prefix), prefix)

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        with labelled(self.problem.conditions):
            return solved(self._plan, self._data.drive, parameters)

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """See `pycellbox.backends.protocol.Session.residuals_and_jacobian`."""
        if isinstance(self._plan, NetworkPlan):
            return residuals_and_jacobian(self.problem, parameters, self._at)
        with labelled(self.problem.conditions):
            with programs.float64():
                used = self.problem.times.size
                ready = self._plan.evaluation(parameters, self._data.drive, None, used, False)
            forward = ready.start_slopes is not None
            states, jacobian = (self._forward if forward else self._by_reverse)(ready)
        measured, weight = self.problem.weight > 0, self.problem.weight
        residual = ((states - self.problem.response) * weight)[measured]
        return residual, jacobian

    def _at(self, parameters: Parameters, times: Array | None = None) -> Solution:
        p, grid = self.problem, self.problem.times if times is None else times
        return self._solve(
            p.structure, self._plan.solver, parameters, p.perturbation, grid, p.treatment
        )

    def _forward(self, ready: Evaluation) -> tuple[Array, Array]:
        """States, and the Jacobian by derivatives forward in time, along all parameters at once."""
        problem, layout = self.problem, self.problem.structure.layout
        dtype, used = problem.response.dtype, problem.times.size
        assert ready.start_slopes is not None
        basis = layout.split(np.eye(layout.size, dtype=dtype)[layout.free])
        start = ready.start_slopes()[:, :, layout.free].astype(dtype, copy=False)
        with programs.float64():
            arguments = ready.parameters, ready.drive, ready.steps, used, basis, start
            found = programs.tangents(ready.method.forwards(), *arguments)
        states, slopes = jax.tree.map(np.array, found)
        self._check(ready, np.isfinite(states).all(axis=(1, 2)), used)
        measured = problem.weight > 0
        jacobian = slopes[measured] * problem.weight[measured][:, None]
        bad = np.flatnonzero(~np.isfinite(jacobian).all(axis=0))
        if bad.size:
            at = layout.free[bad[0]]
            name = next(name for name, place in layout.places.items() if at < place.stop)
            _check_derivatives(ready, {name: np.array(np.nan)})
        return states, jacobian

    def _by_reverse(self, ready: Evaluation) -> tuple[Array, Array]:
        """States, and the Jacobian row by row: one reverse sweep for each residual."""
        problem, layout, used = self.problem, self.problem.structure.layout, self.problem.times.size
        entries = np.argwhere(problem.weight > 0).astype(np.int32)
        with programs.float64():
            data = self._data._replace(drive=ready.drive)
            found = programs.jacobian(ready.method, ready.parameters, data, ready.steps, entries)
        states, rows = jax.tree.map(np.array, found)
        self._check(ready, np.isfinite(states).all(axis=(1, 2)), used)
        jacobian = np.empty((len(entries), layout.free.size), states.dtype)
        for i, row in enumerate(jacobian):
            gradient = ready.pull_back(*jax.tree.map(lambda array, i=i: array[i], rows))
            _check_derivatives(ready, gradient)
            row[:] = layout.join(gradient)[layout.free]
        return states, jacobian

    def _check(self, ready: Evaluation, finite: Array, used: int) -> None:
        """Raise if a condition's states are not finite, and say which equation had no value."""
        if ready.start is not None and not finite.all():
            row, end = int(np.argmin(finite)), float(self.problem.times[used - 1])
            sizes = np.asarray(ready.steps.sizes)
            why = fault(ready.start, ready.method.tableau, sizes, row)
            raise lost(row, end, why)
        self._plan.check(finite, used)

    def _run(
        self,
        program: Any,
        parameters: Parameters,
        rows: Sequence[int] | Array | None,
        prefix: int | None,
        driven: bool = False,
    ) -> tuple[Evaluation, Any]:
        used, index = self._used(prefix), _index(rows)
        with programs.float64():
            ready = self._plan.evaluation(parameters, self._data.drive, index, used, driven)
            data = self._data._replace(drive=ready.drive)
            arguments = ready.parameters, data, index, ready.steps, np.int32(used)
            outcome = program(ready.method, self.error, *arguments)
        return ready, jax.tree.map(np.array, outcome)  # copies, the caller's own

    def _used(self, prefix: int | None) -> int:
        """Return how many times count; a prefix is meant as the end of a slice."""
        return len(range(self.problem.times.size)[:prefix])

    def _checked(self, ready: Evaluation, outcome: programs.Outcome, prefix: int | None) -> float:
        value = float(outcome.value)
        if not np.isfinite(value):
            self._check(ready, np.asarray(outcome.finite), self._used(prefix))
            raise DivergenceError("the loss is not finite: the trajectory is finite but too large.")
        return value


def _check_derivatives(ready: Evaluation, gradient: Parameters, *others: Array) -> None:
    """Raise if one is not finite, and say which equation has none where that can be found."""
    fine = all(np.isfinite(array).all() for array in (*gradient.values(), *others))
    if ready.start is not None and not fine:
        way = stepped(ready.start, ready.method.tableau, np.asarray(ready.steps.sizes))
        check_derivatives(ready.start, way)
    check_gradient(gradient, UNSTABLE)


def _index(rows: Sequence[int] | Array | None) -> Array | None:
    return None if rows is None else np.asarray(rows, dtype=np.int32)


def solved(plan: Plan | CoursePlan, drive: Any, parameters: Parameters) -> Solution:
    """Solve the conditions of a plan; ``drive`` are its arrays, maybe on the device."""
    times = plan.times.size
    with programs.float64():
        ready = plan.evaluation(parameters, drive, None, times, False)
        method, steps = ready.method._replace(parts=1), ready.steps
        found = programs.solution(method, ready.parameters, ready.drive, steps, times)
        states = jax.device_get(found)
    count = int(np.count_nonzero(steps.sizes))
    return Solution.integrated(np.array(states, order="C"), count, ready.rested)
