"""Simulated screens of networks whose kinetics are not the model's, with their true interactions.

Signalling nodes are modified and restored by saturated enzymes (Goldbeter and Koshland, PNAS
78:6840, 1981), whose amounts are regulated with saturation; genes are made as competing Hill terms
say. A response is the logarithm of a steady state over that of the untreated network, with noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

import pycellbox as pcb

Kind = Literal["production", "activity", "nodes"]
Array = npt.NDArray[np.float64]
KINDS: tuple[Kind, ...] = ("production", "activity", "nodes")
_STEP, _STEPS, _SETTLED = 0.05, 4000, 1e-5
_MOST = 100  # networks that are drawn until one settles


@dataclass(frozen=True)
class Screen:
    """A screen, and what is true of it.

    Attributes
    ----------
    data : Dataset
    direct : ndarray of bool, (target, source)
        Where the source changes how fast the target is made, modified or restored.
    through : ndarray of bool, (target, source)
        Where a way leads from the source to the target, of whatever length.
    """

    data: xr.Dataset
    direct: npt.NDArray[np.bool_]
    through: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Network:
    """Regulators of each node, (node, 3), those of sign 0 none; what each node has, (node,)."""

    source: npt.NDArray[np.intp]
    sign: Array
    constant: Array  # of saturation
    strength: Array
    gene: npt.NDArray[np.bool_]
    basal: Array
    enzyme: Array  # (2, node)

    @classmethod
    def drawn(cls, rng: np.random.Generator, n: int) -> _Network:
        order = np.array([rng.permutation(np.delete(np.arange(n), k))[:3] for k in range(n)])
        there = np.arange(3) < rng.integers(1, 4, n)[:, None]
        sign = rng.choice([1, -1], (n, 3), p=[0.65, 0.35]) * there
        return cls(
            order, sign, rng.uniform(0.2, 0.8, (n, 3)), rng.uniform(0.6, 2, (n, 3)),
            rng.random(n) < 0.5, rng.uniform(0.2, 0.6, n), rng.uniform(0.2, 1, (2, n)),
        )  # fmt: skip

    @property
    def edges(self) -> npt.NDArray[np.bool_]:
        """Which source acts on which target, (target, source)."""
        found = np.zeros((self.gene.size,) * 2, dtype=bool)
        target, place = np.nonzero(self.sign)
        found[target, self.source[target, place]] = True
        return found

    def settled(self, made: Array, acts: Array) -> Array | None:
        """Steady states of conditions in which nodes are made, and act, less; None without."""
        x = np.full(made.shape, 0.5)
        for _ in range(_STEPS):
            rate = self._rate(x, made, acts)
            x = np.maximum(x + _STEP * rate, 1e-9)
            if np.abs(rate).max() < _SETTLED:
                return x
        return None

    def _rate(self, x: Array, made: Array, acts: Array) -> Array:
        level = (x * acts)[:, self.source]
        saturated = level / (self.constant + level) * self.strength
        on = (saturated * (self.sign > 0)).sum(axis=2) + self.basal
        off = (saturated * (self.sign < 0)).sum(axis=2) + 0.5
        left = np.maximum(1 - x, 0)
        modified = made * on * left / (self.enzyme[0] + left) - off * x / (self.enzyme[1] + x)
        hill = (level / self.constant) ** 2
        activating = (hill * (self.sign > 0)).sum(axis=2)
        repressing = (hill * (self.sign < 0)).sum(axis=2)
        expressed = made * (self.basal + 1.5 * activating) / (1 + activating + repressing) - x
        return np.where(self.gene, expressed, modified)


def draw(kind: Kind, n: int, seed: int, drugs: int = 10, noise: float = 0.1) -> Screen:
    """Draw a network of n nodes and a screen of it.

    Drugs weaken the "production" or "activity" of one node each: alone at doses 1 and 2, and all
    pairs at 1. Or the "nodes" themselves are made less or more, alone and in random pairs.
    """
    rng = np.random.default_rng([KINDS.index(kind), n, seed])
    for _ in range(_MOST):
        network = _Network.drawn(rng, n)
        sources = n if kind == "nodes" else drugs
        targets = np.arange(n) if kind == "nodes" else rng.choice(n, drugs, replace=drugs > n)
        doses = _design(rng, kind, sources)
        size = rng.uniform(0.5, 2.5, sources)
        less = np.ones((len(doses) + 1, n))
        for source, target in enumerate(targets):
            if kind == "nodes":
                less[1:, target] *= np.exp(doses[:, source])
            else:
                less[1:, target] /= 1 + size[source] * doses[:, source]
        one = np.ones_like(less)
        x = network.settled(*((one, less) if kind == "activity" else (less, one)))
        if x is not None:
            break
    else:
        raise RuntimeError(f"none of {_MOST} networks of {n} nodes settles")
    clean = np.log(x[1:] / x[0])
    edges = network.edges
    response = clean + rng.normal(0, noise, clean.shape)
    names = [f"N{i + 1}" for i in range(n)]
    if kind == "nodes":
        return Screen(_dataset(doses, response, names, []), edges, _ways(edges))
    own = np.zeros((n, drugs), dtype=bool)
    own[targets, np.arange(drugs)] = True
    begin = own if kind == "production" else edges[:, targets]
    both = np.zeros((n + drugs, n + drugs), dtype=bool)
    both[:n, :n], both[:n, n:] = edges, begin
    return Screen(
        _dataset(doses, response, names, [f"D{k + 1}" for k in range(drugs)]), both, _ways(both)
    )


def _design(rng: np.random.Generator, kind: Kind, sources: int) -> Array:
    alone = np.eye(sources)
    if kind == "nodes":
        pairs = [alone[list(rng.choice(sources, 2, replace=False))].sum(axis=0) for _ in range(40)]
        return np.concatenate([-alone, 0.5 * alone, -0.7 * np.array(pairs)])
    pairs = [alone[i] + alone[j] for i in range(sources) for j in range(i)]
    return np.concatenate([alone, 2 * alone, np.array(pairs)])


def _ways(edges: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    found = edges.copy()
    while True:
        longer = found | ((edges.astype(int) @ found.astype(int)) > 0)
        if (longer == found).all():
            return found
        found = longer


def _dataset(doses: Array, response: Array, names: list[str], drugs: list[str]) -> xr.Dataset:
    c, n = response.shape
    if drugs:
        u = np.concatenate([np.zeros((c, n)), -doses], axis=1)
        y = np.concatenate([response, np.full(doses.shape, np.nan)], axis=1)
    else:
        u, y = doses, response
    dims = ("condition", "node")
    kinds = ["protein"] * n + ["drug"] * len(drugs)
    return pcb.validate(
        xr.Dataset(
            {"perturbation": (dims, u), "response": (dims, y)},
            {"condition": [f"c{i}" for i in range(c)], "node": [*names, *drugs],
             "node_kind": ("node", kinds)},
        )
    )  # fmt: skip
