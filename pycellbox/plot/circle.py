"""Nodes on a circle, and the paths of the edges between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[np.float64]

_GAP = 0.012  # between a node and the end of an edge, of the circle's radius
# Of the end of an edge from the direction to the center, radian: an edge to a neighbor goes there
# straight, one to another node bends inwards, away from the nodes between.
_TO_NEIGHBOUR, _TO_OTHERS = 1.4, 0.9
_APART = 0.55  # radian, between the ends of edges at a node


@dataclass(frozen=True)
class Circle:
    """The circle of radius 1 around 0 on which n nodes lie."""

    n: int

    @property
    def angles(self) -> _Floats:
        """Clockwise from the top, as one reads a clock."""
        angles: _Floats = math.pi / 2 - 2 * math.pi * np.arange(self.n) / max(self.n, 1)
        return angles

    @property
    def radius(self) -> float:
        """Of a node."""
        return min(0.085, 0.2 * 2 * math.pi / max(self.n, 1))

    @property
    def head(self) -> float:
        """Length of an arrowhead."""
        return max(0.034, 0.8 * self.radius)

    @property
    def loop_radius(self) -> float:
        """Of the circle that a node's edge to itself follows."""
        return 0.9 * self.radius

    def outside(self, looped: bool) -> float:
        """Return how far from the center a node ends, with its edge to itself if it has one."""
        return 1 + self.radius + _GAP + (2 * self.loop_radius if looped else 0.0)

    def at(self, angle: float, distance: float = 1.0) -> _Floats:
        """Return the point in that direction from the center."""
        return distance * np.array([math.cos(angle), math.sin(angle)])

    def ports(self, edges: Sequence[tuple[int, int]], angles: _Floats) -> _Floats:
        """Give every end of an edge a place of its own on the inner side of its node.

        Parameters
        ----------
        edges : sequence of (source, target)
        angles : (n,)
            Where the nodes lie.

        Returns
        -------
        (e, 2)
            Direction from the node's center at which each edge leaves its source and reaches its
            target, in the order of the nodes at the other ends, so that edges do not tangle.
        """
        at = np.array([self.at(angle) for angle in angles])
        ports = np.zeros((len(edges), 2))
        ends: dict[int, list[tuple[float, int, int]]] = {}
        for k, (source, target) in enumerate(edges):
            if source == target:
                continue
            for side, (node, other) in enumerate(((source, target), (target, source))):
                x, y = at[other] - at[node]
                # From the direction to the center; on a circle always less than a right angle.
                turned = math.remainder(math.atan2(y, x) - angles[node] - math.pi, 2 * math.pi)
                ends.setdefault(node, []).append((turned, side, k))
        nearest = math.pi / 2 - math.pi / max(self.n, 2)  # how far a neighbor is turned
        for node, around in ends.items():
            # Of an edge there and an edge back, the one that leaves is on the right on both sides.
            around.sort()
            wanted = np.array([turned for turned, _, _ in around])
            widest = np.where(np.abs(wanted) > nearest - 1e-6, _TO_NEIGHBOUR, _TO_OTHERS)
            for turned, (_, side, k) in zip(_spread(wanted, widest), around, strict=True):
                ports[k, side] = angles[node] + math.pi + turned
        return ports

    def chord(self, start: float, end: float, ports: _Floats) -> _Floats:
        """Return a curve between the nodes at two angles, square to both at its ports."""
        gap = self.radius + _GAP
        out, back = self.at(ports[0]), self.at(ports[1])
        first, last = self.at(start) + gap * out, self.at(end) + gap * back
        reach = 0.35 * float(np.hypot(*(last - first)))
        t = np.linspace(0, 1, 80)[:, None]
        path: _Floats = (
            (1 - t) ** 3 * first
            + 3 * t * (1 - t) ** 2 * (first + reach * out)
            + 3 * t**2 * (1 - t) * (last + reach * back)
            + t**3 * last
        )
        return path

    def loop(self, angle: float) -> _Floats:
        """Return a circle outside the node, from the node to itself."""
        center = self.at(angle, 1 + self.radius + 0.8 * self.loop_radius)
        t = angle + math.pi + np.linspace(0, 2 * math.pi, 80)
        path = center + self.loop_radius * np.column_stack([np.cos(t), np.sin(t)])
        outside: _Floats = path[np.hypot(*(path - self.at(angle)).T) > self.radius + _GAP]
        return outside


def _spread(wanted: _Floats, widest: _Floats) -> list[float]:
    """Move sorted angles apart as far as there is room, within the widest allowed to each."""
    apart = min(_APART, 2 * _TO_OTHERS / max(len(wanted) - 1, 1))
    turns = np.clip(wanted, -widest, widest)
    moved = turns.copy()
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + apart)
    moved += turns.mean() - moved.mean()
    for i in reversed(range(len(moved))):
        above = moved[i + 1] - apart if i + 1 < len(moved) else np.inf
        moved[i] = min(moved[i], widest[i], above)
    for i in range(len(moved)):
        below = moved[i - 1] + apart if i else -np.inf
        moved[i] = max(moved[i], -widest[i], below)
    return [float(turn) for turn in moved]
