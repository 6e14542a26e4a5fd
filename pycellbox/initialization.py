"""Where a fit starts, as a declaration."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pycellbox.common.options import number, settle
from pycellbox.errors import ModelError


@dataclass(frozen=True)
class Initialization:
    """Where a fit starts.

    Parameters
    ----------
    weight_scale : float
        Standard deviation of the initial W, drawn from a normal distribution.
    alpha : float
        Initial decay rate of every node, in 1/time.
    range_factor : float
        A node's initial ε/α is ``max(1, range_factor · max|y|)`` over its training responses y:
        a node can reach no further than ε/α, so 1 is too little for most data.
    """

    weight_scale: float = 0.001
    alpha: float = 1.0
    range_factor: float = 1.5

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            settle(self, f.name, number(f.name, getattr(self, f.name)))
        if self.alpha == 0:
            raise ModelError("alpha=0; a node without decay never settles, use a number > 0.")
