"""Treatments made ready for the programs."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import programs
from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.plan import Evaluation, diffrax_steps, fitted, round_up
from pycellbox.backends.jax.plans import plan_of
from pycellbox.backends.jax.treated import Course, Method
from pycellbox.errors import BackendError
from pycellbox.models import Structure
from pycellbox.numerics.checks import lost
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START, Field, Gradients
from pycellbox.numerics.rest import Pretreatment
from pycellbox.numerics.segments import Piece, jumps, pieces
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep, Solver, Tsit5
from pycellbox.treatment import Treatment


class CoursePlan:
    """As `pycellbox.backends.jax.plan.Plan`, of the segments of a treatment.

    Parameters
    ----------
    structure : Structure
    solver : Solver
    treatment : Treatment
    times : ndarray, (t,)
    varied : bool
        Whether plans that differ in their times are to share programs.

    Raises
    ------
    BackendError
        The equations cannot be computed with JAX.
    """

    def __init__(
        self,
        structure: Structure,
        solver: Solver,
        treatment: Treatment,
        times: Array,
        *,
        varied: bool = False,
    ) -> None:
        self.structure, self.solver, self.treatment, self.times = (
            structure,
            solver,
            treatment,
            times,
        )
        inputs = [np.ascontiguousarray(u) for u in treatment.perturbation.swapaxes(0, 1)]
        # That of the first segment knows the equations.
        self.plan, self._varied = plan_of(structure, solver, inputs[0], times), varied
        self.equations, self.check = self.plan.equations, self.plan.check
        self.check_inputs = self.plan.check_inputs
        self._drives = [self.plan.drive, *(self.equations.drive(u) for u in inputs[1:])]
        self._jump = jumps(self.equations, treatment)
        self._before = None
        if treatment.pretreatment is not None:
            self._before = self.equations.drive(treatment.pretreatment)
        self.arrays = self._course(treatment, None)
        self._grids: dict[int, tuple[Method, Grid]] = {}
        # As many steps for every prefix, so that one program serves them all.
        self._count = 0
        if isinstance(solver, FixedStep):
            whole = self._fixed(solver, times.size).sizes
            self._longest, self._count = float(whole.max()), whole.size

    def evaluation(
        self, parameters: Parameters, drive: Course, rows: Array | None, prefix: int, driven: bool
    ) -> Evaluation:
        """See `pycellbox.backends.jax.plan.Plan.evaluation`."""
        treatment, given, course = self.treatment, self._given(parameters), self.arrays
        if rows is not None:
            treatment, given = treatment.rows(rows), given[rows]
            drive = course = self._course(treatment, rows)
        rest = self._at_rest(parameters, treatment, given, rows)
        own = np.isnan(given)
        first = self._drives[0] if rows is None else self._drives[0].rows(rows)
        start = self.plan.begun(parameters, first)
        begin = course.inputs.initial[0] if start is None else start.initial
        initial = np.where(own, begin, given)
        if rest is not None:
            own = own & ~treatment.pretreated[:, None]
            initial[rest.rows] = rest.rest.states
        prepared, jump = self.plan.prepared(parameters), course.jump
        course = course._replace(initial=initial)
        method, steps = self._steps(parameters, prepared, course, prefix)
        drive = drive._replace(initial=initial, own=own)
        u = treatment.perturbation.swapaxes(0, 1)

        def pull_back(slope: Any, to_course: Any) -> Parameters:
            gradient, (to_inputs, adjoint) = self.plan.gradient(slope, parameters), to_course
            more, before = Gradients(), None
            if start is not None:
                start.start_gradient(np.where(own, adjoint, 0), more)
            if rest is not None:
                of_rest, adjoint, before = rest.reverse(adjoint, jump, driven)
                gradient = {n: g + of_rest.get(n, 0) for n, g in gradient.items()}
            gradient = {n: g + more.get(n, 0) for n, g in gradient.items()}
            if driven:
                of_inputs = self.plan.input_gradient(to_inputs, u)[INPUT].swapaxes(0, 1)
                of_inputs[:, 0] += more.get(INPUT, 0)
                gradient |= {INPUT: of_inputs, START: adjoint}
                gradient |= {} if before is None else {PRETREATMENT: before}
            return gradient

        rested = None if rest is None else rest.rested(len(given))
        slopes = None if rest is not None else self.plan.start_slopes(start, given.shape, own)
        return Evaluation(method, prepared, drive, steps, pull_back, rested, slopes)

    def _given(self, parameters: Parameters) -> Array:
        """Where the conditions begin; NaN for the model's own state."""
        given: Array = parameters.get(START, self.treatment.initial)
        return given.astype(self.treatment.initial.dtype, copy=False)

    def _course(self, treatment: Treatment, rows: Array | None) -> Course:
        """Return the arrays of some conditions, with the initial state left open."""
        each = []
        for s, whole in enumerate(self._drives):
            drive = whole if rows is None else whole.rows(rows)
            moves = None if treatment.moves is None else treatment.moves[:, s]
            each.append(self.plan.inputs(drive, treatment.perturbation[:, s], moves))
        try:
            inputs = jax.tree.map(lambda *arrays: np.stack(arrays), *each)
        except ValueError as error:
            model = type(self.structure.model).__name__
            raise BackendError(
                f"the drives that the equations of {model} make of the phases differ in more than "
                "the numbers in their arrays, and the jax backend needs one program for all: "
                "backend='numpy' takes them as they are."
            ) from error
        jump = self._jump if self._jump is None or rows is None else self._jump[rows]
        return Course(inputs, None, None, jump)

    def _at_rest(
        self, parameters: Parameters, treatment: Treatment, given: Array, rows: Array | None
    ) -> Pretreatment | None:
        if self._before is None:
            return None
        before = self._before if rows is None else self._before.rows(rows)

        def integration(some: Array, field: Field) -> _Integration:
            return _Integration(self, parameters, some if rows is None else rows[some])

        return Pretreatment.of(self.equations, parameters, treatment, before, given, integration)

    def leading(self, parameters: Parameters, which: Array, time: float) -> CoursePlan:
        """Return the pre-treatment of some conditions as a course of its own."""
        assert self._before is not None
        assert self.treatment.pretreatment is not None
        given, drive = self._given(parameters)[which], self._before.rows(which)
        start = self.plan.begun(parameters, drive)
        own = drive.initial if start is None else start.initial
        held = self.treatment.held[which]
        treatment = Treatment(
            starts=np.zeros(1),
            perturbation=self.treatment.pretreatment[which, None],
            moves=~held[:, None] if self.treatment.held.any() else None,
            initial=np.where(np.isnan(given), own, given),
            pretreatment=None,
            pretreated=np.zeros(len(held), dtype=bool),
            held=held,
            fitted=np.full(held.shape, -1),
        )
        return CoursePlan(self.structure, self.solver, treatment, np.array([time]), varied=True)

    def _steps(
        self, parameters: Parameters, prepared: Any, course: Course, prefix: int
    ) -> tuple[Method, Grid]:
        """Return the steps through the first times, and the method with its parts."""
        if isinstance(self.solver, Tsit5):
            grid = self._adaptive(self.solver, parameters, prepared, course, prefix)
            return self._fitted(grid, round_up(grid.sizes.size))
        assert isinstance(self.solver, FixedStep)
        self.plan.check_steps(self.solver, self._longest, prepared)
        if prefix not in self._grids:
            grid = self._fixed(self.solver, prefix)
            count = round_up(self._count) if self._varied else self._count
            method, grid = self._fitted(grid, count)
            self._grids[prefix] = method, jax.tree.map(jax.numpy.asarray, grid)
        return self._grids[prefix]

    def _fitted(self, grid: Grid, count: int) -> tuple[Method, Grid]:
        method = Method(self.plan.method)  # type: ignore[arg-type]
        return fitted(method, grid, count, self.treatment.initial, self.times.size)

    def _pieces(self, prefix: int) -> list[Piece]:
        return pieces(self.treatment.starts, self.times[:prefix])

    def _fixed(self, solver: FixedStep, prefix: int) -> Grid:
        """Equal steps between requested times and breaks, as the NumPy backend's."""
        cut = self._pieces(prefix)
        grids = [(p, Grid.equal(solver, p.times, p.times.size)) for p in cut]
        return Grid.joined(grids, self.times.size)

    def _adaptive(
        self, solver: Tsit5, parameters: Parameters, prepared: Any, course: Course, prefix: int
    ) -> Grid:
        """Return the steps of Tsit5, which begins anew in each segment."""
        grids, x = [], course.initial.T
        starts, steps = self.treatment.starts, diffrax_steps()
        for piece in self._pieces(prefix):
            s, end = piece.segment, float(piece.times[-1])
            inputs = jax.tree.map(lambda array, s=s: array[s], course.inputs)
            if course.jump is not None:
                x = np.where(course.jump.T, inputs.initial.T, x)
            lengths = self.plan.lengths(solver, parameters, self._drives[s], end)
            # As many for every segment, so that one program serves them all.
            times = np.clip(self.times - starts[s], 0.0, end)
            arguments = prepared, inputs, None, times, times.size, lengths, x
            ends, x = steps.step_ends(solver, self.plan.method, *arguments)
            x = np.asarray(x)
            grids.append((piece, Grid.between(ends, piece.times, piece.times.size)))
        return Grid.joined(grids, self.times.size)


