"""Interactions as heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked, flag
from pycellbox.plot.labels import Interactions, interactions_of, like, short
from pycellbox.plot.place import area, check_figure, check_room, room, root_of, wrapped
from pycellbox.plot.style import BLACK, DIVERGING, KINDS, PLURALS, SMALL, TINY
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

MAX_NAMED = 40
"""Networks up to this size have every node named."""

_CELL = 0.24  # inch; leaves room between lines of small type
_LARGEST = 5.5  # inch
_LINE = 1.2  # height of a line of type, of its size
_LETTER = 0.6 * SMALL / 72  # inch


@checked(difference=flag())
def interactions(
    fit: Interactions,
    truth: xr.DataArray | None = None,
    *,
    difference: bool = False,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw the interactions W as a heat map, the true ones beside them if they are known.

    Parameters
    ----------
    fit : Fit, or DataArray (target, source)
        A fit, or its W.
    truth : DataArray (target, source), optional
        True interactions of the same nodes, drawn on the same scale.
    difference : bool
        Whether to draw fitted minus true as well, on the same scale.
    figure : matplotlib.figure.Figure or SubFigure, optional
        An empty one to draw into instead of a new one; it gets matplotlib's constrained layout if
        it has another.

    Returns
    -------
    matplotlib.figure.Figure
        Red for activation, blue for inhibition, white for none. Nodes are named where there are
        at most 40. In larger networks every second or third is, the blocks of proteins,
        phenotypes and drugs of a fit are named beside them, and the few strongest percent of
        the interactions share the ends of the color scale, so that the weaker ones can be seen.

    Raises
    ------
    DataError
        Dims or labels differ.
    PycellboxError
        matplotlib is not installed, or ``figure`` is none, not empty or too small.
    """
    check_figure(figure)
    W = interactions_of(fit)
    panels = {"": W}
    if truth is not None:
        true = interactions_of(like(truth, W))
        panels = {"true": true, "fitted": W}
        if difference:
            panels["fitted − true"] = W - true
    n = W.sizes["target"]
    large = n > MAX_NAMED
    top = _largest(list(panels.values()), share_ends=large)
    side = min(max(2.2, _CELL * n), _LARGEST)  # of a panel, inch
    letters = max(len(short(name)) for dim in W.dims for name in labels_along(W, str(dim)))
    if figure is not None:
        wide, high = room(figure)
        letters = min(letters, int(0.18 * min(wide / len(panels), high) / _LETTER))
    margin = 0.4 + letters * _LETTER  # names, and the label of the axis
    width, height = margin + 1.2, margin + 0.3  # beside the panels
    if figure is not None:
        side = min((wide - width) / len(panels), high - height)
    check_room(figure, width + 0.5 * len(panels), height + 0.5)
    small = side < 1.5
    width, height = width + side * len(panels), height + side
    from matplotlib.ticker import MaxNLocator  # by itself ticks depend on the height, late

    with area(figure, width, height, layout="compressed") as figure:
        row = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (title, panel) in zip(row, panels.items(), strict=True):
            image = ax.imshow(
                panel.values, cmap=DIVERGING, vmin=-top, vmax=top, interpolation="nearest"
            )
            ax.set(title=title, xlabel="source" if small else "source node")
            ax.spines[:].set_visible(True)
            _name_nodes(ax, W, 72 * side / n, letters)
        row[0].set_ylabel("target" if small else "target node")
        if large and not small and isinstance(fit, Fit):
            kinds = fit.data["node_kind"].sel(node=W["target"].values).values
            _name_blocks(list(row), np.asarray(kinds, dtype=np.str_))
        bar = figure.colorbar(
            image, ax=list(row), shrink=0.8, pad=0.02, ticks=MaxNLocator(4),
            extend="both" if large else "neither",
            label="W" if small else wrapped("interaction W (inhibits – activates)", side, 9),
        )  # fmt: skip
        bar.ax.tick_params(width=0.8)
    return root_of(figure)


def _largest(panels: list[xr.DataArray], share_ends: bool) -> float:
    """Return the interaction at the end of the color scale."""
    magnitude = np.abs(np.concatenate([panel.values.ravel() for panel in panels]))
    edges = magnitude[magnitude > 0]
    if not edges.size:
        return 1.0
    return float(np.percentile(edges, 98) if share_ends else edges.max())


def _name_nodes(ax: Axes, W: xr.DataArray, pitch: float, letters: int) -> None:
    """Name every node, or as many as fit at that many points from one to the next."""
    size = SMALL if pitch >= _LINE * SMALL else TINY
    every = int(np.ceil(_LINE * size / pitch))
    for axis, dim in ((ax.xaxis, "source"), (ax.yaxis, "target")):
        names = [short(name, letters) for name in labels_along(W, dim)]
        axis.set_ticks(range(0, len(names), every), names[::every])
    ax.tick_params(labelsize=size)
    ax.tick_params(axis="x", rotation=90)


def _name_blocks(row: list[Axes], kinds: npt.NDArray[np.str_]) -> None:
    """Separate the blocks of nodes of one kind by lines, and name them beside the last panel."""
    starts = np.flatnonzero(np.concatenate([[True], kinds[1:] != kinds[:-1]]))
    if len(starts) > len(KINDS):  # kinds are scattered: there are no blocks
        return
    for ax in row:
        for start in starts[1:]:
            ax.axhline(start - 0.5, color=BLACK, lw=0.5)
            ax.axvline(start - 0.5, color=BLACK, lw=0.5)
    for start, end in zip(starts, [*starts[1:], len(kinds)], strict=True):
        row[-1].annotate(
            PLURALS[str(kinds[start])], (1, (start + end - 1) / 2),
            xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=SMALL, annotation_clip=False,
        )  # fmt: skip
