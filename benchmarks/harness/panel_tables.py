"""The Markdown tables of `panel.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from methods import BASELINES, CELLBOX, MODELS, SIX

from harness import report
from harness.panel_scores import GROUPS, geometric, judged, left_out
from harness.report import Row
from harness.splits import TASKS

COLUMNS = {
    "label": "table",
    "task": "task",
    "method": "method",
    "splits": "splits",
    "mse": "MSE",
    "best": "best of six",
    "best mse": "its MSE",
    "ratio": "ratio",
    "difference": "difference",
    "error": "its error",
    "p": "p",
    "p by condition": "p by condition",
    "better in": "better in",
    "best of all": "best of all",
    "ratio of all": "ratio",
    "pearson": "correlation",
    "seconds": "CPU s",
}
_MARKS = {
    "ratio": f"the best of six ({', '.join(SIX)})",
    "ratio of all": f"the best of all {len(BASELINES)} baselines",
    "ratio of saturated": "the ridge on saturated doses",
}


def markdown(found: Sequence[Row], rows: Sequence[Row], methods: Sequence[str]) -> str:
    """All tables.

    Parameters
    ----------
    found : sequence of dict
        Of the ``methods``, as `judged` makes them.
    rows : sequence of dict
        What `panel.py` keeps.
    """
    tasks = [task for task in TASKS if any(row["task"] == task for row in found)]
    models = [name for name in methods if name in MODELS]
    with_baselines = judged(rows, [*models, *BASELINES])
    parts = [
        "Mean squared errors on rows that were not fitted, without the nodes of drugs, mean over "
        "the splits of a task. Ratios are to a baseline that is chosen afterwards, by these "
        "errors, for each table and task."
    ]
    for task in tasks:
        of_task = [row for row in with_baselines if row["task"] == task]
        for ratio, mark in _MARKS.items():
            some = of_task if ratio == "ratio" else [r for r in of_task if r["method"] in models]
            if ratio == "ratio of saturated":
                some = [row for row in some if row["family"] == "signalling"]
            if some:
                parts.append(
                    f"**{task}**: geometric mean of the ratios to {mark} (the worst; tables in "
                    f"which a method is better)\n\n{_by_group(some, ratio)}"
                )
    if drugs := [row for row in with_baselines if "mse with drugs" in row]:
        parts.append(
            "With the nodes of drugs, as melanoma's published figures have them: correlation / "
            f"mean squared error\n\n{_with_drugs(drugs)}"
        )
    parts += _leave_one_family_out(found, models)
    parts.append(
        "Each table. *difference*: from the best of six, as a share of its error, with the "
        "corrected error of Nadeau and Bengio; *p by condition*: each condition once\n\n"
        + report.markdown(found, COLUMNS)
    )
    parts.append(f"CPU seconds of a fit: median (longest)\n\n{_seconds(with_baselines)}")
    return "\n\n".join([*parts, *_notes(rows, methods)])


def _grid(rows: Iterable[tuple[str, str, str]], corner: str = "") -> str:
    """Lay (row, column, text) out, in the order they come."""
    table: dict[str, Row] = {}
    columns: dict[str, str] = {"label": corner}
    for name, column, text in rows:
        table.setdefault(name, {"label": name})[column] = text
        columns[column] = column
    return report.markdown([*table.values()], columns)


def _by_group(rows: Sequence[Row], ratio: str) -> str:
    names = [name for name in [*MODELS, *BASELINES] if any(r["method"] == name for r in rows)]
    cells = []
    for name in names:
        for group, families in GROUPS.items():
            of = [r[ratio] for r in rows if r["method"] == name and r["family"] in families]
            if of:
                wins = f"{sum(x < 1 for x in of)} of {len(of)}"
                text = f"{geometric(of):.3f} ({max(of):.2f}; {wins})"
                cells.append((name, group, f"{of[0]:.3f}" if len(of) == 1 else text))
    return _grid(cells)


def _with_drugs(rows: Sequence[Row]) -> str:
    def text(row: Row) -> str:
        r = row["pearson with drugs"]
        return f"{'–' if r is None else f'{r:.4f}'} / {row['mse with drugs']:.4f}"

    some = [row for row in rows if row["family"] == "melanoma"]
    return _grid((row["method"], row["task"], text(row)) for row in some)


def _leave_one_family_out(found: Sequence[Row], models: Sequence[str]) -> list[str]:
    if len(models) < 2:
        return []
    choices = left_out(found, models)
    if not choices:
        return []
    cells = []
    for choice in choices:
        family = choice.family
        cells.append((family, "chosen on the others", choice.chosen))
        shown = {CELLBOX: CELLBOX, "best": choice.afterwards}
        for task, ratio in choice.ratios[choice.chosen].items():
            beside = [
                f"{name} {choice.ratios[variant][task]:.3f}"
                for name, variant in shown.items()
                if variant in choice.ratios
            ]
            cells.append((family, task, f"{ratio:.3f} ({', '.join(beside)})"))
        cells.append((family, "best on it afterwards", choice.afterwards))
    return [
        f"Leave one family out: of {'; '.join(models)}, the one that is best on all other families "
        "(least mean logarithm of the ratio to the best of six), and its ratio on that one (beside "
        f"that of the default, and of the one that is best there afterwards)\n\n"
        f"{_grid(cells, 'family')}"
    ]


def _seconds(rows: Sequence[Row]) -> str:
    cells = []
    for name in dict.fromkeys(row["method"] for row in rows):
        for group, families in GROUPS.items():
            of = [r for r in rows if r["method"] == name and r["family"] in families]
            if of:
                middle, most = np.median([r["seconds"] for r in of]), max(r["longest"] for r in of)
                cells.append((name, group, f"{middle:.2g} ({most:.2g})"))
    return _grid(cells)


def _notes(rows: Sequence[Row], methods: Sequence[str]) -> list[str]:
    """Say what could not be fitted, what warned, and what is no method of its own."""
    said: dict[tuple[str, str], list[str]] = {}
    errors: dict[str, dict[tuple[str, str, str], float]] = {name: {} for name in methods}
    for row in rows:
        method = row["method"]
        if method not in errors:
            continue
        for text in [*row.get("warnings", ()), *([row["failed"]] if "failed" in row else ())]:
            said.setdefault((row["table"], text), []).append(method)
        if "mse" in row:
            errors[method][row["table"], row["task"], row["split"]] = row["mse"]
    lines = [
        f"- {table}, {len(of)} of the fits of {', '.join(dict.fromkeys(of))}: {text}"
        for (table, text), of in sorted(said.items())
    ]
    default = errors.get(CELLBOX, {})
    for name in methods:
        both = errors[name].keys() & default.keys()
        if name != CELLBOX and both and all(errors[name][k] == default[k] for k in both):
            lines.append(
                f"- {name} predicts as {CELLBOX} does, to the last digit: what it is to lack is "
                "not in the fit, or the fit does not read the option"
            )
    return ["Notes\n\n" + "\n".join(lines)] if lines else []
