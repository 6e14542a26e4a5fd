"""Gradients that have grown beyond use, as those of chaotic systems do over a long time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pycellbox.errors import NumericsWarning, warn
from pycellbox.models import Layout
from pycellbox.objective import Loss
from pycellbox.problem import Array, Problem

_MOST = 1e6
"""How often courses may change by as much as they vary where a parameter changes by its value.

Of an exponential growth that is as often as it takes a time constant; of cycles, as often as there
are cycles; of the equations of Lorenz 4e1, 7e3, 7e5, 5e7 and 2e10 over 10, 15, 20, 25 and 30.
"""


@dataclass(frozen=True)
class Steepness:
    """How much courses depend on parameters, as far as a gradient tells.

    Attributes
    ----------
    loss : Loss
    variation : float
        Root mean square of the measured responses over their standard deviations.
    end : str
        Time until which courses are fitted, in words.
    layout : Layout
        Of θ.
    """

    loss: Loss
    variation: float
    end: str
    layout: Layout

    @classmethod
    def of(cls, problem: Problem, train: Array, loss: Loss, layout: Layout) -> Steepness | None:
        """Return that of training conditions; None for steady states."""
        if problem.steady:
            return None
        measured = problem.weight[train] > 0
        y = (problem.response[train] * problem.weight[train])[measured].astype(np.float64)
        variation = float(np.sqrt(np.mean(y**2))) if y.size else 0.0
        return cls(loss, variation, f"t = {problem.times[-1]:g}", layout)

    def look(self, raw: Array, objective: float, gradient: Array) -> None:
        """Warn where a gradient with respect to θ is too large to be followed."""
        error = objective if self.loss.name == "mae" else math.sqrt(max(objective, 0.0))
        slope = 1.0 if self.loss.name == "mae" else 2 * error
        scale = slope * max(error, self.variation)
        with np.errstate(over="ignore"):
            by_value = np.abs(raw.astype(np.float64) * gradient)
        by_value[self.layout.fixed] = 0
        worst = int(by_value.argmax()) if by_value.size else 0
        if not by_value.size or not by_value[worst] > _MOST * scale > 0:
            return
        name = next(n for n, place in self.layout.places.items() if worst < place.stop)
        share = scale / by_value[worst]
        warn(
            f"courses up to {self.end} depend so much on {name} that gradients are of no use: a "
            f"change by {share:.0e} of its value changes them by as much as they vary. Over so "
            "long a time the system is chaotic or unstable. Fit windows that grow, schedule="
            "pcb.Grow(...), up to a time that can be fitted, pcb.Stage(horizon=...), or "
            "segments of the courses that are then joined, schedule=pcb.Shooting(...).",
            NumericsWarning,
        )
