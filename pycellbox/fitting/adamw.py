"""AdamW on raw parameters, with a way back when a step leads to a blow-up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.fitting.objective import Objective, copy_raw, norm
from pycellbox.fitting.parametrisation import Raw
from pycellbox.fitting.schedule import AdamW
from pycellbox.problem import Array

_RETRIES = 30  # halvings of one step: 2⁻³⁰ of it changes nothing that could still help


@dataclass(frozen=True)
class Update:
    """What one iteration saw at the parameters it started from."""

    objective: float
    loss: float
    gradient_norm: float
    start: Raw


class AdamWRun:
    """The state of AdamW over one stage.

    Parameters
    ----------
    objective : Objective
    options : AdamW
    raw : dict of ndarray
        Start; copied.
    learning_rates : dict of ndarray
        Nominal learning rate of every entry.
    """

    def __init__(self, objective: Objective, options: AdamW, raw: Raw, learning_rates: Raw) -> None:
        self.objective, self.options = objective, options
        self.raw = copy_raw(raw)
        self.retried = 0
        self._rates = learning_rates
        self._mean = {k: np.zeros_like(v) for k, v in raw.items()}
        self._square = {k: np.zeros_like(v) for k, v in raw.items()}
        self._count = 0
        self._shrink = 1.0
        self._previous: Raw | None = None

    def iterate(self, factor: float, rows: Array | None) -> Update:
        """One update on the conditions ``rows``, with ``factor`` times the learning rates.

        Raises
        ------
        DivergenceError
            The trajectory is not finite at the start of the stage, or however small the last
            step is made.
        """
        objective, loss, gradient = self._evaluate(rows)
        length = norm(gradient)
        clip = self.options.clip_norm
        if clip is not None and length > clip:
            gradient = {k: v * (clip / length) for k, v in gradient.items()}
        start = copy_raw(self.raw)
        with np.errstate(over="ignore"):  # an infinite square makes a step of zero
            self._step(gradient, factor * self._shrink)
        self._previous = start
        return Update(objective, loss, length, start)

    def _evaluate(self, rows: Array | None) -> tuple[float, float, Raw]:
        """Evaluate; a blow-up takes the last step back by halves until the trajectory is finite."""
        for _ in range(_RETRIES):
            try:
                return self.objective.value_and_gradient(self.raw, rows)
            except DivergenceError:
                if self._previous is None:
                    raise
                self.retried += 1
                self._shrink *= 0.5
                for name, before in self._previous.items():
                    self.raw[name] = ((self.raw[name] + before) / 2).astype(before.dtype)
        if self._previous is not None:
            self.raw = copy_raw(self._previous)
        return self.objective.value_and_gradient(self.raw, rows)

    def _step(self, gradient: Raw, factor: float) -> None:
        o = self.options
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
            value -= (rate * step).astype(value.dtype)
