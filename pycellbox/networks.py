"""Networks with known interactions: a readable one for demonstrations, random ones for tests.

Signs follow the data of Korkut et al. (eLife 2015): an inhibitor has a negative dose, so that its
drug node goes negative, and a positive weight on its target carries the inhibition on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.errors import ModelError
from pycellbox.models import CellBox
from pycellbox.problem import Structure

__all__ = ["Network", "demo_network", "random_network"]


@dataclass(frozen=True, eq=False)
class Network:
    """A network and its rates: the parameters of dx/dt = ε∘φ(Wx + u) − α∘x.

    Parameters
    ----------
    W : DataArray (target, source)
        Interactions; 0 is no edge.
    node_kind : DataArray of str (node)
        "protein", "phenotype" or "drug", labelled with the nodes, in the order of ``W``.
    alpha, epsilon : DataArray (node)
        Decay rate, 1/time, and strength of the regulation, response/time; both positive.

    Raises
    ------
    ModelError
        Labels or dims disagree, a number is not finite, a rate is not positive, or an edge is
        where CellBox allows none.
    """

    W: xr.DataArray
    node_kind: xr.DataArray
    alpha: xr.DataArray
    epsilon: xr.DataArray

    def __post_init__(self) -> None:
        nodes = self.nodes
        for name, dims in _DIMS.items():
            array = getattr(self, name)
            if array.dims != dims or any(
                dim not in array.coords or _names(array, dim) != nodes for dim in dims
            ):
                raise ModelError(
                    f"{name} has dims {array.dims}; it needs {dims} with the labels of node_kind, "
                    "in the same order."
                )
            if name != "node_kind" and not np.isfinite(array.values).all():
                raise ModelError(f"{name} holds NaN or infinity.")
        for name in ("alpha", "epsilon"):
            if not (getattr(self, name).values > 0).all():
                raise ModelError(f"{name} needs to be positive for every node.")
        stray = np.argwhere((self.W.values != 0) & ~self.mask.values)
        if len(stray):
            target, source = (nodes[i] for i in stray[0])
            raise ModelError(
                f"W[{target!r}, {source!r}] is not zero, but a node does not act on itself, "
                "nothing acts on a drug, a phenotype acts on nothing, and a drug acts on a "
                "phenotype only through proteins."
            )

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node names, in order."""
        return _names(self.node_kind, "node")

    @property
    def drugs(self) -> tuple[str, ...]:
        """Names of the drug nodes, in order."""
        kinds = zip(self.nodes, self.node_kind.values, strict=True)
        return tuple(name for name, kind in kinds if kind == "drug")

    @property
    def mask(self) -> xr.DataArray:
        """Where an edge may exist, bool (target, source)."""
        structure = Structure.over(CellBox(), self.nodes, self.node_kind.values)
        mask: xr.DataArray = self.W.copy(data=structure.mask)
        return mask

    @property
    def parameters(self) -> xr.Dataset:
        """What `pycellbox.solve` takes: W (target, source), alpha and epsilon (node)."""
        rates = {"alpha": self.alpha, "epsilon": self.epsilon}
        kinds = {"node_kind": ("node", self.node_kind.values)}
        return xr.Dataset({"W": self.W, **rates}, coords=kinds)

    def __repr__(self) -> str:
        kinds = [str(kind) for kind in self.node_kind.values]
        number = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
        return f"Network({len(kinds)} nodes: {number}; {int((self.W != 0).sum())} edges)"


_DIMS: dict[str, tuple[str, ...]] = {
    "node_kind": ("node",),
    "W": ("target", "source"),
    "alpha": ("node",),
    "epsilon": ("node",),
}

_DEMO_KINDS = {
    **dict.fromkeys(("RAF", "MEK", "ERK", "PI3K", "AKT", "mTOR"), "protein"),
    "viability": "phenotype",
    **dict.fromkeys(("aMEK", "aAKT", "amTOR"), "drug"),
}

# (source, target): weight. Textbook signalling; the strengths are made up. Every feedback loop
# has a gain well below that at which three equal nodes begin to oscillate (8).
_DEMO_EDGES: dict[tuple[str, str], float] = {
    ("RAF", "MEK"): 1.4,
    ("MEK", "ERK"): 1.6,
    ("ERK", "RAF"): -1.0,  # ERK phosphorylates and silences RAF
    ("PI3K", "AKT"): 1.5,
    ("AKT", "mTOR"): 1.2,
    ("mTOR", "PI3K"): -0.9,  # through S6K and IRS1
    ("AKT", "RAF"): -0.7,  # AKT phosphorylates RAF: the pathways talk
    ("ERK", "mTOR"): 0.7,  # through RSK and TSC2
    ("ERK", "viability"): 1.0,
    ("mTOR", "viability"): 1.3,
    ("aMEK", "MEK"): 1.8,
    ("aAKT", "AKT"): 1.7,
    ("amTOR", "mTOR"): 1.6,
}


