"""Generalized Lotka–Volterra equations, dx/dt = x (r + A x), of simulated and of real communities.

Simulated: ten taxa, 16 courses, amounts with errors of 5 %. Real: guts of mice, 3 populations in
three replicates, ten genera and the rest, antibiotics on one day or none (Stein et al., PLoS Comput
Biol 9:e1003388, 2013); each mouse in turn is left out, predicted from its first day, and judged by
the logarithms of its amounts, beside baselines that are given the same first day. Logarithms stay
between what can be told from nothing and what a gut holds, to which rates beyond lead back; how
large interactions may be is chosen in the mice of the fit, a replicate left out after the other.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import pycellbox as pcb
from harness.report import Row
from works import Work

TAXA, COURSES, NOISE = 10, 16, 0.05
GUT = Path(os.environ.get("PYCELLBOX_DATA", "../shared/data")) / "gut" / "raw_data.csv"
SIZES = (0.03, 0.1, 0.3)  # of interactions, before, by amount and day
MOST = 3.0  # e^3 is three times the largest amount of all
LEAST = 1e-4  # below which amounts are not told from nothing
FULL = 10.0  # more than which no gut holds of anything


def lotka_volterra(
    names: list[str], begin: Any, parameters: dict[str, Any], signal: str = ""
) -> Any:
    """Equations of the logarithms of amounts; with a signal these stay within bounds."""
    n = len(names)

    def rates(y: Any, p: Any, *u: Any) -> Any:
        grown = p.r + p.A @ pcb.exp(pcb.minimum(y, MOST))
        if not signal:
            return grown
        grown = pcb.maximum(grown + p.e * u[0][0], np.log(LEAST) - y)
        return pcb.minimum(grown, np.log(FULL) - y)

    shapes = {"r": n, "A": (n, n)} | ({"e": n} if signal else {})
    given = {name: pcb.Parameter(shape=shape, **parameters[name]) for name, shape in shapes.items()}
    return pcb.ODE(rates, states=names, parameters=given, initial=begin,
                   inputs=[signal] if signal else ())  # fmt: skip


@cache
def community() -> tuple[xr.Dataset, np.ndarray]:
    """Courses of ten taxa that live together, as logarithms, and their interactions."""
    rng = np.random.default_rng(0)
    A = rng.normal(0, 0.25, (TAXA, TAXA)) * (rng.random((TAXA, TAXA)) < 0.5)
    A[np.diag_indices(TAXA)] = -rng.uniform(0.8, 1.2, TAXA)
    r = -A @ rng.uniform(0.5, 1.5, TAXA)
    names = [f"taxon{k}" for k in range(TAXA)]
    model = lotka_volterra(names, {}, {"r": {}, "A": {}})
    begin = np.log(rng.uniform(0.05, 2, (TAXA, COURSES)))
    data = pcb.simulation.courses(
        model, {"r": r, "A": A}, np.linspace(0, 8, 17), backend="numpy",
        initial=dict(zip(names, begin.tolist(), strict=True)), noise=NOISE, noise_kind="absolute",
    )  # fmt: skip
    return data.assign(sigma=xr.full_like(data["response"], NOISE)), A


def simulated(number: int, backend: Any) -> Row:
    """Correlation of the interactions found with those of the simulation."""
    data, A = community()
    small = pcb.normal(0, 0.1)
    begin = {name: pcb.Parameter(0.0, dims="condition") for name in data["node"].values.tolist()}
    model = lotka_volterra(
        data["node"].values.tolist(),
        begin,
        {"r": {"start": small}, "A": {"start": small, "prior": pcb.normal(0, 1)}},
    )
    schedule = [
        pcb.Grow(pcb.LM(1e-2), windows=4, iterations=8),
        pcb.Stage(20, optimizer=pcb.LM(1e-4)),
    ]
    data = data.drop_vars("initial_state", errors="ignore")
    fit = pcb.fit(data, model, schedule=schedule, penalty=pcb.Penalty(), seed=number,
                  progress=False, backend=backend)  # fmt: skip
    found, others = fit.parameters["A"].values, ~np.eye(TAXA, dtype=bool)
    return {
        "value": float(np.corrcoef(found.ravel(), A.ravel())[0, 1]),
        "others": float(np.corrcoef(found[others], A[others])[0, 1]),
    }


def guts() -> xr.Dataset:
    """Logarithms of amounts in nine mice from day 2 on, which begin as measured on day 0."""
    rows = {line[0]: np.array(line[1:], dtype=float) for line in _lines()}
    mouse, day = rows.pop("ID").astype(int), rows.pop("time (in d)")
    population, signal = rows.pop("Population").astype(int), rows.pop("Clindamycin signal")
    rows.pop("Replicate")
    taxa, mice, days = list(rows), np.unique(mouse), np.unique(day)
    logs = np.log(np.maximum(np.array(list(rows.values())), LEAST))
    shape = (mice.size, len(taxa) + 1)
    response = np.full((mice.size, days.size, shape[1]), np.nan)
    response[np.searchsorted(mice, mouse), np.searchsorted(days, day), :-1] = logs.T
    given = np.zeros((mice.size, 2, shape[1]))
    given[:, 0, -1] = [signal[mouse == one][0] for one in mice]
    begin = response[:, 0].copy()
    nodes = ("condition", "node")
    return xr.Dataset(
        {
            "perturbation": (("condition", "phase", "node"), given),
            "response": (("condition", "time", "node"), response[:, 1:]),
            "initial_state": (nodes, begin),
            "sigma": (("condition", "time", "node"), np.ones_like(response[:, 1:])),
        },
        {
            "condition": [f"mouse {one}" for one in mice],
            "node": [*taxa, "antibiotic"],
            "node_kind": ("node", ["protein"] * len(taxa) + ["drug"]),
            "phase_start": ("phase", [0.0, 1.0], {"units": "d"}),
            "time": ("time", days[1:], {"units": "d"}),
            "population": ("condition", [population[mouse == one][0] for one in mice]),
        },
        {"transform": "log amount"},
    )


def _lines() -> list[list[str]]:
    if not GUT.exists():
        raise pcb.DataError(f"{GUT} is not there: name the folder of the data in PYCELLBOX_DATA.")
    return [line.split(",") for line in GUT.read_text(encoding="utf-8").splitlines() if line]


def of_others(train: xr.Dataset, test: xr.Dataset, size: float, backend: Any) -> np.ndarray:
    """Predicted logarithms of amounts in mice that were not fitted, (mice, days, taxa)."""
    taxa = train["node"].values[:-1].tolist()
    n = len(taxa)
    parameters = {
        "r": {"start": np.full(n, 0.3), "prior": pcb.normal(0, 1)},
        "A": {"start": -0.3 * np.eye(n), "prior": pcb.normal(0, size)},
        "e": {"start": np.full(n, -0.5), "prior": pcb.normal(0, 3)},
    }
    model = lotka_volterra(taxa, {}, parameters, "antibiotic")
    schedule = [
        pcb.Grow(pcb.LM(1e-2), windows=3, iterations=8),
        pcb.Stage(8, optimizer=pcb.LM(1e-3)),
    ]
    fit = pcb.fit(train.drop_vars("population"), model, schedule=schedule, penalty=pcb.Penalty(),
                  solver=pcb.RK4(0.5), progress=False, backend=backend)  # fmt: skip
    found: np.ndarray = fit.predict(test.drop_vars("population")).values[..., :-1]
    return found


def chosen(train: xr.Dataset, replicate: np.ndarray, backend: Any) -> float:
    """Size of interactions that predicts replicates which were left out best."""
    errors = dict.fromkeys(SIZES, 0.0)
    for one in np.unique(replicate):
        here = replicate == one
        kept, out = train.isel(condition=~here), train.isel(condition=here)
        for size in SIZES:
            off = of_others(kept, out, size, backend) - out["response"].values[..., :-1]
            errors[size] += float(np.nansum(off**2))
    return min(errors, key=errors.__getitem__)


def left_out(number: int, backend: Any) -> Row:
    """Mean squared error of a mouse that was not fitted, and of what is simpler."""
    data = guts()
    mice = np.arange(data.sizes["condition"])
    here = mice == number
    train, test = data.isel(condition=~here), data.isel(condition=here)
    size = chosen(train, (mice // 3)[~here], backend)
    observed = test["response"].values[0, :, :-1]
    alike = train["population"].values == test["population"].values[0]
    known = train["response"].values[..., :-1]
    mean = np.nanmean(known, axis=(0, 1))
    there = (~np.isnan(known[alike])).any(axis=0)
    course = np.where(there, np.nansum(known[alike], axis=0), 0.0)
    course /= np.maximum((~np.isnan(known[alike])).sum(axis=0), 1)
    predicted = {
        "value": of_others(train, test, size, backend)[0],
        "as on the first day": test["initial_state"].values[:, :-1],
        "mean of all": mean,
        "mean course of its population": np.where(there, course, mean),
    }
    errors = {name: float(np.nanmean((p - observed) ** 2)) for name, p in predicted.items()}
    return errors | {"size": size}


def _communities(rows: list[Row]) -> str:
    values, others = (np.array([row[key] for row in rows]) for key in ("value", "others"))
    return f"{np.median(values):.3f}; without the diagonal {np.median(others):.3f}"


def _mice(rows: list[Row]) -> str:
    names = ("as on the first day", "mean of all", "mean course of its population")
    each = {name: np.mean([row[name] for row in rows]) for name in ("value", *names)}
    beside = ", ".join(f"{name} {each[name]:.2f}" for name in names)
    return f"{each['value']:.2f} over {len(rows)} mice; {beside}"


WORKS = [
    Work(
        "lotka-volterra",
        "generalized Lotka–Volterra of 10 taxa, 16 courses, 5 % noise; correlation of A",
        "≥ 0.97",
        simulated,
        lambda row: row["value"] >= 0.97,
        _communities,
    ),
    Work(
        "gut",
        "guts of mice, each left out in turn; mean squared error of logarithms",
        "beside baselines",
        left_out,
        measured=_mice,
        most=9,
    ),
]