class _Integration:
    """See `pycellbox.numerics.rest.Integration`: all conditions at once, whoever is asked for."""

    def __init__(self, plan: CoursePlan, parameters: Parameters, conditions: Array) -> None:
        self._plan, self._parameters = plan, parameters
        # As many for every batch, so that one program serves them all.
        spare = max(int(plan.treatment.pretreated.sum()) - len(conditions), 0)
        self._conditions = np.concatenate([conditions, np.repeat(conditions[:1], spare)])

    def _ready(self, time: float, driven: bool) -> Evaluation:
        leading = self._plan.leading(self._parameters, self._conditions, time)
        parameters = {n: array for n, array in self._parameters.items() if n != START}
        return leading.evaluation(parameters, leading.arrays, None, 1, driven)

    def reached(self, rows: Array, time: float) -> tuple[Array, int]:
        """See `Integration.reached`."""
        with programs.float64():
            e = self._ready(time, False)
            method = e.method._replace(parts=1)
            found = programs.solution(method, e.parameters, e.drive, e.steps, 1)
            states = np.array(found)[rows, 0]
        finite = np.isfinite(states).all(axis=1)
        if not finite.all():
            raise lost(int(rows[np.argmin(finite)]), time)
        return states, int(np.count_nonzero(e.steps.sizes))

    def reverse(
        self, rows: Array, time: float, adjoint: Array, inputs: bool
    ) -> tuple[dict[str, Array], Array]:
        """See `Integration.reverse`."""
        with programs.float64():
            e = self._ready(time, inputs)
            seeds = np.zeros_like(e.drive.initial)
            seeds[rows] = adjoint
            arguments = e.method, e.parameters, e.drive, e.steps, seeds[:, None]
            slope, to_course = jax.tree.map(np.array, programs.back(*arguments, driven=inputs))
        gradient = e.pull_back(slope, to_course)
        gradient.pop(START, None)
        if inputs:
            gradient[INPUT] = gradient[INPUT][rows, 0]
        return gradient, to_course[1][rows]
