"""The ten gene regulatory networks of BEELINE, as signed interactions.

Source: Pratapa et al., Nature Methods 17:147 (2020): six synthetic networks and four curated
Boolean models (mCAD, VSC, HSC, GSD), whose rules are in BoolODE. Copies of these networks are in
circulation in which DHH and DKK1 of GSD have swapped their names; here they follow the rules:
DKK1 is activated by SRY and SOX9 and inhibits RSPO1 and WNT4, DHH is activated by SOX9 alone.
"""

from __future__ import annotations

import numpy as np

from pycellbox.common.options import Value, checked, choice
from pycellbox.networks.drawing import LAW, Rate, Weights, draw_magnitudes, draw_rate, generators
from pycellbox.networks.network import Network, make_network

# target: its regulators; "-" stands before an inhibitor.
_REGULATORS: dict[str, dict[str, str]] = {
    "LI": {
        "g1": "-g7",
        "g2": "g1",
        "g3": "g2",
        "g4": "g3",
        "g5": "g4",
        "g6": "g5",
        "g7": "g6 g7",
    },
    "CY": {
        "g1": "-g5",
        "g2": "-g1",
        "g3": "-g2",
        "g4": "g3",
        "g5": "g4",
        "g6": "g1",
    },
    "LL": {
        "g1": "-g18",
        "g2": "g1",
        "g3": "g2",
        "g4": "g3",
        "g5": "g4",
        "g6": "g5",
        "g7": "g6",
        "g8": "g7",
        "g9": "g8",
        "g10": "g9",
        "g11": "g10",
        "g12": "g11",
        "g13": "g12",
        "g14": "g13",
        "g15": "g14",
        "g16": "g15",
        "g17": "g16",
        "g18": "g17 g18",
    },
    "BF": {
        "g1": "-g4 -g6",
        "g2": "g1",
        "g3": "g2",
        "g4": "g3 g4 -g6",
        "g6": "g3 g6 -g4",
        "g7": "g4",
        "g8": "-g4",
    },
    "BFC": {
        "g1": "-g9",
        "g2": "g1",
        "g3": "g2",
        "g4": "g3 g4 -g5 -g8",
        "g5": "g3 g5 -g4 -g8",
        "g6": "g4",
        "g7": "g5",
        "g8": "g6 g7 g8",
        "g9": "g8",
        "g10": "g9",
    },
    "TF": {
        "g1": "-g4 -g5 -g6",
        "g2": "g1",
        "g3": "g2",
        "g4": "g3 g4 -g5 -g6",
        "g5": "g3 g5 -g4 -g6",
        "g6": "g3 g6 g7 -g4 -g5",
        "g7": "g6",
        "g8": "-g4",
    },
    "mCAD": {
        "Coup": "-Fgf8 -Sp8",
        "Emx2": "Coup -Fgf8 -Pax6 -Sp8",
        "Fgf8": "Fgf8 Sp8 -Emx2",
        "Pax6": "Sp8 -Coup -Emx2",
        "Sp8": "Fgf8 -Emx2",
    },
    "VSC": {
        "Dbx1": "-Nkx61 -Nkx62",
        "Dbx2": "-Nkx22 -Nkx61 -Olig2",
        "Irx3": "-Nkx22 -Olig2",
        "Nkx22": "-Dbx2 -Pax6",
        "Nkx61": "-Dbx2",
        "Nkx62": "-Dbx1 -Nkx61",
        "Olig2": "-Irx3 -Nkx22",
        "Pax6": "-Nkx22",
    },
    "HSC": {
        "Cebpa": "Cebpa -Fog1 -Gata1 -Scl",
        "cJun": "Pu1 -Gfi1",
        "EgrNab": "cJun Pu1 -Gfi1",
        "Eklf": "Gata1 -Fli1",
        "Fli1": "Gata1 -Eklf",
        "Fog1": "Gata1",
        "Gata1": "Fli1 Gata1 Gata2 -Pu1",
        "Gata2": "Gata2 -Fog1 -Gata1 -Pu1",
        "Gfi1": "Cebpa -EgrNab",
        "Pu1": "Cebpa Pu1 -Gata1 -Gata2",
        "Scl": "Gata1 -Pu1",
    },
    "GSD": {
        "AMH": "GATA4 NR5A1 SOX9 WT1mKTS -CTNNB1 -NR0B1",
        "CBX2": "UGR -CTNNB1 -NR0B1 -WNT4",
        "CTNNB1": "RSPO1 WNT4 -AMH -SOX9 -SRY",
        "DHH": "SOX9",
        "DKK1": "SOX9 SRY",
        "DMRT1": "SOX9 SRY -FOXL2",
        "FGF9": "SOX9 -WNT4",
        "FOXL2": "CTNNB1 WNT4 -DMRT1 -SOX9",
        "GATA4": "NR5A1 SRY UGR WNT4",
        "NR0B1": "CTNNB1 WNT4 WT1mKTS -NR5A1 -SOX9",
        "NR5A1": "CBX2 GATA4 UGR WT1mKTS -NR0B1 -WNT4",
        "PGD2": "SOX9",
        "RSPO1": "CTNNB1 WNT4 -DKK1",
        "SOX9": "CBX2 FGF9 GATA4 NR5A1 PGD2 SOX9 SRY -CTNNB1 -FOXL2 -WNT4",
        "SRY": "CBX2 GATA4 NR5A1 SOX9 SRY WT1mKTS WT1pKTS -CTNNB1",
        "UGR": "UGR -NR5A1 -WNT4",
        "WNT4": "CTNNB1 GATA4 NR0B1 RSPO1 -DKK1 -FGF9",
        "WT1mKTS": "GATA4 UGR",
        "WT1pKTS": "GATA4 UGR -CTNNB1 -WNT4",
    },
}

