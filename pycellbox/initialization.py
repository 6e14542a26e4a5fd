"""Where a fit starts, as a declaration."""

from __future__ import annotations

from dataclasses import dataclass

from pycellbox.common.options import checked, number, optional


@checked(weight_scale=number(0), alpha=optional(number(0, above=True)), range_factor=number(0))
@dataclass(frozen=True)
class Initialization:
    """Where a fit starts.

    Parameters
    ----------
    weight_scale : float
        Standard deviation of the initial W, drawn from a normal distribution.
    alpha : float, optional
        Initial decay rate of every node, in 1/time; None: 1 per `Recipe`'s ``time_scale``.
    range_factor : float
        A node's initial ε/α is ``max(1, range_factor · max|y|)`` over its training responses y:
        a node can reach no further than ε/α, so 1 is too little for most data.
    """

    weight_scale: float = 0.001
    alpha: float | None = None
    range_factor: float = 1.5
