"""The training loop: stages, batches, validation, stopping, and the best parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pycellbox.backends import Backend, Session
from pycellbox.errors import DivergenceError
from pycellbox.fitting import lbfgs
from pycellbox.fitting.adamw import AdamWRun, Update
from pycellbox.fitting.history import History
from pycellbox.fitting.objective import Objective, copy_raw
from pycellbox.fitting.parametrisation import Parametrisation, Raw
from pycellbox.fitting.progress import Progress
from pycellbox.fitting.schedule import LBFGS, AdamW, Stage
from pycellbox.objective import Loss, Penalty
from pycellbox.problem import Array, Problem
from pycellbox.solvers import Solver


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

    def run(self, schedule: tuple[Stage, ...]) -> None:
        """Go through the stages; the best parameters of each are the start of the next."""
        with self.progress:
            for number, stage in enumerate(schedule):
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


class _StageRun:
    """One stage: its session, its best parameters, its patience."""

    def __init__(self, training: Training, number: int, stage: Stage) -> None:
        self.t, self.number, self.stage = training, number, stage
        problem = _up_to(training.problem, stage.horizon)
        self.horizon = float(problem.times[-1])
        self.session: Session = training.backend.session(
            problem, training.solver, training.loss, "discrete"
        )
        train_weight = problem.weight[training.train]
        self.objective = Objective(
            self.session,
            training.parametrisation,
            stage.penalty or training.penalty,
            max(int(np.count_nonzero(train_weight)), 1),
        )
        self.best, self.best_raw = math.inf, training.raw
        self.since_best = 0
        # Without validation a minibatch says too little to choose by: the last parameters count.
        self.judged = training.validation.size > 0 or stage.batch_size is None

    def run(self) -> None:
        try:
            if isinstance(self.stage.optimiser, LBFGS):
                self._run_lbfgs(self.stage.optimiser)
            else:
                self._run_adamw(self.stage.optimiser)
        finally:
            self.t.raw = copy_raw(self.best_raw)

    def _run_adamw(self, options: AdamW) -> None:
        stage, t = self.stage, self.t
        rates = t.parametrisation.learning_rates(stage.rates())
        top_rate = max(stage.rates().values())
        run = AdamWRun(self.objective, options, t.raw, rates)
        try:
            for i, (rows, closes_epoch) in zip(
                range(stage.iterations), self._batches(), strict=False
            ):
                factor = stage.factor(i)
                update = run.iterate(factor, rows)
                stop = self._record(update, top_rate * factor, closes_epoch, run.raw)
                if stop:
                    break
            else:
                self._judge_last(run.raw)
        finally:
            t.retried += run.retried

    def _run_lbfgs(self, options: LBFGS) -> None:
        def report(update: Update) -> bool:
            return self._record(update, math.nan, True, update.start)

        lbfgs.minimise(
            self.objective, options, self.t.raw, self.stage.iterations, self.t.train, report
        )

    def _batches(self) -> Iterator[tuple[Array, bool]]:
        """Rows of each batch without end, and whether it closes an epoch."""
        train, size = self.t.train, self.stage.batch_size
        while size is None or size >= train.size:
            yield train, True
        while True:
            order = self.t.rng.permutation(train)
            for start in range(0, train.size, size):
                yield order[start : start + size], start + size >= train.size

    def _record(self, update: Update, rate: float, epoch: bool, after: Raw) -> bool:
        """Note an iteration; True when patience has run out."""
        validation = self._validation_loss(update.start) if epoch else math.nan
        self.t.history.add(
            self.number,
            objective=update.objective,
            loss=update.loss,
            validation_loss=validation,
            gradient_norm=update.gradient_norm,
            learning_rate=rate,
            horizon=self.horizon,
        )
        self.t.progress.advance(self.number, update.loss, validation)
        if not self.judged:
            self.best_raw = after
            return False
        if not epoch:
            return False
        score = validation if self.t.validation.size else update.objective
        if score < self.best:
            self.best, self.best_raw, self.since_best = score, copy_raw(update.start), 0
        else:
            self.since_best += 1
        return self.stage.patience is not None and self.since_best >= self.stage.patience

    def _validation_loss(self, raw: Raw) -> float:
        """Loss of the whole validation set, infinite where it blows up, NaN where there is none."""
        if not self.t.validation.size:
            return math.nan
        try:
            parameters = self.t.parametrisation.effective(raw)
            return self.session.value(parameters, self.t.validation)
        except DivergenceError:
            return math.inf

    def _judge_last(self, raw: Raw) -> None:
        """Judge the last update, which no iteration has looked at yet."""
        if not self.judged:
            return
        try:
            if self.t.validation.size:
                score = self._validation_loss(raw)
            else:
                score = self.objective.value_and_gradient(raw, self.t.train)[0]
        except DivergenceError:
            return
        if score < self.best:
            self.best_raw = copy_raw(raw)


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
