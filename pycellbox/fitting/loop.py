"""The training loop: stages, batches, validation, stopping, and the best parameters."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pycellbox.backends import Backend
from pycellbox.ending import COMPLETED, Ended, Ending, interrupted
from pycellbox.errors import DivergenceError, once
from pycellbox.fitting.adamw import Judge
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.history import History
from pycellbox.fitting.progress import Progress
from pycellbox.fitting.stage import StageRun, end_of
from pycellbox.fitting.state import Kept, TrainingState
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.objective import Loss, Penalty
from pycellbox.problem import Array, Problem
from pycellbox.schedule import Stage
from pycellbox.solvers import Solver

log = logging.getLogger("pycellbox")

Watch = Callable[[TrainingState, bool], None]


@dataclass
class Training:
    """Everything the loop needs, and where it leaves its results.

    Attributes
    ----------
    problem : Problem
        Training and validation conditions together, at the longest horizon.
    clock : Clock
        In whose time scale θ is.
    train, validation : ndarray of int
        Rows of the problem.
    raw : ndarray, (θ,)
        Where it starts.
    ended : Ended
        How the fit ended; until then that it was interrupted.
    kept : Kept
        Parameters and history that belong together, whenever the training is interrupted.
    watch : callable (state, urgent), optional
        Called at the beginning of stages and after iterations; ``urgent`` with the last state that
        it has seen, if an interrupt ends the training.
    """

    backend: Backend
    problem: Problem
    clock: Clock
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
    _left: StageRun | None = field(init=False, default=None)
    # Not the run, which knows this: in a circle sessions would outlive their fit.
    _last: tuple[int, Judge] | None = field(init=False, default=None)

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
        with once(), self.progress:
            first = 0 if self.begun is None else self.begun.stage
            for number, stage in list(enumerate(schedule))[first:]:
                self.ended = interrupted(f"in stage {number}")
                began, before = time.perf_counter(), len(self.history)
                left, self._left = self._left, None
                try:
                    run = left or StageRun(self, number, stage)
                    self._last = run.number, run.judge
                    run.run()
                except DivergenceError as error:
                    why = f"{error}{self.clock.said}"
                    if not self.history:
                        raise DivergenceError(
                            f"the fit cannot start: {why} Or start from smaller weights: "
                            "initial=pcb.Initialization(weight_scale=...); equations of your own, "
                            "from other parameters, or with a short window: pcb.Grow()."
                        ) from error
                    self.ended = Ended(Ending.DIVERGED, f"stopped in stage {number}: {why}")
                    return
                finally:
                    log.info(
                        "stage %d: %d of %d iterations (%s), %s, %.2f s",
                        number, len(self.history) - before, stage.iterations,
                        type(stage.optimizer).__name__, self.history.last(),
                        time.perf_counter() - began,
                    )  # fmt: skip
        self.ended = COMPLETED

    def scores(self, stages: int) -> tuple[float, float, float]:
        """Objective, loss and validation loss of what is kept; NaN before the last stage."""
        if self._last is None or self._last[0] < stages - 1:
            return math.nan, math.nan, math.nan
        judge, shot = self._last[1], self.kept.shooting
        if shot and not shot["joined"]:
            objective, loss = shot["objective"], shot["loss"]
        else:
            objective, loss, _ = judge.objective.value_and_gradient(self.kept.raw, self.train)
        return objective, loss, judge.validation_loss(self.kept.raw)

    def go_on(self, state: TrainingState, schedule: tuple[Stage, ...]) -> None:
        """Begin where another training was left.

        Raises
        ------
        ValueError
            The state is none of this training.
        """
        state.check([end_of(self.problem, stage) for stage in schedule])
        self.begun, self.kept, self.history = state, state.kept, state.rows
        self.rng.bit_generator.state = dict(state.generator)
        self.progress.done = len(state.rows)
        if state.stage < len(schedule):
            self._left = StageRun(self, state.stage, schedule[state.stage])
            self._left.go_on(state)

    def final_state(self, stages: int) -> TrainingState:
        """State after all stages: nothing is left but what was reached."""
        generator = copy.deepcopy(self.rng.bit_generator.state)
        pair, rows = self.parametrization, self.history
        return TrainingState(stages, 0, self.kept, {}, {}, None, generator, rows, pair, self.clock)

    def keep(self, raw: Array, retried: int) -> None:
        """Keep parameters that nobody changes any more, with the history so far, in one go."""
        self.kept = Kept(raw, len(self.history), retried)
