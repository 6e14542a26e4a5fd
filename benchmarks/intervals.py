"""How many new measurements intervals hold, of every table and task, beside those of ridge.

    python benchmarks/intervals.py --data FOLDER --out intervals-out
    python benchmarks/intervals.py --out intervals-out --draw      # tables of what is there
    python benchmarks/intervals.py --out intervals-out --simulate 100

Of each split the rows of the fit alone make the intervals, at 50, 80 and 90 %; held are the
measurements of the other rows, without the nodes of drugs. Ridge regression of the doses, its
strength chosen by leaving conditions out, has the same treatment: Laplace's method, the noise of
each node, and the errors of conditions left out. The interval score (Gneiting and Raftery, J. Am.
Stat. Assoc. 102:359, 2007) is the width, and 2/(1 − share) times by how far a measurement is
outside; less is better.

Results are appended to OUT/intervals.jsonl, a whole line for each split; what is there is not run
again. --simulate asks the same of data that are drawn from models, of which the response without
noise is known: OUT/simulated.jsonl and OUT/simulated.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import xarray as xr

import pycellbox as pcb
from pycellbox.estimation.nodes import Nodes
from pycellbox.estimation.spread import Spread
from pycellbox.intervals.spreads import Calibration

sys.path.insert(0, str(Path(__file__).resolve().parent))
import screens

from harness import drawn, report
from harness.panel_scores import geometric
from harness.report import Row
from harness.splits import TASKS, WITH_SINGLES, WITHOUT_SINGLES

SHARES = (0.5, 0.8, 0.9)
KEY = ("table", "task", "split", "method")
LEAST = 24  # conditions of a table
TOLERANCE, OF_DRUGS = 0.05, 0.08
ALPHAS = np.logspace(-3, 3, 25)


def of_fit(rows: xr.Dataset, test: xr.Dataset) -> list[xr.Dataset]:
    """Intervals of a default fit."""
    fit = pcb.fit(rows, progress=False)
    return [fit.predict(test, interval=share) for share in SHARES]


def of_ridge(rows: xr.Dataset, test: xr.Dataset) -> list[xr.Dataset]:
    """Intervals of ridge regression without intercept, of the nodes that are no drugs."""
    drugs = rows["node_kind"].values == "drug"
    doses, new = (each["perturbation"].values[:, drugs] for each in (rows, test))
    responses = rows["response"].values[:, ~drugs]
    known = (doses != 0).any(axis=0)
    nodes = Nodes(doses, responses)

    def settled(nodes: Nodes, alpha: float) -> Spread:
        nodes.theta[:] = 0
        penalties = np.full((len(nodes.theta), doses.shape[1] + 1), alpha)
        penalties[:, -1] = 1e12  # no operating point
        nodes.settle(np.full(len(nodes.theta), 1e6 * nodes.size), penalties)
        kinds = ["drugs" if any(column) else "" for column in nodes.columns.T]
        return Spread(SimpleNamespace(nodes=nodes, kinds=kinds))  # type: ignore[arg-type]

    def error(alpha: float) -> float:
        settled(nodes, alpha)
        at = nodes.normal(nodes.theta)
        return float(((at.residual / np.maximum(1 - at.leverage(), 0.02)) ** 2).sum())

    def predicted(of: Spread, nodes: Nodes, new: Any) -> tuple[Any, Any]:
        seen = (nodes.columns != 0).any(axis=0)
        variance, _ = of.of_states(new * seen)
        variance = variance + np.outer(of.of_a_drug(""), ((new * ~seen) ** 2).sum(axis=1))
        return nodes.states(nodes.theta, new).T, np.sqrt(variance.T + of.noise)

    def without(rows: Any) -> Any:
        some = ~np.isnan(responses[~rows]).all(axis=0)
        rest = Nodes(doses[~rows], responses[~rows][:, some])
        state, sd = predicted(settled(rest, alpha), rest, doses[rows])
        return (responses[rows][:, some] - state) / sd

    alpha = min(ALPHAS, key=error)
    spread = settled(nodes, alpha)
    state, sd = predicted(spread, nodes, new)
    parts = [column for column in (doses != 0).T if column.any() and not column.all()]
    errors = [without(rows) for rows in parts if (doses[~rows] != 0).any()]
    calibrations = [_sizes([spread.left_out()]), _sizes(errors)]
    unseen = (new[:, ~known] != 0).any(axis=1).astype(int)
    found = []
    for share in SHARES:
        reach = np.array([one.reach(share) for one in calibrations])[unseen][:, None]
        ends = {"lower": state - reach * sd, "upper": state + reach * sd}
        coords = {"condition": test["condition"].values, "node": rows["node"].values[~drugs]}
        found.append(xr.Dataset({n: (("condition", "node"), e) for n, e in ends.items()}, coords))
    return found


def _sizes(errors: list[Any]) -> Calibration:
    sizes = np.abs(np.concatenate([each.ravel() for each in errors]))
    return Calibration(sizes[~np.isnan(sizes)], "")


METHODS = {"CellBox": of_fit, "ridge": of_ridge}


def run(table: screens.Table, data: xr.Dataset, task: str, split: Any, method: str) -> Row:
    """Which share of each condition's measurements the intervals hold, and their scores."""
    rows, test = (data.sel(condition=list(labels)) for labels in (split.fit, split.test))
    row: Row = {"table": table.label, "family": table.family, "task": task, "split": split.name,
                "method": method}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = METHODS[method](rows, test)
        except pcb.PycellboxError as error:
            return row | {"failed": f"{type(error).__name__}: {error}"}
    observed = test["response"].isel(node=test["node_kind"].values != "drug")
    measured = observed.notnull()
    held, scores = {}, []
    for share, each in zip(SHARES, found, strict=True):
        lower, upper = (each[end].sel(node=observed["node"].values) for end in ("lower", "upper"))
        inside = ((observed >= lower) & (observed <= upper)).where(measured).mean("node")
        held[str(share)] = dict(
            zip(map(str, inside["condition"].values), map(float, inside.values), strict=True)
        )
        outside = np.maximum(np.maximum(lower - observed, observed - upper), 0)
        score = (upper - lower) + 2 / (1 - share) * outside
        scores.append(float(score.where(measured).mean()))
    return row | {"held": held, "scores": scores}


