"""A problem with a treatment held by the NumPy backend."""

from __future__ import annotations

from dataclasses import replace

from pycellbox.backends.numpy.course import Course, Passage
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.backends.numpy.setting import evaluation
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START, Equations
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Solver
from pycellbox.treatment import Treatment


class NumpyCourseSession(NumpySession):
    """Losses and exact discrete gradients through the segments of a treatment."""

    def __init__(self, problem: Problem, solver: Solver, loss: Loss) -> None:
        assert problem.treatment is not None
        self.problem, self.solver, self.error = problem, solver, loss
        self.equations = equations_of(problem.structure)
        self._keeping = Course(self.equations, solver, problem.treatment, keep=True)
        self._keeping.check_memory(problem.times)
        self._passing = Course(self.equations, solver, problem.treatment, keep=False)

    def _through(
        self,
        parameters: Parameters,
        times: Array,
        index: Array | None,
        keep: bool,
        *,
        strict: bool = True,
    ) -> Passage:
        course = self._keeping if keep else self._passing
        return course.forward(parameters, times, index, strict=strict)

    def _ended(self, trajectory: Passage) -> Solution:
        return solution(trajectory)

    def _back(self, trajectory: Passage, seeds: Array, inputs: bool) -> Parameters:
        gradient = self._keeping.reverse(trajectory, seeds, inputs=inputs)
        return of_interest(gradient, inputs)


def of_interest(gradient: Parameters, inputs: bool) -> Parameters:
    """Leave the derivatives of inputs out of a gradient where they are not wanted."""
    if inputs:
        return gradient
    return {n: g for n, g in gradient.items() if n not in (INPUT, START, PRETREATMENT)}


def solution(passage: Passage) -> Solution:
    """Return what a passage comes to."""
    found = Solution.integrated(passage.states, passage.steps, passage.rested)
    faults = {k: f for t in passage.trajectories[::-1] for k, f in t.field.faults.items()}
    return replace(found, faults=faults)


def through_treatment(
    equations: Equations,
    solver: Solver,
    parameters: Parameters,
    treatment: Treatment,
    times: Array,
) -> Solution:
    """Integrate all conditions of a treatment."""
    course = Course(equations, solver, treatment, keep=False)
    with evaluation(*treatment.initial.shape):
        return solution(course.forward(parameters, times, strict=False))
