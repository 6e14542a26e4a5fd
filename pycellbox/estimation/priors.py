"""What is thought of the strengths before a screen is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.problem import Array


@dataclass(frozen=True)
class Prior:
    """A log-normal one: the median of a strength, the standard deviation of its logarithm.

    Attributes
    ----------
    median, spread : float
    step : float
        First step of a search, in the logarithm.
    """

    median: float
    spread: float
    step: float = 1.0

    @property
    def center(self) -> float:
        """Mean of the logarithm."""
        return float(np.log(self.median))

    def cost(self, log: Array) -> Array:
        """Half the squared distance from the center, in spreads."""
        half: Array = 0.5 * ((log - self.center) / self.spread) ** 2
        return half


PRIORS = {
    "drugs": Prior(0.3, 1.0),
    "proteins": Prior(0.3, 1.0),
    "common": Prior(1.0, 1.5),
    "operating_point": Prior(0.5, 0.75),
    "range": Prior(1.5, 0.35, step=0.5),
    "shared": Prior(1.0, 1.5),
}
"""Of penalties relative to a node's noise (``proteins``: of their effects on phenotypes), and of
``range``: A/max|y|, how far a node can go.

They were set by hand in two rounds on public screens and fitted to none; most of them are wide
enough for the data to have their way."""
