"""What an experiment can tell about W, before anything is fitted: the bound of Cramér and Rao.

For each network of BEELINE and each design, from the derivative of all responses at the truth:
how many of the n² weights have a standard error above 0.1 when nothing is known about which are
zero, the median and the largest error, the largest when the true edges are known, and the expected
mean absolute error of a test condition (median over the paper's test conditions), both ways.

    python benchmarks/identifiability.py --networks mCAD HSC GSD --noise 0.001
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import xarray as xr

import pycellbox as pcb
from pycellbox.errors import PycellboxError
from pycellbox.ji import JI_MODEL, TIMES, ji_experiment
from pycellbox.networks import BEELINE, beeline
from pycellbox.refinement import standard_errors
from pycellbox.simulation import simulate, truth

SOLVER = pcb.RK4(0.25)
TO_MAE = float(np.sqrt(2 / np.pi))  # mean of |e| of a Gaussian error


def designs(name: str, train: xr.Dataset, seed: int, backend: str) -> dict[str, xr.Dataset]:
    """Experiments with the same network and rates."""
    count = train.sizes["condition"]
    known = dataclasses.replace(beeline(name), alpha=truth(train)["alpha"])

    def draw(number: int, sign: str, most: int | str) -> xr.Dataset:
        return simulate(
            known, number, model=JI_MODEL, times=TIMES, sign=sign, max_perturbed=most,
            seed=seed + 1, backend=backend,
        )  # fmt: skip

    return {
        "paper": train,
        "half as many": train.isel(condition=slice(0, count // 2)),
        "twice as many": draw(2 * count, "positive", 2),
        "four times as many": draw(4 * count, "positive", 2),
        "one node at a time": draw(count, "positive", 1),
        "both signs": draw(count, "both", 2),
        "all nodes, both signs": draw(count, "both", "all"),
    }


def told(data: xr.Dataset, test: xr.Dataset, noise: float, backend: str) -> dict[str, float]:
    """Score one design."""
    true = truth(data)
    edges = true["W"] != 0
    options = {"noise": noise, "solver": SOLVER, "predict": test, "backend": backend}
    free = standard_errors(JI_MODEL, true, data, **options)
    known = standard_errors(dataclasses.replace(JI_MODEL, mask=edges), true, data, **options)

    def test_error(errors: xr.Dataset) -> float:
        return TO_MAE * float(errors["response"].mean(["time", "node"]).median())

    return {
        "conditions": data.sizes["condition"],
        "weights": edges.size,
        "error > 0.1": int((free["W"].values > 0.1).sum()),
        "median error": float(np.median(free["W"])),
        "largest error": float(free["W"].max()),
        "largest, edges known": float(known["W"].max()),
        "test MAE": test_error(free),
        "test MAE, edges known": test_error(known),
    }


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(BEELINE), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.001)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args(arguments)
    rows = {}
    try:
        for name in args.networks:
            train, _, test = ji_experiment(name, seed=args.seed, backend=args.backend)
            for label, data in designs(name, train, args.seed, args.backend).items():
                rows[name, label] = told(data, test, args.noise, args.backend)
            part = pd.DataFrame.from_dict({k[1]: v for k, v in rows.items() if k[0] == name})
            print(f"\n{name}")
            print(part.T.to_string(float_format="{:.2g}".format), flush=True)
    except PycellboxError as error:
        parser.exit(1, f"error: {error}\n")
    table = pd.DataFrame.from_dict(rows, orient="index")
    if args.csv:
        table.to_csv(args.csv, index_label=["network", "design"])
    return table


if __name__ == "__main__":
    main()
