"""The training objective on raw parameters: loss through a backend, plus penalties."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from pycellbox.backends import Session
from pycellbox.common import interrupts
from pycellbox.errors import DivergenceError
from pycellbox.fitting.parametrization import Parametrization, Raw
from pycellbox.objective import Penalty
from pycellbox.problem import Array


@dataclass
class Objective:
    """Loss plus penalty as a function of raw parameters.

    Attributes
    ----------
    session : Session
        Of the training conditions, or of all; ``rows`` picks the training ones.
    parametrization : Parametrization
    penalty : Penalty
    n_entries : int
        Measured training entries, for penalties on the sum's scale.
    """

    session: Session
    parametrization: Parametrization
    penalty: Penalty
    n_entries: int

    @cached_property
    def strengths(self) -> tuple[Raw, Raw]:
        """L1 and L2 strength of every entry of W and b0, scaled."""
        scale = 1.0 if self.penalty.scale == "mean" else 1.0 / self.n_entries

        def scaled(kind: Literal["l1", "l2"]) -> Raw:
            by_group = self.penalty.strengths(kind)
            return self.parametrization.strengths({g: scale * s for g, s in by_group.items()})

        return scaled("l1"), scaled("l2")

    def value_and_gradient(
        self, raw: Raw, rows: Array | None = None, prefix: int | None = None
    ) -> tuple[float, float, Raw]:
        """Objective, its loss part, and the gradient with respect to ``raw``.

        Raises
        ------
        DivergenceError
            Anything is not finite.
        KeyboardInterrupt
            There was a Ctrl-C that was held back: nothing is half done here.
        """
        interrupts.check()
        effective = self.parametrization.effective(raw)
        loss, slope = self.session.value_and_gradient(effective, rows, prefix)
        gradient = self.parametrization.pull_back(raw, slope)
        total = loss
        weak, strong = self.strengths
        for name, l1 in weak.items():
            l2, values = strong[name], raw[name]
            total += float(np.sum(l1 * np.abs(values) + l2 * values**2))
            steeper = gradient[name] + l1 * np.sign(values) + 2 * l2 * values
            gradient[name] = steeper.astype(values.dtype)
        if not np.isfinite(total):
            raise DivergenceError("the penalty is not finite: parameters have grown too large.")
        return total, loss, gradient


def copy_raw(raw: Raw) -> Raw:
    """Return a deep copy."""
    return {name: array.copy() for name, array in raw.items()}


def norm(raw: Raw) -> float:
    """Euclidean norm over all entries."""
    with np.errstate(over="ignore"):  # beyond 1e154 the norm is infinite, which is said
        return float(np.sqrt(sum(float(np.sum(a.astype(np.float64) ** 2)) for a in raw.values())))
