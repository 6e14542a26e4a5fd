"""Random networks of a given topology, of any size.

All are made of proteins named g1, g2, …, with ε = ψ = 1. Topology, strengths and rates are drawn
from streams of their own: the same seed gives the same edges whatever the law of the strengths.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import checked, flag, integer, optional
from pycellbox.networks.drawing import DENSITY, LAW, Draw, Rate, Weights, size
from pycellbox.networks.network import Network

_Floats: TypeAlias = npt.NDArray[np.float64]

# How fast a disturbance of a switch or an oscillator grows at rest, in units of the mean decay
# rate. At 1/2 three equal nodes in a ring act on each other with |w| = 3; they oscillate from 2 on.
_GROWTH = 0.5


@checked(n_nodes=size(1), density=DENSITY, self_loops=flag(), **LAW)
def erdos_renyi(
    n_nodes: int,
    density: float,
    *,
    self_loops: bool = False,
    weights: Weights = "uniform",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """Every pair of nodes may interact, all with the same chance (Erdős–Rényi, directed).

    Parameters
    ----------
    n_nodes : int
        Number of nodes.
    density : float
        Chance that an allowed edge exists, from 0 to 1.
    self_loops : bool
        Whether a node may act on itself.
    weights : {"unit", "uniform", "normal"}
        Strengths ``|w|``. "unit": 1. "uniform": drawn evenly between ``gap`` and ``scale``.
        "normal": from ``|N(0, scale²)|``, at least ``gap``. Either sign is as likely, unless said
        otherwise.
    scale, gap : float
        Of the drawn strengths, dimensionless; 0 ≤ gap ≤ scale.
    alpha : float or (float, float)
        Decay rate of all nodes, 1/time, or the interval from which each is drawn evenly.
    seed : int
        Of topology, weights and rates.

    Returns
    -------
    Network
        Its nodes in the order of their numbers.

    Raises
    ------
    OptionError
        A number is out of range.

    Notes
    -----
    Responses stay bounded, but a network of strong and many interactions need not come to rest:
    with k regulators a node of root-mean-square strength s that is so where s·√k exceeds α.
    """
    draw = Draw(n_nodes, weights, scale, gap, alpha, seed)
    edges = draw.chance(density)
    if not self_loops:
        np.fill_diagonal(edges, False)
    return dataclasses.replace(draw.network(draw.signed(edges)), self_interaction=self_loops)


@checked(n_nodes=size(1), density=DENSITY, **LAW)
def acyclic(
    n_nodes: int,
    density: float,
    *,
    weights: Weights = "uniform",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """No path leads back to where it began: a node acts only on nodes after it.

    The steady state is unique.

    Parameters
    ----------
    n_nodes : int
        Number of nodes.
    density : float
        Chance that a node acts on a given later one: half as many edges come about as for
        `erdos_renyi`.
    weights, scale, gap, alpha, seed : optional
        As for `erdos_renyi`.

    Returns
    -------
    Network
        Its nodes in an order in which each acts on later ones alone.

    Raises
    ------
    OptionError
        A number is out of range.
    """
    draw = Draw(n_nodes, weights, scale, gap, alpha, seed)
    return draw.network(draw.signed(np.tril(draw.chance(density), k=-1)))


@checked(n_nodes=size(2), density=DENSITY, **LAW)
def cyclic(
    n_nodes: int,
    density: float = 0.0,
    *,
    weights: Weights = "uniform",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """One ring through all nodes, in random order, and further edges across it.

    From every node a path leads to every other.

    Parameters
    ----------
    n_nodes : int
        Number of nodes, at least 2.
    density : float
        Chance of each edge that is not on the ring.
    weights, scale, gap, alpha, seed : optional
        As for `erdos_renyi`.

    Returns
    -------
    Network
        Its nodes in the order of their numbers.

    Raises
    ------
    OptionError
        A number is out of range.
    """
    draw = Draw(n_nodes, weights, scale, gap, alpha, seed)
    edges = draw.chance(density)
    np.fill_diagonal(edges, False)
    order = draw.for_topology.permutation(n_nodes)
    edges[np.roll(order, -1), order] = True
    return draw.network(draw.signed(edges))


@checked(n_nodes=size(1), density=DENSITY, **LAW)
def symmetric(
    n_nodes: int,
    density: float,
    *,
    weights: Weights = "uniform",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """Two nodes act on each other alike or not at all: W equals its transpose.

    Parameters
    ----------
    n_nodes : int
        Number of nodes.
    density : float
        Chance that two given nodes interact.
    weights, scale, gap, alpha, seed : optional
        As for `erdos_renyi`.

    Returns
    -------
    Network
        Its nodes in the order of their numbers.

    Raises
    ------
    OptionError
        A number is out of range.
    """
    draw = Draw(n_nodes, weights, scale, gap, alpha, seed)
    W = draw.signed(np.tril(draw.chance(density), k=-1))
    return draw.network(W + W.T)


@checked(n_nodes=size(2), n_upstream=optional(integer(0)), **LAW)
def bifurcating(
    n_nodes: int,
    *,
    n_upstream: int | None = None,
    weights: Weights = "uniform",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """Two nodes inhibit each other and activate themselves; of two states the network takes one.

    Upstream nodes come first (g1, …): each acts on a later one of them, or on both nodes of the
    switch alike, the last one always on the switch. Then the two nodes of the switch. Then come
    the downstream nodes, each under an earlier one of them or under one node of the switch.

    Parameters
    ----------
    n_nodes : int
        Number of nodes, at least 2.
    n_upstream : int, optional
        How many of them are upstream; by default a third of those that are not in the switch.
    weights, scale, gap, alpha, seed : optional
        As for `erdos_renyi`. The four interactions of the switch have the signs above and are
        strengthened together, beyond ``scale`` if need be, until rest is unstable at ε = 1.

    Returns
    -------
    Network
        Its nodes in the order of their numbers.

    Raises
    ------
    OptionError
        A number is out of range.
    """
    if n_upstream is not None:  # nodes that are not in the switch
        integer(0, n_nodes - 2)("n_upstream", n_upstream)
    draw = Draw(n_nodes, weights, scale, gap, alpha, seed)
    up = (n_nodes - 2) // 3 if n_upstream is None else n_upstream
    rng, a, b = draw.for_topology, up, up + 1
    edges = np.zeros((n_nodes, n_nodes), dtype=bool)
    upstream = np.arange(up)
    # One of the later upstream nodes or, as one further choice, the switch.
    edges[upstream + 1 + (rng.random(up) * (up - upstream)).astype(int), upstream] = True
    edges[b] = edges[a]
    downstream = np.arange(b + 1, n_nodes)
    edges[downstream, a + (rng.random(downstream.size) * (downstream - a)).astype(int)] = True
    W = draw.signed(edges)
    W[b, :up] = W[a, :up]
    switch = slice(a, b + 1)
    core = draw.magnitudes(4).reshape(2, 2) * [[1.0, -1.0], [-1.0, 1.0]]
    W[switch, switch] = core * _switch_factor(core, draw.alpha[switch])
    return draw.network(W)


@checked(n_nodes=size(3), density=DENSITY, n_ring=integer(3), **LAW)
def oscillating(
    n_nodes: int,
    density: float = 0.0,
    *,
    n_ring: int = 3,
    weights: Weights = "uniform",
    scale: float = 1.0,
    gap: float = 0.1,
    alpha: Rate = 1.0,
    seed: int = 0,
) -> Network:
    """Ring of negative feedback that never rests, and nodes downstream of it.

    The ring comes first (g1 acts on g2, and so on around), with an odd number of inhibitions. Each
    node after it has a regulator before it, and no node acts back on the ring. A ring of negative
    feedback ends in a stationary point or in an oscillation (Mallet-Paret & Smith, J. Dyn. Diff.
    Equ. 2:367, 1990); here the only stationary point is unstable without perturbation, and so it
    is under weak ones. A perturbation of some size silences a ring, as an inhibitor would.

    Parameters
    ----------
    n_nodes : int
        Number of nodes, at least 3.
    density : float
        Chance of each further edge from a node to a given later one outside the ring.
    n_ring : int
        Number of nodes in the ring, at least 3.
    weights, scale, gap, alpha, seed : optional
        As for `erdos_renyi`. The interactions of the ring are strengthened together, beyond
        ``scale`` if need be, until rest is unstable at ε = 1.

    Returns
    -------
    Network
        Its nodes in the order of their numbers.

    Raises
    ------
    OptionError
        A number is out of range.
    """
    integer(3, n_nodes)("n_ring", n_ring)
    draw = Draw(n_nodes, weights, scale, gap, alpha, seed)
    rng = draw.for_topology
    edges = np.tril(draw.chance(density), k=-1)
    edges[:n_ring] = False
    after = np.arange(n_ring, n_nodes)
    edges[after, (rng.random(after.size) * after).astype(int)] = True
    W = draw.signed(edges)
    ring = np.arange(n_ring)
    inhibits = rng.random(n_ring) < 0.5
    if inhibits.sum() % 2 == 0:
        inhibits[0] = ~inhibits[0]
    strength = draw.magnitudes(n_ring)
    strength *= _ring_factor(strength, draw.alpha[:n_ring])
    W[np.roll(ring, -1), ring] = np.where(inhibits, -strength, strength)
    return draw.network(W)


def _switch_factor(core: _Floats, alpha: _Floats) -> float:
    """Factor that makes a switch (2, 2) unstable at rest: a disturbance grows at the rate σ."""
    d1, d2 = alpha + _GROWTH * alpha.mean()
    # det(s·core − diag(α + σ)) = 0. The two inhibitions make both roots real; at the smaller
    # positive one the leading eigenvalue reaches σ.
    determinant = core[0, 0] * core[1, 1] - core[0, 1] * core[1, 0]
    roots = np.roots([determinant, -(core[0, 0] * d2 + core[1, 1] * d1), d1 * d2]).real
    return max(1.0, float(roots[roots > 0].min()))


def _ring_factor(strength: _Floats, alpha: _Floats) -> float:
    """Factor that makes a ring of negative feedback unstable at rest, at the same rate σ.

    With λ = σ + iω the characteristic equation is ∏(λ + αⱼ) = −∏wⱼ. Its phase gives ω, then its
    modulus the strength.
    """
    decay = alpha + _GROWTH * alpha.mean()
    # Between zero and the largest decay·tan(π/n) at which all phases together must reach π.
    low, high = 0.0, float(decay.max()) * np.tan(np.pi / decay.size)
    for _ in range(60):
        omega = (low + high) / 2
        below = np.arctan(omega / decay).sum() < np.pi
        low, high = (omega, high) if below else (low, omega)
    needed = np.log(np.hypot(omega, decay)).mean() - np.log(strength).mean()
    return max(1.0, float(np.exp(needed)))
