"""The time loops: fixed steps, adaptive steps, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pycellbox.backends.numpy.folded import FoldedStepper, pays
from pycellbox.backends.numpy.generic import FieldStepper, reverse_field
from pycellbox.backends.numpy.kernel import Reverser, Stepper
from pycellbox.backends.numpy.tape import Record
from pycellbox.backends.numpy.tape import Tape as Tape
from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import not_finite
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT, START, Field, Gradients
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.steps import (
    check_adaptive,
    check_steps,
    first_step,
    fixed_steps,
)
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.problem import Array
from pycellbox.solvers import FixedStep, Solver, Tsit5

# The elementary controller (Hairer, Nørsett, Wanner I, II.4): the bound on the step is what the
# smoother ones are for, and they take a third more steps to grow from those of the beginning.
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0


@dataclass(frozen=True)
class Trajectory:
    """States at the requested times, (c, t, n), and after how many steps each was reached."""

    field: Field
    states: Array
    steps_at: tuple[int, ...]
    stepper: Stepper | FoldedStepper
    tape: Tape
    control: _Adaptive | None = None


def integrate(
    solver: Solver,
    field: Field,
    times: Array,
    tape: Tape,
    *,
    strict: bool = True,
    before: Trajectory | None = None,
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

    Raises
    ------
    DivergenceError
        A state is not finite and ``strict``, steps are too long for a node's decay, or the adaptive
        step vanishes or takes too many attempts.
    """
    c, n = field.initial.shape
    tape.begin(c)
    states = np.empty((c, times.size, n), field.initial.dtype)
    plan = control = None
    if isinstance(solver, FixedStep):
        plan = fixed_steps(solver, times)
    tableau = TABLEAUX[type(solver)]
    stepper: Stepper | FoldedStepper
    with np.errstate(over="ignore", invalid="ignore"):
        if not isinstance(field, Kernel):
            stepper = FieldStepper(tableau, field)
        else:
            k, drive, envelope = field.coefficients, field.drive, field.envelope
            if plan is not None:
                check_steps(solver, max(h for _, h in plan), k.c)  # type: ignore[arg-type]
            # Products are written in place, which takes arrays of one kind: that of the states.
            M, a, b, decay = (x.astype(states.dtype, copy=False) for x in (k.M, k.a, k.b, k.c))
            parts = (tableau, envelope, Coefficients(M, a, b, decay), drive)
            counts = [] if plan is None else [count for count, _ in plan]
            if plan and drive.moves is None and pays(envelope, c, n, counts):
                stepper = FoldedStepper(*parts, tape.folded)
            else:
                stepper = Stepper(*parts)
        if isinstance(stepper, FoldedStepper):
            assert plan is not None
            steps_at = _run_folded(stepper, tape, plan, states)
        else:
            tape[0].state[0][...] = field.initial
            if plan is not None:
                steps_at = _run_fixed(stepper, tape, plan, states)
            else:
                assert isinstance(solver, Tsit5)
                last = None if before is None else before.control
                control = _Adaptive(stepper, field, tape, solver, last)
                steps_at = _run_adaptive(control, times, states)
    field.observe(states)
    if strict and not np.isfinite(states).all():
        row = int(np.argmax(~np.isfinite(states).all(axis=(1, 2))))
        late = int(np.argmax(~np.isfinite(states[row]).all(axis=1)))
        raise DivergenceError(
            not_finite(f"number {row + 1}", float(times[late]), field.faults.get(row, ""))
        )
    return Trajectory(field, states, tuple(steps_at), stepper, tape, control)


def reverse(trajectory: Trajectory, seeds: Array, inputs: bool = False) -> dict[str, Array]:
    """Exact gradient of Σ seeds·states with respect to the parameters, seeds (c, t, n).

    With ``inputs`` also with respect to the perturbation and the initial state. Where the model
    starts elsewhere than at rest, what that was made of has its share.
    """
    gradient, start = reverse_to_start(trajectory, seeds, inputs)
    if inputs or not isinstance(trajectory.field, Kernel):
        trajectory.field.start_gradient(start, gradient)
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
        if isinstance(stepper, FieldStepper):
            return reverse_field(stepper, tape, due, gradient)
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


def _run_adaptive(run: _Adaptive, times: Array, states: Array) -> list[int]:
    steps_at, now, tape = list[int](), 0.0, run.tape
    if run.everywhere:
        check_adaptive(run.solver, run.longest, float(times[-1]))
    for k, end in enumerate(map(float, times)):
        run.advance(now, end)
        steps_at.append(len(tape.sizes))
        states[:, k, :] = tape[len(tape.sizes)].state[0]
        now = end
    return steps_at


