"""A network as nodes and signed edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted, labels_along
from pycellbox.common.options import checked, did_you_mean, integer, number, optional
from pycellbox.data.cells import as_labels, check_unique
from pycellbox.data.kinds import NodeKind, resolve_node_kinds
from pycellbox.errors import DataError
from pycellbox.plot.circle import Circle
from pycellbox.plot.glyphs import FILLS, EdgeKey, Names, draw_node, edge
from pycellbox.plot.labels import Interactions, interactions_of
from pycellbox.plot.layout import circular_order
from pycellbox.plot.place import check_ax, one_axes, room, root_of, write_title
from pycellbox.plot.style import BLACK, DARK_GREY, KINDS, PLURALS, SMALL
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Floats: TypeAlias = npt.NDArray[np.float64]

MAX_EDGES = 60
"""So many of the strongest interactions are drawn where their number is not chosen."""

MAX_NODES = 40
"""In larger networks, nodes without a drawn interaction are left out."""

_WIDEST, _THINNEST = 2.6, 0.7  # points
_FULL = 4.5  # inch; in smaller axes there is less, and it is thinner


@checked(threshold=optional(number(0)), top=optional(integer()))
def network(
    fit: Interactions,
    *,
    node_kind: NodeKind = None,
    threshold: float | None = None,
    top: int | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the network: nodes on a circle, and an edge from source to target for every w ≠ 0.

    Parameters
    ----------
    fit : Fit, or DataArray (target, source)
        A fit, or its W.
    node_kind : mapping, sequence, DataArray or Series, optional
        Kind of every node, as `pycellbox.from_tables` takes it; by default the fit's, or the
        coordinate ``node_kind`` of W, else all are proteins.
    threshold : float, optional
        Draw only interactions with ``|w|`` of at least this.
    top : int, optional
        Draw only so many, the strongest. Without either, the 60 strongest.
    ax : matplotlib.axes.Axes, optional
        Where to draw instead of a new figure. Title and legend are inside, and in axes smaller
        than 4.5 inches fewer edges and nodes.

    Returns
    -------
    matplotlib.figure.Figure
        Activating edges are red, solid, and end in an arrow; inhibiting ones blue, dashed, and
        end in a bar. Their width grows with ``|w|``. The title says how many are drawn if not all;
        with more than 40 nodes, those without a drawn edge are left out.

    Raises
    ------
    DataError
        Targets and sources are not the same nodes, kinds are missing or unknown, or
        ``threshold`` or ``top`` is out of range.
    PycellboxError
        matplotlib is not installed, or ``ax`` is none.
    """
    check_ax(ax)
    W = interactions_of(fit)
    labels = as_labels(W["target"].values, "target", "W")
    check_unique(labels, "target", "W")
    nodes = labels.tolist()
    if sorted(labels_along(W, "source")) != sorted(nodes):
        raise DataError("W needs the same nodes as targets and as sources, each once.")
    W = W.assign_coords(target=nodes, source=labels_along(W, "source")).sel(source=nodes)
    kinds = _kinds(fit, W, node_kind, labels)
    scale = 1.0 if ax is None else min(min(room(ax)) / _FULL, 1.0)
    edges, title = _strongest(W.values, threshold, top, max(int(MAX_EDGES * scale**2), 8))
    shown = list(range(len(nodes)))
    linked = {node for source, target, _ in edges for node in (source, target)}
    if len(nodes) > MAX_NODES * scale and linked:
        shown = sorted(linked)
        title += f"\n{len(shown)} of {len(nodes)} nodes"
    position = {node: i for i, node in enumerate(shown)}
    ends = [(position[source], position[target]) for source, target, _ in edges]
    place = Circle(len(shown))
    angles = np.empty(len(shown))
    angles[circular_order(len(shown), ends)] = place.angles
    looped = {i for i, j in ends if i == j}
    core = min(3.4 + 0.08 * len(shown), 6.0)  # inch across the circle, without names
    names = Names([nodes[node] for node in shown], scale)
    width, height = core + 2 * names.width, core + 2 * names.reach
    own = ax is None
    with one_axes(ax, width, height + 0.9) as ax:
        above = write_title(ax, title, inside=not own)
        below = _legend(ax, [kinds[node] for node in shown], [w for *_, w in edges], scale, own)
        if not own:  # the circle takes the room that the texts leave
            width, height = room(ax)
            core = min(width - 2 * names.width, height - above - below - 2 * names.reach)
            core = max(core, 0.3 * min(width, height))
        ports = place.ports(ends, angles)
        for k in reversed(range(len(edges))):  # the strongest on top
            (source, target, w), (i, j) = edges[k], ends[k]
            loop = i == j
            path = place.loop(angles[i]) if loop else place.chord(angles[i], angles[j], ports[k])
            name = f"{nodes[source]} {'activates' if w > 0 else 'inhibits'} {nodes[target]}"
            thickness = scale * _thickness(w, edges[0][2])
            for artist in edge(path, w > 0, thickness, place.head, name):
                ax.add_artist(artist)
        for i, node in enumerate(shown):
            draw_node(ax, place, angles[i], nodes[node], kinds[node])
            names.write(ax, place, angles[i], nodes[node], looped=i in looped)
        limit = place.outside(bool(looped)) / core
        ax.set_xlim(-limit * width, limit * width)
        ax.set_ylim(-limit * (height + below - above), limit * (height - below + above))
        ax.set_aspect("equal")
        ax.axis("off")
    return root_of(ax)


