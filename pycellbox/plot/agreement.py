"""Predictions against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pycellbox import metrics
from pycellbox.common.options import checked, instance, optional, text
from pycellbox.data.given import as_dataset, real_numbers
from pycellbox.errors import DataError
from pycellbox.plot.dots import draw_dots
from pycellbox.plot.labels import kinds_along_node, response_label
from pycellbox.plot.place import check_ax, one_axes, root_of, write_title
from pycellbox.plot.style import KINDS, PLURALS
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked(title=optional(text()))
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
        matplotlib is not installed, or ``ax`` is none.
    """
    check_ax(ax)
    title = "" if title is None else title
    predicted, observed = _compared(fit, data)
    score = f"Pearson {metrics.pearson(predicted, observed):.3f}\n"
    score += f"MSE {metrics.mse(predicted, observed):.3g}"
    observed = observed.transpose(..., "node")
    predicted = predicted.sel({d: observed[d].values for d in observed.dims})
    x = real_numbers(predicted.transpose(*observed.dims), "predicted")
    y = real_numbers(observed, "observed")
    measured = np.isfinite(y)
    if not measured.any():
        raise DataError("nothing was measured: there is no observed response to draw.")
    kinds = np.broadcast_to(kinds_along_node(observed, predicted), y.shape)[measured]
    groups = [(PLURALS[kind], *look, kinds == kind) for kind, look in KINDS.items()]
    quantity = response_label(observed)
    with one_axes(ax, 4.0, 4.0) as ax:
        labels = f"predicted {quantity}", f"observed {quantity}"
        draw_dots(ax, x[measured], y[measured], groups, labels, score)
        if title:
            write_title(ax, title)
    return root_of(ax)


def _compared(
    fit: Fit | xr.DataArray, data: xr.Dataset | xr.DataArray | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return predicted and observed responses."""
    if isinstance(fit, Fit):
        if data is None:
            return fit.predictions, fit.data["response"]
        data = as_dataset(data, "response")
        return next(iter(fit.evaluate(data, baselines=False).predictions.values())), data[
            "response"
        ]
    needs = "a Fit, or a DataArray of predicted responses"
    given = instance(xr.DataArray, needs)("fit", fit)
    observed = data["response"] if isinstance(data, xr.Dataset) and "response" in data else data
    needs = "the measured responses, a DataArray or a dataset that has them"
    return given, instance(xr.DataArray, needs)("data", observed)
