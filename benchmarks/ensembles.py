"""Members of an ensemble on every engine: seconds, memory, bytes sent, bits; and what they cover.

Each engine fits the same members of the melanoma screen, from a fit of all of it. Its workers are
started before the clock is. Seconds of a member are those of the processor, which other programs
on the machine do not change much; the total is by the clock.

    python benchmarks/ensembles.py --members 100 --out results
    python benchmarks/ensembles.py --engines here joblib --splits 0
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import pycellbox as pcb
from pycellbox import many
from pycellbox.ensembles.members import Setting, member
from pycellbox.many import tasks

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import memory, report
from harness.report import Row

ENGINES = ("here", "processes", "joblib", "dask")
SHARES = (0.5, 0.8, 0.9)
COLUMNS = {
    "label": "engine",
    "workers": "workers",
    "start": "to start, s",
    "total": "members by the clock, s",
    "each": "a member, s of the processor",
    "busy": "cores busy",
    "mib": "a worker, MiB",
    "sent": "data sent, kB a worker",
    "task": "sent, B a member",
    "back": "sent back, kB a member",
    "same": "bits",
}
HELD = {
    "label": "splits",
    **{f"alone {share}": f"spread alone, {share:.0%}" for share in SHARES},
    **{f"whole {share}": f"with the noise, {share:.0%}" for share in SHARES},
}


def measured(setting: Setting, number: int) -> tuple[xr.Dataset, float, float, int]:
    """Fit a member, and say how long the processor was at it, the memory, and the process."""
    began = time.thread_time()  # a worker of Dask's has other threads
    found = member(setting, number)
    return found, time.thread_time() - began, memory.peak(), os.getpid()


def nothing(shared: Setting, number: int) -> None:
    """Take a little time, so that every worker has to start."""
    time.sleep(0.3)


@contextmanager
def engine(name: str, workers: int) -> Iterator[Any]:
    """Make what carries tasks out, or raise an ImportError."""
    if name == "here":
        yield None
    elif name == "processes":
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield many.workers(pool)
    elif name == "joblib":
        yield many.workers(None, workers)
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
            ) as cluster,
            Client(cluster) as client,
        ):
            yield many.workers(client)


def run(
    name: str, workers: int, setting: Setting, alone: list[xr.Dataset] | None
) -> tuple[Row, list[xr.Dataset]]:
    """Fit all members on an engine; without those of another one there is nothing to compare."""
    count = setting.members
    began = time.perf_counter()
    with engine(name, workers) as made:
        list(many.outcomes(nothing, setting, 2 * workers, made))
        ready = time.perf_counter()
        found = sorted(many.outcomes(measured, setting, count, made), key=lambda one: one.number)
        total = time.perf_counter() - ready
        content = 0 if made is None else len(made.packed((measured, setting)))
    if failed := [one for one in found if one.value is None]:
        sys.exit(f"{name}: member {failed[0].number}: {failed[0].failure}")
    values = [one.value for one in found if one.value is not None]
    members = [value[0] for value in values]
    seconds = [value[1] for value in values]
    peaks = {value[3]: value[2] for value in values}
    away, parcel = name != "here", tasks._Parcel("n" * 32, Path("/tmp/pycellbox-12345678/shared"))
    row: Row = {
        "label": name, "workers": workers, "start": ready - began - 0.6, "total": total,
        "each": statistics.median(seconds), "busy": sum(seconds) / total,
        "mib": statistics.mean(peaks.values()),
        "sent": content / 1e3,
        "task": len(pickle.dumps((tasks._opened, parcel, count))) if away else 0,
        "back": statistics.mean(len(pickle.dumps(one)) for one in members) / 1e3 if away else 0.0,
        "same": "equal" if all(map(xr.Dataset.identical, members, alone or members)) else "differ",
    }  # fmt: skip
    return row, members


def held(data: xr.Dataset, seed: int, members: int) -> Row:
    """Which share of held-out measurements lies in the members' spread, and in the intervals."""
    split = pcb.splits.random(data, seed=seed)
    test = data.sel(condition=list(split.test))
    found = pcb.ensemble(data.sel(condition=list(split.fit)), members=members, progress=False)
    observed = test["response"].isel(node=test["node_kind"].values != "drug")
    each = found._each(test, None, "auto").sel(node=observed["node"].values)
    row: Row = {"label": f"random, seed {seed}"}
    for share in SHARES:
        low, high = (each.quantile(q, "member") for q in ((1 - share) / 2, (1 + share) / 2))
        whole = found.predict(test, interval=share).sel(node=observed["node"].values)
        for name, lower, upper in (("alone", low, high), ("whole", whole["lower"], whole["upper"])):
            inside = ((observed >= lower) & (observed <= upper)).where(observed.notnull())
            row[f"{name} {share}"] = float(inside.mean())
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add: Any = parser.add_argument
    add("--members", type=int, default=100, help="fitted by each engine (default 100)")
    add("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    add("--workers", nargs="+", type=int, default=[1, 2], help="of each engine (default 1 2)")
    add("--splits", type=int, default=5, help="of which intervals are judged (default 5)")
    add("--split-members", type=int, default=50, help="for each split (default 50)")
    add("--out", type=Path, help="folder for ensembles.md and ensembles.csv")
    args = parser.parse_args(arguments)
    data = pcb.datasets.melanoma()
    with many.one_thread():
        fit = pcb.fit(data, progress=False, backend="numpy")
    known = fit._predictor.screen.known
    setting = Setting(fit, "conditions", args.members, 0, "numpy", known)
    rows, alone = [], None
    for name in args.engines:
        for workers in args.workers:
            if (name == "here" and workers > 1) or (name == "joblib" and workers == 1):
                continue  # the one process that is here
            try:
                row, members = run(name, workers, setting, alone)
            except ImportError as error:
                print(f"{name} is left out: {error}", flush=True)
                continue
            alone = alone or members
            rows.append(row)
            print({key: row[key] for key in COLUMNS}, flush=True)
    text = f"{args.members} members of the melanoma screen\n\n" + report.markdown(rows, COLUMNS)
    if args.splits:
        judged = [held(data, seed, args.split_members) for seed in range(args.splits)]
        mean = {key: float(np.mean([row[key] for row in judged])) for key in HELD if key != "label"}
        text += (
            f"\n\nShare of held-out measurements, {args.split_members} members a split\n\n"
            + report.markdown([*judged, {"label": "mean", **mean}], HELD)
        )
    print("\n" + text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "ensembles.md").write_text(text + "\n", encoding="utf-8")
        report.write_csv(args.out / "ensembles.csv", rows)


if __name__ == "__main__":
    main()
