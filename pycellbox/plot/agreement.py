"""Predictions against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import metrics
from pycellbox.common.options import instance, text
from pycellbox.data.given import as_dataset, real_numbers
from pycellbox.errors import DataError
from pycellbox.plot.labels import kinds_along_node, response_label
from pycellbox.plot.place import check_ax, one_axes, root_of, type_size, write_labels, write_title
from pycellbox.plot.style import GREY, KINDS, PLURALS
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def observed_against_predicted(
    fit: Fit | xr.DataArray,
    data: xr.Dataset | xr.DataArray | None = None,
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw every measured response against its prediction, by kind of node.

    Parameters
    ----------
    fit : Fit, or DataArray (condition[, time], node)
        A fit, or predictions with the labels of ``data``, in any order.
    data : Dataset, or DataArray (condition[, time], node), optional
        Conditions to judge by, as `pycellbox.Fit.evaluate` takes them; by default those of the
        fit. Beside predictions, the measured responses alone will do. NaN is left out; kinds are
        read from the coordinate ``node_kind``.
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
        Labels or dims differ, nothing was measured, or ``data`` is missing.
    PycellboxError
        matplotlib is not installed.
    """
    check_ax(ax)
    title = "" if title is None else text("title", title, error=DataError)
    predicted, observed = _compared(fit, data)
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
        ax.set(xlim=limits, ylim=limits, aspect="equal")
        quantity = response_label(observed)
        write_labels(ax, f"predicted {quantity}", f"observed {quantity}")
        if title:
            write_title(ax, title)
        write_score(ax, score)
        explain_dots(ax, size)
    return root_of(ax)


def _compared(
    fit: Fit | xr.DataArray, data: xr.Dataset | xr.DataArray | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return predicted and observed responses."""
    if isinstance(fit, Fit):
        if data is None:
            return fit.predictions, fit.data["response"]
        data = as_dataset(data, "response")
        return fit.evaluate(data, baselines=False).predictions["CellBox"], data["response"]
    needs = "a Fit, or a DataArray of predicted responses"
    predicted = instance("fit", fit, xr.DataArray, needs, error=DataError)
    observed = data["response"] if isinstance(data, xr.Dataset) and "response" in data else data
    needs = "the measured responses, a DataArray or a dataset that has them"
    return predicted, instance("data", observed, xr.DataArray, needs, error=DataError)


def identity_line(
    ax: Axes, first: npt.NDArray[Any], second: npt.NDArray[Any]
) -> tuple[float, float]:
    """Draw y = x over the range of both, and return that range with a margin."""
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    margin = 0.06 * (high - low) or 1.0
    limits = (float(low - margin), float(high + margin))
    ax.plot(limits, limits, color=GREY, lw=0.8, zorder=0)
    return limits


def explain_dots(ax: Axes, size: float) -> None:
    """Write a legend with dots of one size, however small and pale they are in the picture."""
    legend = ax.legend(
        loc="lower right", handletextpad=0.1, markerscale=5 / size, frameon=False,
        fontsize=type_size(ax),
    )  # fmt: skip
    for handle in legend.get_lines():
        handle.set_alpha(1)


def write_score(ax: Axes, score: str) -> None:
    """Write figures into the upper left corner."""
    size = type_size(ax, 9.0)
    ax.text(0.04, 0.96, score, transform=ax.transAxes, va="top", fontsize=size)


def dot(count: int) -> tuple[float, float]:
    """Size and opacity of the dots: smaller and paler where there are many."""
    return (4.5, 0.7) if count < 500 else (3.0, 0.45) if count < 5000 else (2.0, 0.25)
