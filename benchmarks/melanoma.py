"""Melanoma perturbation data: CellBox beside the baselines on four prediction tasks.

The data are 89 conditions × 99 nodes of Korkut et al. (eLife 2015), as published with CellBox
(sanderlab/CellBox on GitHub, MIT) and shipped as `pcb.datasets.melanoma`. Every fit uses the
package's defaults and one model; baselines are fitted to the same rows. No fit uses its test rows
for a choice; docs/prediction.md says on which data the defaults themselves were settled.

    python benchmarks/melanoma.py
    python benchmarks/melanoma.py --nodes 24 --task random
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# Matrices of a hundred nodes gain nothing from threads, and parallel fits must not share them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import xarray as xr

import pycellbox as pcb
from pycellbox import many
from pycellbox.datasets.shipped import FILES

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import splits

KINDS = {"protein": 82, "phenotype": 5, "drug": 12}
RIVALS = ("ridge", "ridge with intercept")
ALL = ("pearson", "mse")
WITHOUT_DRUGS = ("pearson_without_drugs", "mse_without_drugs")

# The proteins of the smaller melanoma network of the Julia port (data/skmel133_24 in
# jiweiqi/CellBox.jl, whose columns these are); with them go all drugs and no phenotype.
PROTEINS_24 = (
    "4EBP1pS65", "RbpS807", "MAPKpT202", "MEKpS217", "S6", "PAI-1", "AKTpS473", "AMPKpT172",
    "b-Catenin", "BIM", "Caveolin", "CyclinB1",
)  # fmt: skip


def read(folder: Path, nodes: int = 99) -> xr.Dataset:
    """Read all 99 nodes, or the 24 of the Julia port."""
    data = pcb.read_csv(
        folder / "pert.csv", folder / "expr.csv", nodes=folder / "node_Index.csv", node_kind=KINDS
    )
    if nodes == 99:
        return data
    drugs = data["node"].values[data["node_kind"].values == "drug"]
    return data.sel(node=[*PROTEINS_24, *drugs])


def tasks(data: xr.Dataset, random_splits: int) -> dict[str, list[pcb.splits.Split]]:
    """Draw as published: the one pair of replicates may be parted."""
    return splits.tasks(data, range(1000, 1000 + random_splits), together=False)


Job = tuple[str, int, str, pcb.splits.Split, str, int, str]


def run(job: Job) -> list[dict[str, object]]:
    """Fit and score one split; one row per model."""
    folder, nodes, task, split, backend, seed, dtype = job
    data = read(Path(folder), nodes)
    rows = data.sel(condition=list(split.fit))
    test = data.sel(condition=list(split.test))
    began = time.perf_counter()
    fit = pcb.fit(rows, backend=backend, seed=seed, dtype=dtype, progress=False)
    seconds = time.perf_counter() - began
    with warnings.catch_warnings():
        # A drug that was left out altogether is beyond what was fitted: that is the task.
        warnings.simplefilter("ignore", pcb.DataWarning)
        table = fit.evaluate(test).table
    return [
        {
            "task": task,
            "split": split.name,
            "model": name,
            **{key: scores[key] for key in (*ALL, *WITHOUT_DRUGS)},
            "seconds": seconds if name == "CellBox" else np.nan,
            "status": fit.status,
        }
        for name, scores in table.iterrows()
    ]


def _run_one(jobs: list[Job], number: int) -> list[dict[str, object]]:
    return run(jobs[number])


def summary(scores: pd.DataFrame, columns: tuple[str, str] = ALL) -> pd.DataFrame:
    """Mean over the splits of each task, as published: Pearson and MSE over all test entries."""
    order = list(dict.fromkeys(scores["task"]))
    means = scores.groupby(["task", "model"], sort=False)[list(columns)].mean()
    table, errors = (means[column].unstack("task")[order] for column in columns)
    return table.map("{:.4f}".format) + " / " + errors.map("{:.5f}".format)


def paired(scores: pd.DataFrame, rival: str) -> pd.DataFrame:
    """CellBox minus a rival, split by split."""
    rows = []
    for task, part in scores.groupby("task", sort=False):
        wide = part.pivot(index="split", columns="model")
        for score, better in (("pearson", 1), ("mse", -1)):
            d = wide[score]["CellBox"] - wide[score][rival]
            error = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
            rows.append(
                {
                    "task": task,
                    "score": score,
                    "mean difference": d.mean(),
                    "standard error": error,
                    "better in": f"{int((better * d > 0).sum())} of {len(d)}",
                }
            )
    return pd.DataFrame(rows).set_index("task")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=FILES / "melanoma",
        help="folder with expr.csv, pert.csv and node_Index.csv (default: those of the package)",
    )
    parser.add_argument(
        "--nodes", type=int, choices=(99, 24), default=99, help="all 99 (default), or 24 of them"
    )
    parser.add_argument("--splits", type=int, default=10, help="random splits (default 10)")
    parser.add_argument("--task", help="only tasks whose name contains this")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--csv", type=Path, help="write the scores of every split here")
    args = parser.parse_args()

    data = read(args.data, args.nodes)
    chosen: Callable[[str], bool] = lambda name: args.task is None or args.task in name  # noqa: E731
    jobs = [
        (str(args.data), args.nodes, task, split, args.backend, args.seed, args.dtype)
        for task, drawn in tasks(data, args.splits).items()
        if chosen(task)
        for split in drawn
    ]
    began = time.perf_counter()
    found: dict[int, list[dict[str, object]]] = {}
    for one in many.outcomes(_run_one, jobs, len(jobs), many.workers(None, args.jobs)):
        if one.value is None:
            sys.exit(f"{jobs[one.number][2:4]}: {one.failure}")
        found[one.number] = one.value
    scores = pd.DataFrame([row for number in sorted(found) for row in found[number]])
    wall = time.perf_counter() - began
    if args.csv:
        scores.to_csv(args.csv, index=False)

    print(f"melanoma: {data.sizes['condition']} conditions × {data.sizes['node']} nodes")
    print(
        f"pycellbox {pcb.__version__}, numpy {np.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, backend {args.backend}, {args.dtype}, seed {args.seed}"
    )
    print("\nPearson / MSE over all test entries and all nodes, mean over the splits of a task")
    print(summary(scores).to_string())
    print("\nThe same without the drug nodes, whose activity follows from the dose")
    print(summary(scores, WITHOUT_DRUGS).to_string())
    for rival in RIVALS:
        print(f"\nCellBox minus {rival}, paired by split")
        print(paired(scores, rival).to_string(float_format="{:+.5f}".format, na_rep="-"))
    seconds = scores["seconds"].dropna()
    print(
        f"\nseconds a fit: median {seconds.median():.1f}, largest {seconds.max():.1f} "
        f"({args.jobs} at a time, one thread each); {len(jobs)} fits in {wall:.0f} s"
    )
    unfinished = sorted(set(scores["status"]) - {"completed"})
    if unfinished:
        print("not completed:", *unfinished, sep="\n  ")
    print(
        "\nChosen within the rows of each fit: the strength of ridge, by leave-one-out; those of"
        "\nCellBox's penalties, κ of the doses and how far nodes can go, by leave-one-out or, where"
        "\ndrugs stand alone, by evidence. Fixed beforehand, the same for every fit: the parts of"
        "\nthe model, its loss, and what is expected of the strengths (priors)."
    )
    if args.nodes == 99:
        print(
            "These were settled by hand in rounds of comparisons on public screens, this one among"
            "\nthem: its conditions took part in that somewhere."
        )


if __name__ == "__main__":
    main()
