"""Predictions against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import metrics
from pycellbox.common.options import text
from pycellbox.data.given import real_numbers
from pycellbox.errors import DataError
from pycellbox.plot.labels import kinds_along_node, response_label
from pycellbox.plot.style import GREY, KINDS, PLURALS, figure_of, one_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def observed_against_predicted(
    predicted: xr.DataArray,
    observed: xr.DataArray,
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw every measured response against its prediction, by kind of node.

    Parameters
    ----------
    predicted, observed : DataArray (condition[, time], node)
        With the same labels, in any order; NaN in ``observed`` is left out. Kinds are read from
        the coordinate ``node_kind`` of either.
    title : str, optional
        A line above the picture.
    ax : matplotlib.axes.Axes, optional
        Where to draw instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        A dot for each response, the identity as a line, correlation and mean squared error.

    Raises
    ------
    DataError
        Labels or dims differ, or nothing was measured.
    PycellboxError
        matplotlib is not installed.
    """
    title = None if title is None else text("title", title, error=DataError)
    score = f"Pearson {metrics.pearson(predicted, observed):.3f}\n"
    score += f"MSE {metrics.mse(predicted, observed):.3g}"
    predicted = predicted.sel({d: observed[d].values for d in observed.dims})
    predicted = predicted.transpose(*observed.dims)
    predicted = predicted.copy(data=real_numbers(predicted, "predicted"))
    observed = observed.copy(data=real_numbers(observed, "observed"))
    kinds = kinds_along_node(observed, predicted)
    measured = np.isfinite(observed.values)
    if not measured.any():
        raise DataError("nothing was measured: there is no observed response to draw.")
    with one_axes(ax, 4.0, 4.0) as ax:
        limits = identity_line(ax, observed.values[measured], predicted.values[measured])
        size, alpha = dot(int(measured.sum()))
        for kind, (color, marker) in KINDS.items():
            which = measured & np.broadcast_to(
                (kinds == kind).reshape([-1 if d == "node" else 1 for d in observed.dims]),
                observed.shape,
            )
            if which.any():
                ax.plot(
                    predicted.values[which], observed.values[which], marker, ls="none", ms=size,
                    mfc=color, mec="none", alpha=alpha, label=PLURALS[kind],
                )  # fmt: skip
        ax.set(xlim=limits, ylim=limits, aspect="equal", title=title or "")
        quantity = response_label(observed)
        ax.set(xlabel=f"predicted {quantity}", ylabel=f"observed {quantity}")
        ax.text(0.04, 0.96, score, transform=ax.transAxes, va="top")
        legend = ax.legend(loc="lower right", handletextpad=0.1, markerscale=5 / size)
        for handle in legend.get_lines():
            handle.set_alpha(1)
    return figure_of(ax)


def identity_line(
    ax: Axes, first: npt.NDArray[Any], second: npt.NDArray[Any]
) -> tuple[float, float]:
    """Draw y = x over the range of both, and return that range with a margin."""
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    margin = 0.06 * (high - low) or 1.0
    limits = (float(low - margin), float(high + margin))
    ax.plot(limits, limits, color=GREY, lw=0.8, zorder=0)
    return limits


def dot(count: int) -> tuple[float, float]:
    """Size and opacity of the dots: smaller and paler where there are many."""
    return (4.5, 0.7) if count < 500 else (3.0, 0.45) if count < 5000 else (2.0, 0.25)
