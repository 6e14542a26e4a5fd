"""Hare and lynx of the years 60–90, foretold from the years 0–60.

What is fitted is smoothed within the years 0–60 alone, with weights that sum to one at the ends. It
is judged by the 60 half-year points after year 60 of the whole series as FitODE smooths it, so that
figures compare. Each start is a forecast of dx/dt = tanh(S x − b) with a hidden state, all first
states fitted; the forecast is the mean of the half of the starts that fit the years 0–60 best.
Baselines are fitted to the same smoothed years: the mean, the last period of ten years repeated,
and vector autoregression with lags of one to four years.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import pycellbox as pcb
from harness.report import Row
from works import Work
from works.lynx import SPECIES, SPREAD, smoothed

END, PERIOD = 60, 10  # years


@cache
def known() -> tuple[xr.Dataset, np.ndarray]:
    """Logarithms of the pelts of the years 0–60, smoothed among themselves, and their mean."""
    pelts = pcb.datasets.lynx_hare()
    logs = np.log(pelts["response"].values[0][: END + 1])
    fine, times = np.linspace(0, END, 100 * END + 1), np.arange(0, END + 0.25, 0.5)
    weights = norm.pdf(times[:, None], fine, SPREAD)
    weights[:, [0, -1]] /= 2
    weights /= weights.sum(axis=1, keepdims=True)
    smooth = weights @ CubicSpline(np.arange(END + 1), logs, bc_type="natural")(fine)
    data = smoothed().isel(time=slice(0, times.size))
    data["response"] = data["response"].copy(data=(smooth - smooth.mean(axis=0))[None])
    return data, smooth.mean(axis=0)


@cache
def truth() -> np.ndarray:
    """Return the points to be foretold, in the scale of `known`: (60 half-years, 2 species)."""
    logs = np.log(pcb.datasets.lynx_hare()["response"].values[0])
    later = smoothed()["response"].values[0][2 * END + 1 :]
    return later + logs.mean() - known()[1]


def baselines() -> dict[str, float]:
    """Sum of squares of forecasts by simpler means."""
    series, wanted = known()[0]["response"].values[0], truth()
    count = len(wanted)
    found = {"mean": np.zeros_like(wanted)}
    last = series[-2 * PERIOD :]
    found["last period"] = np.tile(last, (count // len(last) + 1, 1))[:count]
    for lags in (1, 2, 3, 4):
        found[f"VAR({lags})"] = _autoregression(series, lags, count)
    return {name: float(((one - wanted) ** 2).sum()) for name, one in found.items()}


def _autoregression(series: np.ndarray, lags: int, count: int) -> np.ndarray:
    """Go on with a series of half-years by a regression on the values one, two … years before."""
    most, long = 2 * lags, len(series)
    before = [series[most - 2 * k : long - 2 * k] for k in range(1, lags + 1)]
    weights = np.linalg.lstsq(np.hstack(before), series[most:], rcond=None)[0]
    whole = list(series)
    for _ in range(count):
        whole.append(np.concatenate([whole[-2 * k] for k in range(1, lags + 1)]) @ weights)
    return np.array(whole[-count:])


def one(number: int, backend: Any) -> Row:
    """Forecast of a start, its sum of squares, and that of the years that were fitted."""
    data, small = known()[0], pcb.normal(0, 0.3)
    names = [*SPECIES, "hidden"]
    begin = data["response"].values[0, 0]
    initial = {name: pcb.Parameter(value) for name, value in zip(SPECIES, begin, strict=True)}
    model = pcb.ODE(
        lambda x, p: pcb.tanh(p.S @ x - p.b),
        states=names,
        parameters={"S": pcb.Parameter(small, shape=(3, 3)), "b": pcb.Parameter(small, shape=3)},
        initial={**initial, "hidden": pcb.Parameter(pcb.normal(0, 1))},
    )
    windows = [float(end) for end in range(10, END, 5)]
    schedule = [
        pcb.Grow(pcb.LM(1e-2), windows=windows, iterations=10),
        pcb.Stage(40, optimizer=pcb.LM(1e-5)),
    ]
    fit = pcb.fit(data, model, schedule=schedule, seed=number, progress=False, backend=backend)
    ahead = np.arange(END + 0.5, 90.25, 0.5)
    foretold = fit.predict(data, times=ahead).sel(node=list(SPECIES)).values[0]
    fitted = fit.predictions.sel(node=list(SPECIES)).values - data["response"].values
    return {
        "value": float(((foretold - truth()) ** 2).sum()),
        "training": float((fitted**2).sum()),
        "forecast": foretold.round(4).tolist(),
    }


def _said(rows: list[Row]) -> str:
    rows = sorted(rows, key=lambda row: row["training"])
    half = rows[: (len(rows) + 1) // 2]
    mean = np.mean([row["forecast"] for row in half], axis=0)
    error = float(((mean - truth()) ** 2).sum())
    beside = ", ".join(f"{name} {value:.1f}" for name, value in baselines().items())
    return f"{error:.1f}; {beside}"


WORKS = [
    Work(
        "lynx-forecast",
        "lynx–hare, years 60–90 from years 0–60, smoothed within these; sum of squares",
        "less than VAR(3)",
        one,
        lambda row: row["value"] < baselines()["VAR(3)"],
        _said,
    )
]
