"""How a fit went on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pycellbox.common.options import checked
from pycellbox.data.given import as_dataset
from pycellbox.errors import DataError
from pycellbox.plot.place import check_ax, one_axes, room, root_of, type_size, write_labels
from pycellbox.plot.style import BLUE, DARK_GREY, GREY, VERMILION
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_WIDTH, _NUMBER_WIDTH = 0.45, 0.13  # inch, that "stage 9" and "9" take


@checked()
def loss_history(fit: Fit | xr.Dataset, *, ax: Axes | None = None) -> Figure:
    """Draw the loss over the iterations, with the bounds between stages.

    Parameters
    ----------
    fit : Fit, or Dataset
        A fit, or its ``history``.
    ax : matplotlib.axes.Axes, optional
        Where to draw instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The scale is logarithmic where every loss is above zero. A stage is named at its
        beginning where there is room for that.

    Raises
    ------
    DataError
        There is no iteration to draw.
    PycellboxError
        matplotlib is not installed, or ``ax`` is none.
    """
    check_ax(ax)
    history = fit.history if isinstance(fit, Fit) else fit
    history = as_dataset(history, "iteration", "loss", "validation_loss", "stage", name="fit")
    if history.sizes.get("iteration", 0) == 0:
        raise DataError("the history holds no iteration: there is no loss to draw.")
    iteration = history["iteration"].values
    loss, validation = history["loss"].values, history["validation_loss"].values
    judged = np.isfinite(validation)
    with one_axes(ax, 5.0, 3.2) as ax:
        dot = "." if iteration.size == 1 else ""  # a line needs two points
        ax.plot(iteration, loss, color=BLUE, label="training", marker=dot)
        if judged.any():
            ax.plot(
                iteration[judged], validation[judged], "--", color=VERMILION, label="validation",
                marker="." if judged.sum() == 1 else "",
            )  # fmt: skip
            # Below the names of the stages.
            ax.legend(
                bbox_to_anchor=(0, 0, 1, 0.92), fontsize=type_size(ax), frameon=True,
                framealpha=1, edgecolor="none",
            )  # fmt: skip
        _mark_stages(ax, iteration, history["stage"].values)
        if (loss > 0).all() and (validation[judged] > 0).all():
            ax.set_yscale("log")
        write_labels(ax, "iteration", "loss (mean over measured entries)")
        ax.margins(x=0.02, y=0.1)
    return root_of(ax)


def _mark_stages(ax: Axes, iteration: np.ndarray, stage: np.ndarray) -> None:
    last = np.flatnonzero(np.diff(stage))
    if not last.size:
        return
    starts = [float(iteration[0]), *(iteration[last] + 0.5).tolist()]
    numbers = [int(stage[0]), *stage[last + 1].tolist()]
    inch = max(float(iteration[-1] - iteration[0]), 1.0) / room(ax)[0]
    free = -np.inf  # the end of the last name written
    for at, number in zip(starts, numbers, strict=True):
        if at > starts[0]:
            ax.axvline(at, color=GREY, lw=0.8, ls=":", zorder=0)
        gap = (min([s for s in starts if s > at], default=float(iteration[-1])) - at) / inch
        named = gap >= _NAME_WIDTH
        if at < free or not (named or gap >= _NUMBER_WIDTH):
            continue
        free = at + inch * (_NAME_WIDTH if named else _NUMBER_WIDTH)
        ax.annotate(
            f"stage {number}" if named else f"{number}", (at, 1),
            xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points",
            va="top", color=DARK_GREY, fontsize=type_size(ax),
        )  # fmt: skip
