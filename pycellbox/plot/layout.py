"""The order of a network's nodes around a circle in which few edges cross."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Ints: TypeAlias = npt.NDArray[np.int64]
_Floats: TypeAlias = npt.NDArray[np.float64]

_ROUNDS = 8
_MOST_SIFTED = 250  # edges; more take seconds, and no order makes so many readable


def circular_order(n: int, edges: npt.ArrayLike) -> list[int]:
    """Order nodes around a circle so that few of the edges between them cross.

    Starts from a walk through the network, and from the order given, and moves one node at a time
    to its best place ("sifting", Baur and Brandes, WG 2004) until nothing improves; the better of
    the two is taken. There is no chance in it: the same network is always drawn in the same way.
    With more than 250 edges it stays at the walk.

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
    walk = _walk(n, pairs)
    if len(pairs) > _MOST_SIFTED:
        return walk
    return min(
        (_sift(order, pairs) for order in (walk, list(range(n)))),
        key=partial(crossings, edges=pairs),
    )


def _sift(order: list[int], pairs: _Ints) -> list[int]:
    for _ in range(_ROUNDS):
        before = list(order)
        for node in np.unique(pairs).tolist():
            here = order.index(node)
            rest = order[:here] + order[here + 1 :]
            crossed, length = _costs(node, rest, pairs)
            best = int(np.lexsort((length, crossed))[0])
            if (crossed[best], length[best]) < (crossed[here], length[here]):
                order = [*rest[:best], node, *rest[best:]]
        if order == before:
            break
    return order


def crossings(order: list[int], edges: npt.ArrayLike) -> int:
    """Count the pairs of edges that cross when drawn as chords of the circle."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ends = place[np.asarray(edges, dtype=np.int64).reshape(-1, 2)]
    low, high = ends.min(axis=1), ends.max(axis=1)
    # Each crossing is counted once, from the edge that begins first.
    crossed = (low[:, None] < low) & (low < high[:, None]) & (high[:, None] < high)
    return int(crossed.sum())


def _costs(node: int, rest: list[int], pairs: _Ints) -> tuple[_Ints, _Floats]:
    """Crossings with a node's edges, and the length of these, at each place for it in the rest."""
    n = len(rest) + 1
    place = np.full(n, -1.0)
    place[rest] = np.arange(n - 1)
    own = (pairs == node).any(axis=1)
    others = pairs[own].sum(axis=1) - node
    ends = place[pairs[~own]]  # (edges of other nodes, 2)
    at = np.arange(n)[:, None] - 0.5  # between the nodes of the rest
    to = place[others]
    low, high = np.minimum(at, to), np.maximum(at, to)  # (places, own edges)
    inside = (low[..., None, None] < ends) & (ends < high[..., None, None])
    apart = (ends != to[:, None, None]).all(axis=-1)  # edges to one node do not cross
    crossed = (inside[..., 0] != inside[..., 1]) & apart
    gap = high - low
    length: _Floats = np.minimum(gap, n - 1 - gap).sum(axis=1)
    return crossed.sum(axis=(1, 2), dtype=np.int64), length


def _walk(n: int, pairs: _Ints) -> list[int]:
    """List the nodes breadth first from the best linked, those without an edge last."""
    neighbors: list[list[int]] = [[] for _ in range(n)]
    for a, b in pairs.tolist():
        neighbors[a].append(b)
        neighbors[b].append(a)
    order: list[int] = []
    seen: set[int] = set()
    for start in sorted(range(n), key=lambda node: -len(neighbors[node])):
        queue = [start] if start not in seen else []
        seen.update(queue)
        while queue:
            node = queue.pop(0)
            order.append(node)
            new = [other for other in neighbors[node] if other not in seen]
            seen.update(new)
            queue += new
    return order
