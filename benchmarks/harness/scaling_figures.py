"""Figures of benchmarks/scaling.py: every score over the two axes of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# How each score is drawn: title, logarithmic or not.
SCORES = {
    "mae": ("MAE of new conditions, without noise", True),
    "pearson": ("Pearson correlation of W", False),
    "auprc_ratio": ("AUPRC ratio (chance 1, perfect 1/density)", False),
    "seconds": ("seconds a fit", True),
}
LABELS = {
    "nodes": "nodes",
    "conditions": "training conditions",
    "times": "time points",
    "noise": "standard deviation of the noise",
    "missing": "share of responses missing",
}
COLOURS = ("#0072B2", "#D55E00", "#000000", "#009E73")  # of Okabe and Ito
MARKERS = ("o", "s", "^", "D")
DPI = 300


def figure(grid: str, varied: tuple[str, str], rows: pd.DataFrame, path: Path) -> None:
    """Draw the mean over seeds of every score over what a grid varied, and write a PNG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = [s for s in SCORES if rows[s].notna().any()]
    draw = {"size": _heat, "noise": _heat, "times": _lines, "topology": _dots}[grid]
    style = {"font.size": 9, "axes.titlesize": 10, "legend.frameon": False}
    with mpl.rc_context(style):
        drawing = Figure(figsize=(9.5, 7), layout="constrained")
        FigureCanvasAgg(drawing)
        for axes, score in zip(drawing.subplots(2, 2).flat, SCORES, strict=True):
            if score in scores:
                draw(axes, rows, varied, score)
                axes.set_title(SCORES[score][0])
            else:
                axes.set_axis_off()
        drawing.suptitle(caption(varied, rows, draw is not _heat), fontsize=9)
        handles, names = drawing.axes[0].get_legend_handles_labels()
        if handles:
            drawing.legend(handles, names, loc="outside lower center", ncols=len(handles))
        drawing.savefig(path, dpi=DPI)


def caption(varied: tuple[str, str], rows: pd.DataFrame, dots: bool) -> str:
    """Say what is the same in all cells of a figure, and how many networks its means are of."""
    fixed = {"nodes": "{:g} nodes", "conditions": "{:g} training conditions"}
    fixed |= {"times": "{:g} time points", "noise": "noise {:g}", "updates": "{:g} updates"}
    parts = [
        text.format(rows[name].iloc[0]) for name, text in fixed.items() if rows[name].nunique() == 1
    ]
    number = rows.groupby(list(varied)).size()
    counts = f"{number.min()}" if number.min() == number.max() else f"{number.min()}–{number.max()}"
    each = "small dots: each network" if dots else "grey: not run"
    return ", ".join([*parts, f"means over networks: {counts}; {each}"])


def _heat(axes: Any, rows: pd.DataFrame, varied: tuple[str, str], score: str) -> None:
    """Draw a map of the two axes of a grid, with the figures in it; grey where nothing was run."""
    from matplotlib.colors import LogNorm, Normalize

    down, across = varied
    table = rows.pivot_table(index=down, columns=across, values=score, aggfunc="mean")
    values = table.to_numpy()
    low, high = np.nanmin(values), np.nanmax(values)
    # Larger networks are sparser, so that chance is far from perfect.
    wide = score == "auprc_ratio" and high > 10 * low
    log = (SCORES[score][1] or wide) and low > 0
    # One value, or none but equal ones, still need a range of colors.
    norm = LogNorm(low / 1.01, high * 1.01) if log else Normalize(min(low, 0.0), max(high, 1.0))
    axes.set_facecolor("#CCCCCC")
    image = axes.imshow(values, norm=norm, cmap="viridis", aspect="auto", origin="lower")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{value:.1g}" if abs(value) < 1e-3 else f"{value:.2g}"
            text = f"{value:.0f}" if abs(value) >= 100 else text
            color = "white" if norm(value) < 0.6 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=color)
    axes.set_xticks(range(len(table.columns)), [f"{v:g}" for v in table.columns])
    axes.set_yticks(range(len(table.index)), [f"{v:g}" for v in table.index])
    axes.set_xlabel(LABELS[across])
    axes.set_ylabel(LABELS[down])
    bar = axes.figure.colorbar(image, ax=axes)
    if log:
        _plain_numbers(bar.ax)


def _lines(axes: Any, rows: pd.DataFrame, varied: tuple[str, str], score: str) -> None:
    """Draw a line for each number of conditions: mean over seeds, and every seed as a dot."""
    across, of_line = varied
    for (value, part), color, marker in zip(rows.groupby(of_line), COLOURS, MARKERS, strict=False):
        mean = part.groupby(across)[score].mean()
        axes.plot(mean.index, mean, color=color, marker=marker, label=f"{value} conditions")
        axes.plot(part[across], part[score], ".", color=color, alpha=0.4, ms=4, zorder=0)
    axes.set_xscale("log")
    ticks = sorted(rows[across].unique())
    axes.set_xticks(ticks, [f"{v:g}" for v in ticks])
    axes.minorticks_off()
    _scale(axes, score)
    axes.set_xlabel(LABELS[across])


def _dots(axes: Any, rows: pd.DataFrame, varied: tuple[str, str], score: str) -> None:
    """Draw solvers side by side, a marker for each topology."""
    solvers = list(rows["solver"].unique())
    for k, (name, part) in enumerate(rows.groupby("topology", sort=False)):
        offset = 0.22 * (k - 1)
        at = part["solver"].map(solvers.index) + offset
        axes.plot(at, part[score], MARKERS[k], color=COLOURS[k], alpha=0.35, ms=4, mec="none")
        mean = part.groupby("solver")[score].mean().reindex(solvers)
        axes.plot(np.arange(len(solvers)) + offset, mean, MARKERS[k], color=COLOURS[k], label=name)
    axes.set_xticks(range(len(solvers)), [s.replace(" ", "\n") for s in solvers])
    _scale(axes, score)


def _scale(axes: Any, score: str) -> None:
    if SCORES[score][1]:
        axes.set_yscale("log")
        _plain_numbers(axes)
    elif score == "pearson":
        axes.set_ylim(min(0.9, axes.get_ylim()[0]), 1.005)
    else:
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.grid(axis="y", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain_numbers(axes: Any) -> None:
    """Write 0.2 instead of 2 × 10⁻¹ along a logarithmic axis."""
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = axes.get_ylim()
    # Within a decade or so the powers of ten are too few to read by.
    axes.yaxis.set_minor_formatter("{x:g}" if high < 12 * low else "")
