"""Nodes, signed edges and their names, as matplotlib draws them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.plot.circle import Circle
from pycellbox.plot.labels import short
from pycellbox.plot.style import ACTIVATES, BLACK, INHIBITS, SMALL, TINY

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_Floats: TypeAlias = npt.NDArray[np.float64]

# Fills are none of the edges' colors; shapes tell the kinds apart in black and white.
FILLS = {"protein": "#D0D0D0", "phenotype": "#F0E442", "drug": "#009E73", "hidden": "#FFFFFF"}

_UPRIGHT = 150
"""Names with so many letters in all, each counted as the longest, fit around a circle upright."""


def edge(path: _Floats, activates: bool, width: float, head: float, name: str) -> list[Artist]:
    """Make a line along a path, and at its end an arrowhead or a bar.

    Parameters
    ----------
    path : (k, 2)
    activates : bool
        Red, solid, with an arrowhead; else blue, dashed, with a bar.
    width : float
        Of the line, in points.
    head : float
        Length of the arrowhead, in units of the path.
    name : str
        Identifies the artists, and the elements of an SVG file.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

    color = ACTIVATES if activates else INHIBITS
    tip = path[-1]
    if activates:  # the line ends inside the head, or its width would blunt the point
        before = path[np.hypot(*(path - tip).T) > 0.8 * head]
        path = before if len(before) > 1 else path[:2]
    back = tip - path[-1] if activates else tip - path[-2]
    along = back / np.hypot(*back)
    across = np.array([-along[1], along[0]])
    line = Line2D(
        *path.T, color=color, lw=width, ls="-" if activates else (0, (3.5, 1.3)),
        solid_capstyle="butt", dash_capstyle="butt", zorder=2, gid=name,
    )  # fmt: skip
    end: Artist
    if activates:
        base = tip - head * along
        corners = np.array([tip, base + 0.45 * head * across, base - 0.45 * head * across])
        end = Polygon(corners, closed=True, fc=color, ec="none", zorder=3, gid=f"{name}: arrow")
    else:
        bar = np.array([tip + 0.7 * head * across, tip - 0.7 * head * across])
        end = Line2D(
            *bar.T, color=color, lw=max(1.6, 0.8 * width), solid_capstyle="butt", zorder=3,
            gid=f"{name}: bar",
        )  # fmt: skip
    return [line, end]


def draw_node(ax: Axes, place: Circle, angle: float, name: str, kind: str) -> None:
    """Draw a node: a disc for a protein, a triangle for a phenotype, a square for a drug.

    A hidden node is a diamond.
    """
    from matplotlib import patches

    x, y = place.at(angle)
    shape: patches.Patch
    if kind == "protein":
        shape = patches.Circle((x, y), 0.95 * place.radius)
    elif kind == "phenotype":
        shape = patches.RegularPolygon((x, y), 3, radius=1.15 * place.radius)
    else:
        shape = patches.RegularPolygon(
            (x, y), 4, radius=1.15 * place.radius, orientation=math.pi / 4 * (kind == "drug")
        )
    shape.set(facecolor=FILLS[kind], edgecolor=BLACK, linewidth=0.7, zorder=4, gid=name)
    ax.add_patch(shape)


class Names:
    """How the names around a circle are written: upright if there is room, else along the radius.

    Parameters
    ----------
    names : list of str
    scale : float
        Of the circle; below 1 names are cut shorter.
    """

    def __init__(self, names: list[str], scale: float = 1.0) -> None:
        self.letters = 22 if scale == 1 else max(int(14 * scale), 6)
        longest = max((len(short(name, self.letters)) for name in names), default=0)
        self.upright = longest * len(names) <= _UPRIGHT * scale
        self.size = SMALL if self.upright and scale > 0.5 else TINY + 0.5 * (scale > 0.5)
        self.width = (0.62 * longest + 0.5) * self.size / 72
        """Of the longest, inch."""
        self.reach = 1.5 * self.size / 72 if self.upright else self.width
        """Room needed above and below the circle, inch."""

    def write(self, ax: Axes, place: Circle, angle: float, name: str, looped: bool) -> None:
        """Write a name outside its node, and outside its edge to itself if it has one."""
        x, y = place.at(angle, place.outside(looped) + 0.02)
        cos, sin = math.cos(angle), math.sin(angle)
        turned = math.degrees(angle) - (0 if cos > -1e-9 else 180)
        ax.text(
            x, y, short(name, self.letters), fontsize=self.size, zorder=5,
            rotation=0 if self.upright else turned, rotation_mode="anchor",
            ha="center" if self.upright and abs(cos) < 0.2 else "left" if cos > -1e-9 else "right",
            va="center" if not self.upright or abs(sin) < 0.8 else "bottom" if sin > 0 else "top",
        )  # fmt: skip


class EdgeKey:
    """Draws an edge into a legend, where matplotlib knows only lines and markers."""

    def __init__(self, activates: bool) -> None:
        self.activates = activates

    def legend_artist(self, legend: Any, handle: Any, fontsize: float, box: Any) -> Any:
        """Fill the box of one entry; called by matplotlib."""
        start, y = -box.xdescent, 0.5 * box.height - box.ydescent
        path = np.column_stack([np.linspace(start, start + box.width, 30), np.full(30, y)])
        for artist in edge(path, self.activates, 1.6, 0.9 * fontsize, "key"):
            artist.set_transform(box.get_transform())
            box.add_artist(artist)
        return box
