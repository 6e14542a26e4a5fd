"""Responses over time: measured, true and fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked, instance, optional
from pycellbox.data import validate
from pycellbox.data.given import as_array, as_dataset
from pycellbox.data.units import meeting
from pycellbox.errors import DataError
from pycellbox.intervals import INTERVAL
from pycellbox.plot.bands import (
    ALPHA,
    Predicted,
    check_asked,
    has_ends,
    limits,
    predicted_of,
    said_of,
    within,
)
from pycellbox.plot.labels import chosen, response_label, short, with_unit
from pycellbox.plot.phases import BAR, bars_of, beginning, draw_bars, keys_of
from pycellbox.plot.place import (
    area,
    check_figure,
    check_room,
    in_one_line,
    letters_in,
    room,
    root_of,
    wrapped,
)
from pycellbox.plot.style import DARK_GREY, GREY, MARKERS, PALETTE, SMALL, TINY
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

MAX_CONDITIONS = 12
"""So many conditions are drawn where none are chosen."""

_POINTS = 200  # of a line, over the time that was measured
_PANEL, _LONE_PANEL, _LEAST = (2.1, 1.75), (3.2, 2.5), (0.9, 0.7)  # inches
_COLUMNS = 4


@checked(interval=optional(INTERVAL))
def trajectories(
    fit: Fit | xr.DataArray | xr.Dataset,
    data: xr.Dataset | None = None,
    *,
    truth: xr.DataArray | None = None,
    conditions: Sequence[str] | None = None,
    nodes: Sequence[str] | None = None,
    interval: float | None = None,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw time courses, a panel for each condition and a color for each node.

    Where inputs change or nodes are held, bars above each course show which node is given when, the
    darker the larger the dose, and which are held; a pre-treatment is left of time 0.

    Parameters
    ----------
    fit : Fit, DataArray (condition, time, node), or Dataset
        A fit's prediction is drawn as a line from time 0 on. The fit's solver computes it on a
        fine grid of times, so that its steps may be shorter than they were in the fit.
        Predictions are drawn as a line at the times they have; a dataset of them with ``lower``
        and ``upper``, as ``predict(..., interval=0.9)`` of a fit or an ensemble gives it, with a
        band. Any other dataset is ``data``, drawn without a line.
    data : Dataset, optional
        Time courses that pass `pycellbox.validate`, by default those of the fit: dots for the
        measured responses, with bars of one ``sigma`` where there is one. Times are in the unit of
        the fit if there is one, else in that of the data.
    truth : DataArray (condition, time, node), optional
        The response without error, drawn as a thin dashed line at the times it has; by default
        the variable ``true_response`` of ``data``, if it has one.
    conditions, nodes : sequence of str, optional
        What to draw: by default the first 12 conditions, and those 7 nodes whose measured
        response ranges widest, drugs only if there are fewer others.
    interval : float, optional
        Share of new measurements, such as 0.9, that a band around the line of a fit is to hold.
        What of a band would dwarf measurements and line is cut off.
    figure : matplotlib.figure.Figure or SubFigure, optional
        An empty one to draw into instead of a new one; it gets matplotlib's constrained layout if
        it has another.

    Returns
    -------
    matplotlib.figure.Figure
        A heading says what was left out.

    Raises
    ------
    DataError
        The data are steady states or break the schema, a label is unknown, more nodes are asked
        for than there are colors, or arrays do not cover what is to be drawn.
    PycellboxError
        matplotlib is not installed, or ``figure`` is none, not empty or too small.
    """
    check_figure(figure)
    needs = "a Fit, a DataArray of predicted responses, or a Dataset of measured ones"
    instance(Fit | xr.DataArray | xr.Dataset, needs)("fit", fit)
    check_asked(interval, fit)
    given = None
    if isinstance(fit, xr.DataArray) or has_ends(fit):
        given = predicted_of(fit)
    elif isinstance(fit, xr.Dataset) and data is not None:
        raise DataError("fit is a Dataset, and so data is given twice; leave one of them out.")
    data = fit.data if isinstance(fit, Fit) and data is None else data
    measured_in = fit if isinstance(fit, xr.Dataset) and given is None else data
    data = validate(as_dataset(measured_in), part=True)
    if isinstance(fit, Fit):
        data = meeting(data, fit.data)
    response = data["response"]
    if "time" not in response.dims:
        raise DataError(
            "the data are steady states, without a time; draw them with "
            "pycellbox.plot.observed_against_predicted."
        )
    if truth is None:
        truth = data.get("true_response")
    panels = chosen(conditions, response, "condition")
    if conditions is None:
        panels = panels[: MAX_CONDITIONS if figure is None else min(MAX_CONDITIONS, _most(figure))]
    drawn = _nodes(nodes, response.sel(condition=panels))
    part = {"condition": panels, "node": drawn}
    named = ["fit"] if isinstance(fit, Fit) else ["prediction"] * (given is not None)
    band = said_of(interval) if isinstance(fit, Fit) else "" if given is None else given.said
    keys = _keys(drawn, named + ["truth"] * (truth is not None), "sigma" in data, band)
    bars, begin = bars_of(data, panels), beginning(data, panels)
    keys += keys_of(bars)
    strip = BAR * max(map(len, bars.values()))  # inch, above the courses
    beside = 0.6 + 0.07 * max(len(key.get_label()) for key in keys)  # inch, of the legend
    columns, (width, height) = _COLUMNS, _LONE_PANEL if len(panels) == 1 else _PANEL
    height += strip
    if figure is not None:
        columns = _columns(len(panels), room(figure)[0] - beside, room(figure)[1])
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    wide, high = _LEAST
    needed = max((high + strip) * rows + 0.6, 0.18 * len(keys))
    check_room(figure, wide * columns + beside, needed)
    lines = {}
    if isinstance(fit, Fit):
        until = float(data["time"].values[-1])
        times = np.union1d(np.linspace(0.0, until, _POINTS), data["time"].values)
        asked = data.sel(condition=panels)
        found = (
            fit.predict(asked, times=times)
            if interval is None
            else fit.predict(asked, times=times, interval=interval)
        )
        lines["fit"] = predicted_of(found).map(lambda array: array.sel(node=drawn))
    elif given is not None:
        lines["prediction"] = given.map(lambda array: _part(array, part, "fit", data))
    if truth is not None:
        lines["truth"] = Predicted(_part(truth, part, "truth", data))
    measured = data.sel(part)
    ends = [end.values for line in lines.values() for end in line.ends]
    shown = [measured["response"].values, *(line.response.values for line in lines.values())]
    around = limits(shown, ends) if ends else None
    with area(figure, width * columns + 0.5 + beside, height * rows + 0.9) as figure:
        width, height = room(figure)
        letters = letters_in((width - beside - 0.5) / columns, 10)  # of size 8, capitals
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax, condition in zip(grid, panels, strict=False):
            _panel(ax, measured, lines, condition, drawn, min(letters, 30), around)
        if around is not None:
            grid[0].set_ylim(around)
        if strip:
            _make_room(grid[0], begin, strip / ((height - 0.9) / rows - 0.45))
            share = BAR / ((height - 0.9) / rows - 0.45)
            letters = letters_in((width - beside - 0.5) / columns, TINY)
            for ax, condition in zip(grid, panels, strict=False):
                if begin < 0:
                    ax.axvline(0, color=GREY, lw=0.5, zorder=0)
                draw_bars(ax, bars[condition], 1.0, share, letters)
        for ax in grid[len(panels) :]:
            ax.remove()
        for ax in grid[max(0, len(panels) - columns) : len(panels)]:
            ax.tick_params(labelbottom=True)  # the lowest of its column
        time = data["time"]
        figure.supxlabel(with_unit(str(time.attrs["long_name"]), time.attrs), fontsize=9)
        figure.supylabel(in_one_line(response_label(response), height - 0.4, 9), fontsize=9)
        parts = []
        if conditions is None and len(panels) < response.sizes["condition"]:
            parts.append(f"{len(panels)} of {response.sizes['condition']} conditions")
        if nodes is None and len(drawn) < response.sizes["node"]:
            parts.append(f"the {len(drawn)} of {response.sizes['node']} nodes that respond most")
        if parts:
            heading = wrapped(", ".join(parts), width - beside, 9)
            figure.suptitle(heading, fontsize=9, x=0.01, ha="left")
        figure.legend(handles=keys, loc="outside right upper")
    return root_of(figure)


