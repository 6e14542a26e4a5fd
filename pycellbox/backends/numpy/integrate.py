"""The time loops: fixed steps, adaptive steps, and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pycellbox.backends.numpy.attempts import TapeSteps
from pycellbox.backends.numpy.control import Attempts, Control
from pycellbox.backends.numpy.folded import FoldedStepper, pays
from pycellbox.backends.numpy.generic import FieldStepper, reverse_field
from pycellbox.backends.numpy.implicit import ImplicitSteps
from pycellbox.backends.numpy.kernel import Reverser, Stepper
from pycellbox.backends.numpy.straight import StraightSteps
from pycellbox.backends.numpy.tape import Tape as Tape
from pycellbox.errors import NumericsWarning, warn
from pycellbox.numerics.checks import lost
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT, START, Field, Gradients
from pycellbox.numerics.faults import check_derivatives
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.scripts import FAULTS
from pycellbox.numerics.steps import IMPLICIT, check_steps, fixed_steps
from pycellbox.numerics.tableaux import Tableau, tableau_of
from pycellbox.problem import Array
from pycellbox.solvers import FixedStep, Solver

# Steps bound by stability, of one integration, from which on an implicit method is recommended.
_MANY = 5_000


@dataclass(frozen=True)
class Trajectory:
    """States at the requested times, (c, t, n), and after how many steps each was reached.

    Of explicit methods over networks there is also what stepped.
    """

    field: Field
    states: Array
    steps_at: tuple[int, ...]
    tableau: Tableau
    tape: Tape
    stepper: Stepper | FoldedStepper | None = None
    control: Control | None = None
    began: float = 0.0

    def check_derivatives(self) -> None:
        """Raise, of equations whose derivatives are not finite, where they have none."""
        check_derivatives(self.field, self._way())

    def _way(self) -> Iterator[tuple[float, Array]]:
        time = self.began
        for step, h in enumerate(self.tape.sizes):
            yield time, self.tape[step].state[0]
            time += h
        yield time, self.states[:, -1]


def integrate(
    solver: Solver,
    field: Field,
    times: Array,
    tape: Tape,
    *,
    strict: bool = True,
    before: Trajectory | None = None,
    began: float = 0.0,
) -> Trajectory:
    """Integrate from t = 0 through ``times``; every requested time is the end of a step.

    Parameters
    ----------
    solver, field, tape
        What steps through what, and where the steps are kept.
    times : ndarray, (t,)
    strict : bool
        Whether a state that is not finite is an error.
    before : Trajectory, optional
        Of the same equation under other inputs, which this one goes on with: its steps are where
        those begin that have no bound for all states.
    began : float
        What of time has passed before, for what is said.

    Raises
    ------
    DivergenceError
        A state is not finite and ``strict``, steps are too long for a node's decay, or the adaptive
        step vanishes or takes too many attempts.

    Warns
    -----
    NumericsWarning
        Stability alone asks for very many steps.
    """
    states = np.empty((len(field.initial), times.size, field.initial.shape[1]), field.initial.dtype)
    tableau = tableau_of(solver)
    assert tableau is not None
    chosen: Any = solver
    stepper, control, last = None, None, None if before is None else before.control
    begin = partial(Control, solver=chosen, before=last, began=began)
    tape.begin(len(states))
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(field, Kernel) and not tableau.implicit:
            steps_at, stepper = _through_kernel(chosen, tableau, field, times, tape, states, begin)
        else:
            steps_at, control = _through_field(chosen, tableau, field, times, tape, states, begin)
    field.observe(states)
    if strict and not np.isfinite(states).all():
        row = int(np.argmax(~np.isfinite(states).all(axis=(1, 2))))
        late = int(np.argmax(~np.isfinite(states[row]).all(axis=1)))
        raise lost(row, began + float(times[late]), field.faults.get(row, ""))
    return Trajectory(field, states, tuple(steps_at), tableau, tape, stepper, control, began)


def _through_kernel(
    solver: Any,
    tableau: Tableau,
    field: Kernel,
    times: Array,
    tape: Tape,
    states: Array,
    begin: Callable[[Attempts], Control],
) -> tuple[list[int], Stepper | FoldedStepper]:
    k, drive, envelope, (c, _, n) = field.coefficients, field.drive, field.envelope, states.shape
    plan = fixed_steps(solver, times) if isinstance(solver, FixedStep) else None
    if plan is not None:
        check_steps(solver, max(h for _, h in plan), k.c)  # type: ignore[arg-type]
    # Products are written in place, which takes arrays of one kind: that of the states.
    M, a, b, decay = (x.astype(states.dtype, copy=False) for x in (k.M, k.a, k.b, k.c))
    parts = (tableau, envelope, Coefficients(M, a, b, decay), drive)
    counts = [] if plan is None else [count for count, _ in plan]
    if plan and drive.moves is None and pays(envelope, c, n, counts):
        folded = FoldedStepper(*parts, tape.folded)
        return _run_folded(folded, tape, plan, states), folded
    stepper = Stepper(*parts)
    tape[0].state[0][...] = field.initial
    if plan is not None:
        return _run_fixed(stepper, tape, plan, states), stepper
    return begin(TapeSteps(stepper, field, tape, states, solver)).through(times), stepper


def _through_field(
    solver: Any,
    tableau: Tableau,
    field: Field,
    times: Array,
    tape: Tape,
    states: Array,
    begin: Callable[[Attempts], Control],
) -> tuple[list[int], Control | None]:
    plan = fixed_steps(solver, times) if isinstance(solver, FixedStep) else None
    scripts = None if tableau.implicit else field.scripts()
    if scripts is not None:
        with contextlib.suppress(*FAULTS):
            steps = StraightSteps(tableau, field, scripts, tape, solver)
            if plan is not None:
                control, steps_at = None, steps.run(plan)
            else:
                control = begin(steps)
                steps_at = _run_adaptive(control, times)
            steps.finish(states)
            return steps_at, control
        tape.sizes.clear()
    tape[0].state[0][...] = field.initial
    attempts: TapeSteps | ImplicitSteps
    if tableau.implicit:
        attempts = ImplicitSteps(tableau, field, tape, states, solver)
    else:
        stepper = FieldStepper(tableau, field)
        if plan is not None:
            return _run_fixed(stepper, tape, plan, states), None
        attempts = TapeSteps(stepper, field, tape, states, solver)
    control = begin(attempts)
    return _run_adaptive(control, times), control


def reverse(trajectory: Trajectory, seeds: Array, inputs: bool = False) -> dict[str, Array]:
    """Exact gradient of Σ seeds·states with respect to the parameters, seeds (c, t, n).

    With ``inputs`` also with respect to the perturbation and the initial state. Where the model
    starts elsewhere than at rest, what that was made of has its share.
    """
    gradient, start = reverse_to_start(trajectory, seeds, inputs)
    if inputs or not isinstance(trajectory.field, Kernel):
        trajectory.field.start_gradient(start, gradient)
        if not all(np.isfinite(array).all() for array in gradient.values()):
            trajectory.check_derivatives()
    wanted = (INPUT, START) if inputs else ()
    gradient[START] = start
    return {n: g for n, g in gradient.items() if n in wanted or n not in (INPUT, START)}


def reverse_to_start(
    trajectory: Trajectory, seeds: Array, inputs: bool = False
) -> tuple[dict[str, Array], Array]:
    """As `reverse`, with the initial state as something given.

    Returns
    -------
    gradient : dict of ndarray
        With respect to the parameters, and with ``inputs`` the perturbation.
    start : ndarray, (c, n)
        With respect to the initial state.
    """
    stepper, tape, field = trajectory.stepper, trajectory.tape, trajectory.field
    due: dict[int, Array] = {}
    gradient: dict[str, Array] = Gradients()
    seeds = field.observe_back(trajectory.states, seeds, gradient)
    for k, step in enumerate(trajectory.steps_at):
        due[step] = due[step] + seeds[:, k, :] if step in due else seeds[:, k, :]
    with np.errstate(over="ignore", invalid="ignore"):
        if stepper is None:
            found, start = reverse_field(field, trajectory.tableau, tape, due, gradient)
            if not all(np.isfinite(array).all() for array in (start, *found.values())):
                trajectory.check_derivatives()
            return found, start
        assert isinstance(field, Kernel)
        return _reverse_kernel(field, stepper, tape, due, inputs)


def _reverse_kernel(
    field: Kernel,
    stepper: Stepper | FoldedStepper,
    tape: Tape,
    due: dict[int, Array],
    inputs: bool,
) -> tuple[dict[str, Array], Array]:
    to_drive = inputs or field.drive.reach is not None
    if isinstance(stepper, FoldedStepper):
        drive = zero_like(field.drive) if to_drive else None
        coefficients, start = stepper.reverse(due, drive)
    else:
        reverser, end = Reverser(stepper, to_drive), len(tape.sizes)
        while end > 0:
            index = (end - 1) // tape.steps_per_block
            first = index * tape.steps_per_block
            block, sweep = tape.block(index), tape.sweep
            reverser.prepare(block, sweep, end - first)
            for step in range(end - 1, first - 1, -1):
                if step + 1 in due:
                    reverser.adjoint += due[step + 1]
                reverser.step(sweep.stages[step - first], tape.sizes[step])
            reverser.collect(block, sweep, end - first)
            end = first
        coefficients = reverser.gradient()
        drive = reverser.drive_gradient() if to_drive else None
        start = reverser.adjoint.copy()
        if 0 in due:  # a state asked for at time 0 is the initial one
            start += due[0]
    gradient = field.gradient(coefficients, None if drive is None else drive.inside)
    if inputs:
        assert drive is not None
        assert field.drive.perturbation is not None
        of_drive = field.lowering.pull_back_drive(drive, field.drive.perturbation)
        gradient[INPUT] = of_drive[INPUT]
    return gradient, start


def _run_folded(
    stepper: FoldedStepper, tape: Tape, plan: list[tuple[int, float]], states: Array
) -> list[int]:
    steps_at = []
    for k, (count, h) in enumerate(plan):
        states[:, k, :] = stepper.advance(count, h).T
        tape.sizes += [h] * count
        steps_at.append(len(tape.sizes))
    return steps_at


def _run_fixed(
    stepper: Stepper, tape: Tape, plan: list[tuple[int, float]], states: Array
) -> list[int]:
    steps_at = []
    for k, (count, h) in enumerate(plan):
        stepper.set_step(h)
        record = tape[len(tape.sizes)]
        for step in range(len(tape.sizes) + 1, len(tape.sizes) + count + 1):
            following = tape[step]
            stepper.step(record, following.state[0])
            record = following
        states[:, k, :] = record.state[0]
        tape.sizes += [h] * count
        steps_at.append(len(tape.sizes))
    return steps_at


def _run_adaptive(control: Control, times: Array) -> list[int]:
    steps_at = control.through(times)
    if control.bounded > _MANY:
        warn(
            f"{control.name} took {steps_at[-1]:,} steps to t = {times[-1]:g}, most as long "
            f"as stability allows: the equations are stiff, and {IMPLICIT} takes long steps.",
            NumericsWarning,
        )
    return steps_at


def zero_like(drive: Drive) -> Drive:
    """Make a gradient of a drive, to add to."""
    zero = np.zeros_like(drive.initial)
    outside = None if drive.outside is None else zero.copy()
    return Drive(zero.copy(), outside, zero)
