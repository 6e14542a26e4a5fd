"""The training loop: stages, batches, validation, stopping, and the best parameters."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pycellbox.backends import Backend
from pycellbox.backends.protocol import Batch, Iteration, TrainingRun
from pycellbox.common import interrupts
from pycellbox.ending import COMPLETED, Ended, Ending, interrupted
from pycellbox.errors import DivergenceError
from pycellbox.fitting import lbfgs
from pycellbox.fitting.adamw import AdamWRun, Judge
from pycellbox.fitting.history import History
from pycellbox.fitting.objective import Objective
from pycellbox.fitting.progress import Progress
from pycellbox.fitting.state import Kept, TrainingState
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.objective import Loss, Penalty
from pycellbox.problem import Array, Problem
from pycellbox.schedule import LBFGS, AdamW, Stage
from pycellbox.solvers import Solver

log = logging.getLogger("pycellbox")

Watch = Callable[[Callable[[], TrainingState], bool], None]


@dataclass
class Training:
    """Everything the loop needs, and where it leaves its results.

    Attributes
    ----------
    problem : Problem
        Training and validation conditions together, at the longest horizon.
    train, validation : ndarray of int
        Rows of the problem.
    raw : ndarray, (θ,)
        Where it starts.
    ended : Ended
        How the fit ended; until then that it was interrupted.
    kept : Kept
        Parameters and history that belong together, whenever the training is interrupted.
    watch : callable (make, urgent), optional
        Called at the beginning of stages and after iterations with what makes a `TrainingState`;
        ``urgent`` if an interrupt is about to end the training.
    """

    backend: Backend
    problem: Problem
    train: Array
    validation: Array
    solver: Solver
    loss: Loss
    penalty: Penalty
    parametrization: Parametrization
    raw: Array
    rng: np.random.Generator
    progress: Progress
    watch: Watch | None = None
    history: History = field(default_factory=History)
    ended: Ended = field(init=False)
    begun: TrainingState | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.ended = interrupted("in stage 0")
        self.kept = Kept(self.raw, 0, 0)

    @property
    def kept_history(self) -> History:
        """The history that belongs to the kept parameters."""
        return self.history.first(self.kept.iterations)

    def run(self, schedule: tuple[Stage, ...]) -> None:
        """Go through the stages; the best parameters of each are the start of the next.

        It may be left by a KeyboardInterrupt, or any other exception, in any line.
        """
        with self.progress:
            first = 0 if self.begun is None else self.begun.stage
            for number, stage in list(enumerate(schedule))[first:]:
                self.ended = interrupted(f"in stage {number}")
                began, before = time.perf_counter(), len(self.history)
                try:
                    _StageRun(self, number, stage).run(self.begun if number == first else None)
                except DivergenceError as error:
                    if not self.history:
                        raise DivergenceError(
                            f"the fit cannot start: {error} Or start from smaller weights: "
                            "initial=pcb.Initialization(weight_scale=...)."
                        ) from error
                    self.ended = Ended(Ending.DIVERGED, f"stopped in stage {number}: {error}")
                    return
                finally:
                    log.info(
                        "stage %d: %d of %d iterations (%s), %s, %.2f s",
                        number, len(self.history) - before, stage.iterations,
                        type(stage.optimizer).__name__, self.history.last(),
                        time.perf_counter() - began,
                    )  # fmt: skip
        self.ended = COMPLETED

    def go_on(self, state: TrainingState) -> None:
        """Begin where another training was left."""
        self.begun, self.kept, self.history = state, state.kept, state.rows
        self.rng.bit_generator.state = dict(state.generator)

    def final_state(self, stages: int) -> TrainingState:
        """State after all stages: nothing is left but what was reached."""
        generator = copy.deepcopy(self.rng.bit_generator.state)
        pair, rows = self.parametrization, self.history
        return TrainingState(stages, 0, self.kept, {}, {}, None, generator, rows, pair)

    def keep(self, raw: Array, retried: int) -> None:
        """Keep parameters that nobody changes any more, with the history so far, in one go."""
        self.kept = Kept(raw, len(self.history), retried)


class _StageRun:
    """One stage: its session, its batches, its judge."""

    def __init__(self, training: Training, number: int, stage: Stage) -> None:
        self.t, self.number, self.stage = training, number, stage
        self.done = 0
        self.order: Array | None = None
        problem = _up_to(training.problem, stage.horizon)
        self.horizon, self.times = float(problem.times[-1]), problem.times.size
        session = training.backend.session(problem, training.solver, training.loss)
        train_weight = problem.weight[training.train]
        objective = Objective(
            session,
            training.parametrization,
            stage.penalty or training.penalty,
            max(int(np.count_nonzero(train_weight)), 1),
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

    def run(self, begun: TrainingState | None) -> None:
        """Run it, from its beginning or from where it was left."""
        if isinstance(self.stage.optimizer, LBFGS):
            self._run_lbfgs(self.stage.optimizer)
            return
        run = self._adamw(self.stage.optimizer)
        if begun is not None and begun.optimizer:
            run.restore(begun.optimizer)
            self.judge.objective.session.warm_up(begun.warm)
            self.done, self.order = begun.iteration, begun.order
        self._run_adamw(run)

    def _adamw(self, options: AdamW) -> TrainingRun:
        rates = self.t.parametrization.layout.spread(self.stage.rates())
        judge, start = self.judge, self.t.kept.raw
        own = None
        if judge.objective.penalty.of == "raw":  # all that backends know
            own = judge.objective.session.training_run(judge.plan(options, start, rates))
        return AdamWRun(judge, options, start, rates) if own is None else own

    def _run_adamw(self, run: TrainingRun) -> None:
        top_rate, retried = max(self.stage.rates().values()), self.t.kept.retried - run.retried
        self._watched(run)
        batches = itertools.islice(self._batches(), self.stage.iterations - self.done)
        while chunk := list(itertools.islice(batches, run.chunk)):
            try:
                interrupts.check()
            except KeyboardInterrupt:  # here everything is at the end of an iteration
                self._watched(run, urgent=True)
                raise
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
            self._watched(run)
        run.finish()
        self.t.keep(run.best_raw, retried + run.retried)

    def _run_lbfgs(self, options: LBFGS) -> None:
        def report(raw: Array, objective: float, loss: float, length: float) -> bool:
            validation, stop = self.judge.see(raw, objective)
            iteration = Iteration(objective, loss, validation, length)
            self._record(iteration, math.nan)
            self.t.keep(self.judge.best_raw, self.t.kept.retried)
            self._tell(iteration)
            self._watched(begun)
            return stop

        start, most = self.t.kept.raw, self.stage.iterations
        begun = self._state(None)  # from which it starts again
        self._watched(begun)
        lbfgs.minimize(self.judge.objective, options, start, most, self.t.train, report)

    def _batches(self) -> Iterator[tuple[Batch, Any]]:
        """Batches without end, in an order drawn anew each epoch; the generator after each."""
        train, size = self.t.train, self.stage.batch_size
        for iteration in itertools.count(self.done):
            rows, closes_epoch = train, True
            if size is not None and size < train.size:
                at = iteration * size % (math.ceil(train.size / size) * size)
                if at == 0:
                    self.order = self.t.rng.permutation(train)
                assert self.order is not None
                rows, closes_epoch = self.order[at : at + size], at + size >= train.size
            batch = Batch(rows, closes_epoch, self.stage.factor(iteration), self._prefix())
            yield batch, self.t.rng.bit_generator.state

    def _watched(self, at: TrainingRun | TrainingState, urgent: bool = False) -> None:
        if self.t.watch is not None:
            make = (lambda: at) if isinstance(at, TrainingState) else (lambda: self._state(at))
            self.t.watch(make, urgent)

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
        )

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


def _up_to(problem: Problem, horizon: float | None) -> Problem:
    """Return the problem with another horizon, or the measured times up to it."""
    if horizon is None:
        return problem
    if problem.steady:
        return dataclasses.replace(problem, times=np.array([horizon]))
    keep = problem.times <= horizon
    return dataclasses.replace(
        problem,
        times=problem.times[keep],
        response=np.ascontiguousarray(problem.response[:, keep]),
        weight=np.ascontiguousarray(problem.weight[:, keep]),
    )
