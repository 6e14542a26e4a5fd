"""AdamW on raw parameters, with a way back when a step leads to a blow-up."""

from __future__ import annotations

import math

import numpy as np

from pycellbox.backends.protocol import Advance, Batch, Iteration, TrainingPlan
from pycellbox.errors import DivergenceError
from pycellbox.fitting.objective import Objective, copy_raw, norm
from pycellbox.fitting.parametrization import Raw
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
    raw : dict of ndarray
        Best so far.
    """

    def __init__(
        self,
        objective: Objective,
        train: Array,
        validation: Array,
        patience: int | None,
        full_batch: bool,
        raw: Raw,
    ) -> None:
        self.objective, self.train, self.validation = objective, train, validation
        self.patience, self.full_batch = patience, full_batch
        self.active = validation.size > 0 or full_batch
        self.best_raw, self._best, self._since = raw, math.inf, 0

    def see(self, raw: Raw, objective: float) -> tuple[float, bool]:
        """Judge parameters; returns their validation loss and whether patience has run out."""
        validation = self.validation_loss(raw)
        if not self.active:
            return validation, False
        score = validation if self.validation.size else objective
        if score < self._best:
            self._best, self.best_raw, self._since = score, copy_raw(raw), 0
        else:
            self._since += 1
        return validation, self.patience is not None and self._since >= self.patience

    def plan(self, options: AdamW, raw: Raw, learning_rates: Raw) -> TrainingPlan:
        """Return the stage as plain arrays, for a backend that trains by itself."""
        parametrization = self.objective.parametrization
        l1, l2 = self.objective.strengths
        return TrainingPlan(
            raw=raw,
            learning_rates=learning_rates,
            l1=l1,
            l2=l2,
            shared=parametrization.shared,
            held=parametrization.held,
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

    def see_last(self, raw: Raw) -> None:
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

    def validation_loss(self, raw: Raw) -> float:
        """Loss of the whole validation set, infinite where it blows up, NaN where there is none."""
        if not self.validation.size:
            return math.nan
        try:
            parameters = self.objective.parametrization.effective(raw)
            return self.objective.session.value(parameters, self.validation)
        except DivergenceError:
            return math.inf


class AdamWRun:
    """AdamW over one stage, an iteration a call.

    Parameters
    ----------
    judge : Judge
    options : AdamW
    raw : dict of ndarray
        Start; copied.
    learning_rates : dict of ndarray
        Nominal learning rate of every entry.
    """

    chunk = 1
    """Iterations that `advance` should be given at a time."""

    def __init__(self, judge: Judge, options: AdamW, raw: Raw, learning_rates: Raw) -> None:
        self.judge, self.objective, self.options = judge, judge.objective, options
        self.raw = copy_raw(raw)
        self.retried = 0
        self._rates = learning_rates
        self._mean = {k: np.zeros_like(v) for k, v in raw.items()}
        self._square = {k: np.zeros_like(v) for k, v in raw.items()}
        self._count = 0
        self._shrink = 1.0
        self._previous: Raw | None = None

    @property
    def best_raw(self) -> Raw:
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
            length = norm(gradient)
            clip = self.options.clip_norm
            if clip is not None and length > clip:
                gradient = {k: v * (clip / length) for k, v in gradient.items()}
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

    def _evaluate(self, batch: Batch) -> tuple[float, float, Raw]:
        """Evaluate; a blow-up takes the last step back by halves until the trajectory is finite."""
        for _ in range(RETRIES):
            try:
                return self.objective.value_and_gradient(self.raw, batch.rows, batch.prefix)
            except DivergenceError:
                if self._previous is None:
                    raise
                self.retried += 1
                self._shrink *= 0.5
                self.raw = {
                    name: ((self.raw[name] + before) / 2).astype(before.dtype)
                    for name, before in self._previous.items()
                }
        assert self._previous is not None
        self.raw = self._previous
        return self.objective.value_and_gradient(self.raw, batch.rows, batch.prefix)

    def _stepped(self, gradient: Raw, factor: float) -> Raw:
        """Return the parameters after a step; those before it stay, for whoever holds them."""
        o, after = self.options, Raw()
        self._count += 1
        correct1 = 1 - o.beta1**self._count
        correct2 = 1 - o.beta2**self._count
        for name, value in self.raw.items():
            g, m, v = gradient[name], self._mean[name], self._square[name]
            m *= o.beta1
            m += (1 - o.beta1) * g
            v *= o.beta2
            v += (1 - o.beta2) * g * g
            rate = self._rates[name] * factor
            step = (m / correct1) / (np.sqrt(v / correct2) + o.epsilon)
            if o.weight_decay and name in ("W", "b0"):
                step = step + o.weight_decay * value
            after[name] = value - (rate * step).astype(value.dtype)
        return after
