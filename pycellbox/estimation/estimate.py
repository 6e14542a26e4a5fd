"""From doses and responses of a screen to the parameters of its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.estimation.design import Design, saturated
from pycellbox.estimation.nodes import Nodes
from pycellbox.estimation.strengths import Criterion, search
from pycellbox.problem import Array


@dataclass(frozen=True)
class Estimate:
    """What a screen says of its nodes.

    Attributes
    ----------
    design : Design
        κ, units and signs of the doses.
    effects : ndarray, (m, drug)
        z per d(u), of every drug: what is its own and what it shares; of drugs that were not seen
        the mean of the others, shrunken by ``pooled``.
    common : ndarray, (m,)
        z wherever anything is given.
    point : ndarray, (m,)
        Operating points b.
    ranges : ndarray, (m,)
        A = ε/α.
    strengths : dict of str to float
        Penalties relative to a node's noise, and ``range``; see `priors.PRIORS`.
    own : ndarray, (m,)
        By what factor each node is penalized more.
    thresholds : ndarray, (m,)
        Huber's.
    pooled : float
        How much of the mean drug an unseen drug is, 0 to 1.
    leaves_out : bool
        Whether strengths were chosen by conditions left out, or by evidence.
    """

    design: Design
    effects: Array
    common: Array
    point: Array
    ranges: Array
    strengths: dict[str, float]
    own: Array
    thresholds: Array
    pooled: float
    leaves_out: bool

    def predict(self, doses: Array) -> Array:
        """Responses (c, m) to doses (c, drug)."""
        z = saturated(doses, self.design.saturation) @ self.effects.T
        z = z + np.outer((doses != 0).any(axis=1), self.common)
        x: Array = self.ranges * (np.tanh(z / self.ranges + self.point) - np.tanh(self.point))
        return x


def estimate(doses: Array, outputs: Array) -> Estimate:
    """Estimate nodes, strengths included.

    Parameters
    ----------
    doses : ndarray, (c, drug)
        Not all 0.
    outputs : ndarray, (c, m)
        Responses, NaN where not measured; each node somewhere.
    """
    design = Design.of(doses, outputs)
    nodes = Nodes(design(doses), outputs)
    criterion = Criterion(nodes, design.kinds, doses[:, design.seen])
    strengths = search(criterion)
    nodes.polish()
    drugs = int(design.seen.sum())
    sign = design.sign[design.seen]
    V = (nodes.theta[:, :drugs] + nodes.theta[:, [drugs + 1]] * sign) / design.unit
    mean, pooled = average(V * sign)
    effects = (pooled * mean)[:, None] * design.sign
    effects[:, design.seen] = V
    return Estimate(
        design=design,
        effects=effects,
        common=nodes.theta[:, drugs],
        point=nodes.theta[:, -1],
        ranges=nodes.ranges,
        strengths=strengths,
        own=np.exp(criterion.own),
        thresholds=nodes.thresholds[:, 0],
        pooled=pooled,
        leaves_out=criterion.leaves_out,
    )


def average(effects: Array) -> tuple[Array, float]:
    """Mean of the drugs' effects (m, drug), (m,), and how much of it predicts another drug.

    The latter is the slope of each drug's effects on the mean of the others', 0 to 1; 0 of a
    single drug.
    """
    drugs = effects.shape[1]
    others = (effects.sum(axis=1, keepdims=True) - effects) / max(drugs - 1, 1)
    square = float((others**2).sum())
    slope = float((effects * others).sum()) / square if square > 0 else 0.0
    return effects.mean(axis=1), float(np.clip(slope, 0, 1)) if drugs > 1 else 0.0
