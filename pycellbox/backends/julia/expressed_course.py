"""The equations of conditions, treated or not, as Julia integrates them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from pycellbox.backends.julia.course import JuliaCourse
from pycellbox.backends.julia.equations import JuliaEquation
from pycellbox.backends.julia.objects import julia_solver
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import ConditionError, lost
from pycellbox.numerics.equations import INPUT, START, Field
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.rest import Pretreatment
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import Gradient, Solver
from pycellbox.treatment import Treatment

_NUMBERED = re.compile(r" condition number (\d+) ")


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
        starts, u, moves = None, perturbation[:, None], None
        if treatment is not None:
            starts, u, moves = treatment.starts, treatment.perturbation, treatment.moves
        self._made = functools.partial(
            self._kind, core, self.equation, self._solver, times, starts, u, moves
        )
        self.course = self._made(*self._nothing if measured is None else measured)
        self._drive = equations.drive(perturbation)
        self._index = equations.shares.index(self._drive.members)

    _kind: type[JuliaCourse] = JuliaCourse
    direct = True
    """Whether where the course begins depends on parameters by the equation's own start alone."""

    @property
    def _nothing(self) -> tuple[Array, Array, None]:
        """What is measured where weights are to be derivatives of something else."""
        shape = (len(self._perturbation), self.times.size, self._perturbation.shape[1])
        nothing = np.zeros(shape, self._perturbation.dtype)
        return nothing, nothing.copy(), None

    def begin(self, parameters: Parameters, index: Array | None) -> Pretreatment | None:
        """Set parameters and starts; what pre-treated conditions began from."""
        rows = np.arange(len(self._perturbation)) if index is None else index
        gathered = self.equations.shares.gather(parameters, self._index[rows])
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

    def value_and_gradient(
        self, index: Array | None, prefix: int | None
    ) -> tuple[float, Array, Array, Array]:
        """See `JuliaCourse.value_and_gradient`."""
        return self.course.value_and_gradient(index, prefix)

    @functools.cached_property
    def _alone(self) -> JuliaCourse:
        """The same course, for derivatives of one entry at a time."""
        return self._made(*self._nothing)

    def derivatives(self, place: tuple[int, ...]) -> tuple[Array, Array]:
        """Return those of one entry (c, t, n) of the states of the last evaluation.

        By the parameters of each condition, (c, p), and by where it begins, (c, n).
        """
        alone = self._alone
        alone.set(self.course.parameters, self.course.initial)
        alone.weight[...] = 0
        alone.weight[place] = 1
        _, of_parameters, _, of_initial = alone.value_and_gradient(None, None)
        return of_parameters, of_initial

    def scattered(self, gradients: Array, index: Array | None) -> Parameters:
        """Return derivatives by all parameters of those by conditions, (rows, p)."""
        own = self._index if index is None else self._index[index]
        return self.equations.shares.scatter(gradients, own)

    def jacobian(self, free: Array) -> tuple[Array, Array]:
        """Residuals of the measured entries, and their derivatives by free entries of θ."""
        shares = self.equations.shares
        if not shares.along:
            return self.course.jacobian(free)
        residuals, own = self.course.jacobian(np.arange(self.equation.size))
        condition = np.nonzero(self.course.weight > 0)[0]
        whole = np.zeros((len(own), shares.layout.size), own.dtype)
        np.put_along_axis(whole, self._index[condition], own, axis=1)
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

    @contextmanager
    def explained(self, parameters: Parameters, index: Array | None) -> Iterator[None]:
        """Say of which condition an error is, and which equation had no value, if that was it."""
        try:
            yield
        except DivergenceError as error:
            text = str(error)
            if (fault := self.fault(parameters, index)) is not None:
                row, why = fault
                before = text.partition(": ")[0]
                named = "" if _NUMBERED.search(before) else f"in condition number {row + 1} "
                text = f"{before}: {named}{why}"
            if (found := _NUMBERED.search(text)) is None:
                raise
            before, after = text[: found.start()], text[found.end() :]
            raise ConditionError(int(found[1]) - 1, before, after) from None

    def solution(self, parameters: Parameters) -> Solution:
        """Return states, and how each condition ended."""
        rest = self.begin(parameters, None)
        states, steps = self.course.states()
        rested = None if rest is None else rest.rested(len(states))
        found = Solution.integrated(states, steps, rested)
        fault = self.fault(parameters, None) if found.diverged.any() else None
        return found if fault is None else replace(found, faults=dict([fault]))

    def _field(self, parameters: Parameters, row: int) -> tuple[Any, Array]:
        drive = self._drive.rows(np.array([row]))
        return self.equations.field(parameters, drive), np.zeros_like(drive.initial)

    def check_derivatives(self, parameters: Parameters, conditions: Sequence[str]) -> None:
        """Raise if an equation has no derivative at the states of the times, or where it begins."""
        self.begin(parameters, None)
        states, _ = self.course.states()
        for label, times, row in zip(conditions, states, range(len(states)), strict=True):
            field, x = self._field(parameters, row)
            begin, which = field.initial[0], f"the gradient of condition {label!r} is not finite"
            for fault in field.start_breaks().values():
                raise DivergenceError(f"{which} at its beginning: {fault}")
            for time, state in zip((0.0, *self.times), (begin, *times), strict=True):
                x[0] = state
                for fault in field.breaks(x).values():
                    raise DivergenceError(f"{which} at t = {time:g}: {fault}")


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
            core, owner.equation, owner._solver, np.array([time]), None, u,
            None if self._moves is None else self._moves[rows], nothing,
            nothing if weight is None else weight[:, None], None,
        )  # fmt: skip
        course.set(self._parameters[rows], self._field.initial[rows])
        return course

    def reached(self, rows: Array, time: float) -> tuple[Array, int]:
        """See `Integration.reached`."""
        states, steps = self._course(rows, time, None).states()
        if not np.isfinite(states).all():
            row = int(np.argmax(~np.isfinite(states).all(axis=(1, 2))))
            raise lost(int(rows[row]), time)
        return states[:, -1], steps

    def reverse(
        self, rows: Array, time: float, adjoint: Array, inputs: bool
    ) -> tuple[dict[str, Array], Array]:
        """See `Integration.reverse`."""
        course, count = self._course(rows, time, adjoint), max(np.count_nonzero(adjoint), 1)
        _, of_parameters, of_inputs, of_initial = course.value_and_gradient(None, None)
        gradient = self._owner.scattered(count * of_parameters, self._rows[rows])
        return gradient | {INPUT: count * of_inputs[:, 0]}, count * of_initial
