"""Trajectories through all segments of a treatment, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.backends.numpy.integrate import Trajectory, integrate, reverse_to_start
from pycellbox.backends.numpy.rest import FieldIntegration
from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.checks import check_memory, lost
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START, Equations, Gradients
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.rest import Pretreatment
from pycellbox.numerics.segments import Piece, begun, jumps, pieces
from pycellbox.numerics.steps import fixed_steps
from pycellbox.numerics.tableaux import stages_of
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep, Solver
from pycellbox.treatment import Treatment


@dataclass(frozen=True)
class Passage:
    """States at the requested times, (c, t, n), and all that the way back needs.

    Attributes
    ----------
    states : ndarray, (c, t, n)
    end : ndarray, (c, n)
        State at the last time of the last piece.
    treatment : Treatment
        Of these conditions.
    pretreatment : Pretreatment or None
        What the pre-treated conditions began from.
    cut : list of Piece
    trajectories : list of Trajectory
    own : ndarray of bool, (c, n)
        Where the integration starts from the model's own state.
    jumps : ndarray of bool, (c, n), or None
    """

    states: Array
    end: Array
    treatment: Treatment
    pretreatment: Pretreatment | None
    cut: list[Piece]
    trajectories: list[Trajectory]
    own: Array
    jumps: Array | None

    @property
    def steps(self) -> int:
        """Steps of all pieces together."""
        return sum(trajectory.steps_at[-1] for trajectory in self.trajectories)

    def check(self) -> None:
        """Raise if a state is not finite."""
        for piece, trajectory in zip(self.cut, self.trajectories, strict=True):
            lost_at = np.argwhere(~np.isfinite(trajectory.states).all(axis=2))
            if len(lost_at):
                row, late = map(int, lost_at[lost_at[:, 1].argmin()])
                end = trajectory.began + float(piece.times[late])
                raise lost(row, end, trajectory.field.faults.get(row, ""))

    def check_derivatives(self) -> None:
        """See `Trajectory.check_derivatives`."""
        for trajectory in self.trajectories:
            trajectory.check_derivatives()

    @property
    def rested(self) -> Array | None:
        """Whether the pre-treatment of each condition settled, (c,); None without any."""
        return None if self.pretreatment is None else self.pretreatment.rested(len(self.end))


class Course:
    """The equations of a treatment, made once for many evaluations.

    Parameters
    ----------
    equations : Equations
    solver : Solver
        Through time.
    treatment : Treatment
    keep : bool
        Whether the steps are kept for the way back.
    """

    def __init__(
        self, equations: Equations, solver: Solver, treatment: Treatment, *, keep: bool
    ) -> None:
        self.equations, self.solver, self.treatment, self._keep = equations, solver, treatment, keep
        self.drives = [
            equations.drive(np.ascontiguousarray(treatment.perturbation[:, s]))
            for s in range(treatment.segments)
        ]
        self._before = None
        if treatment.pretreatment is not None:
            self._before = equations.drive(treatment.pretreatment)
        self._tapes: dict[int, Tape] = {}

    def check_memory(self, times: Array) -> None:
        """Raise if fixed steps through ``times`` are too many to be kept."""
        if isinstance(self.solver, FixedStep):
            for piece in pieces(self.treatment.starts, times):
                steps = sum(count for count, _ in fixed_steps(self.solver, piece.times))
                tape = self._tape(piece.segment, self.treatment.initial)
                check_memory(self.solver, steps, tape.bytes(steps))

    def forward(
        self,
        parameters: Parameters,
        times: Array,
        index: Array | None = None,
        *,
        strict: bool = True,
    ) -> Passage:
        """Integrate through ``times``, increasing and none of them before the first segment.

        Parameters
        ----------
        parameters : dict of ndarray
            Effective ones; with the key ``initial_state``, (conditions of the problem, n), that in
            place of the treatment's.
        times : ndarray, (t,)
        index : ndarray of int, optional
            Some of the conditions.
        strict : bool
            Whether a state that is not finite is an error.
        """
        treatment, drives, first = self.treatment, self.drives, self._before
        given = parameters.get(START, treatment.initial)
        if index is not None:
            treatment, given = treatment.rows(index), given[index]
            drives = [drive.rows(index) for drive in drives]
            first = None if first is None else first.rows(index)
        cut = pieces(treatment.starts, times)
        laid = self.equations.fields(parameters, drives[: len(cut)])
        jump = jumps(self.equations, treatment)
        own = np.isnan(given)
        x, rest = np.where(own, laid[0].initial, given), None
        if first is not None:
            rest = Pretreatment.of(
                self.equations,
                parameters,
                treatment,
                first,
                given,
                lambda _, field: FieldIntegration(field, self.solver),
            )
        if rest is not None:
            own = own & ~treatment.pretreated[:, None]
            x[rest.rows] = rest.rest.states
        states = np.empty((len(x), times.size, x.shape[1]), x.dtype)
        trajectories: list[Trajectory] = []
        for piece, field in zip(cut, laid, strict=True):
            if jump is not None:
                x = np.where(jump, field.initial, x)
            moves = None if treatment.moves is None else treatment.moves[:, piece.segment]
            if moves is not None and moves.all():
                moves = None
            there = begun(field, x, moves)
            tape = self._tape(piece.segment, x)
            before = trajectories[-1] if trajectories else None
            trajectory = integrate(
                self.solver,
                there,
                piece.times,
                tape,
                strict=False,
                before=before,
                began=float(treatment.starts[piece.segment]),
            )
            states[:, piece.asked] = trajectory.states[:, : piece.count]
            x = trajectory.states[:, -1]
            trajectories.append(trajectory)
        passage = Passage(states, x, treatment, rest, cut, trajectories, own, jump)
        if strict:
            passage.check()
        return passage

    def reverse(
        self, passage: Passage, seeds: Array, end: Array | None = None, *, inputs: bool = False
    ) -> dict[str, Array]:
        """Exact gradient of Σ seeds·states + Σ end·(state at the end).

        Parameters
        ----------
        passage : Passage
            Of a course that keeps its steps.
        seeds : ndarray, (c, t, n)
        end : ndarray, (c, n), optional
        inputs : bool
            Also with respect to u in each segment, (c, s, n), and the pre-treatment's, (c, n).

        Returns
        -------
        dict of ndarray
            By name; that with respect to the state at the beginning, (c, n), in any case.
        """
        treatment, jump = passage.treatment, passage.jumps
        adjoint = np.zeros_like(passage.end) if end is None else end
        total: dict[str, Array] = Gradients()
        of_inputs = np.zeros_like(treatment.perturbation)
        for piece, trajectory in zip(passage.cut[::-1], passage.trajectories[::-1], strict=True):
            due = np.zeros((len(adjoint), piece.times.size, adjoint.shape[1]), adjoint.dtype)
            due[:, : piece.count] = seeds[:, piece.asked]
            due[:, -1] += adjoint
            found, adjoint = reverse_to_start(trajectory, due, inputs)
            part = Gradients(found)
            # What the states were set to when the segment began, by the model or the dose.
            anew = jump
            if piece.segment == 0:
                anew = passage.own if jump is None else passage.own | jump
            if anew is not None:
                trajectory.field.start_gradient(np.where(anew, adjoint, 0), part)
            of_inputs[:, piece.segment] = part.pop(INPUT, 0.0)
            for name, array in part.items():
                total[name] = total[name] + array
            if piece.segment and jump is not None:
                adjoint = np.where(jump, 0, adjoint)
        more = {}
        if passage.pretreatment is not None:
            of_rest, adjoint, before = passage.pretreatment.reverse(adjoint, jump, inputs)
            more[PRETREATMENT] = before
            for name, array in of_rest.items():
                total[name] = total[name] + array
        if not all(np.isfinite(array).all() for array in total.values()):
            passage.check_derivatives()
        found = dict(total) | {START: adjoint}
        return found | {INPUT: of_inputs} | more if inputs else found

    def _tape(self, segment: int, x: Array) -> Tape:
        """Return the tape of a segment: one for all where nothing is kept."""
        place = segment if self._keep else 0
        if place not in self._tapes:
            with_z = isinstance(self.equations, Lowering) and self.equations.envelope.needs_z
            stages = stages_of(self.solver)
            c, n = self.treatment.initial.shape
            self._tapes[place] = Tape(stages, c, n, x.dtype, self._keep, with_z)
        return self._tapes[place]
