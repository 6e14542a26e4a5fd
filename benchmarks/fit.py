"""Seconds to a fitted network: pycellbox beside a plain PyTorch port of CellBox's training.

Two tasks: the error on unseen melanoma conditions (with --data), and the recovery of a known
network. See benchmarks/README.md for how the seconds are counted.

    python benchmarks/fit.py --data ../shared/data/melanoma --out results
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

PORT = "PyTorch port of CellBox's training"
# Parts of the default number of iterations; each is a fit of its own with its own schedule.
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
Row = dict[str, Any]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the melanoma CSV files")
    parser.add_argument("--tasks", nargs="+", default=["melanoma", "recovery"])
    parser.add_argument("--backends", nargs="+", help="of pycellbox; default: all that start here")
    parser.add_argument("--seconds", type=float, default=300.0, help="for a run of the port")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each, with seeds 0, 1, …")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-port", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for fit.csv, .json and .md")
    return parser.parse_args(given)


def backends(wanted: list[str] | None) -> dict[str, float]:
    """Backends that start here, with the seconds that took; the others are said."""
    import pycellbox as pcb
    from pycellbox.backends import get_backend

    found = {}
    # Julia before PyTorch, which is loaded by the port: the other way round can crash.
    for name in sorted(wanted or pcb.available_backends(), key=lambda n: n != "julia"):
        began = time.perf_counter()
        try:
            get_backend(name)
        except pcb.BackendError as error:
            print(f"without pycellbox {name}: {error}", flush=True)
        else:
            found[name] = time.perf_counter() - began
    return found


def ours(task: Any, backend: str, shares: list[float], seed: int) -> Iterator[Row]:
    """Fit with the task's options, else the defaults, and parts of their iterations."""
    import pycellbox as pcb
    from pycellbox.fitting.defaults import default_schedule

    data, options = task.data, dict(task.options)
    stages = pcb.Recipe(schedule=options.pop("schedule", default_schedule(data)[0])).stages

    def fit(share: float) -> pcb.Fit:
        schedule = [
            dataclasses.replace(
                s,
                iterations=max(1, round(share * s.iterations)),
                warmup=min(s.warmup, round(share * s.iterations)),
            )
            for s in stages
        ]
        return pcb.fit(
            data, task.model, schedule=schedule, seed=seed, backend=backend, progress=False,
            **options,
        )  # fmt: skip

    began = time.perf_counter()
    fit(0)  # one iteration: what is compiled or loaded on first use
    first = time.perf_counter() - began
    for share in shares:
        began = time.perf_counter()
        fitted = fit(share)
        seconds = time.perf_counter() - began
        updates = fitted.history.sizes["iteration"]
        score = task.score(fitted.predict, fitted.parameters["W"])
        yield {
            "contender": f"pycellbox {backend}", "seconds": seconds, "updates": updates,
            "score": score, "first_seconds": first, "share": share,
        }  # fmt: skip


def port(task: Any, seconds: float, seed: int) -> Iterator[Row]:
    """Train the way of CellBox; a point counts with the better of last and kept parameters."""
    from peers.training import train

    def arrays(data: Any) -> tuple[Any, Any]:
        return data["perturbation"].values, data["response"].values

    sets = arrays(task.train), arrays(task.validation)
    for point in train(*sets, task.structure.mask, seed, seconds):
        last, kept = (task.score_arrays(p, point.horizon) for p in (point.current, point.kept))
        scores = [s for s in (last, kept) if s == s]
        yield {
            "contender": PORT, "seconds": point.seconds, "updates": point.updates,
            "score": (max if task.higher else min)(scores, default=float("nan")),
            "kept_score": kept, "substage": point.substage,
        }  # fmt: skip


def summary(task: Any, rows: list[Row]) -> list[Row]:
    """Make a row per contender: seconds to each goal, medians over the seeds."""
    table = []
    for name in dict.fromkeys(r["contender"] for r in rows):
        runs: dict[int, list[Row]] = {}
        for row in rows:
            if row["contender"] == name:
                runs.setdefault(row["seed"], []).append(row)
        line: Row = {"label": name}
        for goal, value in task.goals.items():
            times = [
                min((r["seconds"] for r in run if task.reached(r["score"], value)), default=None)
                for run in runs.values()
            ]
            reached = [t for t in times if t is not None]
            line[f"{goal}"] = (
                statistics.median(reached)
                if len(reached) == len(times)
                else f"not reached in {len(times) - len(reached)} of {len(times)}"
            )
        # By updates: a longer run may take fewer seconds on a busy machine.
        last = [max(run, key=lambda r: r["updates"]) for run in runs.values()]
        best = max if task.higher else min
        line |= {
            "end": statistics.median(r["seconds"] for r in last),
            "end_score": statistics.median(r.get("kept_score", r["score"]) for r in last),
            "best": statistics.median(
                best((r["score"] for r in run if r["score"] == r["score"]), default=float("nan"))
                for run in runs.values()
            ),
            "update_ms": statistics.median(1e3 * r["seconds"] / r["updates"] for r in last),
            "first": last[0].get("first_seconds"),
        }
        table.append(line)
    return table


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    # Read when the libraries are first loaded.
    for name in (
        "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "JULIA_NUM_THREADS",
        "PYTHON_JULIACALL_THREADS",
    ):  # fmt: skip
        os.environ[name] = str(options.threads)
    from harness import report, tasks

    started = backends(options.backends)
    try:
        import torch

        torch.set_num_threads(options.threads)
        with_port = not options.no_port
    except ImportError:
        print("without the port: PyTorch is not installed (pip install torch)")
        with_port = False
    rows: list[Row] = []
    texts: list[str] = []
    record = {
        "machine": report.machine(),
        "options": {k: str(v) for k, v in vars(options).items() if k != "out"},
        "started": started,
        "rows": rows,
    }
    print(record["machine"])
    for word in options.tasks:
        if word == "melanoma" and options.data is None:
            print("without melanoma: --data gives the folder with its CSV files")
            continue
        task = tasks.melanoma(options.data) if word == "melanoma" else tasks.recovery()
        print(f"\n{task.name}: goals {task.goals}")
        found: list[Row] = []
        for seed in range(options.seeds):
            runs = [ours(task, name, options.shares, seed) for name in started]
            if with_port:
                runs.append(port(task, options.seconds, seed))
            for run in runs:
                for row in run:
                    found.append({"task": task.name, "seed": seed, **row})
                    print(
                        f"  {row['contender']:36s} {row['updates']:6d} updates "
                        f"{row['seconds']:8.2f} s  {task.measure} {row['score']:.5f}",
                        flush=True,
                    )
        rows += found
        goals = {k: f"{k} ({report.shown(v)}), s" if k != f"{v}" else f"{k}, s"
                 for k, v in task.goals.items()}  # fmt: skip
        columns = {
            "label": f"{task.name}: seconds to {task.measure} of", **goals,
            "end": "whole run, s", "end_score": f"its {task.measure}",
            "best": "best on the way", "update_ms": "an update, ms", "first": "first use, s",
        }  # fmt: skip
        texts.append(report.markdown(summary(task, found), columns) + "\n")
        print("\n" + texts[-1])
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            report.write_csv(options.out / "fit.csv", rows)
            report.write_json(options.out / "fit.json", record)
            (options.out / "fit.md").write_text("\n".join(texts))


if __name__ == "__main__":
    main()
