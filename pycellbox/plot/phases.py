"""What is given to a condition, and when: bars above its time course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pycellbox.data.phases import Phases, phases_of
from pycellbox.plot.labels import short
from pycellbox.plot.style import DARK_GREY, GREY, TINY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = 0.12
"""Height of a bar with its name, in inches."""
_MOST = 4  # bars of a panel
# Of the time that was measured: how much is shown of a pre-treatment without a beginning.
_BEFORE = 0.12


@dataclass(frozen=True)
class Bar:
    """One node that a condition is given, or that is held in it.

    Attributes
    ----------
    label : str
    spans : tuple of (start, end, strength)
        From −∞ to ∞; the strength is between 0 and 1.
    held : bool
    """

    label: str
    spans: tuple[tuple[float, float, float], ...]
    held: bool = False


def bars_of(data: xr.Dataset, conditions: Sequence[str]) -> dict[str, list[Bar]]:
    """Return the bars of every condition: none where doses are constant and nothing is held.

    Parameters
    ----------
    data : Dataset
        Valid.
    conditions : sequence of str
    """
    if "phase" not in data["perturbation"].dims and "held" not in data:
        return {condition: [] for condition in conditions}
    phases, nodes = phases_of(data), data["node"].values.tolist()
    largest = np.abs(phases.doses).max(axis=0)
    places = {label: i for i, label in enumerate(data["condition"].values.tolist())}
    found = {}
    for condition in conditions:
        i = places[condition]
        bars = [
            Bar(node, _spans(phases, i, j, float(largest[j])))
            for j, node in enumerate(nodes)
            if phases.perturbed[i, j] and "phase" in data["perturbation"].dims
        ]
        if "held" in data:
            levels = data["held"].values[i]
            fitted = data["held_fitted"].values[i] if "held_fitted" in data else levels != levels
            bars += [
                Bar(
                    f"{nodes[j]} held"
                    + ("" if fitted[j] else f" at {levels[j]:.3g}".replace("-", "−")),
                    ((-np.inf, np.inf, 0.0),),
                    held=True,
                )
                for j in np.flatnonzero(~np.isnan(levels))
            ]
        found[condition] = _few(bars)
    return found


def _spans(
    phases: Phases, i: int, j: int, largest: float
) -> tuple[tuple[float, float, float], ...]:
    there = ~np.isnan(phases.starts[i])
    starts, doses = phases.starts[i][there], phases.inputs[i, : there.sum(), j]
    changes = np.flatnonzero(np.diff(doses, prepend=np.nan) != 0)  # the first one is new
    ends = np.append(starts[changes[1:]], np.inf)
    return tuple(
        (start, end, abs(dose) / largest)
        for start, end, dose in zip(
            starts[changes].tolist(), ends.tolist(), doses[changes].tolist(), strict=True
        )
        if dose
    )


def _few(bars: list[Bar]) -> list[Bar]:
    if len(bars) <= _MOST:
        return bars
    return [*bars[: _MOST - 1], Bar(f"and {len(bars) - _MOST + 1} more", ())]


def beginning(data: xr.Dataset, conditions: Sequence[str]) -> float:
    """Return when courses are shown from: 0, or before it where something begins."""
    if "phase" not in data["perturbation"].dims:
        return 0.0
    phases = phases_of(data.sel(condition=list(conditions)))
    settled = -_BEFORE * float(data["time"].values[-1]) if phases.pretreated.any() else 0.0
    return min(settled, float(phases.begin.min()))


def draw_bars(ax: Axes, bars: Sequence[Bar], top: float, height: float, letters: int) -> None:
    """Draw bars from the upper edge of axes downwards.

    Parameters
    ----------
    ax : Axes
        With its final limits of time.
    bars : sequence of Bar
    top, height : float
        Of the first bar, as shares of the height of the axes.
    letters : int
        For how many there is room.
    """
    from matplotlib.patches import Rectangle

    left, right = ax.get_xlim()
    for number, bar in enumerate(bars):
        y = top - (number + 1) * height
        for start, end, strength in bar.spans:
            start, end = max(start, left), min(end, right)
            if end <= start:
                continue
            shape: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "zorder": 0}
            box = Rectangle((start, y), end - start, 0.88 * height, **shape, **look(bar, strength))
            ax.add_patch(box)
        ax.text(
            0.02, y + 0.42 * height, short(bar.label, letters), fontsize=TINY, color="black",
            transform=ax.transAxes, va="center_baseline", ha="left", zorder=5,
        )  # fmt: skip


def look(bar: Bar, strength: float) -> dict[str, Any]:
    """Return how a bar of a strength is drawn."""
    if bar.held:
        return {"facecolor": "white", "edgecolor": DARK_GREY, "linewidth": 0.6, "linestyle": "--"}
    return {"facecolor": GREY, "alpha": 0.25 + 0.5 * strength, "linewidth": 0}


def keys_of(bars: Mapping[str, Sequence[Bar]]) -> list[Any]:
    """Return the entries of a legend for the bars that there are."""
    from matplotlib.patches import Patch

    every = [bar for some in bars.values() for bar in some]
    kinds = {
        "given": [bar for bar in every if not bar.held and bar.spans],
        "held": [bar for bar in every if bar.held],
    }
    return [Patch(label=name, **look(of[0], 0.6)) for name, of in kinds.items() if of]
