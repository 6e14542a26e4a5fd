"""How often profile intervals hold the truth: data are drawn from a model, fitted, and profiled.

Of each problem, with the noise given and with it estimated from residuals: the share of intervals
at 50, 80 and 95 % that hold the true value of each parameter, with its standard error, beside those
of a normal approximation at the optimum (estimate ± quantile × standard error).

    python benchmarks/profiles.py --replicates 200
"""

from __future__ import annotations

import argparse
import math
import os
from statistics import NormalDist

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import chi2, f

import pycellbox as pcb

LM = pcb.Stage(50, optimizer=pcb.LM())
LEVELS = (0.5, 0.8, 0.95)


def decay() -> tuple[pcb.ODE, dict[str, float], np.ndarray, float]:
    """Decay from a known start, measured six times."""
    model = pcb.ODE({"x": "-k*x"}, parameters={"k": pcb.Parameter(0.7, positive=True)},
                    initial={"x": 1.0})  # fmt: skip
    return model, {"k": 0.5}, np.arange(1.0, 7.0), 0.1


def saturation() -> tuple[pcb.ODE, dict[str, float], np.ndarray, float]:
    """Uptake by Michaelis and Menten's law, whose two parameters are far from normal."""
    parameters = {name: pcb.Parameter(1.0, positive=True) for name in ("V", "K")}
    model = pcb.ODE({"x": "-V*x/(K + x)"}, parameters=parameters, initial={"x": 2.0})
    return model, {"V": 0.8, "K": 0.7}, np.linspace(0.5, 5, 10), 0.05


PROBLEMS = {"decay": decay, "saturation": saturation}


def drawn(problem: str, seed: int, known: bool) -> pcb.Fit:
    """Fit data drawn with a seed, with the noise given or not."""
    model, truth, times, noise = PROBLEMS[problem]()
    data = pcb.simulation.courses(
        model, truth, times, noise=noise, noise_kind="absolute", solver=pcb.RK4(0.5), seed=seed,
        backend="numpy",
    )  # fmt: skip
    data = data.drop_vars("sigma", errors="ignore")
    if known:
        data = data.assign(sigma=noise * xr.ones_like(data["response"]))
    return pcb.fit(data, model, solver=pcb.RK4(0.5), schedule=LM, penalty=pcb.Penalty(),
                   progress=False, backend="numpy")  # fmt: skip


def coverage(
    problem: str, replicates: int, known: bool, levels: tuple[float, ...] = LEVELS
) -> pd.DataFrame:
    """Count how many intervals hold the truth, of each parameter and at each level."""
    truth, rows = PROBLEMS[problem]()[1], []
    for seed in range(replicates):
        fit = drawn(problem, seed, known)
        found = fit.profile(level=max(levels))
        freedom = found.curves.attrs["degrees_of_freedom"]
        for name, value in truth.items():
            rise = rise_at(found.curve(name), value)
            for level in levels:
                threshold = chi2.ppf(level, 1) if known else f.ppf(level, 1, freedom)
                own = normal(fit, name, value, level)
                rows.append((problem, name, level, rise <= threshold, own))
    table = pd.DataFrame(rows, columns=["problem", "parameter", "level", "profile", "normal"])
    table = table.groupby(["problem", "parameter", "level"]).mean().reset_index()
    table["standard error"] = np.sqrt(table["level"] * (1 - table["level"]) / replicates)
    return table.assign(noise="given" if known else "estimated")


def rise_at(curve: xr.Dataset, value: float) -> float:
    """Rise of a curve at a value, between its points; infinite beyond them."""
    signs = np.sign(curve["value"].values - float(curve["estimate"]))
    roots = signs * np.sqrt(np.maximum(curve["rise"].values, 0))
    at = np.interp(value, curve["value"].values, roots, left=np.inf, right=np.inf)
    return float(at) ** 2


def normal(fit: pcb.Fit, name: str, value: float, level: float) -> bool:
    """Whether estimate ± quantile × standard error holds a value, to first order at the fit."""
    found = fit.identifiability(backend="numpy")
    table = found.directions
    errors, weights = table["standard_error"].values, table["weight"]
    own = weights.sel(parameter=name).values
    size = float(table["size"].sel(parameter=name))
    sd = size * math.sqrt(float(((own * errors) ** 2).sum()))
    return abs(value - float(fit.parameters[name])) <= NormalDist().inv_cdf((1 + level) / 2) * sd


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    options = parser.parse_args(arguments)
    tables = [coverage(problem, options.replicates, known)
              for problem in options.problems for known in (True, False)]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    return table


if __name__ == "__main__":
    main()