def _make_room(ax: Axes, begin: float, share: float) -> None:
    """Show the time from the beginning on, and leave a share of the height free above."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, low + (high - low) / max(1 - share, 0.2))
    if begin < 0:
        left, right = ax.get_xlim()
        ax.set_xlim(min(left, begin - 0.02 * (right - begin)), right)


def _most(figure: FigureBase) -> int:
    """Return how many panels a figure has room for, beside the texts."""
    width, height = room(figure)
    return max(int((width - 2) / 1.1), 1) * max(int((height - 0.9) / 1.1), 1)


def _columns(panels: int, width: float, height: float) -> int:
    """Return in how many columns the panels are largest."""
    return max(range(1, panels + 1), key=lambda c: min(width / c, 1.2 * height / -(-panels // c)))


def _nodes(wanted: Sequence[str] | None, response: xr.DataArray) -> list[str]:
    names = chosen(wanted, response, "node")
    if wanted is not None:
        if len(names) > len(PALETTE):
            raise DataError(
                f"{len(names)} nodes are asked for, and there are {len(PALETTE)} colors; draw "
                "them in several pictures."
            )
        return names
    measured = response.notnull()
    low, high = (response.where(measured, fill) for fill in (np.inf, -np.inf))
    ranges = (high.max(("condition", "time")) - low.min(("condition", "time"))).values
    # Drugs follow from the dose and tell the least, so that they come last.
    is_drug = response["node_kind"].values == "drug"
    widest = np.lexsort((-ranges, is_drug))[: len(PALETTE)]
    return [names[i] for i in sorted(widest) if np.isfinite(ranges[i])]


def _part(array: object, part: dict[str, list[str]], owner: str, data: xr.Dataset) -> xr.DataArray:
    """Select what is drawn, in the unit of time of the data."""
    given = meeting(as_array(array, owner, "condition", "time", "node"), data)
    for dim, labels in part.items():
        known = labels_along(given, dim)
        if lacking := [label for label in labels if label not in known]:
            raise DataError(
                f"{owner} lacks the {dim} {lacking[0]!r}"
                + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
                + "; it needs all that are drawn."
            )
    selected: xr.DataArray = given.sel(part)
    return selected


def _panel(
    ax: Axes,
    measured: xr.Dataset,
    lines: dict[str, Predicted],
    condition: str,
    nodes: Sequence[str],
    letters: int,
    around: tuple[float, float] | None,
) -> None:
    ax.tick_params(
        labelsize=SMALL
    )  # or that of the time of drawing would decide how many there are
    ax.axhline(0, color=GREY, lw=0.5, zorder=0)
    ax.set_title(short(condition, letters), fontsize=8)
    for i, node in enumerate(nodes):
        at = {"condition": condition, "node": node}
        for name, line in lines.items():
            center = line.response.sel(at)
            times = center["time"].values
            ax.plot(times, center.values, color=PALETTE[i], **_LINES[name])
            if line.ends and around is not None:
                low, high = (within(end.sel(at).values, around) for end in line.ends)
                ax.fill_between(times, low, high, color=PALETTE[i], alpha=ALPHA, lw=0, zorder=0.5)
        one = measured["response"].sel(at)
        seen = np.isfinite(one.values)
        error = measured["sigma"].sel(at).values[seen] if "sigma" in measured else None
        ax.errorbar(
            one["time"].values[seen], one.values[seen], error, color=PALETTE[i], fmt=MARKERS[i],
            **_DOTS, label=node,
        )  # fmt: skip


_LINES: dict[str, dict[str, Any]] = {
    "fit": {"ls": "-", "lw": 1.3},
    "prediction": {"ls": "-", "lw": 1.3},
    "truth": {"ls": (0, (4, 2)), "lw": 0.8},
}
_DOTS: dict[str, Any] = {"ms": 4, "mew": 0.4, "mec": "white", "elinewidth": 0.8, "capsize": 1.5}


def _keys(nodes: Sequence[str], lines: Sequence[str], bars: bool, band: str) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [
        Line2D([], [], color=PALETTE[i], marker=MARKERS[i], ls="none", ms=5, label=short(node))
        for i, node in enumerate(nodes)
    ]
    dots = "measured ± σ" if bars else "measured"
    keys.append(Line2D([], [], color=DARK_GREY, marker="o", ls="none", ms=4, label=dots))
    keys += [Line2D([], [], color=DARK_GREY, label=n, **_LINES[n]) for n in lines]
    return [*keys, Patch(color=DARK_GREY, alpha=ALPHA, lw=0, label=band)] if band else keys