def _kinds(fit: Interactions, W: xr.DataArray, given: NodeKind, labels: Any) -> list[str]:
    if given is None and isinstance(fit, Fit):
        given = fit.data["node_kind"]
    elif given is None and "node_kind" in W.coords:
        along = W["node_kind"]
        given = dict(zip(labels_along(along, str(along.dims[0])), along.values, strict=True))
    kinds = resolve_node_kinds(given, labels)
    for node, kind in zip(labels, kinds, strict=True):
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            raise DataError(
                f"node {str(node)!r} has the unknown node_kind {kind!r}{hint}; allowed are "
                f"{', '.join(KINDS)}."
            )
    return kinds


def _strongest(
    W: _Floats, threshold: float | None, top: int | None, most: int
) -> tuple[list[tuple[int, int, float]], str]:
    """Edges (source, target, w) from the strongest down, and what to say of the choice."""
    every = np.argwhere(W != 0)
    strength = np.abs(W[tuple(every.T)])
    ranked = every[np.argsort(-strength, kind="stable")]
    title = counted(len(ranked), "interaction")
    chosen = ranked
    if threshold is not None:
        chosen = ranked[: int((strength >= threshold).sum())]
        if len(chosen) < len(ranked):
            title = f"{len(chosen)} of {title}: |w|\u00a0≥\u00a0{threshold:g}"
    elif top is None:
        top = most
    if top is not None and len(chosen) > top:
        chosen = chosen[:top]
        weakest = abs(W[tuple(chosen[-1])])
        title = f"the {top} strongest of {counted(len(ranked), 'interaction')}"
        title += f": |w|\u00a0≥\u00a0{weakest:.2g}"
    return [(int(j), int(i), float(W[i, j])) for i, j in chosen], title


def _thickness(w: float, strongest: float) -> float:
    return _THINNEST + (_WIDEST - _THINNEST) * abs(w / strongest)


def _legend(
    ax: Axes, kinds: Sequence[str], weights: Sequence[float], scale: float, own: bool
) -> float:
    """Explain signs, widths and shapes: below the axes, or inside those of the caller.

    Returns how high the part of the axes is that this takes, in inches; where there is no room,
    there is no legend.
    """
    from matplotlib.lines import Line2D

    signs = [
        Line2D([], [], label=label)
        for label, sign in (("activates (w > 0)", 1), ("inhibits (w < 0)", -1))
        if any(sign * w > 0 for w in weights)
    ]
    handlers = {key: EdgeKey(key.get_label() == "activates (w > 0)") for key in signs}
    widths = [
        Line2D([], [], color=DARK_GREY, lw=scale * _thickness(w, weights[0]),
               label=f"|w| = {abs(w):.2g}")
        for w in dict.fromkeys([*map(abs, weights[:1]), *map(abs, weights[-1:])])
    ]  # fmt: skip
    shapes = [
        Line2D([], [], marker=marker, ms=6, mfc=FILLS[kind], mec=BLACK, mew=0.7, ls="none",
               label=PLURALS[kind])
        for kind, (_, marker) in KINDS.items()
        if kind in kinds and len(set(kinds)) > 1
    ]  # fmt: skip
    columns = [column for column in (signs, widths, shapes) if column]
    rows = max(map(len, columns), default=0)
    # matplotlib fills column by column: short ones are filled up with nothing.
    padded = [
        key
        for column in columns
        for key in column + [Line2D([], [], ls="none", label=" ")] * (rows - len(column))
    ]
    keys = [key for column in columns for key in column]
    if not keys:
        return 0.0
    style: Any = {"borderaxespad": 0, "fontsize": SMALL, "frameon": False, "handler_map": handlers}
    if own:
        style |= {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
        ax.legend(handles=padded, ncols=len(columns), **style)
        return 0.0
    most_wide, most_high = room(ax)
    for handles, ncols in ((padded, len(columns)), (keys, 2), (keys, 1)):
        legend = ax.legend(handles=handles, ncols=ncols, loc="lower center", **style)
        box, dpi = legend.get_window_extent(), root_of(ax).dpi
        if box.width <= most_wide * dpi and box.height <= 0.35 * most_high * dpi:
            return float(box.height / dpi)
        legend.remove()
    return 0.0