class _Adaptive:
    """Step control for Tsit5 across the requested times."""

    def __init__(
        self,
        stepper: Stepper,
        field: Field,
        tape: Tape,
        solver: Tsit5,
        before: _Adaptive | None = None,
    ) -> None:
        self.stepper, self.field, self.tape, self.solver = stepper, field, tape, solver
        self._scale = np.empty_like(field.initial)
        self._error = np.empty_like(field.initial)
        bound = field.step_bound()
        self.everywhere = bound is not None
        self._attempts = 0
        self.h = 0.0
        if bound is not None:
            self.longest, self._largest = bound
        elif before is None or not before.h:
            self.longest, self._largest = self._here(0)
        else:
            assert isinstance(stepper, FieldStepper)
            stepper.go_on(before.stepper)
            self.h, self.longest, self._largest = before.h, before.longest, before._largest
            self._first_stage()

    def _here(self, step: int) -> tuple[float, float]:
        """Bound the steps near the state after so many, where there is no bound for all states."""
        assert isinstance(self.stepper, FieldStepper)
        return self.stepper.bound(self.tape[step].state[0])

    def advance(self, start: float, end: float) -> None:
        if end == start:
            return
        now = start
        if self.h == 0.0:
            self.h = self._first_step(end)
        while now < end:
            i = len(self.tape.sizes)
            record, following = self.tape[i], self.tape[i + 1]
            h = min(self.h, self.longest)
            last = h >= (end - now) * (1 - 1e-9)
            if last:
                h = end - now
            elif h > 0.5 * (end - now):
                h = 0.5 * (end - now)  # two even steps instead of a long one and a sliver
            self._guard(h, now, end)
            self.stepper.set_step(h)
            # The first stage stands in the record: the last evaluation of the step before.
            self.stepper.step(record, following.state[0], first_known=True)
            error = self._error_norm(record, following)
            if error <= 1:
                self.tape.sizes.append(h)
                if not self.everywhere:
                    self.longest, self._largest = self._here(len(self.tape.sizes))
                now = end if last else now + h
                grown = h * self._factor(error)
                # A step cut short to meet a requested time says nothing against a longer one.
                self.h = min(self.longest, max(grown, self.h) if h < self.h else grown)
            else:
                factor = self._factor(error) if math.isfinite(error) else _SHRINK
                self.h = h * min(factor, _SAFETY)

    def _guard(self, h: float, now: float, end: float) -> None:
        self._attempts += 1
        if self._attempts > self.solver.max_steps:
            raise DivergenceError(
                f"Tsit5 gave up at t = {now:g} after {self.solver.max_steps} steps; the network is "
                "stiff or unstable: loosen rtol and atol, raise max_steps, or shrink W."
            )
        if h <= 16 * np.finfo(float).eps * max(now, 1e-8 * end):
            why = "the trajectory leaves the finite numbers or the tolerances are below rounding."
            for row, fault in self.field.faults.items():
                why = f"of condition number {row + 1}, {fault}"
            raise DivergenceError(f"Tsit5's step vanished at t = {now:g}: {why}")

    def _factor(self, error: float) -> float:
        if error == 0:
            return _GROW
        factor: float = _SAFETY * error ** (-1 / 5)
        return min(_GROW, max(_SHRINK, factor))

    def _error_norm(self, record: Record, following: Record) -> float:
        st, error, scale = self.stepper, self._error, self._scale
        z = None if following.z is None else following.z[0]
        st.increment(following.state[0], following.phi[0], z, st.kh[-1])
        st.error(error)
        np.maximum(np.abs(record.state[0]), np.abs(following.state[0]), out=scale)
        np.multiply(scale, self.solver.rtol, out=scale)
        np.add(scale, self.solver.atol, out=scale)
        np.divide(error, scale, out=error)
        return _rms(error)

    def _first_step(self, end: float) -> float:
        """Evaluate the first stage into the record, and choose a step."""
        self._first_stage()
        return min(end, first_step(self.solver, self._largest))

    def _first_stage(self) -> None:
        st, record = self.stepper, self.tape[0]
        st.set_step(1.0)
        z = None if record.z is None else record.z[0]
        st.increment(record.state[0], record.phi[0], z, st.kh[0])


def zero_like(drive: Drive) -> Drive:
    """Make a gradient of a drive, to add to."""
    zero = np.zeros_like(drive.initial)
    outside = None if drive.outside is None else zero.copy()
    return Drive(zero.copy(), outside, zero)


def _rms(values: Array) -> float:
    flat = values.ravel()
    return math.sqrt(float(np.dot(flat, flat)) / flat.size)
