"""Steady states of a problem: those of the last segment, where its conditions are treated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pycellbox.backends.numpy.course import Course, Passage
from pycellbox.backends.numpy.course_session import through_treatment
from pycellbox.backends.numpy.session import trajectories
from pycellbox.backends.numpy.steady import find, integration_of
from pycellbox.numerics.checks import ConditionError
from pycellbox.numerics.equations import (
    INPUT,
    PRETREATMENT,
    START,
    Equations,
    Field,
    Gradients,
)
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.search import steady_equations
from pycellbox.numerics.segments import begun
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.numerics.steady_field import SteadyField
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import SteadyState
from pycellbox.treatment import Treatment, check_horizon


@dataclass(frozen=True)
class Settled:
    """Steady states of some conditions, and what led to them.

    Attributes
    ----------
    equations : SteadyEquations or SteadyField
    solution : Solution
    index : ndarray of int
        Which conditions.
    passage : Passage or None
        Through the segments before the last, where that decided which state they settle in.
    given : ndarray, (c, n), or None
        The state where the integration starts, of a treatment.
    """

    equations: SteadyEquations | SteadyField
    solution: Solution
    index: Array
    passage: Passage | None
    given: Array | None

    def check_derivatives(self) -> None:
        """Raise if an equation or observable has no derivative at a state that was found."""
        for row, fault in self.equations.field.breaks(self.solution.states[:, -1]).items():
            after = f"is not finite at its end: {fault}"
            raise ConditionError(row, "the gradient of", after)


class Settling:
    """What settles, made once for many evaluations.

    Parameters
    ----------
    equations : Equations
    solver : SteadyState
    perturbation : ndarray, (c, n)
        In the last segment.
    treatment : Treatment or None
    horizon : float
        To which conditions are integrated that do not settle.
    keep : bool
        Whether gradients will be wanted.
    """

    def __init__(
        self,
        equations: Equations,
        solver: SteadyState,
        perturbation: Array,
        treatment: Treatment | None,
        horizon: float,
        *,
        keep: bool,
    ) -> None:
        self.equations, self.solver, self.treatment = equations, solver, treatment
        self.drive = equations.drive(perturbation)
        self.span, self._lead = horizon, None
        if treatment is None:
            return
        check_horizon(treatment, horizon)
        self.span = horizon - float(treatment.starts[-1])
        if treatment.segments > 1 or treatment.pretreated.any():
            self._lead = Course(equations, solver.integrator, treatment, keep=keep)

    def find(
        self,
        parameters: Parameters,
        index: Array,
        start: Array | None = None,
        correction: Array | None = None,
    ) -> Settled:
        """Find the steady states of some conditions; see `steady.find`."""
        every = np.array_equal(index, np.arange(len(self.drive.initial)))
        drive = self.drive if every else self.drive.rows(index)
        field = self.equations.field(parameters, drive)
        if self.treatment is None:
            equations = self._steady(field, None, correction)
            return Settled(equations, find(equations, self.span, start), index, None, None)
        given = parameters.get(START, self.treatment.initial)[index]
        stays = self.treatment.held[index]
        moves = ~stays if stays.any() else None
        begins = begun(field, np.where(np.isnan(given), field.initial, given), moves)
        equations = self._steady(begins, None, correction)
        if self._lead is None or equations.unique:
            found = find(equations, self.span, start)
            if self._lead is None or found.settled.all():
                return Settled(equations, found, index, None, given)
        passage = self._lead.forward(parameters, self.treatment.starts[-1:], index)
        begins = begun(field, passage.end, moves)
        equations = self._steady(begins, equations, correction)
        return Settled(equations, find(equations, self.span, start), index, passage, given)

    def through(self, parameters: Parameters, times: Array) -> Solution:
        """Integrate all conditions through times."""
        if self.treatment is None:
            integrator = self.solver.integrator
            return trajectories(self.equations, integrator, parameters, self.drive, times)
        return through_treatment(
            self.equations, self.solver.integrator, parameters, self.treatment, times
        )

    def _steady(
        self, field: Field, before: SteadyEquations | SteadyField | None, correction: Array | None
    ) -> SteadyEquations | SteadyField:
        proofs = before.proofs if isinstance(before, SteadyEquations) else None
        equations = steady_equations(self.solver, field, proofs)
        equations.correction = correction
        return equations

    def reverse(self, found: Settled, seeds: Array, begin: Array, inputs: bool) -> dict[str, Array]:
        """Exact gradient of Σ seeds·states, seeds (c, n).

        Parameters
        ----------
        found : Settled
        seeds : ndarray, (c, n)
        begin : ndarray, (c, n)
            Where to look for μ = c∘λ first; what is found for settled conditions is written there.
        inputs : bool
            Also with respect to the inputs, as in `Course.reverse`.

        Returns
        -------
        dict of ndarray
            By name; with ``inputs`` or a treatment that of the initial state too.
        """
        equations, settled = found.equations, found.solution.settled
        total: dict[str, Array] = Gradients()
        of_input, at_start = np.zeros_like(seeds), np.zeros_like(seeds)
        parts: list[tuple[Any, bool]] = [(slice(None), True)]
        if not settled.all():
            parts = [(np.flatnonzero(settled), True), (np.flatnonzero(~settled), False)]
        for rows, there in parts:
            whole = isinstance(rows, slice)
            if not whole and not rows.size:
                continue
            if there:
                part: Any = equations if whole else equations.rows(rows)
                states = found.solution.states[rows, -1]
                adjoint = part.adjoint(states, seeds[rows], begin[rows])
                begin[rows] = adjoint.mu
                equations.correction = part.correction
                gradient, at_start[rows] = part.gradient_to_start(states, adjoint, inputs)
            else:
                gradient, at_start[rows] = integration_of(equations).reverse(
                    rows, self.span, seeds[rows], inputs
                )
            if not all(np.isfinite(array).all() for array in gradient.values()):
                found.check_derivatives()
            of_input[rows] = gradient.pop(INPUT, 0.0)
            for name, array in gradient.items():
                total[name] = total[name] + array if name in total else array
        return self._to_beginning(found, total, of_input, at_start, inputs)

    def _to_beginning(
        self,
        found: Settled,
        total: dict[str, Array],
        of_input: Array,
        at_start: Array,
        inputs: bool,
    ) -> dict[str, Array]:
        """Carry the derivative with respect to where the last segment begins back to the first."""
        field, treatment = found.equations.field, self.treatment
        if treatment is None:
            if inputs or not isinstance(field, Kernel):
                total[INPUT] = of_input
                field.start_gradient(at_start, total)
                total[START] = at_start
            return dict(total)
        assert found.given is not None
        of_inputs = np.zeros_like(treatment.perturbation[found.index])
        of_inputs[:, -1] = of_input
        if found.passage is None:
            # Nothing but held nodes knows where it began.
            share: dict[str, Array] = Gradients()
            field.start_gradient(np.where(np.isnan(found.given), at_start, 0), share)
            of_inputs[:, -1] += share.pop(INPUT, 0.0)
            more = {START: at_start, INPUT: of_inputs, **share}
            if treatment.pretreatment is not None:
                more[PRETREATMENT] = np.zeros_like(at_start)
        else:
            assert self._lead is not None
            nothing = np.zeros((len(at_start), 1, at_start.shape[1]), at_start.dtype)
            more = self._lead.reverse(found.passage, nothing, at_start, inputs=True)
            more[INPUT] = more[INPUT] + of_inputs
        for name, array in more.items():
            total[name] = total[name] + array
        return dict(total)
