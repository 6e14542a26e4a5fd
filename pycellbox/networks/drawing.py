"""What every maker of networks draws: weights of a law, and rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import as_number, choice, integer, number, shown
from pycellbox.errors import ModelError
from pycellbox.networks.network import Network, make_network

Weights = Literal["unit", "uniform", "normal"]
WEIGHTS: tuple[Weights, ...] = ("unit", "uniform", "normal")
MOST_NODES = 10_000
"""Of a drawn network: W is a full matrix, which takes 0.8 GB then."""
Rate: TypeAlias = float | tuple[float, float]


def generators(seed: object, number: int) -> list[np.random.Generator]:
    """Independent streams of one seed, so that drawing more of one leaves the others alone."""
    streams = np.random.SeedSequence(check_seed(seed)).spawn(number)
    return [np.random.default_rng(stream) for stream in streams]


def check_seed(seed: object) -> int:
    """Return a seed as int, or say what is needed."""
    return integer("seed", seed, 0)


def check_size(n_nodes: object, least: int) -> int:
    """Return a number of nodes as int, or say what is needed."""
    return integer("n_nodes", n_nodes, least, MOST_NODES)


def check_density(density: object) -> float:
    """Return a chance of an edge as float, or say what is needed."""
    return number("density", density, 0, 1, up_to=True)


def draw_magnitudes(
    number: int, weights: Weights, scale: float, gap: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw strengths |w| ≥ ``gap``, (number,).

    "unit": 1. "uniform": even between ``gap`` and ``scale``. "normal": |N(0, scale²)|, drawn again
    below the gap.
    """
    check_weights(weights, scale, gap)
    if weights == "unit":
        return np.ones(number)
    if weights == "uniform":
        return rng.uniform(gap, scale, number)
    size = np.abs(rng.normal(0.0, scale, number))
    while (small := size < gap).any():
        size[small] = np.abs(rng.normal(0.0, scale, int(small.sum())))
    return size


def check_weights(weights: object, scale: object, gap: object) -> None:
    """Raise a `ModelError` for a law of weights that cannot be."""
    choice("weights", weights, WEIGHTS)
    number("gap", gap, 0, number("scale", scale, above=True), up_to=True)


def draw_rate(
    rate: Rate, n_nodes: int, rng: np.random.Generator, name: str = "alpha"
) -> npt.NDArray[np.float64]:
    """One positive number for all nodes, or evenly drawn from an interval, (n_nodes,)."""
    bounds: Sequence[object] = rate if isinstance(rate, tuple | list) else (rate, rate)
    numbers = [as_number(bound) for bound in bounds]
    if len(numbers) == 2 and None not in numbers:
        low, high = cast("list[float]", numbers)
        if 1e-100 <= low <= high <= 1e100:  # products of rates stay numbers
            return rng.uniform(low, high, n_nodes) if low < high else np.full(n_nodes, low)
    raise ModelError(
        f"{name}={shown(rate)}; it needs a number > 0, or (lowest, highest) to draw from "
        "evenly, from 1e-100 to 1e100."
    )


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
        check_weights(self.weights, self.scale, self.gap)
        self.for_topology, self.for_weights, for_rates = generators(self.seed, 3)
        self.alpha = draw_rate(self.rate, self.n_nodes, for_rates)

    def chance(self, density: float) -> npt.NDArray[np.bool_]:
        """Draw an edge between every two nodes with the chance ``density``, (target, source)."""
        chance = self.for_topology.random((self.n_nodes, self.n_nodes))
        edges: npt.NDArray[np.bool_] = chance < check_density(density)
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
