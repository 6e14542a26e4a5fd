"""How well random networks are found again, and how fast: by size, times, noise and topology.

Four grids after the scaling studies of Ji et al. (arXiv 2104.06467), made affordable: every cell
draws a network, simulates an experiment on it, fits it with the same few updates, and compares
network and predictions with the truth. Networks obey the equation that Ji et al.'s code solves,
dx/dt = α∘tanh(Wx − u) − x, with every interaction free: its decay is fixed, so that the action of
a node on itself can be told from decay. Doses are a Latin hypercube over (0, 1], two nodes a
condition. A fit ends with the parameters that predict the validation conditions best; test
conditions are new ones, compared without noise.

    python benchmarks/scaling.py --grid size --quick --out scaling-out
    python benchmarks/scaling.py --seconds 3600 --out scaling-out      # all grids, an hour
    python benchmarks/scaling.py --figures --out scaling-out           # figures alone

Rows are appended to OUT/GRID.csv one whole line at a time; cells that are there already are
skipped, so that a run can be stopped and taken up again, with more seeds for instance.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

# Networks of this size gain nothing from threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import xarray as xr

import pycellbox as pcb
from pycellbox import metrics, networks
from pycellbox.backends import get_backend
from pycellbox.ji import JI_MODEL
from pycellbox.simulation import truth

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import report
from harness.scaling_figures import figure

END = 20.0
REGULATORS = 2.0  # of a node, on average
N_TEST = 20
BATCH = 32

SOLVERS: dict[str, pcb.solvers.Solver] = {
    "Euler": pcb.Euler(0.2),
    "Heun": pcb.Heun(0.4),
    "RK4": pcb.RK4(0.5),
    "Tsit5": pcb.Tsit5(rtol=1e-4, atol=1e-6),
    "Adaptive Vern7": pcb.Adaptive("Vern7", rtol=1e-4, atol=1e-6),
}
TOPOLOGIES = ("acyclic", "cyclic", "bifurcating")


@dataclass(frozen=True)
class Cell:
    """One network, one experiment, one fit.

    Attributes
    ----------
    conditions : int
        To train; a quarter as many, at least four, are added to validate.
    times : int
        Time points, evenly spaced up to 20.
    noise : float
        Standard deviation of the error of a response; responses are within (−1.2, 1.2).
    missing : float
        Share of responses that are not measured.
    updates : int
        Of the fit.
    """

    grid: str
    nodes: int = 10
    conditions: int = 64
    times: int = 5
    noise: float = 0.01
    missing: float = 0.0
    topology: str = "random"
    solver: str = "RK4"
    updates: int = 1500
    seed: int = 0
    backend: str = "numpy"

    @property
    def cost(self) -> float:
        """Work of the fit in arbitrary units, to do cheap cells first."""
        return self.nodes**2 * min(self.conditions, BATCH) + 300 * self.nodes


# What varies in each grid, in full and with --quick.
AXES: dict[str, tuple[dict[str, tuple[Any, ...]], dict[str, tuple[Any, ...]]]] = {
    "size": (
        {
            "nodes": (5, 10, 20, 50, 100, 200),
            "conditions": (8, 16, 32, 64, 128, 256, 512, 1024),
        },
        {"nodes": (5, 10, 20), "conditions": (8, 32)},
    ),
    "times": (
        {"times": (1, 2, 5, 10, 20, 40), "conditions": (8, 16, 64)},
        {"times": (1, 5, 20), "conditions": (16,)},
    ),
    "noise": (
        {
            "noise": (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            "missing": (0.0, 0.2, 0.4, 0.6, 0.8),
        },
        {"noise": (0.0, 0.1, 10.0), "missing": (0.0, 0.8)},
    ),
    "topology": (
        {"solver": tuple(SOLVERS), "topology": TOPOLOGIES},
        {"solver": ("Euler", "RK4"), "topology": TOPOLOGIES},
    ),
}


def cells(grid: str, quick: bool, seeds: Iterable[int], backend: str) -> list[Cell]:
    """Cells of a grid: seed by seed, the cheap ones of each first."""
    plain = Cell(grid, backend=backend, updates=400 if quick else 1500)
    axes = AXES[grid][quick]
    drawn = [
        replace(plain, **dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]
    if backend == "numpy":
        drawn = [c for c in drawn if not c.solver.startswith("Adaptive")]  # of Julia alone
    drawn.sort(key=lambda cell: cell.cost)  # stable: the order of the axes among equals
    return [replace(cell, seed=seed) for seed in seeds for cell in drawn]


def network(cell: Cell) -> networks.Network:
    """Draw the network of a cell: two regulators a node, of a strength at which it settles."""
    drawn: dict[str, Any] = {"weights": "uniform", "gap": 0.3, "scale": 1.0, "seed": cell.seed}
    n = cell.nodes
    chance = min(1.0, REGULATORS / n)
    if cell.topology == "random":
        return networks.erdos_renyi(n, chance, self_loops=True, **drawn)
    if cell.topology == "acyclic":
        return networks.acyclic(n, min(1.0, 2 * chance), **drawn)
    if cell.topology == "cyclic":
        return networks.cyclic(n, chance / 2, **drawn)
    return networks.bifurcating(n, **drawn)


def experiment(cell: Cell) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Training, validation and test conditions, parts of one Latin hypercube."""
    n_validation = max(4, cell.conditions // 4)
    ends = np.cumsum([cell.conditions, n_validation, N_TEST])
    data = pcb.simulate(
        network(cell),
        int(ends[-1]),
        model=JI_MODEL,
        # Not further from one: the switch of a bifurcating network stays one.
        alpha=(0.8, 1.2),
        times=np.linspace(0, END, cell.times + 1)[1:],
        sign="positive",
        noise=cell.noise,
        missing=cell.missing,
        solver=pcb.Tsit5(rtol=1e-8, atol=1e-10),
        seed=cell.seed,
        backend=cell.backend,
    )
    train, validation, test = (
        data.isel(condition=slice(*part)) for part in itertools.pairwise([0, *ends])
    )
    return train, validation, test


def run(cell: Cell) -> dict[str, Any]:
    """Fit a cell and compare it with the truth; what fails has a status and no scores."""
    train, validation, test = experiment(cell)
    wanted = test["true_response"]
    # To see what an error means: that of predicting each node's mean over the training conditions.
    flat = float(np.abs(wanted - train["response"].mean("condition")).mean())
    row = asdict(cell) | {"edges": int((truth(train)["W"] != 0).sum()), "flat_mae": flat}
    stage = pcb.Stage(
        cell.updates,
        learning_rate=0.02,
        decay="cosine",
        warmup=20,
        batch_size=BATCH,
        optimizer=pcb.AdamW(beta2=0.99, clip_norm=float(np.sqrt(cell.nodes))),
    )
    began = time.perf_counter()
    try:
        fit = pcb.fit(
            train, JI_MODEL, validation=validation, solver=SOLVERS[cell.solver], schedule=stage,
            penalty=pcb.Penalty(l1=1e-5), seed=cell.seed, backend=cell.backend, progress=False,
        )  # fmt: skip
    except pcb.PycellboxError as error:
        seconds = time.perf_counter() - began
        return row | {"seconds": seconds, "status": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - began
    found = metrics.recovery(fit.parameters["W"], truth(train)["W"], self_loops=True)
    return row | {
        "mae": metrics.mae(fit.predict(test, backend=fit.backend), wanted),
        **{name: found[name] for name in ("pearson", "auroc", "auprc", "auprc_ratio")},
        "seconds": seconds,
        "status": fit.status,
    }


KEY = tuple(f.name for f in fields(Cell))
COLUMNS = (
    *KEY, "edges", "flat_mae", "mae", "pearson", "auroc", "auprc", "auprc_ratio", "seconds",
    "status",
)  # fmt: skip


class Table:
    """A CSV file to which rows are added whole.

    Parameters
    ----------
    path : Path
        A line that an earlier run left unfinished is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        report.cut_unfinished(path)
        if not path.stat().st_size:
            self._append(COLUMNS)
        self.done = {tuple(row[name] for name in KEY) for row in self._rows()}

    def __contains__(self, cell: Cell) -> bool:
        return tuple(str(getattr(cell, name)) for name in KEY) in self.done

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._append([row.get(name, "") for name in COLUMNS])
        self.done.add(tuple(str(row[name]) for name in KEY))

    def _append(self, values: Iterable[Any]) -> None:
        with self.path.open("a", newline="") as file:
            # One short line in one buffer, which reaches the file in one write.
            csv.writer(file, lineterminator="\n").writerow(values)

    def _rows(self) -> Iterator[dict[str, str]]:
        with self.path.open(newline="") as file:
            yield from csv.DictReader(file)


def work(todo: list[Cell], table: Table, seconds: float) -> int:
    """Run cells and add their rows until time is up; return how many were left."""
    deadline = time.monotonic() + seconds
    compiled: set[str] = set()
    for done, cell in enumerate(todo):
        if time.monotonic() > deadline:
            return len(todo) - done
        if cell.solver not in compiled:
            # The seconds of a cell are not to include what Julia compiles once.
            run(replace(cell, nodes=3, conditions=4, updates=2, noise=0.0, missing=0.0))
            compiled.add(cell.solver)
        row = run(cell)
        table.add(row)
        score = row["status"]
        if "mae" in row:
            score = f"MAE {row['mae']:.3g}, AUPRC ratio {row['auprc_ratio']:.3g}"
        varied = " ".join(f"{name}={getattr(cell, name)}" for name in AXES[cell.grid][0])
        print(f"{cell.grid} {varied} seed={cell.seed}: {score} {row['seconds']:.1f} s", flush=True)
    return 0


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one backend, of the most updates, and of networks that got as far as any other.

    Means over different networks in different cells would show the networks, not the cells.
    """
    rows = rows[rows["updates"] == rows["updates"].max()]
    rows = rows[rows["backend"] == rows["backend"].mode()[0]]
    cells_done = rows.groupby("seed")["seed"].transform("size")
    return rows[cells_done == cells_done.max()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", choices=tuple(AXES), help="only this one (default all)")
    parser.add_argument("--out", type=Path, required=True, help="folder for CSV files and figures")
    parser.add_argument("--quick", action="store_true", help="small grids with few updates")
    parser.add_argument("--seeds", type=int, default=3, help="networks a cell (default 3)")
    parser.add_argument("--seconds", type=float, default=np.inf, help="start no cell after this")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--figures", action="store_true", help="only draw what is there")
    args = parser.parse_args()

    grids = tuple(AXES) if args.grid is None else (args.grid,)
    backend = get_backend(args.backend).name
    deadline = time.monotonic() + args.seconds
    for number, grid in enumerate(grids):
        table = Table(args.out / f"{grid}.csv")
        if not args.figures:
            wanted = cells(grid, args.quick, range(args.seeds), backend)
            todo = [cell for cell in wanted if cell not in table]
            # What is left of the time is shared by the grids that are left.
            left = work(todo, table, (deadline - time.monotonic()) / (len(grids) - number))
            if left:
                print(f"{grid}: {left} cell(s) left for a later run")
        rows = pd.read_csv(table.path)
        if len(rows):
            figure(grid, tuple(AXES[grid][0]), comparable(rows), args.out / f"{grid}.png")


if __name__ == "__main__":
    main()
