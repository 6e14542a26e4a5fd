"""From doses and responses of a screen to the parameters of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pycellbox.estimation.design import COMMON, Design, Parts, saturated, treated
from pycellbox.estimation.nodes import Nodes
from pycellbox.estimation.strengths import Criterion, search
from pycellbox.problem import Array

PROTEINS = "proteins"
"""The kind of columns that are states of other nodes."""
_NEGLIGIBLE = 1e-3  # of the largest singular value of states


@dataclass(frozen=True)
class Estimate:
    """What a screen says of its nodes.

    Attributes
    ----------
    design : Design
        κ, units and signs of the doses.
    effects : ndarray, (m, drug)
        z per d(u), of every drug: what is its own and what it shares; of drugs that were not seen
        what the others have in common, shrunken by ``pooled``. 0 of phenotypes that are read from
        other nodes.
    between : ndarray, (m, m)
        z per state of another node, [target, source]: of phenotypes that are read from others.
    common : ndarray, (m,)
        z wherever anything is given.
    point : ndarray, (m,)
        Operating points b.
    ranges : ndarray, (m,)
        A = ε/α.
    strengths : dict of str to float
        Penalties relative to a node's noise, and ``range``; see `priors.PRIORS`.
    phenotypes : dict of str to float
        Likewise, of phenotypes that are read from other nodes; empty without.
    own : ndarray, (m,)
        By what factor each node is penalized more.
    thresholds : ndarray, (m,)
        Huber's.
    pooled : dict of str to float
        How much of what the others of its class have in common an unseen drug is, 0 to 1.
    leaves_out : bool
        Whether strengths were chosen by conditions left out, or by evidence.
    acted : Criterion
        With the nodes on which drugs act, at their optimum.
    read : Criterion or None
        With the phenotypes that are read from others, at theirs.
    basis : ndarray, (acted, r)
        Directions of states that are their columns.
    is_read : ndarray of bool, (m,)
        Which nodes these phenotypes are.
    """

    design: Design
    effects: Array
    between: Array
    common: Array
    point: Array
    ranges: Array
    strengths: dict[str, float]
    phenotypes: dict[str, float]
    own: Array
    thresholds: Array
    pooled: dict[str, float]
    leaves_out: bool
    acted: Criterion = field(repr=False)
    read: Criterion | None = field(repr=False)
    basis: Array = field(repr=False)
    is_read: Array = field(repr=False)

    def predict(self, doses: Array) -> Array:
        """Responses (c, m) to doses (c, drug)."""
        z = saturated(doses, self.design.saturation) @ self.effects.T
        z = z + np.outer(treated(doses), self.common)
        if self.between.any():  # from nodes on which no other acts
            z = z + self._states(z) @ self.between.T
        return self._states(z)

    def _states(self, z: Array) -> Array:
        x: Array = self.ranges * (np.tanh(z / self.ranges + self.point) - np.tanh(self.point))
        return x


def estimate(
    doses: Array,
    outputs: Array,
    weights: Array | None = None,
    *,
    read: Array | None = None,
    classes: Array | None = None,
    parts: Parts | None = None,
    strengths: Mapping[str, float] | None = None,
    phenotypes: Mapping[str, float] | None = None,
    own: Array | None = None,
) -> Estimate:
    """Estimate nodes, strengths included.

    Parameters
    ----------
    doses : ndarray, (c, drug)
        Not all 0.
    outputs : ndarray, (c, m)
        Responses, NaN where not measured; each node somewhere.
    weights : ndarray, (c, m), optional
        Inverse variances; see `Nodes`.
    read : ndarray of bool, (m,), optional
        Phenotypes on which other nodes act, and drugs only through them; not all. By default none.
    classes : ndarray of str, (drug,), optional
        What drugs have in common, and how strongly effects are penalized, stays inside a class.
    parts : Parts, optional
        By default all.
    strengths, phenotypes : mapping of str to float, optional
        Those of an `Estimate`, instead of strengths that the screen chooses.
    own : ndarray, (m,), optional
        Likewise, by what factor each node is penalized more.
    """
    m, parts = outputs.shape[1], parts or Parts()
    read = np.zeros(m, dtype=bool) if read is None else read
    weights = np.ones_like(outputs) if weights is None else weights
    acted = ~read
    design = Design.of(doses, outputs[:, acted], parts, classes)
    given = doses[:, design.seen]
    nodes = Nodes(design(doses), outputs[:, acted], weights[:, acted])
    first = _optimum(
        nodes, design.kinds, given, parts, strengths, None if own is None else own[acted]
    )
    V, pooled = of_all_drugs(design.effects(nodes.theta[:, :-1]), design)

    made = {name: np.zeros(m) for name in ("common", "point", "ranges", "own", "thresholds")}
    effects, between = np.zeros((m, doses.shape[1])), np.zeros((m, m))
    effects[acted] = V
    _put(made, acted, first, design.kinds)
    second, basis = None, np.zeros((int(acted.sum()), 0))
    if read.any():
        x = nodes.states(nodes.theta, nodes.columns).T
        basis = directions(x) if parts.read else basis
        states = x @ basis
        kinds = np.repeat([PROTEINS, COMMON], [basis.shape[1], int(parts.common)])
        columns = [states, treated(doses)[:, None]] if parts.common else [states]
        phenotype_nodes = Nodes(np.concatenate(columns, axis=1), outputs[:, read], weights[:, read])
        second = _optimum(
            phenotype_nodes, kinds, given, parts, phenotypes, None if own is None else own[read]
        )
        between[np.ix_(read, acted)] = phenotype_nodes.theta[:, : basis.shape[1]] @ basis.T
        _put(made, read, second, kinds)
    return Estimate(
        design=design,
        effects=effects,
        between=between,
        strengths=first.strengths,
        phenotypes=second.strengths if second else {},
        pooled=pooled,
        leaves_out=first.leaves_out,
        acted=first,
        read=second,
        basis=basis,
        is_read=read,
        **made,
    )


def directions(states: Array) -> Array:
    """Directions in which states (c, m) of nodes differ, (m, r), so that all have a size of 1.

    Nodes count by their spread, so that those that move little are heard as well; to those that
    hardly move the median spread gives a bound.
    """
    power = (states**2).mean(axis=0)
    scale = 1 / np.sqrt(np.maximum(power + np.median(power), np.finfo(float).tiny))
    even = states * scale
    size = np.sqrt((even**2).sum(axis=1).mean())
    if size == 0:
        return np.zeros((states.shape[1], 0))
    _, s, Vt = np.linalg.svd(even / size, full_matrices=False)
    return np.asarray(scale[:, None] * Vt[s > _NEGLIGIBLE * s[0]].T / size)


def typical(effects: Array) -> tuple[Array, float]:
    """Return what drugs' effects (m, drug) have in common, (m,), and how much of it others have.

    The median of the drugs, node by node: most of a drug's effects are small, and the large ones
    are its own. How much is the slope of each drug's effects on the median of the others', 0 to 1;
    0 of a single drug.
    """
    drugs = effects.shape[1]
    middle: Array = np.median(effects, axis=1)
    if drugs == 1:
        return middle, 0.0
    others = [np.median(np.delete(effects, k, axis=1), axis=1) for k in range(drugs)]
    of_others = np.stack(others, axis=1)
    square = float((of_others**2).sum())
    slope = float((effects * of_others).sum()) / square if square > 0 else 0.0
    return middle, float(np.clip(slope, 0, 1))


def _optimum(
    nodes: Nodes,
    kinds: Array,
    doses: Array,
    parts: Parts,
    known: Mapping[str, float] | None = None,
    own: Array | None = None,
) -> Criterion:
    """Take nodes to the optimum for strengths that are known, or that the screen chooses."""
    criterion = Criterion(nodes, kinds, doses, parts, own)
    if known:
        criterion(dict(known))
    else:
        search(criterion, criterion.names)
    nodes.polish()
    return criterion


def of_all_drugs(known: Array, design: Design) -> tuple[Array, dict[str, float]]:
    """Complete effects (m, seen) by those of drugs that were not seen.

    Returns
    -------
    effects : ndarray, (m, drug)
    pooled : dict of str to float
        How much unseen drugs have of the typical one of their class.
    """
    seen, sign, pooled = design.seen, design.sign, dict[str, float]()
    effects = np.zeros((len(known), seen.size))
    effects[:, seen] = known
    for one in np.unique(design.classes[seen]):
        members = design.classes == one
        middle, share = typical((effects * sign)[:, members & seen])
        pooled[str(one)] = share if design.parts.shared else 0.0
        new = members & ~seen
        effects[:, new] = np.outer(pooled[str(one)] * middle, sign[new])
    return effects, pooled


def _put(made: dict[str, Array], where: Array, found: Criterion, kinds: Array) -> None:
    """Enter what was found of some of the nodes."""
    nodes = found.nodes
    made["common"][where] = nodes.theta[:, :-1][:, kinds == COMMON].sum(axis=1)
    made["point"][where] = nodes.theta[:, -1] if "operating_point" in found.names else 0
    made["ranges"][where] = nodes.ranges
    made["own"][where] = np.exp(found.own)
    made["thresholds"][where] = nodes.thresholds[:, 0]
