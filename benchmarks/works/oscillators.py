"""The repressilator of Elowitz and Leibler (Nature 403:335, 2000), of which proteins are measured.

Three genes repress each other in a ring: dm/dt = α₀ + α/(1 + pⁿ) − m, dp/dt = β (m − p), with p the
protein of the gene before. Three periods, 50 times, errors of 5 % of each value. Fitted are α, α₀,
n, β and the first amounts of all molecules, from starts up to e² times too large or too small.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

import pycellbox as pcb
from harness.report import Row
from works import Work

TRUTH = {"alpha": 40.0, "alpha0": 0.1, "n": 3.0, "beta": 1.5}
BEGIN = {"m1": 1.0, "m2": 2.0, "m3": 4.0, "p1": 2.0, "p2": 4.0, "p3": 1.0}
FAR = math.exp(2)
NOISE = 0.05


def model(drawn: bool) -> pcb.ODE:
    """Write the equations, with parameters at the truth or far from it."""

    def one(value: float) -> pcb.Parameter:
        start: Any = pcb.loguniform(value / FAR, value * FAR) if drawn else value
        return pcb.Parameter(start, scale="log")

    rates = {}
    for gene, before in ((1, 3), (2, 1), (3, 2)):
        rates[f"m{gene}"] = f"alpha0 + alpha/(1 + p{before}**n) - m{gene}"
        rates[f"p{gene}"] = f"beta*(m{gene} - p{gene})"
    parameters = {name: one(value) for name, value in TRUTH.items()}
    return pcb.ODE(rates, parameters=parameters, initial={s: one(v) for s, v in BEGIN.items()})


@cache
def measured() -> xr.Dataset:
    """Proteins of one course, with their standard deviations."""
    times = np.linspace(0.5, 25, 50)
    begin = {f"{state}_0": value for state, value in BEGIN.items()}
    data = pcb.simulation.courses(
        model(drawn=False), TRUTH | begin, times, measured=["p1", "p2", "p3"], noise=NOISE,
        backend="numpy",
    )  # fmt: skip
    return data.assign(sigma=NOISE * np.abs(data["true_response"]))


def start(number: int, backend: Any) -> Row:
    """Mean squared residual in standard deviations, and the largest error of a parameter."""
    data = measured()
    schedule = [
        pcb.Grow(pcb.LM(1e-3), windows=6, iterations=20),
        pcb.Stage(60, optimizer=pcb.LM(1e-6)),
    ]
    fit = pcb.fit(data, model(drawn=True), schedule=schedule, penalty=pcb.Penalty(), seed=number,
                  progress=False, backend=backend)  # fmt: skip
    off = (fit.predictions - data["response"]) / data["sigma"]
    found = {name: float(fit.parameters[name]) for name in TRUTH}
    far = max(abs(math.log(found[name] / value)) for name, value in TRUTH.items())
    return {"value": float((off**2).mean()), "far": far, "found": found}


def _said(rows: list[Row]) -> str:
    best = min(rows, key=lambda row: row["value"])
    return f"{best['value']:.2f}; parameters off by {math.expm1(best['far']):.1%} at most"


WORKS = [
    Work(
        "repressilator",
        "repressilator, proteins only, 5 % noise, starts up to e² away; mean squared error, in "
        "units of the noise",
        "≤ 1.2 in 20 of 20, 5 s in all",
        start,
        lambda row: row["value"] <= 1.2,
        _said,
    )
]
