"""The order of a network's nodes around a circle in which few edges cross."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Ints: TypeAlias = npt.NDArray[np.int64]

_ROUNDS = 6


def circular_order(n: int, edges: npt.ArrayLike) -> list[int]:
    """Order nodes around a circle so that few of the edges between them cross.

    Starts from a walk through the network and moves one node at a time to its best place
    ("sifting", Baur and Brandes, WG 2004) until nothing improves. There is no chance in it: the
    same network is always drawn in the same way.

    Parameters
    ----------
    n : int
        Number of nodes.
    edges : (e, 2) of int
        Pairs of nodes; direction, repeats and self-loops do not matter.

    Returns
    -------
    list of int
        Nodes in their order around the circle.
    """
    pairs: _Ints = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    order = _walk(n, pairs)
    linked = set(pairs.ravel().tolist())
    best = _cost(order, pairs)
    for _ in range(_ROUNDS):
        before = best
        for node in sorted(linked):
            rest = [other for other in order if other != node]
            for place in range(n):
                trial = [*rest[:place], node, *rest[place:]]
                cost = _cost(trial, pairs)
                if cost < best:
                    best, order = cost, trial
        if best == before:
            break
    return order


def crossings(order: list[int], pairs: npt.ArrayLike) -> int:
    """Count the pairs of edges that cross when drawn as chords of the circle."""
    return _cost(order, np.asarray(pairs, dtype=np.int64).reshape(-1, 2))[0]


def _cost(order: list[int], pairs: _Ints) -> tuple[int, int]:
    """Crossings, then the length of all edges along the circle."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ends = place[pairs]
    low, high = ends.min(axis=1), ends.max(axis=1)
    # Each crossing is counted once, from the edge that begins first.
    crossed = (
        (low[:, None] < low) & (low < high[:, None]) & (high[:, None] < high)
    )  # fmt: skip
    gap = high - low
    return int(crossed.sum()), int(np.minimum(gap, len(order) - gap).sum())


def _walk(n: int, pairs: _Ints) -> list[int]:
    """List the nodes breadth first from the best linked, those without an edge last."""
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for a, b in pairs.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    order: list[int] = []
    seen: set[int] = set()
    for start in sorted(range(n), key=lambda node: -len(neighbours[node])):
        queue = [start] if start not in seen else []
        seen.update(queue)
        while queue:
            node = queue.pop(0)
            order.append(node)
            new = [other for other in neighbours[node] if other not in seen]
            seen.update(new)
            queue += new
    return order