def judged(rows: Sequence[Row]) -> list[Row]:
    """Make a row of each table and task: shares held, and scores beside ridge's."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if "failed" not in row:
            groups.setdefault((row["table"], row["task"], row["method"]), []).append(row)
    found = []
    for (table, task, method), some in groups.items():
        entry: Row = {"table": table, "family": some[0]["family"], "task": task, "method": method,
                      "splits": len(some)}  # fmt: skip
        within = True
        for share in SHARES:
            by_condition: dict[str, list[float]] = {}
            for row in some:
                for condition, value in row["held"][str(share)].items():
                    if not np.isnan(value):
                        by_condition.setdefault(condition, []).append(value)
            means = np.array([np.mean(values) for values in by_condition.values()])
            every = np.concatenate([np.array(values) for values in by_condition.values()])
            error = float(means.std(ddof=1) / np.sqrt(means.size)) if means.size > 1 else 0.0
            least = OF_DRUGS if task in (WITH_SINGLES, WITHOUT_SINGLES) else TOLERANCE
            hit = abs(float(every.mean()) - share) <= max(least, 2 * error)
            within = within and hit
            entry[f"{share:.0%}"] = f"{every.mean():.2f} ± {2 * error:.2f}" + ("" if hit else " *")
        entry["within"] = within
        entry["score"] = float(np.mean([row["scores"] for row in some], axis=0)[-1])
        entry["scores"] = np.mean([row["scores"] for row in some], axis=0).tolist()
        found.append(entry)
    ridge = {(e["table"], e["task"]): e["scores"] for e in found if e["method"] == "ridge"}
    for entry in found:
        beside = ridge.get((entry["table"], entry["task"]))
        if beside:
            ratios = np.array(entry["scores"]) / np.array(beside)
            entry["ratio"] = float(np.exp(np.log(ratios).mean()))
    return found


def markdown(found: Sequence[Row]) -> str:
    """Summaries by task, and every table."""
    parts = [
        "Share of the measurements of rows that were not fitted which lie in the intervals (mean ± "
        "two standard errors by condition; * outside of nominal by more than these and than 5 "
        "points, 8 where a drug is left out). *score*: interval score at 90 %; *ratio*: to that of "
        "ridge, geometric mean over the three shares."
    ]
    summary = []
    for task in TASKS:
        for method in METHODS:
            some = [e for e in found if e["task"] == task and e["method"] == method]
            if some:
                ratios = [e["ratio"] for e in some if "ratio" in e]
                summary.append(
                    {"task": task, "method": method, "tables": len(some),
                     "within": f"{sum(e['within'] for e in some)} of {len(some)}",
                     "ratio": geometric(ratios) if ratios else None,
                     "better": f"{sum(r < 1 for r in ratios)} of {len(ratios)}"}
                )  # fmt: skip
    columns = {"task": "task", "method": "method", "within": "tables within at all three",
               "ratio": "score / ridge's", "better": "better in"}  # fmt: skip
    parts.append(report.markdown(summary, columns))
    shares = {f"{share:.0%}": f"{share:.0%}" for share in SHARES}
    columns = {"table": "table", "task": "task", "method": "method", "splits": "splits", **shares,
               "score": "score", "ratio": "ratio"}  # fmt: skip
    parts.append(report.markdown(found, columns))
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add: Any = parser.add_argument
    add("--data", type=Path, help="folder with melanoma, crc, hpn, liver, signalling")
    add("--out", type=Path, required=True, help="folder for intervals.jsonl and intervals.md")
    add("--tables", nargs="+", metavar="PART", help="whole names or parts of them (default all)")
    add("--tasks", nargs="+", metavar="PART", help="likewise")
    add("--seeds", type=int, default=20, help="random splits (default 20)")
    add("--draw", action="store_true", help="run nothing")
    add("--simulate", type=int, metavar="DRAWS", help="of each simulation, in place of tables")
    add("--first", type=int, default=0, metavar="SEED", help="of the draws (default 0)")
    args = parser.parse_args(arguments)
    if args.simulate:
        args.out.mkdir(parents=True, exist_ok=True)
        print("\n" + drawn.run(args.out, args.simulate, args.first, args.tasks, SHARES))
        return
    if args.data is None and not args.draw:
        parser.error("--data is needed to run anything; --draw makes tables of what is there")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "intervals.jsonl"
    report.cut_unfinished(path)
    rows = report.read_rows(path, KEY)
    done = {tuple(row[name] for name in KEY) for row in rows}
    for table in screens.find(args.data) if not args.draw else []:
        wanted = args.tables is None or any(part in table.label for part in args.tables)
        data = table.read() if wanted and not screens.FAMILIES[table.family].courses else None
        if data is None or data.sizes["condition"] < LEAST:
            continue
        for task, splits in table.tasks(data, args.seeds).items():
            asked = args.tasks is None or any(part in task for part in args.tasks)
            for split in splits if asked else ():
                for method in METHODS:
                    if (table.label, task, split.name, method) in done:
                        continue
                    row = run(table, data, task, split, method)
                    rows.append(row)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
            print(table.label, task, flush=True)
    if not rows:
        parser.error(f"{path} has no results")
    text = markdown(judged(rows))
    print("\n" + text)
    (args.out / "intervals.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
