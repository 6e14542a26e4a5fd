"""AdamW on raw parameters, with a way back when a step leads to a blow-up."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pycellbox.backends.protocol import Advance, Batch, Iteration, TrainingPlan
from pycellbox.errors import DivergenceError
from pycellbox.fitting.objective import Objective, norm
from pycellbox.objective import EDGE_GROUPS
from pycellbox.problem import Array
from pycellbox.schedule import AdamW

RETRIES = 30
"""Halvings of one step after a blow-up: 2⁻³⁰ of it changes nothing that could still help."""


class Judge:
    """Keeps the best parameters and counts how long ago they were found.

    Parameters
    ----------
    objective : Objective
    train, validation : ndarray of int
        Rows of the training and of the validation conditions; without validation the objective
        on the full batch judges, and nothing does where batches are smaller.
    patience : int or None
    full_batch : bool
    raw : ndarray, (θ,)
        Best so far.
    """

    def __init__(
        self,
        objective: Objective,
        train: Array,
        validation: Array,
        patience: int | None,
        full_batch: bool,
        raw: Array,
    ) -> None:
        self.objective, self.train, self.validation = objective, train, validation
        self.patience, self.full_batch = patience, full_batch
        self.active = validation.size > 0 or full_batch
        self.best_raw, self.best, self.since = raw, math.inf, 0

    def see(self, raw: Array, objective: float) -> tuple[float, bool]:
        """Judge parameters; returns their validation loss and whether patience has run out."""
        validation = self.validation_loss(raw)
        if not self.active:
            return validation, False
        score = validation if self.validation.size else objective
        if score < self.best:
            self.best, self.best_raw, self.since = score, raw.copy(), 0
        else:
            self.since += 1
        return validation, self.patience is not None and self.since >= self.patience

    def plan(self, options: AdamW, raw: Array, learning_rates: Array) -> TrainingPlan:
        """Return the stage as plain arrays, for a backend that trains by itself."""
        l1, l2 = self.objective.strengths
        return TrainingPlan(
            parametrization=self.objective.parametrization,
            raw=raw,
            learning_rates=learning_rates,
            l1=l1,
            l2=l2,
            beta1=options.beta1,
            beta2=options.beta2,
            epsilon=options.epsilon,
            weight_decay=options.weight_decay,
            clip_norm=math.inf if options.clip_norm is None else options.clip_norm,
            train=self.train,
            validation=self.validation,
            patience=self.patience or 0,
            full_batch=self.full_batch,
        )

    def see_last(self, raw: Array) -> None:
        """Judge the parameters after the last update, which no iteration has looked at yet."""
        if not self.active:
            return
        try:
            objective = math.nan
            if not self.validation.size:
                objective = self.objective.value_and_gradient(raw, self.train)[0]
            self.see(raw, objective)
        except DivergenceError:
            return

    def validation_loss(self, raw: Array) -> float:
        """Loss of the whole validation set, infinite where it blows up, NaN where there is none."""
        if not self.validation.size:
            return math.nan
        try:
            parameters = self.objective.parametrization.constrain(raw)
            return self.objective.session.loss(parameters, self.validation)
        except DivergenceError:
            return math.inf


class AdamWRun:
    """AdamW over one stage, an iteration a call.

    Parameters
    ----------
    judge : Judge
    options : AdamW
    raw : ndarray, (θ,)
        Start; copied.
    learning_rates : ndarray, (θ,)
        Nominal learning rate of every entry.
    """

    chunk = 1
    """Iterations that `advance` should be given at a time."""

    def __init__(self, judge: Judge, options: AdamW, raw: Array, learning_rates: Array) -> None:
        self.judge, self.objective, self.options = judge, judge.objective, options
        self.raw = raw.copy()
        self.retried = 0
        self._rates = learning_rates
        self._layout = self.objective.parametrization.layout
        decayed = self._layout.spread(dict.fromkeys(EDGE_GROUPS, options.weight_decay))
        self._decay = decayed.astype(raw.dtype) if options.weight_decay else None
        self._mean, self._square = np.zeros_like(raw), np.zeros_like(raw)
        self._count = 0
        self._shrink = 1.0
        self._previous: Array | None = None

    @property
    def best_raw(self) -> Array:
        """See `pycellbox.backends.protocol.TrainingRun.best_raw`."""
        return self.judge.best_raw if self.judge.active else self.raw

    def advance(self, batches: list[Batch]) -> Advance:
        """See `pycellbox.backends.protocol.TrainingRun.advance`."""
        done: list[Iteration] = []
        for batch in batches:
            try:
                objective, loss, gradient = self._evaluate(batch)
            except DivergenceError as error:
                return Advance(done, failure=str(error))
            validation, stop = math.nan, False
            if batch.closes_epoch:
                validation, stop = self.judge.see(self.raw, objective)
            length = norm(gradient, self._layout)
            clip = self.options.clip_norm
            if clip is not None and length > clip:
                gradient = gradient * (clip / length)
            self._previous = self.raw
            with np.errstate(over="ignore"):  # an infinite square makes a step of zero
                self.raw = self._stepped(gradient, batch.factor * self._shrink)
            done.append(Iteration(objective, loss, validation, length))
            if stop:
                return Advance(done, stop=True)
        return Advance(done)

    def finish(self) -> None:
        """Have the parameters after the last update judged."""
        self.judge.see_last(self.raw)

    def state(self) -> dict[str, Array]:
        """See `pycellbox.backends.protocol.TrainingRun.state`."""
        previous = self.raw if self._previous is None else self._previous
        vectors = {
            "raw": self.raw,
            "mean": self._mean,
            "square": self._square,
            "previous": previous,
            "best_raw": self.judge.best_raw,
        }
        numbers = {
            "best": self.judge.best,
            "since": self.judge.since,
            "count": self._count,
            "shrink": self._shrink,
            "retried": self.retried,
        }
        return {k: v.copy() for k, v in vectors.items()} | {
            k: np.array(v) for k, v in numbers.items()
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """See `pycellbox.backends.protocol.TrainingRun.restore`."""
        dtype = self.raw.dtype
        self.raw, self._mean, self._square, previous, best = (
            state[name].astype(dtype) for name in ("raw", "mean", "square", "previous", "best_raw")
        )
        self._count, self.retried = int(state["count"]), int(state["retried"])
        self._previous = previous if self._count else None
        self._shrink = float(state["shrink"])
        self.judge.best_raw, self.judge.best = best, float(state["best"])
        self.judge.since = int(state["since"])

    def _evaluate(self, batch: Batch) -> tuple[float, float, Array]:
        """Evaluate; a blow-up takes the last step back by halves until the trajectory is finite."""
        for _ in range(RETRIES):
            try:
                return self.objective.value_and_gradient(self.raw, batch.rows, batch.prefix)
            except DivergenceError:
                if self._previous is None:
                    raise
                self.retried += 1
                self._shrink *= 0.5
                self.raw = ((self.raw + self._previous) / 2).astype(self._previous.dtype)
        assert self._previous is not None
        self.raw = self._previous
        return self.objective.value_and_gradient(self.raw, batch.rows, batch.prefix)

    def _stepped(self, gradient: Array, factor: float) -> Array:
        """Return the parameters after a step; those before it stay, for whoever holds them."""
        o, m, v = self.options, self._mean, self._square
        self._count += 1
        m *= o.beta1
        m += (1 - o.beta1) * gradient
        v *= o.beta2
        v += (1 - o.beta2) * gradient * gradient
        correct1 = 1 - o.beta1**self._count
        correct2 = 1 - o.beta2**self._count
        step = (m / correct1) / (np.sqrt(v / correct2) + o.epsilon)
        if self._decay is not None:
            step = step + self._decay * self.raw
        after: Array = self.raw - (self._rates * factor * step).astype(self.raw.dtype)
        return after
