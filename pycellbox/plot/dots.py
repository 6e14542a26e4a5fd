"""Dots of two kinds of numbers against each other, around the line where they are the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pycellbox.plot.bands import limits as limits_of
from pycellbox.plot.bands import within
from pycellbox.plot.place import type_size, write_labels
from pycellbox.plot.style import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BARS = 60.0  # so many stand apart


def draw_dots(
    ax: Axes,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    groups: Iterable[tuple[str, str, str, npt.NDArray[Any]]],
    labels: tuple[str, str],
    score: str,
    ends: tuple[npt.NDArray[Any], ...] = (),
) -> None:
    """Draw them with a legend; the more there are, the smaller and paler.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : (k,)
    groups : iterable of (str, str, str, (k,) of bool)
        Name, color, marker and entries of each; those without an entry are left out.
    labels : (str, str)
        Of the axes.
    score : str
        Written into the upper left corner.
    ends : tuple of (k,)
        Lower and upper ends of bars in x, or none.
    """
    limits = limits_of([x, y], list(ends))
    ax.plot(limits, limits, color=GREY, lw=0.8, zorder=0)
    size, alpha = (4.5, 0.7) if x.size < 500 else (3.0, 0.45) if x.size < 5000 else (2.0, 0.25)
    for name, color, marker, which in groups:
        if which.any():
            if ends:
                low, high = (within(end[which], limits) for end in ends)
                pale = min(alpha, _BARS / x.size + 0.08)
                ax.hlines(y[which], low, high, color=color, lw=0.8, alpha=pale, zorder=0.5)
            ax.plot(
                x[which], y[which], marker, ls="none", ms=size, mfc=color, mec="none", alpha=alpha,
                label=name,
            )  # fmt: skip
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    write_labels(ax, *labels)
    ax.text(0.04, 0.96, score, transform=ax.transAxes, va="top", fontsize=type_size(ax, 9.0))
    legend = ax.legend(
        loc="lower right", handletextpad=0.1, markerscale=5 / size, frameon=False,
        fontsize=type_size(ax),
    )  # fmt: skip
    for handle in legend.get_lines():
        handle.set_alpha(1)
