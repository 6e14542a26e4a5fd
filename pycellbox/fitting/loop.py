"""The training loop: stages, batches, validation, stopping, and the best parameters."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pycellbox.backends import Backend
from pycellbox.backends.protocol import Batch, Iteration, TrainingRun
from pycellbox.errors import DivergenceError
from pycellbox.fitting import lbfgs
from pycellbox.fitting.adamw import AdamWRun, Judge
from pycellbox.fitting.history import History
from pycellbox.fitting.objective import Objective, copy_raw
from pycellbox.fitting.parametrisation import Parametrisation, Raw
from pycellbox.fitting.progress import Progress
from pycellbox.fitting.schedule import LBFGS, AdamW, Stage
from pycellbox.objective import Loss, Penalty
from pycellbox.problem import Array, Problem
from pycellbox.solvers import Solver

log = logging.getLogger("pycellbox")


@dataclass
class Training:
    """Everything the loop needs, and where it leaves its results.

    Attributes
    ----------
    problem : Problem
        Training and validation conditions together, at the longest horizon.
    train, validation : ndarray of int
        Rows of the problem.
    raw : dict of ndarray
        Start, and in the end the best parameters.
    status : str
        How the fit ended, for the reader.
    """

    backend: Backend
    problem: Problem
    train: Array
    validation: Array
    solver: Solver
    loss: Loss
    penalty: Penalty
    parametrisation: Parametrisation
    raw: Raw
    rng: np.random.Generator
    progress: Progress
    history: History = field(default_factory=History)
    status: str = "completed"
    retried: int = 0

    @property
    def horizon(self) -> float:
        """End of the integration in the last stage that made an iteration; at first the fit's."""
        return self.history.latest("horizon", float(self.problem.times[-1]))

    def run(self, schedule: tuple[Stage, ...]) -> None:
        """Go through the stages; the best parameters of each are the start of the next."""
        with self.progress:
            for number, stage in enumerate(schedule):
                began, before = time.perf_counter(), len(self.history)
                try:
                    _StageRun(self, number, stage).run()
                except DivergenceError as error:
                    if not self.history:
                        raise DivergenceError(
                            f"the fit cannot start: {error} Or start from smaller weights: "
                            "initial=pcb.Initialisation(weight_scale=...)."
                        ) from error
                    self.status = f"stopped in stage {number}: {error}"
                    return
                except KeyboardInterrupt:
                    self.status = f"interrupted in stage {number}"
                    return
                finally:
                    log.info(
                        "stage %d: %d of %d iterations (%s), %s, %.2f s",
                        number, len(self.history) - before, stage.iterations,
                        type(stage.optimiser).__name__, self.history.last(),
                        time.perf_counter() - began,
                    )  # fmt: skip


class _StageRun:
    """One stage: its session, its batches, its judge."""

    def __init__(self, training: Training, number: int, stage: Stage) -> None:
        self.t, self.number, self.stage = training, number, stage
        problem = _up_to(training.problem, stage.horizon)
        self.horizon, self.times = float(problem.times[-1]), problem.times.size
        session = training.backend.session(problem, training.solver, training.loss)
        train_weight = problem.weight[training.train]
        objective = Objective(
            session,
            training.parametrisation,
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
            training.raw,
        )

    def run(self) -> None:
        if isinstance(self.stage.optimiser, LBFGS):
            try:
                self._run_lbfgs(self.stage.optimiser)
            finally:
                self.t.raw = copy_raw(self.judge.best_raw)
        else:
            run = self._adamw(self.stage.optimiser)
            try:
                self._run_adamw(run)
            finally:
                self.t.retried += run.retried
                self.t.raw = copy_raw(run.best_raw)

    def _adamw(self, options: AdamW) -> TrainingRun:
        rates = self.t.parametrisation.learning_rates(self.stage.rates())
        own = getattr(self.judge.objective.session, "training_run", None)
        if own is None:
            return AdamWRun(self.judge, options, self.t.raw, rates)
        run: TrainingRun = own(self.judge.plan(options, self.t.raw, rates))
        return run

    def _run_adamw(self, run: TrainingRun) -> None:
        top_rate = max(self.stage.rates().values())
        batches = itertools.islice(self._batches(), self.stage.iterations)
        while chunk := list(itertools.islice(batches, run.chunk)):
            advance = run.advance([batch for batch, _ in chunk])
            for (batch, generator), iteration in zip(chunk, advance.iterations, strict=False):
                self._record(iteration, top_rate * batch.factor)
                # Where a stage ends within a chunk, what was drawn for the rest of it must not
                # count: how long a chunk is depends on the clock.
                self.t.rng.bit_generator.state = generator
            if advance.failure:
                raise DivergenceError(advance.failure)
            if advance.stop:
                return
        run.finish()

    def _run_lbfgs(self, options: LBFGS) -> None:
        def report(raw: Raw, objective: float, loss: float, length: float) -> bool:
            validation, stop = self.judge.see(raw, objective)
            self._record(Iteration(objective, loss, validation, length), math.nan)
            return stop

        lbfgs.minimise(
            self.judge.objective, options, self.t.raw, self.stage.iterations, self.t.train, report
        )

    def _batches(self) -> Iterator[tuple[Batch, Any]]:
        """Batches without end, in an order drawn anew each epoch; the generator after each."""
        train, size = self.t.train, self.stage.batch_size
        for iteration in itertools.count():
            rows, closes_epoch = train, True
            if size is not None and size < train.size:
                at = iteration * size % (math.ceil(train.size / size) * size)
                if at == 0:
                    order = self.t.rng.permutation(train)
                rows, closes_epoch = order[at : at + size], at + size >= train.size
            batch = Batch(rows, closes_epoch, self.stage.factor(iteration), self._prefix())
            yield batch, self.t.rng.bit_generator.state

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
