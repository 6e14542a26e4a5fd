"""Profile likelihoods: how much worse the data are fitted as a parameter moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pycellbox.common.options import ONE_OR_MORE, checked, instance, optional
from pycellbox.plot.place import (
    area,
    check_figure,
    check_room,
    letters_in,
    room,
    root_of,
    type_size,
    wrapped,
    write_labels,
)
from pycellbox.plot.style import BLUE, DARK_GREY, SKY, VERMILION
from pycellbox.profiles import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

_MOST, _COLUMNS = 12, 3
_PANEL, _LEAST = (2.8, 2.3), (1.4, 1.2)  # inch
_DECADES = 100.0  # from the least to the largest value, from which on a logarithmic scale is drawn
_ABOVE = 1.35  # of the threshold: the top of the picture


@checked(
    profile=instance(Profile, "what fit.profile returns"),
    parameters=optional(ONE_OR_MORE),
)
def profile(
    profile: Profile,
    *,
    parameters: str | Sequence[str] | None = None,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw profile likelihoods, with the threshold and the interval.

    Parameters
    ----------
    profile : Profile
        What `pycellbox.Fit.profile` returns.
    parameters : str or sequence of str, optional
        Which; by default the first 12.
    figure : matplotlib.figure.Figure or SubFigure, optional
        An empty one to draw into instead of a new one.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each: the rise of twice the log likelihood ratio over the value of the
        parameter, a dot for each refit, a cross where one did not converge. The interval is shaded;
        where it has no end, a text says so. The scale is logarithmic where values span a factor of
        a hundred.

    Raises
    ------
    OptionError
        A parameter was not profiled, or ``figure`` is none, not empty or too small.
    PycellboxError
        matplotlib is not installed.
    """
    check_figure(figure)
    names = list(profile.curves["profile"].values)[:_MOST] if parameters is None else parameters
    curves = [profile.curve(str(name)) for name in names]
    columns = min(len(curves), _COLUMNS)
    if figure is not None:
        columns = min(columns, max(1, int(room(figure)[0] / _LEAST[0])))
    rows = -(-len(curves) // columns)
    check_room(figure, _LEAST[0] * columns, _LEAST[1] * rows)
    with area(figure, _PANEL[0] * columns + 0.4, _PANEL[1] * rows + 0.2) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for i, (ax, curve) in enumerate(zip(grid, curves, strict=False)):
            _panel(ax, curve, first=i % columns == 0)
        for ax in grid[len(curves) :]:
            ax.remove()
    return root_of(figure)


def _panel(ax: Axes, curve: xr.Dataset, first: bool) -> None:
    value, rise, good = (curve[name].values for name in ("value", "rise", "converged"))
    threshold, level = curve.attrs["threshold"], curve.attrs["level"]
    size = type_size(ax)
    if value.min() > 0 and value.max() > _DECADES * value.min():
        ax.set_xscale("log")
    ax.plot(value, rise, color=BLUE, zorder=2)
    ax.plot(value[good], rise[good], "o", color=BLUE, ms=3.5, zorder=3)
    ax.plot(value[~good], rise[~good], "x", color=VERMILION, ms=5, mew=1.4, zorder=3)
    ax.axhline(threshold, color=DARK_GREY, lw=0.9, ls=(0, (4, 2)))
    ax.annotate(f"{level:.4g}", (0.5, threshold), xycoords=("axes fraction", "data"), ha="center",
                va="bottom", fontsize=size, color=DARK_GREY)  # fmt: skip
    # The axis ends a little beyond the curve, or beyond the interval where that is far inside it.
    shown = value[rise <= _ABOVE * threshold]
    left, right = float(shown.min()), float(shown.max())
    ends = [float(curve[name]) for name in ("lower", "upper")]
    ax.axvspan(*np.clip(ends, left, right), color=SKY, alpha=0.2, lw=0, zorder=0)
    ax.set_ylim(-0.05 * threshold, _ABOVE * threshold)
    said = str(curve["said"].item())
    if said:
        text = wrapped(said.split(":")[0], room(ax)[0], size)
        ax.annotate(text, (0.5, 0.97), xycoords="axes fraction", ha="center", va="top",
                    fontsize=size, color=VERMILION)  # fmt: skip
    name = str(curve["profile"].item())
    most = max(letters_in(room(ax)[0], size), 4)
    write_labels(ax, name if len(name) <= most else f"{name[: most - 1]}…",
                 "rise of −2 log likelihood" if first else "")  # fmt: skip
