"""The figure of `panel.py`: ratios to the best baseline by table and task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.panel_scores import geometric
from harness.report import Row
from harness.splits import TASKS
from pycellbox.plot import save_figure
from pycellbox.plot.style import DARK_GREY, GREY, MARKERS, PALETTE, SMALL, STYLE

_TITLES = dict(
    zip(
        TASKS,
        ("random 70/30", "singles → combinations", "one drug left out,\nits singles known",
         "one drug left out\naltogether"),
        strict=True,
    )
)  # fmt: skip
_TICKS = (0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.4, 2)
_WIDEST = 2.5  # a ratio beyond is drawn at the border


def figure(found: Sequence[Row], methods: Sequence[str], path: Path) -> None:
    """Draw every ratio to the best of six, and write a PNG.

    A row for each table, by family, with the geometric mean of a family that has several; a panel
    for each task. Bars: one standard error over splits, corrected (Nadeau and Bengio 2003).
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tasks = [task for task in TASKS if any(row["task"] == task for row in found)]
    places = _places(found)
    with mpl.rc_context(STYLE):
        drawing = Figure(
            figsize=(1.6 + 1.65 * len(tasks), 1.3 + 0.19 * len(places)), layout="constrained"
        )
        panels = drawing.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            of_task = [row for row in found if row["task"] == task]
            _panel(axes, of_task, methods, places)
            axes.set_title(_TITLES[task], fontsize=9)
        ratios = [row["ratio"] for row in found]
        low, high = min([*ratios, 0.9]) / 1.08, min(max([*ratios, 1.1]) * 1.08, _WIDEST * 1.05)
        ticks = [t for t in _TICKS if low <= t <= high]
        panels[0].set_xlim(low, high)  # of all
        panels[0].set_xticks(ticks, [f"{t:g}" for t in ticks])
        heights = [*places.values()]
        labels = [
            name.replace("_", " ") if kind == "table" else "geometric mean" for kind, name in places
        ]
        panels[0].set_yticks(heights, labels)
        for tick, (kind, _) in zip(panels[0].get_yticklabels(), places, strict=True):
            tick.set_color(DARK_GREY if kind == "mean" else "black")
            tick.set_fontstyle("italic" if kind == "mean" else "normal")
        panels[0].set_ylim(max(heights) + 0.7, -0.7)
        drawing.supxlabel("mean squared error / that of the best of six baselines", fontsize=9)
        handles, names = panels[0].get_legend_handles_labels()
        drawing.legend(handles, names, loc="outside upper center", ncols=min(len(names), 3))
        save_figure(drawing, path)


def _places(found: Sequence[Row]) -> dict[tuple[str, str], float]:
    """Where each table and each mean of a family stands, from the top."""
    families: dict[str, list[str]] = {}
    for row in found:
        names = families.setdefault(row["family"], [])
        if row["label"] not in names:
            names.append(row["label"])
    places, at = {}, 0.0
    for family, tables in families.items():
        for table in tables:
            places["table", table] = at
            at += 1
        if len(tables) > 1:
            places["mean", family] = at
            at += 1
        at += 0.6
    return places


def _panel(
    axes: Any, rows: Sequence[Row], methods: Sequence[str], places: dict[tuple[str, str], float]
) -> None:
    axes.axvline(1, color=DARK_GREY, lw=0.8, zorder=0)
    for height in places.values():
        axes.axhline(height, color=GREY, lw=0.3, alpha=0.5, zorder=0)
    for k, method in enumerate(methods):
        own = [row for row in rows if row["method"] == method]
        shift = 0.0 if len(methods) == 1 else 0.36 * (k / (len(methods) - 1) - 0.5)
        look = {"color": PALETTE[k % len(PALETTE)], "marker": MARKERS[k % len(MARKERS)]}
        axes.plot([], [], ls="", ms=4.5, label=method, **look)
        for row in own:
            _mark(axes, row["ratio"], row["error"], places["table", row["label"]] + shift, look)
        for family in dict.fromkeys(row["family"] for row in own):
            if ("mean", family) in places:
                mean = geometric([row["ratio"] for row in own if row["family"] == family])
                at = places["mean", family] + shift
                _mark(axes, mean, None, at, look | {"mfc": "white", "mew": 1.1})
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.spines["left"].set_visible(False)


def _mark(axes: Any, ratio: float, error: float | None, at: float, look: dict[str, Any]) -> None:
    beyond = ratio > _WIDEST
    if error is not None and not beyond:
        axes.plot([ratio - error, ratio + error], [at, at], color=look["color"], lw=0.8, alpha=0.6)
    axes.plot(min(ratio, _WIDEST), at, ls="", ms=4.5, clip_on=False, **look)
    if beyond:
        axes.annotate(f"{ratio:.1f}", (_WIDEST, at), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=6.5, color=look["color"])  # fmt: skip