BEELINE: tuple[str, ...] = tuple(_REGULATORS)
"""Names of the networks: linear, cycle, linear long, bifurcating, bifurcating converging,
trifurcating; mammalian cortical area development, ventral spinal cord, hematopoietic stem cell
differentiation, gonadal sex determination."""


_BY_LOWER_CASE = {name.lower(): name for name in BEELINE}


def _canonical(given: object) -> str:
    known = _BY_LOWER_CASE.get(given.lower(), given) if isinstance(given, str) else given
    return str(choice(*BEELINE).read(known))


NAME = Value(_canonical, choice(*BEELINE).needs)


@checked(name=NAME, **LAW)
def beeline(
    name: str,
    *,
    weights: Weights = "unit",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """One of the ten networks of the BEELINE benchmark.

    Parameters
    ----------
    name : str
        One of `BEELINE`; upper and lower case are alike.
    weights : {"unit", "uniform", "normal"}
        Strengths ``|w|``. "unit": 1. "uniform": drawn evenly between ``gap`` and ``scale``.
        "normal": from ``|N(0, scale²)|``, at least ``gap``. The signs are those of the network.
    scale, gap : float
        Of the drawn strengths, dimensionless; 0 ≤ gap ≤ scale.
    alpha : float or (float, float)
        Decay rate of all nodes, 1/time, or the interval from which each is drawn evenly.
    seed : int
        Of weights and rates, which are drawn independently of each other.

    Returns
    -------
    Network
        Of proteins, with ε = ψ = 1. ``self_interaction`` is True where the network has a node
        that acts on itself (all but CY and VSC).

    Raises
    ------
    OptionError
        The name is unknown, or a number is out of range.

    References
    ----------
    Pratapa et al., Nature Methods 17:147 (2020).

    Examples
    --------
    >>> beeline("mcad")
    Network(5 nodes: 5 protein; 14 edges)
    """
    regulators = _REGULATORS[name]
    nodes = list(regulators)
    position = {node: i for i, node in enumerate(nodes)}
    edges = [
        (position[target], position[source.removeprefix("-")], -1.0 if source[0] == "-" else 1.0)
        for target, sources in regulators.items()
        for source in sources.split()
    ]
    targets, sources, signs = (np.array(column) for column in zip(*edges, strict=True))
    for_weights, for_rates = generators(seed, 2)
    W = np.zeros((len(nodes), len(nodes)))
    W[targets, sources] = signs * draw_magnitudes(len(edges), weights, scale, gap, for_weights)
    return make_network(W, nodes, alpha=draw_rate(alpha, len(nodes), for_rates))
