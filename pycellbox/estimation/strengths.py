"""Strengths of the penalties, chosen inside a screen: by conditions left out, or by evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pycellbox.estimation.design import Parts, base
from pycellbox.estimation.linear import LEAST_SHARE, effective_number, own_strengths, thresholds
from pycellbox.estimation.nodes import Nodes
from pycellbox.estimation.priors import PRIORS
from pycellbox.problem import Array

FEW_COMBINATIONS = 0.2
"""Share of combinations below which a screen is judged by evidence."""
_SINGLE = 0.5  # share of conditions with a drug that stands nowhere else, from which on likewise
_SWEEPS = 3
_NONE = 1e9  # strength that leaves operating points at 0
# A weak prior of a node's noise: so many responses with this share of its mean square.
_RESPONSES, _NOISE = 2.0, 0.1


def stand_once(doses: Array) -> Array:
    """Conditions with a drug that no other condition has, bool (c,): nothing predicts those."""
    given = doses != 0
    once: Array = (given & (given.sum(axis=0) == 1)).any(axis=1)
    return once


def by_leaving_out(doses: Array) -> bool:
    """Whether conditions left out say which strengths predict well.

    Not where drugs stand alone, or each once: what is then left out is a drug, and what is to be
    predicted is something else.
    """
    combined = ((doses != 0).sum(axis=1) > 1).mean()
    return bool(combined >= FEW_COMBINATIONS and stand_once(doses).mean() < 1 - _SINGLE)


class Criterion:
    """How well the logarithms of the strengths do; the larger, the better.

    The prior of the strengths, and of `Nodes` at the optimum for them either

    * −½·N·log ΣH(e), e the leave-one-out errors of all nodes together by Gauss and Newton's matrix,
      N their effective number, or
    * the evidence of each node by Laplace's method (MacKay, Neural Computation 4:415, 1992), the
      variance of its noise profiled, weighted by its share of the mean squares.

    Parameters
    ----------
    nodes : Nodes
        Left at the optimum of the last evaluation.
    kinds : ndarray, (p,)
        Of the columns, each the name of a strength.
    doses : ndarray, (c, drug)
        Of drugs that are given.
    parts : Parts
        Whether nodes have operating points, and whether the loss is robust.
    own : ndarray, (m,), optional
        By what factor each node is penalized more than the others, if that is known.

    Attributes
    ----------
    names : tuple of str
        The strengths that there are to choose.
    own : ndarray, (m,)
        Logarithm of how much more each node is penalized than the others.
    strengths : dict of str to float
        Those of the last evaluation.
    """

    def __init__(
        self,
        nodes: Nodes,
        kinds: Array,
        doses: Array,
        parts: Parts,
        own: Array | None = None,
    ) -> None:
        self.nodes, self.kinds = nodes, kinds
        chosen = [*kinds, "range", *(["operating_point"] if parts.operating_point else [])]
        order = list(PRIORS)
        self.names = tuple(sorted(set(chosen), key=lambda name: (order.index(base(name)), name)))
        self._counted = ~stand_once(doses)
        self.leaves_out = by_leaving_out(doses)
        self._number: float | None = None
        self.strengths: dict[str, float] = {}
        self.own = np.zeros(len(nodes.theta)) if own is None else np.log(own)
        if self.leaves_out and own is None:
            self.own = own_strengths(nodes, kinds, self._counted)
        if parts.robust:
            medians = {name: PRIORS[base(name)].median for name in self.names}
            nodes.thresholds = thresholds(nodes, self.penalties(medians)[:, :-1])

    def penalties(self, strengths: dict[str, float]) -> Array:
        """Λ of every node, (m, p + 1)."""
        by_column = np.array([strengths[kind] for kind in self.kinds])
        of_columns = by_column * np.exp(self.own)[:, None]
        of_points = strengths.get("operating_point", _NONE) * self.nodes.square
        return np.column_stack([of_columns, of_points])

    def __call__(self, strengths: dict[str, float]) -> float:
        """Take the nodes to their optimum, and judge it."""
        nodes, self.strengths = self.nodes, strengths
        ranges = strengths["range"] * nodes.largest
        value = nodes.settle(ranges, self.penalties(strengths))
        prior = -sum(float(PRIORS[base(n)].cost(np.log(strengths[n]))) for n in self.names)
        at = nodes.normal(nodes.theta)
        if self.leaves_out:
            share = np.maximum(1 - at.leverage(), LEAST_SHARE)
            errors = (nodes.weights * nodes.error(at.residual / share))[:, self._counted]
            if self._number is None:
                self._number = float(effective_number(errors.ravel()))
            return prior - 0.5 * self._number * float(np.log(errors.sum()))
        count, square = nodes.count + _RESPONSES, nodes.square
        evidence = -0.5 * count * np.log((value + _RESPONSES * _NOISE * square) / count)
        evidence += 0.5 * np.log(nodes.penalties).sum(axis=1)
        evidence -= 0.5 * np.linalg.slogdet(at.matrix)[1]
        weight = square * square.sum() / (square**2).sum()
        return prior + float((weight * evidence).sum())


def search(
    criterion: Callable[[dict[str, float]], float], names: Sequence[str]
) -> dict[str, float]:
    """Strengths at which the criterion is largest, from the medians of their priors on.

    One after the other by steps that are halved after each sweep; the last evaluation is at what is
    returned.
    """
    at = np.array([PRIORS[base(name)].center for name in names])
    steps = np.array([PRIORS[base(name)].step for name in names])

    def strengths(logs: Array) -> dict[str, float]:
        return {name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)}

    best = criterion(strengths(at))
    for _ in range(_SWEEPS):
        for k in range(len(names)):
            for step in (steps[k], -steps[k]):
                moved = False
                while True:
                    there = at.copy()
                    there[k] += step
                    value = criterion(strengths(there))
                    if value <= best + 1e-9:
                        break
                    best, at, moved = value, there, True
                if moved:
                    break
        steps = steps / 2
    found = strengths(at)
    criterion(found)
    return found
