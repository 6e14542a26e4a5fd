"""Every table, every task: CellBox, CellBox without one of its parts, and all baselines.

Each method is fitted to the rows of a split and judged on the others; no test row chooses anything
but the best baseline, which is chosen afterwards, in its favor.

    python benchmarks/panel.py --data FOLDER --out panel-out
    python benchmarks/panel.py --data FOLDER --out panel-out --tables crc liver --methods without
    python benchmarks/panel.py --out panel-out --draw      # tables and figure of what is there

Results are appended to OUT/panel.jsonl a whole line at a time; what is there already is not run
again, so that a run can be stopped and taken up, or be given more seeds. They know nothing of the
version that made them: give a changed pycellbox another folder, or say `--again`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# A worker has one thread: tables are small, and parallel fits must not share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JULIA_NUM_THREADS", "1")

import numpy as np
import xarray as xr

import pycellbox as pcb
from pycellbox import many, metrics
from pycellbox.splits import Split

sys.path.insert(0, str(Path(__file__).resolve().parent))
import screens
from methods import BASELINES, METHODS, MODELS

from harness import report
from harness.panel_figure import figure
from harness.panel_scores import judged
from harness.panel_tables import markdown
from harness.report import Row
from harness.splits import TASKS

KEY = ("table", "task", "split", "method")


@dataclass(frozen=True)
class Job:
    """One split of one table, and the methods to be judged on it."""

    table: screens.Table
    task: str
    split: Split
    methods: tuple[str, ...]
    backend: str


_read = cache(screens.Table.read)


def run(job: Job) -> list[Row]:
    """Fit and judge; a method that cannot be fitted to these rows says why."""
    data = _read(job.table)
    rows = data.sel(condition=list(job.split.fit))
    test = data.sel(condition=list(job.split.test))
    return [_run(job, method, rows, test) for method in job.methods]


def _run(job: Job, method: str, rows: xr.Dataset, test: xr.Dataset) -> Row:
    row: Row = dict(
        zip(KEY, (job.table.label, job.task, job.split.name, method), strict=True),
        family=job.table.family,
        fitted=rows.sizes["condition"],
        tested=test.sizes["condition"],
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.process_time()
        try:
            predict = METHODS[method](rows, job.backend)
        except pcb.PycellboxError as error:
            return row | {"failed": f"{type(error).__name__}: {error}"}
        row["seconds"] = time.process_time() - began
        row["warnings"] = sorted({str(w.message) for w in caught})
        predicted = predict(test)
    others = (test["node_kind"] != "drug").values
    row |= scores(predicted, test.isel(node=others)["response"], "")
    if test["response"].isel(node=~others).notnull().any():
        row |= scores(predicted, test["response"], " with drugs")
    of_each = metrics.mse(
        predicted.sel(node=test["node"].values[others]), test["response"].isel(node=others),
        "condition",
    )  # fmt: skip
    pairs = zip(of_each["condition"].values, of_each.values, strict=True)
    return row | {"errors": {str(c): float(e) for c, e in pairs if not np.isnan(e)}}


def scores(predicted: xr.DataArray, observed: xr.DataArray, over: str) -> Row:
    """Mean squared error and correlation over all measured entries; of a constant there is none."""
    predicted = predicted.sel(node=observed["node"].values)
    r = metrics.pearson(predicted, observed)
    return {
        f"mse{over}": metrics.mse(predicted, observed),
        f"pearson{over}": None if np.isnan(r) else r,
    }


def results(path: Path) -> list[Row]:
    """Read what is there; of a row that was made again, the last."""
    return report.read_rows(path, KEY)


def jobs(
    tables: Iterable[screens.Table], tasks: Sequence[str], methods: Sequence[str], seeds: int,
    backend: str, done: set[tuple[str, ...]],
) -> Iterator[Job]:  # fmt: skip
    """Yield what is left to do."""
    for table in tables:
        for task, splits in table.tasks(_read(table), seeds).items():
            for split in splits if task in tasks else ():
                at = (table.label, task, split.name)
                todo = tuple(method for method in methods if (*at, method) not in done)
                if todo:
                    yield Job(table, task, split, todo, backend)


def _run_one(todo: Sequence[Job], number: int) -> list[Row]:
    return run(todo[number])


def carry_out(todo: Sequence[Job], path: Path, workers: int) -> None:
    """Run jobs, and append the rows of each as soon as it has ended."""
    engine = many.workers(None, workers)
    with path.open("a", encoding="utf-8") as file:
        for one in many.outcomes(_run_one, todo, len(todo), engine):
            job = todo[one.number]
            if one.value is None:  # it is run by another call
                print(job.table.label, job.task, job.split.name, one.failure, sep=" · ", flush=True)
                continue
            file.writelines(json.dumps(row) + "\n" for row in one.value)
            file.flush()
            errors = [
                f"{row['mse']:.3g}" for row in one.value if row["method"] in MODELS and "mse" in row
            ]
            print(job.table.label, job.task, job.split.name, *errors, sep=" · ", flush=True)


def write(rows: list[Row], methods: Sequence[str], out: Path) -> None:
    """Write tables and figure of the methods, and print the tables."""
    found = judged(rows, methods)
    text = markdown(found, rows, methods)
    print("\n" + text)
    (out / "panel.md").write_text(text + "\n", encoding="utf-8")
    report.write_csv(out / "panel.csv", found)
    models = [name for name in methods if name in MODELS]
    figure(found, models or methods, out / "panel.png")


def chosen(parts: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """Names that are a part, or else have it in them; all without parts.

    Raises
    ------
    SystemExit
        A part is in no name.
    """
    if parts is None:
        return list(known)
    found: set[str] = set()
    for part in parts:
        names = {part} & set(known) or {name for name in known if part in name}
        if not names:
            raise SystemExit(f"no {what} has {part!r} in its name; there are: {', '.join(known)}")
        found |= names
    return [name for name in known if name in found]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add: Any = parser.add_argument
    add("--data", type=Path, help="folder with melanoma, crc, hpn, liver, signalling")
    add("--out", type=Path, required=True, help="folder for panel.jsonl, .md, .csv and .png")
    add("--tables", nargs="+", metavar="PART", help="whole names or parts of them (default all)")
    add("--tasks", nargs="+", metavar="PART", help="likewise")
    add("--methods", nargs="+", metavar="PART", help="likewise; all baselines are run beside them")
    add("--seeds", type=int, default=5, help="random splits (default 5)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="fits at a time, one thread each")
    add("--backend", default="numpy", help="of the fits (default numpy)")
    add("--again", action="store_true", help="run the methods also where results are there")
    add("--draw", action="store_true", help="run nothing")
    args = parser.parse_args(arguments)
    if args.data is None and not args.draw:
        parser.error("--data is needed to run anything; --draw makes tables of what is there")
    path = args.out / "panel.jsonl"
    report.cut_unfinished(path)
    methods = chosen(args.methods, [*METHODS], "method")
    tasks = chosen(args.tasks, TASKS, "task")
    rows = results(path)
    if not args.draw:
        tables = {table.label: table for table in screens.find(args.data)}
        if not tables:
            parser.error(f"{args.data} has none of the tables, such as melanoma/ or crc/tables/")
        named = [tables[label] for label in chosen(args.tables, [*tables], "table")]
        done = {tuple(row[name] for name in KEY) for row in rows}
        if args.again:
            done = {key for key in done if key[-1] not in methods}
        every = [*dict.fromkeys([*methods, *BASELINES])]
        todo = list(jobs(named, tasks, every, args.seeds, args.backend, done))
        carry_out(todo, path, args.workers)
        rows = results(path)
    labels = chosen(args.tables, [*dict.fromkeys(row["table"] for row in rows)], "table")
    rows = [row for row in rows if row["table"] in labels and row["task"] in tasks]
    if not rows:
        parser.error(f"{path} has no results of these tables and tasks")
    write(rows, methods, args.out)


if __name__ == "__main__":
    main()
