"""How well fitted interactions match the true ones, where these are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import metrics
from pycellbox.common.options import checked
from pycellbox.errors import DataError
from pycellbox.plot.dots import draw_dots
from pycellbox.plot.labels import Interactions, free_entries, interactions_of, like, short
from pycellbox.plot.place import (
    check_ax,
    letters_in,
    one_axes,
    room,
    root_of,
    type_size,
    write_labels,
)
from pycellbox.plot.style import BLUE, DARK_GREY, GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Floats: TypeAlias = npt.NDArray[np.float64]
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)))


@checked()
def fitted_against_true(
    fit: Interactions,
    truth: xr.DataArray,
    *,
    mask: xr.DataArray | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw fitted interactions against the true ones.

    Parameters
    ----------
    fit : Fit, or DataArray (target, source)
        A fit, or its W.
    truth : DataArray (target, source)
        True interactions of the same nodes.
    mask : DataArray of bool (target, source), optional
        True where an edge may exist, such as `pycellbox.Network.mask`; only those
        entries are drawn. By default all but the diagonal.
    ax : matplotlib.axes.Axes, optional
        Where to draw instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        A dot for each interaction, and their correlation.

    Raises
    ------
    DataError
        Dims or labels differ, or no entry may be an edge.
    PycellboxError
        matplotlib is not installed, or ``ax`` is none.
    """
    check_ax(ax)
    W = interactions_of(fit)
    score = metrics.recovery(W, truth, mask=mask)
    free = free_entries(W, mask)
    if not free.any():
        raise DataError("the mask allows no interaction: there is nothing to draw.")
    fitted, true = W.values[free], interactions_of(like(truth, W)).values[free]
    groups = [
        ("no true interaction", GREY, "o", true == 0),
        ("true interaction", BLUE, "D", true != 0),
    ]
    text = f"Pearson {score['pearson']:.3f}\nsigns right {score['sign_accuracy']:.0%}"
    with one_axes(ax, 4.0, 4.0) as ax:
        ax.axhline(0, color=GREY, lw=0.5, zorder=0)
        draw_dots(ax, true, fitted, groups, ("true interaction W", "fitted interaction W"), text)
    return root_of(ax)


@checked()
def precision_recall(
    fit: Interactions | Mapping[str, Interactions],
    truth: xr.DataArray,
    *,
    mask: xr.DataArray | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw how many of the strongest fitted interactions exist, and how many of those that exist.

    Going down the list of fitted interactions from the strongest ``|w|``, precision is the share of
    true interactions among those passed, recall the share of the true ones passed. Signs do not
    count. Interactions of equal strength are passed together.

    Parameters
    ----------
    fit : Fit or DataArray (target, source), or mapping of str to either
        A fit or its W; several, by the names they get in the legend.
    truth : DataArray (target, source)
        True interactions of the same nodes; 0 is no edge.
    mask : DataArray of bool (target, source), optional
        True where an edge may exist, such as `pycellbox.Network.mask`; only those
        entries count. By default all but the diagonal.
    ax : matplotlib.axes.Axes, optional
        Where to draw instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        With the area under each curve as average precision, Σ (Rₖ − Rₖ₋₁) Pₖ, and the
        precision of guessing: the share of true interactions among all entries.

    Raises
    ------
    DataError
        Dims or labels differ, there is no true interaction, or nothing to compare.
    PycellboxError
        matplotlib is not installed, or ``ax`` is none.
    """
    check_ax(ax)
    several = dict(fit) if isinstance(fit, Mapping) else {"": fit}
    if not several:
        raise DataError("fit is empty; give at least one fit, or its W.")
    curves = {}
    chance = 0.0
    for name, one in several.items():
        W = interactions_of(one)
        edge = interactions_of(like(truth, W)).values != 0
        free = free_entries(W, mask)
        if not edge[free].any():
            raise DataError(
                "truth has no interaction where one may exist: precision and recall need some."
            )
        chance = float(edge[free].mean())
        curves[str(name)] = _curve(np.abs(W.values[free]), edge[free])
    own = ax is None
    with one_axes(ax, 4.2, 4.0) as ax:
        size = type_size(ax)
        most = 22 if own else max(letters_in(room(ax)[0] - 0.75, size) - len(": area 0.000"), 4)
        for i, (name, (precision, recall)) in enumerate(curves.items()):
            area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
            label = f"{short(name, most) or 'fitted'}: area {area:.3f}"
            ax.plot(
                np.append(0.0, recall), np.append(precision[0], precision),
                drawstyle="steps-pre", color=PALETTE[i % len(PALETTE)],
                ls=_DASHES[i % len(_DASHES)], label=label,
            )  # fmt: skip
        label = f"chance: {chance:.3f}"
        ax.axhline(chance, color=DARK_GREY, lw=1.0, ls=(0, (1, 2)), label=label)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="equal")
        x = "recall (share of the true interactions found)"
        write_labels(ax, x, "precision (share of those found that are true)")
        if own:
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        else:  # below there may be no room
            ax.legend(fontsize=size, frameon=True, framealpha=0.8, edgecolor="none")
    return root_of(ax)


def _curve(strength: _Floats, edge: npt.NDArray[np.bool_]) -> tuple[_Floats, _Floats]:
    """Precision and recall after each distinct strength that adds to recall, from the largest."""
    order = np.argsort(-strength, kind="stable")
    last_of_ties = np.flatnonzero(np.diff(strength[order], append=-1.0))
    found = np.cumsum(edge[order])[last_of_ties]
    adds = np.diff(found, prepend=0) > 0
    return (found / (last_of_ties + 1.0))[adds], (found / float(edge.sum()))[adds]
