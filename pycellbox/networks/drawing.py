"""What every maker of networks draws: weights of a law, and rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import SEED, Value, choice, integer, listed, number
from pycellbox.networks.network import Network, make_network

Weights = Literal["unit", "uniform", "normal"]
WEIGHTS: tuple[Weights, ...] = ("unit", "uniform", "normal")
MOST_NODES = 10_000
"""Of a drawn network: W is a full matrix, which takes 0.8 GB then."""
Rate: TypeAlias = float | tuple[float, float]


def generators(seed: int, number: int) -> list[np.random.Generator]:
    """Independent streams of one seed, so that drawing more of one leaves the others alone."""
    streams = np.random.SeedSequence(seed).spawn(number)
    return [np.random.default_rng(stream) for stream in streams]


def size(least: int) -> Value:
    """Take a number of nodes."""
    return integer(least, MOST_NODES)


DENSITY = number(0, 1, up_to=True)


def draw_magnitudes(
    count: int, weights: Weights, scale: float, gap: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw strengths |w| ≥ ``gap``, (count,).

    "unit": 1. "uniform": even between ``gap`` and ``scale``. "normal": |N(0, scale²)|, drawn again
    below the gap.
    """
    number(0, scale, up_to=True)("gap", gap)
    if weights == "unit":
        return np.ones(count)
    if weights == "uniform":
        return rng.uniform(gap, scale, count)
    size = np.abs(rng.normal(0.0, scale, count))
    while (small := size < gap).any():
        size[small] = np.abs(rng.normal(0.0, scale, int(small.sum())))
    return size


# Products of rates stay numbers.
_BOUNDS = listed(number(1e-100, 1e100, up_to=True), 2, 2)


def _read_rate(given: Any) -> tuple[float, float]:
    bounds = given if isinstance(given, tuple | list) else (given, given)
    low, high = _BOUNDS.read(bounds)
    if low > high:
        raise ValueError
    return low, high


RATE = Value(
    _read_rate,
    "a number > 0, or (lowest, highest) to draw from evenly, from 1e-100 to 1e100",
)
#: The options of all random networks.
LAW = {
    "weights": choice(*WEIGHTS),
    "scale": number(0, 1e100, above=True, up_to=True),
    "gap": number(0),
    "alpha": RATE,
    "seed": SEED,
}


def draw_rate(rate: Rate, n_nodes: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One positive number for all nodes, or evenly drawn from an interval, (n_nodes,)."""
    low, high = RATE.read(rate)
    return rng.uniform(low, high, n_nodes) if low < high else np.full(n_nodes, low)


@dataclass
class Draw:
    """The options that all random networks share, and the streams they draw from."""

    n_nodes: int
    weights: Weights
    scale: float
    gap: float
    rate: Rate
    seed: int

    def __post_init__(self) -> None:
        number(0, self.scale, up_to=True)("gap", self.gap)
        self.for_topology, self.for_weights, for_rates = generators(self.seed, 3)
        self.alpha = draw_rate(self.rate, self.n_nodes, for_rates)

    def chance(self, density: float) -> npt.NDArray[np.bool_]:
        """Draw an edge between every two nodes with the chance ``density``, (target, source)."""
        chance = self.for_topology.random((self.n_nodes, self.n_nodes))
        edges: npt.NDArray[np.bool_] = chance < density
        return edges

    def magnitudes(self, number: int) -> npt.NDArray[np.float64]:
        """Draw strengths, (number,)."""
        return draw_magnitudes(number, self.weights, self.scale, self.gap, self.for_weights)

    def signed(self, edges: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Weights of either sign where there are edges, zero elsewhere."""
        W = np.zeros(edges.shape)
        number = int(edges.sum())
        W[edges] = self.magnitudes(number) * self.for_weights.choice([-1.0, 1.0], number)
        return W

    def network(self, W: npt.NDArray[np.float64]) -> Network:
        """Name the nodes and give them their rates."""
        nodes = [f"g{i + 1}" for i in range(self.n_nodes)]
        return make_network(W, nodes, alpha=self.alpha)
