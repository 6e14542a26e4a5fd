"""Steady states of equations of the user's own, looked for by Julia."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.backends.julia.calls import Errand, address, call_locked
from pycellbox.backends.julia.course import JuliaCourse
from pycellbox.backends.julia.expressed_course import ExpressedCourse
from pycellbox.backends.julia.objects import default_gradient
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import ConditionError, lost
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.rest import Pretreatment
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import Gradient, Solver
from pycellbox.treatment import Treatment, check_horizon


class SteadyCourse(JuliaCourse):
    """Conditions of an equation with their steady states; the one time is the horizon."""

    def ends(self) -> tuple[Array, Array, Array]:
        """Which conditions settled; of the last evaluation, what is left and the steps; (c,)."""
        c, _, _ = self._shape
        settled, steps = np.empty(c, np.uint8), np.empty(c, np.int64)
        residual = np.empty(c, self.equation.dtype)
        places = map(address, (settled, residual, steps))
        call_locked(self._core.python_equation_ends, self.session, *places)
        return settled.astype(bool), residual, steps

    def derivatives(self, seeds: Array) -> tuple[Array, Array, Array]:
        """Those of Σ seeds·states, seeds (c, n), as of `value_and_gradient`, at what was found."""
        given, found, errand = self._to_derivatives
        given[...] = seeds
        errand.run()
        of_parameters, of_u, of_initial = found
        return of_parameters.copy(), self._of_inputs(of_u), of_initial.copy()

    @cached_property
    def _to_derivatives(self) -> tuple[Array, tuple[Array, Array, Array], Errand]:
        (c, _, n), dtype = self._shape, self.equation.dtype
        given: Array = np.empty((c, n), dtype)
        found = self._room_for_gradient(c)
        places = (address(array) for array in (given, *found))
        return given, found, Errand(self._core.python_equation_reverse, self.session, *places)


class ExpressedSteady(ExpressedCourse):
    """Steady states of conditions; those of the last segment, where they are treated.

    Parameters
    ----------
    core, equations, solver, gradient, perturbation, times, treatment, measured
        As of `ExpressedCourse`, the solver a `SteadyState`; the last time is the horizon.
    """

    _kind = SteadyCourse
    course: SteadyCourse

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
        self._lead: ExpressedCourse | None = None
        last, horizon = treatment, float(times[-1])
        if treatment is not None:
            check_horizon(treatment, horizon)
            start = float(treatment.starts[-1])
            horizon -= start
            if treatment.segments > 1 or treatment.pretreated.any():
                through = solver.through_time
                self._lead = ExpressedCourse(
                    core, equations, through, default_gradient(through), perturbation,
                    np.array([start]), treatment,
                )  # fmt: skip
            last = replace(
                treatment,
                starts=np.zeros(1),
                perturbation=perturbation[:, None],
                moves=~treatment.held[:, None] if treatment.held.any() else None,
                pretreatment=None,
                pretreated=np.zeros(len(perturbation), bool),
            )
        if measured is not None:
            response, weight, loss = measured
            measured = response[:, -1:], weight[:, -1:], loss
        super().__init__(
            core, equations, solver, gradient, perturbation, np.array([horizon]), last, measured
        )
        self.equation.need_gradient()
        self.direct = self._lead is None

    @property
    def settled(self) -> Array:
        """Which conditions settled in the last evaluation; bool, (c,)."""
        return self.course.ends()[0]

    def begin(self, parameters: Parameters, index: Array | None) -> Pretreatment | None:
        """See `ExpressedCourse.begin`."""
        if self._lead is None:
            return super().begin(parameters, index)
        rest, lead = self._lead.begin(parameters, index), self._lead.course
        with self._lead.explained(parameters, index):
            states = lead.states(index)[0][:, -1]
        for row in np.flatnonzero(~np.isfinite(states).all(axis=1)):
            raise lost(int(row), float(self._lead.times[-1]))
        self.course.set(lead.parameters[: len(states)], states)
        return rest

    def value_and_gradient(
        self, index: Array | None, prefix: int | None
    ) -> tuple[float, Array, Array, Array]:
        """See `ExpressedCourse.value_and_gradient`."""
        value, *found = super().value_and_gradient(index, prefix)
        return value, *self._to_beginning(index, *found)

    def derivatives(self, place: tuple[int, ...]) -> tuple[Array, Array]:
        """See `ExpressedCourse.derivatives`."""
        seeds = np.zeros_like(self._perturbation)
        seeds[place[0], place[2]] = 1
        of_parameters, _, of_initial = self._to_beginning(None, *self.course.derivatives(seeds))
        return of_parameters, of_initial

    def _to_beginning(
        self, index: Array | None, of_parameters: Array, of_inputs: Array, of_initial: Array
    ) -> tuple[Array, Array, Array]:
        """Carry the derivative with respect to where the last segment begins back to the first."""
        if self._lead is None:
            return of_parameters, of_inputs, of_initial
        course = self._lead.course
        (rows, _, n), segments = of_inputs.shape, course.segments
        whole: Array = np.zeros((rows, segments, n), of_inputs.dtype)
        if of_initial.any():  # something is conserved, or did not settle
            course.weight[...] = 0
            course.weight[slice(None) if index is None else index, 0] = of_initial
            _, before, whole, of_initial = course.value_and_gradient(index, None)
            of_parameters = of_parameters + before
        whole[:, -1:] += of_inputs
        return of_parameters, whole, of_initial

    def solution(self, parameters: Parameters) -> Solution:
        """See `ExpressedCourse.solution`."""
        self.begin(parameters, None)
        with self.explained(parameters, None):
            states, _ = self.course.states()
        return Solution.steady(states[:, -1], *self.course.ends())

    def check_derivatives(self, parameters: Parameters, conditions: Any) -> None:
        """See `ExpressedCourse.check_derivatives`; at the states that were found."""
        self.begin(parameters, None)
        states, _ = self.course.states()
        for row, state in enumerate(states[:, -1]):
            field, x = self._field(parameters, row)
            x[0] = state
            for fault in field.breaks(x).values():
                error = ConditionError(row, "the gradient of", f"is not finite at its end: {fault}")
                raise DivergenceError(error.of(repr(conditions[row])))


def course_of(
    core: Any,
    equations: Expressed,
    solver: Solver,
    gradient: Gradient,
    perturbation: Array,
    times: Array,
    treatment: Treatment | None,
    measured: tuple[Array, Array, Loss] | None = None,
) -> ExpressedCourse:
    """Return what integrates, or what settles: see `ExpressedCourse` and `ExpressedSteady`."""
    kind = ExpressedSteady if solver.steady else ExpressedCourse
    return kind(core, equations, solver, gradient, perturbation, times, treatment, measured)
