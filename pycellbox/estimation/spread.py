"""How far new responses may be from what nodes at their optimum predict.

By Laplace's method: a node's parameters are spread about its optimum by s² M⁻¹, with M the matrix
of Gauss and Newton's method, penalties included, and s² the variance of its noise. A new response
is spread by s² (1/w + g M⁻¹ g), g the derivative of x by the parameters: by the noise, and by what
the screen leaves open.
"""

from __future__ import annotations

import numpy as np

from pycellbox.estimation.design import DRUG, base, kind_of
from pycellbox.estimation.linear import LEAST_SHARE
from pycellbox.estimation.strengths import Criterion
from pycellbox.problem import Array

_POOLED = 10.0  # responses for which the noise that nodes have in common counts, in each node's own
_LEAST_FREE = 0.1  # of a node's responses: how many at least its noise is estimated from


class Spread:
    """Of the nodes of an estimate.

    Parameters
    ----------
    found : Criterion
        At its optimum.

    Attributes
    ----------
    noise : ndarray, (m,)
        Variance s² of a response of weight 1: from the node's own residuals, and from the noise
        that all nodes have on average relative to their mean square, as if by ten responses more.
    """

    def __init__(self, found: Criterion) -> None:
        self._found, self._nodes = found, found.nodes
        nodes, at = self._nodes, found.nodes.normal(found.nodes.theta)
        self._inverse = np.linalg.inv(at.matrix)
        self._residual = at.residual
        self._left = np.maximum(1 - at.leverage(), LEAST_SHARE)
        squares = (nodes.weights * at.residual**2).sum(axis=1)
        free = (self._left * nodes.measured).sum(axis=1)
        free = np.maximum(free, _LEAST_FREE * nodes.count)
        shared = (squares / nodes.square).sum() / free.sum()
        self.noise = (squares + _POOLED * shared * nodes.square) / (free + _POOLED)

    def of_states(self, columns: Array) -> tuple[Array, Array]:
        """Variance of the states of conditions (c, p), (m, c), and their slopes by θ."""
        _, slopes = self._nodes.slopes(self._nodes.theta, columns)
        open_ = np.einsum("icp,ipq,icq->ic", slopes, self._inverse, slopes, optimize=True)
        return self.noise[:, None] * open_, slopes

    def of_combinations(self, of_columns: Array) -> Array:
        """Return standard deviations of linear combinations (k, p) of coefficients, (m, k)."""
        among = self._inverse[:, :-1, :-1]
        open_ = np.einsum("kp,ipq,kq->ik", of_columns, among, of_columns, optimize=True)
        deviation: Array = np.sqrt(self.noise[:, None] * open_)
        return deviation

    def of_a_drug(self, one: str) -> Array:
        """Variance of the own effect of a drug of a class, per squared unit of its column, (m,).

        The mean square of the effects of those that were seen, as far as the screen knows them; of
        a class that was not seen, of all drugs.
        """
        kinds = list(self._found.kinds)
        own = np.array([kind == kind_of(DRUG, one) for kind in kinds])
        if not own.any():
            own = np.array([base(kind) == DRUG for kind in kinds])
        if not own.any():  # drugs do nothing by themselves
            return np.zeros(len(self.noise))
        k = np.flatnonzero(own)
        open_ = self.noise[:, None] * self._inverse[:, k, k]
        variance: Array = (self._nodes.theta[:, k] ** 2 + open_).mean(axis=1)
        return variance

    def left_out(self) -> Array:
        """Leave-one-out errors over their standard deviations, (m, c), NaN where not measured."""
        nodes = self._nodes
        size = np.sqrt(nodes.weights / (self.noise[:, None] * self._left))
        return np.where(nodes.measured, self._residual * size, np.nan)
