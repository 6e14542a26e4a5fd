"""Networks for drug screens: a readable one for demonstrations, random ones for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pycellbox.common.options import SEED, checked, integer, number
from pycellbox.errors import OptionError
from pycellbox.models import CellBox, Structure
from pycellbox.networks.drawing import size
from pycellbox.networks.network import Network, make_network

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


@checked(seed=SEED)
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


@checked(
    n_nodes=size(1),
    density=number(0, 1, above=True, up_to=True),
    n_drugs=integer(0),
    n_phenotypes=integer(0),
    seed=SEED,
)
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
        of the linearized network decays at a rate of at least 0.2. A drug drawn without a target
        gets one.

    Raises
    ------
    OptionError
        The counts or the density cannot be.
    """
    n_proteins = n_nodes - n_drugs - n_phenotypes
    if n_proteins < 1:
        raise OptionError(
            f"{n_nodes} nodes with {n_drugs} drugs and {n_phenotypes} phenotypes leave "
            f"{n_proteins} protein(s); at least one is needed."
        )
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
    return make_network(W, nodes, kinds)


def _network(kinds: Mapping[str, str], edges: Mapping[tuple[str, str], float]) -> Network:
    nodes = list(kinds)
    W = np.zeros((len(nodes), len(nodes)))
    for (source, target), weight in edges.items():
        W[nodes.index(target), nodes.index(source)] = weight
    return make_network(W, nodes, list(kinds.values()))
