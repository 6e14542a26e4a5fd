"""Predictions against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pycellbox import metrics
from pycellbox.common.options import checked, instance, optional, text
from pycellbox.data import validate
from pycellbox.data.given import as_dataset, real_numbers
from pycellbox.data.hidden import with_nodes
from pycellbox.errors import DataError
from pycellbox.intervals import INTERVAL
from pycellbox.plot.bands import Predicted, check_asked, predicted_of
from pycellbox.plot.dots import draw_dots
from pycellbox.plot.labels import kinds_along_node, response_label
from pycellbox.plot.place import check_ax, one_axes, root_of, write_title
from pycellbox.plot.style import KINDS, PLURALS
from pycellbox.result import Fit
from pycellbox.times import of_same_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked(title=optional(text()), interval=optional(INTERVAL))
def observed_against_predicted(
    fit: Fit | xr.DataArray | xr.Dataset,
    data: xr.Dataset | xr.DataArray | None = None,
    *,
    interval: float | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw every measured response against its prediction, by kind of node.

    Parameters
    ----------
    fit : Fit, DataArray (condition[, time], node), or Dataset
        A fit, or predictions with the labels of ``data``, in any order; a dataset of them with
        ``lower`` and ``upper``, as ``predict(..., interval=0.9)`` of a fit or an ensemble gives it,
        is drawn with bars.
    data : Dataset, or DataArray (condition[, time], node), optional
        Conditions to judge by, as `pycellbox.Fit.evaluate` takes them; by default those of the
        fit. Beside predictions, the measured responses alone will do. NaN is left out; kinds are
        read from the coordinate ``node_kind``.
    interval : float, optional
        Share of new measurements, such as 0.9, that bars around the predictions of a fit are to
        hold. What of them would dwarf the rest is cut off.
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
    check_asked(interval, fit)
    predicted, observed = _compared(fit, data, interval)
    score = f"Pearson {metrics.pearson(predicted.response, observed):.3f}\n"
    score += f"MSE {metrics.mse(predicted.response, observed):.3g}"
    if predicted.said:
        score += f"\nbars: {predicted.said}"
    observed = observed.transpose(..., "node")
    place = {d: observed[d].values for d in observed.dims}
    predicted = predicted.map(lambda array: array.sel(place).transpose(*observed.dims))
    x = real_numbers(predicted.response, "predicted")
    y = real_numbers(observed, "observed")
    measured = np.isfinite(y)
    if not measured.any():
        raise DataError("nothing was measured: there is no observed response to draw.")
    kinds = np.broadcast_to(kinds_along_node(observed, predicted.response), y.shape)[measured]
    groups = [(PLURALS[kind], *look, kinds == kind) for kind, look in KINDS.items()]
    quantity = response_label(observed)
    with one_axes(ax, 4.0, 4.0) as ax:
        labels = f"predicted {quantity}", f"observed {quantity}"
        ends = tuple(end.values[measured] for end in predicted.ends)
        draw_dots(ax, x[measured], y[measured], groups, labels, score, ends)
        if title:
            write_title(ax, title)
    return root_of(ax)


def _compared(
    fit: Fit | xr.DataArray | xr.Dataset,
    data: xr.Dataset | xr.DataArray | None,
    interval: float | None,
) -> tuple[Predicted, xr.DataArray]:
    """Return predicted and observed responses."""
    if isinstance(fit, Fit):
        if data is None and interval is None:
            return Predicted(fit.predictions), fit.data["response"]
        own = fit.data
        data = own if data is None else as_dataset(data, "response")
        if interval is None:
            evaluation = fit.evaluate(data, baselines=False)
            return Predicted(next(iter(evaluation.predictions.values()))), data["response"]
        given = of_same_kind(
            with_nodes(validate(data, part=True), fit.model.own_nodes), own, "the data to compare"
        )
        times = given["time"].values if "time" in given["response"].dims else None
        found = fit.predict(given, times=times, interval=interval)
        return predicted_of(found), given["response"].sel(node=data["node"].values)
    needs = "a Fit, predicted responses, or a Dataset of these with lower and upper"
    predicted = predicted_of(instance(xr.DataArray | xr.Dataset, needs)("fit", fit))
    observed = data["response"] if isinstance(data, xr.Dataset) and "response" in data else data
    needs = "the measured responses, a DataArray or a dataset that has them"
    return predicted, instance(xr.DataArray, needs)("data", observed)
