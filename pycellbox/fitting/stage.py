"""One stage of a training: its session, its batches, its judge."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pycellbox.backends.levels import session_of
from pycellbox.backends.protocol import Batch, Iteration, Session, TrainingRun
from pycellbox.common import interrupts
from pycellbox.errors import DivergenceError
from pycellbox.fitting import lbfgs, lm, shooting
from pycellbox.fitting.adamw import AdamWRun, Judge
from pycellbox.fitting.objective import Objective
from pycellbox.fitting.state import TrainingState
from pycellbox.fitting.steepness import Steepness
from pycellbox.numerics.priors import Priors, weight_of
from pycellbox.problem import Array, Problem
from pycellbox.schedule import LBFGS, LM, AdamW, Stage

if TYPE_CHECKING:
    from pycellbox.fitting.loop import Training


_FADES = 5.0


class StageRun:
    """A stage, at its beginning or where it was left."""

    def __init__(self, training: Training, number: int, stage: Stage) -> None:
        self.t, self.number, self.stage = training, number, stage
        self.done = 0
        self.order: Array | None = None
        self._left: TrainingRun | None = None
        problem = up_to(training.problem, stage.horizon, stage.fade)
        self.horizon, self.times = end_of(training.problem, stage), problem.times.size
        self.problem = training.clock.problem(problem)
        measured = max(int(np.count_nonzero(problem.weight[training.train])), 1)
        objective = Objective(
            self._session(self.problem),
            training.parametrization,
            stage.penalty or training.penalty,
            measured,
            Priors(training.parametrization.structure.layout),
            weight_of(training.loss, measured),
            Steepness.of(problem, training.train, training.loss, training.parametrization.layout),
        )
        self.judge = Judge(
            objective,
            training.train,
            training.validation,
            stage.patience,
            # Without validation a minibatch says too little to choose by.
            (stage.batch_size is None or stage.batch_size >= training.train.size)
            and stage.prefix is None,
            training.kept.raw,
        )

    def _session(self, problem: Problem) -> Session:
        t = self.t
        return session_of(t.backend, problem, t.clock.solver(t.solver), t.loss)

    def go_on(self, state: TrainingState) -> None:
        """Take up a state of this stage; ValueError if it is none."""
        if not state.optimizer:  # its beginning, where LBFGS and LM start again too
            if state.iteration:
                raise ValueError("the state of the optimizer is missing")
            return
        if not isinstance(self.stage.optimizer, AdamW):
            raise ValueError("a stage of SciPy's has a state of AdamW")
        run, session = self._adamw(self.stage.optimizer), self.judge.objective.session
        state.check_optimizer(run.state())
        run.restore(state.optimizer)
        session.warm_up(state.warm)
        if not 0 <= state.iteration <= self.stage.iterations:
            raise ValueError(f"the stage has no iteration {state.iteration}")
        order = state.order
        if order is None:
            lacks = self._place(state.iteration) > 0
        else:
            lacks = not np.array_equal(np.sort(order), self.t.train)
        if lacks:
            raise ValueError("the order of the conditions is none of this epoch")
        self._left, self.done, self.order = run, state.iteration, order

    def run(self) -> None:
        """Run it, from its beginning or from where it was left."""
        if isinstance(self.stage.optimizer, LBFGS | LM):
            self._run_scipy(self.stage.optimizer)
        else:
            self._run_adamw(self._left or self._adamw(self.stage.optimizer))

    def _adamw(self, options: AdamW) -> TrainingRun:
        rates = self.t.parametrization.layout.spread(self.stage.rates())
        judge, start = self.judge, self.t.kept.raw
        own = None
        # All that backends know.
        if judge.objective.raw and not judge.objective.priors.size:
            own = judge.objective.session.training_run(judge.plan(options, start, rates))
        return AdamWRun(judge, options, start, rates) if own is None else own

    def _run_adamw(self, run: TrainingRun) -> None:
        top_rate, retried = max(self.stage.rates().values()), self.t.kept.retried - run.retried
        state = self._watched(run)
        batches = itertools.islice(self._batches(), self.stage.iterations - self.done)
        while chunk := list(itertools.islice(batches, run.chunk)):
            with self._kept_if_interrupted(state):
                interrupts.check()
                advance = run.advance([batch for batch, _ in chunk])
            for (batch, generator), iteration in zip(chunk, advance.iterations, strict=False):
                self._record(iteration, top_rate * batch.factor)
                # Where a stage ends within a chunk, what was drawn for the rest of it must not
                # count: how long a chunk is depends on the clock.
                self.t.rng.bit_generator.state = generator
            self.t.keep(run.best_raw, retried + run.retried)
            self.done += len(advance.iterations)
            for iteration in advance.iterations:
                self._tell(iteration)
            if advance.failure:
                raise DivergenceError(advance.failure)
            if advance.stop:
                return
            state = self._watched(run)
        with self._kept_if_interrupted(state):
            run.finish()
        self.t.keep(run.best_raw, retried + run.retried)

    def _run_scipy(self, options: LBFGS | LM) -> None:
        def report(raw: Array, objective: float, loss: float, length: float) -> bool:
            validation, stop = self.judge.see(raw, objective)
            iteration = Iteration(objective, loss, validation, length)
            self._record(iteration, math.nan)
            self.t.keep(self.judge.best_raw, self.t.kept.retried)
            self._tell(iteration)
            if begun is not None and self.t.watch is not None:
                self.t.watch(begun, False)
            return stop

        start, most = self.t.kept.raw, self.stage.iterations
        begun = self._watched(None)  # from which it starts again
        with self._kept_if_interrupted(begun):
            if isinstance(options, LBFGS):
                lbfgs.minimize(self.judge.objective, options, start, most, self.t.train, report)
            elif self.stage.segments:
                self._shoot(options, start, report)
            else:
                lm.minimize(self._squares(start), options, start, most, report)

    def _squares(self, start: Array) -> lm.Squares:
        rows = lm.of_conditions(self.problem, self.t.train)
        return lm.Squares(self.judge.objective, self.t.loss, self.problem, rows, start)

    def _shoot(self, options: LM, start: Array, report: shooting.Report) -> None:
        """Fit segments, and then the one trajectory, where that is as good."""
        objective, best = self.judge.objective, math.inf
        objective.steepness = None  # which is why there are segments

        def aside(raw: Array, value: float, loss: float, length: float) -> bool:
            """Judge nothing: the objective has the gaps, with another weight every time."""
            iteration = Iteration(value, loss, math.nan, length)
            self._record(iteration, math.nan)
            self.t.keep(raw, self.t.kept.retried)
            self._tell(iteration)
            return False

        def seen(raw: Array, value: float, loss: float, length: float) -> bool:
            nonlocal best
            best = min(best, value)
            return report(raw, value, loss, length)

        shot = shooting.shoot(
            objective,
            self.problem,
            self.t.train,
            self._session,
            self.stage,
            self.t.loss,
            start,
            aside,
        )
        kept, part = self.t.kept, self.problem.rows(self.t.train)
        alone = shooting.trajectories(objective, self.problem, shot.raw)[self.t.train]
        said: dict[str, Any] = {"segments": shot.segments, "largest_gap": shot.gap, "joined": True}
        follows = shot.followed(alone, part)
        if follows == part.times[-1] or not shot.closed:
            with contextlib.suppress(DivergenceError):
                squares, most = self._squares(shot.raw), shooting.part_of(self.stage)
                lm.minimize(squares, options, shot.raw, most, seen)
        if not shot.as_good(best, part):
            said |= {"joined": False, "follows_until": follows}
            said |= {"objective": shot.objective, "loss": shot.loss}
            self.t.kept = kept
        self.t.kept = dataclasses.replace(self.t.kept, shooting=said)

    def _batches(self) -> Iterator[tuple[Batch, Any]]:
        """Batches without end, in an order drawn anew each epoch; the generator after each."""
        train, size = self.t.train, self.stage.batch_size
        for iteration in itertools.count(self.done):
            rows, closes_epoch = train, True
            if size is not None and size < train.size:
                at = self._place(iteration)
                if at == 0:
                    self.order = self.t.rng.permutation(train)
                assert self.order is not None
                rows, closes_epoch = self.order[at : at + size], at + size >= train.size
            batch = Batch(rows, closes_epoch, self.stage.factor(iteration), self._prefix())
            yield batch, self.t.rng.bit_generator.state

    def _watched(self, run: TrainingRun | None) -> TrainingState | None:
        """Have the state seen at the end of an iteration; None if nobody watches."""
        if self.t.watch is None:
            return None
        state = self._state(run)
        self.t.watch(state, False)
        return state

    @contextlib.contextmanager
    def _kept_if_interrupted(self, state: TrainingState | None) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            if state is not None and self.t.watch is not None:
                self.t.watch(state, True)
            raise

    def _state(self, run: TrainingRun | None) -> TrainingState:
        """Make the state at the end of an iteration; without a run, that of a stage's beginning."""
        return TrainingState(
            stage=self.number,
            iteration=self.done,
            kept=self.t.kept,
            optimizer={} if run is None else run.state(),
            warm={} if run is None else self.judge.objective.session.warm(),
            order=self.order,
            generator=copy.deepcopy(self.t.rng.bit_generator.state),
            rows=self.t.history.first(len(self.t.history)),
            parametrization=self.t.parametrization,
            clock=self.t.clock,
        )

    def _place(self, iteration: int) -> int:
        """Where the batch of an iteration begins in the order of its epoch."""
        size, count = self.stage.batch_size, self.t.train.size
        if size is None or size >= count:
            return 0
        return iteration * size % (math.ceil(count / size) * size)

    def _prefix(self) -> int | None:
        """Draw how many of the first times the next update sees; None for all."""
        if self.stage.prefix is None:
            return None
        return int(self.t.rng.integers(min(self.stage.prefix, self.times), self.times + 1))

    def _record(self, iteration: Iteration, rate: float) -> None:
        self.t.history.add(
            self.number,
            learning_rate=rate,
            horizon=self.horizon,
            **dataclasses.asdict(iteration),
        )

    def _tell(self, iteration: Iteration) -> None:
        self.t.progress.advance(self.number, iteration.loss, iteration.validation_loss)


def end_of(problem: Problem, stage: Stage) -> float:
    """End of the integration in a stage."""
    times = problem.times
    if stage.horizon is None:
        return float(times[-1])
    if problem.steady:
        return stage.horizon
    return float(times[times <= stage.horizon][-1])


def up_to(problem: Problem, horizon: float | None, fade: float | None = None) -> Problem:
    """Return the problem with another horizon, or the measured times up to it.

    With ``fade`` those beyond it too, weighted down.
    """
    if horizon is None:
        return problem
    if problem.steady:
        return dataclasses.replace(problem, times=np.array([horizon]))
    keep = problem.times <= horizon
    weight = problem.weight
    if fade is not None:
        keep = problem.times <= horizon + _FADES * fade
        # Of residuals: their squares count by the square of this.
        share = np.exp(-np.maximum(problem.times - horizon, 0) / (2 * fade))
        weight = (weight * share[:, None]).astype(weight.dtype)
    return dataclasses.replace(
        problem,
        times=problem.times[keep],
        response=np.ascontiguousarray(problem.response[:, keep]),
        weight=np.ascontiguousarray(weight[:, keep]),
    )
