"""Trajectories fitted by equations of one's own: how many starts find the best known fit, how fast.

lynx-hare: dx/dt = tanh(S x − b) on the logarithms of the pelts of hare and lynx, smoothed as in
FitODE (Frank, arXiv:2207.04487), so that sums of squares can be compared with those published:
minus the mean over both species; a natural cubic spline through the 91 years; convolved over
years 0–90 with the density of a normal of sd 1.2 years, not renormalized at the ends; 181 points,
half a year apart; the first of them is the start, which is not fitted.

    python benchmarks/trajectories.py --starts 10
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import pycellbox as pcb

SPREAD = 1.2  # years
BEST = 156.84  # sum of squares, two states; Frank's procedure: 156.84, 156.84, 183.9
WINDOWS = [10.0, 20.0, 30.0, 45.0, 60.0, 75.0]


def smoothed() -> xr.Dataset:
    """Logarithms of the pelts as FitODE smooths them: (1 condition, 181 times, 2 nodes)."""
    pelts = pcb.datasets.lynx_hare()
    logs = np.log(pelts["response"].values[0])
    spline = CubicSpline(pelts["time"].values, logs - logs.mean(), bc_type="natural")
    fine, times = np.linspace(0, 90, 9001), np.arange(0, 90.25, 0.5)
    width = np.full(fine.size, fine[1])
    width[[0, -1]] /= 2
    weights = norm.pdf(times[:, None], fine, SPREAD) * width
    dims = ("condition", "time", "node")
    return xr.Dataset(
        {
            "perturbation": (("condition", "node"), np.zeros((1, 2))),
            "response": (dims, (weights @ spline(fine))[None]),
        },
        {
            "condition": ["Canada"],
            "time": ("time", times, {"units": "y"}),
            "node": ["Hare", "Lynx"],
            "node_kind": ("node", ["protein", "protein"]),
        },
        {"transform": "log thousands of pelts, minus the mean, smoothed"},
    )


def lynx_hare(starts: int) -> list[tuple[float, float]]:
    """Sum of squares and seconds of each start."""
    data = smoothed()
    begin = data["response"].isel(condition=0, time=0)
    small = pcb.normal(0, 0.1)
    model = pcb.ODE(
        lambda x, p: pcb.tanh(p.S @ x - p.b),
        states=["Hare", "Lynx"],
        parameters={
            "S": pcb.Parameter(small, shape=(2, 2)),
            "b": pcb.Parameter(small, shape=2),
        },
        initial={name: begin.sel(node=name).item() for name in ("Hare", "Lynx")},
    )
    schedule = [
        pcb.Grow(pcb.LM(), windows=WINDOWS, iterations=20),
        pcb.Stage(60, optimizer=pcb.LM()),
    ]
    found = []
    for seed in range(starts):
        began = time.perf_counter()
        fit = pcb.fit(data, model, schedule=schedule, seed=seed, progress=False)
        error = float(((fit.predictions - fit.data["response"]) ** 2).sum())
        found.append((error, time.perf_counter() - began))
        print(f"start {seed}: {error:.4f} in {found[-1][1]:.1f} s", flush=True)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=10)
    errors, seconds = np.array(lynx_hare(parser.parse_args().starts)).T
    reached = int((errors < BEST + 0.01).sum())
    print("\n| work | best | starts that reach 156.84 | seconds, median |\n|---|---|---|---|")
    print(
        f"| lynx-hare, 2 states | {errors.min():.2f} | {reached} of {errors.size} | "
        f"{np.median(seconds):.1f} |"
    )


if __name__ == "__main__":
    main()