def demo_network(seed: int = 0) -> Network:
    """Ten nodes of a MAPK and PI3K signalling cascade with feedback.

    Six proteins, a phenotype (viability) and an inhibitor each of MEK, AKT and mTOR. Inhibiting
    MEK relieves the feedback of ERK on RAF, inhibiting mTOR that on PI3K, so that the network
    resists single drugs as tumour cells do.

    Parameters
    ----------
    seed : int
        Edges and signs are fixed; the strengths vary with the seed by up to a tenth, between 0.5
        and 2 in magnitude.

    Returns
    -------
    Network
        With α = ε = 1: time in units of the decay time, proteins and phenotype within (−1, 1).
        It is stable at rest.
    """
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.9, 1.1, size=len(_DEMO_EDGES))
    edges = {
        edge: weight * float(s)
        for (edge, weight), s in zip(_DEMO_EDGES.items(), scale, strict=True)
    }
    return _network(_DEMO_KINDS, edges)


def random_network(
    n_nodes: int, density: float, *, n_drugs: int, n_phenotypes: int, seed: int
) -> Network:
    """Draw a sparse network that obeys the CellBox mask.

    Parameters
    ----------
    n_nodes : int
        All nodes: proteins (P1, …), phenotypes (Y1, …) and drugs (D1, …), in this order.
    density : float
        Chance that an allowed edge exists, in (0, 1].
    n_drugs, n_phenotypes : int
        How many of the nodes; at least one protein must remain.
    seed : int
        Seed of the draw.

    Returns
    -------
    Network
        Weights of either sign, 0.5–2 in magnitude, α = ε = 1. If protein ← protein edges would
        make the network unstable at rest they are scaled down together, until every disturbance
        of the linearised network decays at a rate of at least 0.2. A drug drawn without a target
        gets one.

    Raises
    ------
    ModelError
        The counts or the density cannot be.
    """
    n_proteins = n_nodes - n_drugs - n_phenotypes
    if min(n_drugs, n_phenotypes) < 0 or n_proteins < 1:
        raise ModelError(
            f"{n_nodes} nodes with {n_drugs} drugs and {n_phenotypes} phenotypes leave "
            f"{n_proteins} protein(s); at least one is needed."
        )
    if not 0 < density <= 1:
        raise ModelError(f"density is {density!r}; it needs a number above 0 and at most 1.")
    rng = np.random.default_rng(seed)
    names = {"P": n_proteins, "Y": n_phenotypes, "D": n_drugs}
    nodes = [f"{letter}{i + 1}" for letter, n in names.items() for i in range(n)]
    kinds = ["protein"] * n_proteins + ["phenotype"] * n_phenotypes + ["drug"] * n_drugs
    allowed = Structure.over(CellBox(), nodes, kinds).mask
    shape = (n_nodes, n_nodes)
    weights = rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)
    edges = allowed & (rng.random(shape) < density)
    for drug in range(n_proteins + n_phenotypes, n_nodes):
        if not edges[:, drug].any():
            edges[rng.integers(n_proteins), drug] = True
    W = np.where(edges, weights, 0.0)
    # Phenotypes and drugs are on no loop, so proteins alone decide stability.
    proteins = W[:n_proteins, :n_proteins]
    growth = float(np.linalg.eigvals(proteins).real.max())
    if growth > 0.8:
        proteins *= 0.8 / growth
    return _from_array(W, nodes, kinds)


def _network(kinds: Mapping[str, str], edges: Mapping[tuple[str, str], float]) -> Network:
    nodes = list(kinds)
    W = np.zeros((len(nodes), len(nodes)))
    for (source, target), weight in edges.items():
        W[nodes.index(target), nodes.index(source)] = weight
    return _from_array(W, nodes, list(kinds.values()))


def _from_array(W: npt.NDArray[np.float64], nodes: Sequence[str], kinds: Sequence[str]) -> Network:
    labels = list(nodes)
    one = xr.DataArray(np.ones(len(labels)), dims=("node",), coords={"node": labels})
    return Network(
        W=xr.DataArray(W, dims=("target", "source"), coords={"target": labels, "source": labels}),
        node_kind=xr.DataArray(list(kinds), dims=("node",), coords={"node": labels}),
        alpha=one,
        epsilon=one.copy(),
    )


def _names(array: xr.DataArray, dim: str) -> tuple[str, ...]:
    return tuple(str(label) for label in array[dim].values)
