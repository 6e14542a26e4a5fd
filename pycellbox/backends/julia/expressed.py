"""Problems of equations of the user's own, held by Julia."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pycellbox.backends.julia.course import JuliaCourse
from pycellbox.backends.julia.equations import JuliaEquation
from pycellbox.backends.julia.objects import julia_loss, julia_solver
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import UNSTABLE, check_gradient, check_memory, not_finite
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START, Field, Gradients
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.rest import Pretreatment
from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steps import fixed_steps
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import FixedStep, Gradient, Solver
from pycellbox.treatment import Treatment


class ExpressedCourse:
    """The equations of conditions, treated or not, through times.

    Parameters
    ----------
    core : Julia module
    equations : Expressed
    solver : Solver
        Through time.
    gradient : str
    perturbation : ndarray, (c, n)
    times : ndarray, (t,)
    treatment : Treatment or None
    measured : tuple (response, weight, loss), optional
        (c, t, n) both, where losses are wanted.
    """

    def __init__(
        self,
        core: Any,
        equations: Expressed,
        solver: Solver,
        gradient: Gradient,
        perturbation: Array,
        times: Array,
        treatment: Treatment | None,
        measured: tuple[Array, Array, Loss] | None = None,
    ) -> None:
        self._core, self.equations, self.treatment, self.times = core, equations, treatment, times
        self._perturbation = perturbation
        self.equation = JuliaEquation(core, equations, perturbation.dtype)
        self._solver = julia_solver(core, solver, gradient)
        shape = (len(perturbation), times.size, perturbation.shape[1])
        nothing = np.zeros(shape, perturbation.dtype)
        starts, u, moves = None, perturbation[:, None], None
        if treatment is not None:
            starts, u, moves = treatment.starts, treatment.perturbation, treatment.moves
        given = (nothing, nothing.copy(), None) if measured is None else measured
        handed = julia_loss(core, given[2])
        self.course = JuliaCourse(
            core, self.equation, self._solver, handed, times, starts, u, moves, *given[:2]
        )
        self._drive = equations.drive(perturbation)

    def begin(self, parameters: Parameters, index: Array | None) -> Pretreatment | None:
        """Set parameters and starts; what pre-treated conditions began from."""
        rows = np.arange(len(self._perturbation)) if index is None else index
        gathered = self.equations.shares.gather(parameters, self._perturbation[rows])
        treatment, given, rest = self.treatment, None, None
        if treatment is not None:
            given = parameters.get(START, treatment.initial)[rows]
            if treatment.pretreatment is not None:
                rest = Pretreatment.of(
                    self.equations,
                    parameters,
                    treatment.rows(rows),
                    self.equations.drive(treatment.pretreatment[rows]),
                    given,
                    lambda some, field: _Settling(self, gathered[some], rows[some], field),
                )
            if rest is not None:
                given = given.copy()
                given[rest.rows] = rest.rest.states
        self.course.set(gathered, given)
        return rest

    def scattered(self, gradients: Array, index: Array | None) -> Parameters:
        """Return derivatives by all parameters of those by conditions, (rows, p)."""
        u = self._perturbation if index is None else self._perturbation[index]
        return self.equations.shares.scatter(gradients, u)

    def jacobian(self, free: Array) -> tuple[Array, Array]:
        """Residuals of the measured entries, and their derivatives by free entries of θ."""
        shares = self.equations.shares
        if not shares.along:
            return self.course.jacobian(free)
        residuals, own = self.course.jacobian(np.arange(self.equation.size))
        condition = np.nonzero(self.course.weight > 0)[0]
        index = shares.index(shares.members(self._perturbation))[condition]
        whole = np.zeros((len(own), shares.layout.size), own.dtype)
        np.put_along_axis(whole, index, own, axis=1)
        return residuals, whole[:, free]

    def fault(self, parameters: Parameters, index: Array | None) -> tuple[int, str] | None:
        """Row and words of an equation that had no value in the last integration."""
        if (found := self.course.fault()) is None:
            return None
        row, state = found
        field, x = self._field(parameters, row if index is None else int(index[row]))
        x[0, self.equations.states] = state
        field.value(x)
        return (row, field.faults[0]) if 0 in field.faults else None

    def _field(self, parameters: Parameters, row: int) -> tuple[Any, Array]:
        drive = self._drive.rows(np.array([row]))
        return self.equations.field(parameters, drive), np.zeros_like(drive.initial)

    def broken(self, parameters: Parameters) -> str:
        """Say which equation has no derivative at the states, where that is so; else nothing."""
        states, _ = self.course.states()
        for row, times in enumerate(states):
            field, x = self._field(parameters, row)
            begin = field.initial[0] if self.treatment is None else times[0]
            for time, state in zip((0.0, *self.times), (begin, *times), strict=True):
                x[0] = state
                for fault in field.breaks(x).values():
                    where = f"condition number {row + 1} is not finite at t = {time:g}"
                    return f"the gradient of {where}: {fault}"
        return ""


class _Settling:
    """See `pycellbox.numerics.rest.Integration`: pre-treated conditions on the way to rest."""

    def __init__(
        self, owner: ExpressedCourse, parameters: Array, rows: Array, field: Field
    ) -> None:
        self._owner, self._parameters, self._rows, self._field = owner, parameters, rows, field
        assert owner.treatment is not None
        assert owner.treatment.pretreatment is not None
        self._u = owner.treatment.pretreatment[rows][:, None]
        held = owner.treatment.held
        self._moves = ~held[rows][:, None] if held.any() else None

    def _course(self, rows: Array, time: float, weight: Array | None) -> JuliaCourse:
        owner, u = self._owner, self._u[rows]
        nothing, core = np.zeros_like(u), owner._core
        course = JuliaCourse(
            core, owner.equation, owner._solver, julia_loss(core, None), np.array([time]), None,
            u, None if self._moves is None else self._moves[rows], nothing,
            nothing if weight is None else weight[:, None],
        )  # fmt: skip
        course.set(self._parameters[rows], self._field.initial[rows])
        return course

    def reached(self, rows: Array, time: float) -> tuple[Array, int]:
        """See `Integration.reached`."""
        states, steps = self._course(rows, time, None).states()
        if not np.isfinite(states).all():
            row = int(np.argmax(~np.isfinite(states).all(axis=(1, 2))))
            raise DivergenceError(not_finite(f"number {row + 1}", time))
        return states[:, -1], steps

    def reverse(
        self, rows: Array, time: float, adjoint: Array, inputs: bool
    ) -> tuple[dict[str, Array], Array]:
        """See `Integration.reverse`."""
        course, count = self._course(rows, time, adjoint), max(np.count_nonzero(adjoint), 1)
        _, of_parameters, of_inputs, of_initial = course.value_and_gradient(None, None)
        gradient = self._owner.scattered(count * of_parameters, self._rows[rows])
        return gradient | {INPUT: count * of_inputs[:, 0]}, count * of_initial


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
            check_memory(solver, steps, stages * size * steps)
        self._alone = functools.partial(
            ExpressedCourse, core, equations, solver, gradient, problem.perturbation,
            problem.times, problem.treatment,
        )  # fmt: skip
        self._held = self._alone((problem.response, problem.weight, loss))

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        return solution(self._held, parameters)

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        index = None if rows is None else np.asarray(rows)
        self._held.begin(parameters, index)
        try:
            return self._held.course.value(index, prefix)
        except DivergenceError as error:
            raise self._explained(error, parameters, index) from None

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
        rest = held.begin(parameters, index)
        try:
            found = held.course.value_and_gradient(index, prefix)
        except DivergenceError as error:
            raise self._explained(error, parameters, index) from None
        value, of_parameters, of_inputs, of_initial = found
        gradient: dict[str, Array] = Gradients(held.scattered(of_parameters, index))
        before = None
        if rest is not None:
            of_rest, of_initial, before = rest.reverse(of_initial, None, inputs)
            for name, array in of_rest.items():
                gradient[name] = gradient[name] + array
        finite = all(np.isfinite(array).all() for array in (*gradient.values(), of_initial))
        if not finite and (why := held.broken(parameters)):
            raise DivergenceError(why)
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
        rest = held.begin(parameters, None)
        try:
            residuals, jacobian = held.jacobian(free)
            if rest is not None:
                jacobian = self._by_reverse(parameters)
        except DivergenceError as error:
            raise self._explained(error, parameters, None) from None
        if not (np.isfinite(jacobian).all() and np.isfinite(residuals).all()):
            raise DivergenceError(
                held.broken(parameters) or f"the Jacobian is not finite: {UNSTABLE}"
            )
        return residuals, jacobian

    def _by_reverse(self, parameters: Parameters) -> Array:
        """Jacobian row by row, where what the trajectories begin from depends on parameters."""
        problem, layout, alone = self.problem, self.problem.structure.layout, self._alone()
        rest, weight = alone.begin(parameters, None), alone.course.weight
        assert rest is not None
        measured = np.argwhere(problem.weight > 0)
        rows = np.empty((len(measured), layout.free.size), weight.dtype)
        for row, place in zip(rows, map(tuple, measured), strict=True):
            weight[place] = problem.weight[place]
            _, of_parameters, _, of_initial = alone.course.value_and_gradient(None, None)
            weight[place] = 0
            gradient = Gradients(alone.scattered(of_parameters, None))
            for name, array in rest.reverse(of_initial, None, inputs=False)[0].items():
                gradient[name] = gradient[name] + array
            row[:] = layout.join(gradient)[layout.free]
        return rows

    def _explained(
        self, error: DivergenceError, parameters: Parameters, index: Array | None
    ) -> DivergenceError:
        """Say which equation had no value, where that was it."""
        if (fault := self._held.fault(parameters, index)) is None:
            return error
        before, _, _ = str(error).partition(": ")
        return DivergenceError(f"{before}: of condition number {fault[0] + 1}, {fault[1]}")


def solution(held: ExpressedCourse, parameters: Parameters) -> Solution:
    """Return states, and how each condition ended."""
    rest = held.begin(parameters, None)
    states, steps = held.course.states()
    rested = None if rest is None else rest.rested(len(states))
    found = Solution.integrated(states, steps, rested)
    fault = held.fault(parameters, None) if found.diverged.any() else None
    return found if fault is None else replace(found, faults=dict([fault]))
