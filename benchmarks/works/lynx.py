"""Hare and lynx, smoothed as in FitODE (Frank, arXiv:2207.04487), so that sums of squares compare.

y = log pelts, minus the mean over both species; a natural cubic spline through the 91 years;
convolved over years 0–90 with the density of a normal of sd 1.2 years, not renormalized at the
ends; 181 points, half a year apart; the first of them is the start, which is not fitted. The error
is the sum of squares over both species and all points.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import pycellbox as pcb
from harness.report import Row
from works import Work

SPREAD = 1.2  # years
WINDOWS = [float(end) for end in range(10, 90, 5)]
SPECIES = ("Hare", "Lynx")


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
            "node": list(SPECIES),
            "node_kind": ("node", ["protein", "protein"]),
        },
        {"transform": "log thousands of pelts, minus the mean, smoothed"},
    )


def fitted(data: xr.Dataset, model: pcb.Model, schedule: Any, start: int, backend: Any) -> Row:
    """Sum of squares of a fit."""
    fit = pcb.fit(data, model, schedule=schedule, seed=start, progress=False, backend=backend)
    return {"value": float(((fit.predictions - data["response"]) ** 2).sum())}


def begun(hidden: int) -> tuple[list[str], dict[str, Any]]:
    """Names of all states, and where they start: as smoothed, hidden ones at N(0, 1), fitted."""
    begin = smoothed()["response"].isel(condition=0, time=0)
    initial: dict[str, Any] = {name: begin.sel(node=name).item() for name in SPECIES}
    drawn = {f"hidden_{k + 1}": pcb.Parameter(pcb.normal(0, 1)) for k in range(hidden)}
    return [*SPECIES, *drawn], initial | drawn


def windows(iterations: int, last: int, rough: float = 1e-2, hidden: bool = False) -> list[Any]:
    """Windows of ten years, and of five more each, at a rough tolerance, and then the whole.

    With hidden states their ends fade.
    """
    grow = pcb.Grow(
        pcb.LM(rough), windows=WINDOWS, iterations=iterations,
        weighting="smooth" if hidden else "sharp",
    )  # fmt: skip
    return [grow, pcb.Stage(last, optimizer=pcb.LM(1e-6))]


def tanh_network(states: int, start: int, backend: str) -> Row:
    """dx/dt = tanh(S x − b) from drawn parameters."""
    names, initial = begun(states - 2)
    small = pcb.normal(0, 0.1 if states == 2 else 0.3)
    model = pcb.ODE(
        lambda x, p: pcb.tanh(p.S @ x - p.b),
        states=names,
        parameters={
            "S": pcb.Parameter(small, shape=(states, states)),
            "b": pcb.Parameter(small, shape=states),
        },
        initial=initial,
    )
    return fitted(smoothed(), model, windows(10, 100, hidden=states > 2), start, backend)


def neural_network(states: int, start: int, backend: str) -> Row:
    """dx/dt = V tanh(W x + b) + c with 20 units."""
    names, initial = begun(states - 2)
    model = pcb.NeuralODE(names, hidden=20, initial=initial)
    schedule = windows(10, 100, hidden=True) if states > 2 else windows(20, 150, 1e-3)
    return fitted(smoothed(), model, schedule, start, backend)


def _work(states: int, goal: str, limit: float, neural: bool = False) -> Work:
    what = "neural ODE, 20 units" if neural else "dx/dt = tanh(Sx − b)"
    return Work(
        f"lynx-{'neural-' * neural}{states}",
        f"lynx–hare, {what}, n = {states}; sum of squares",
        goal,
        partial(neural_network if neural else tanh_network, states),
        lambda row: row["value"] < limit,
    )


WORKS = [
    _work(2, "156.84 in ≥ 90 % of starts, ≤ 1 s each", 156.85),
    _work(3, "≤ 103 of 24 starts, ≤ 20 s in all", 103),
    _work(4, "≤ 50 of 24 starts, ≤ 35 s in all", 50),
    _work(2, "≤ 100, ≤ 60 s", 100, neural=True),
    _work(3, "≤ 56, ≤ 60 s", 56, neural=True),
]
