"""Data drawn from a model whose fit is then asked for intervals: how many they hold.

Of each draw a fit sees some conditions, or the first times of courses. Held are new measurements of
others, and the response itself, without the noise, by what of an interval is not the noise. Where
the machinery is right both are nominal; the error is that of the mean over draws, whose
measurements and responses hang together.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

import pycellbox as pcb
from harness import report
from harness.report import Row

LM = pcb.Stage(60, optimizer=pcb.LM())


def estimated_screen(seed: int) -> tuple[pcb.Fit, xr.Dataset]:
    """Nodes that drugs act on and that saturate, estimated in closed steps.

    The truth is a fit itself, so that nodes go as far as an estimate lets them, and the fit is told
    how doses saturate: of both it takes one value to be right, whose error is in no interval.
    """
    rng, fitted = np.random.default_rng(seed), 45
    data = _screen(rng, 145)
    truth = pcb.fit(data.isel(condition=slice(fitted)), progress=False)
    seen, clean = data["response"].notnull(), truth.predict(data)
    noise = rng.normal(0, 0.2, clean.shape)
    data = data.assign(response=(clean + noise).where(seen), true_response=clean.where(seen))
    model = pcb.CellBox(dose_saturation=truth.provenance["estimate"]["dose_saturation"])
    return pcb.fit(data.isel(condition=slice(fitted)), model, progress=False), _rest(data, fitted)


def trained_screen(seed: int) -> tuple[pcb.Fit, xr.Dataset]:
    """Responses at one time of a network with edges, whose mask is known, trained."""
    network, horizon = pcb.networks.cyclic(5, seed=7), 1.0
    data = pcb.simulate(network, 80, horizon=horizon, noise=0.05, seed=seed, backend="numpy")
    model = pcb.CellBox(mask=network.parameters["W"] != 0, response_range="held")
    fit = pcb.fit(
        data.isel(condition=slice(25)), model, schedule=LM, solver=pcb.RK4(0.125), horizon=horizon,
        penalty=pcb.Penalty(), progress=False, backend="numpy",
    )  # fmt: skip
    return fit, _rest(data, 25)


def trained_courses(seed: int) -> tuple[pcb.Fit, xr.Dataset]:
    """Time courses of a network, trained with a penalty from which its weights were drawn."""
    rng, noise, spread = np.random.default_rng(seed), 0.05, 0.5
    network = pcb.networks.cyclic(4, seed=3)
    W = network.parameters["W"].copy()
    W.values[...] = np.where(np.eye(4) > 0, 0, rng.normal(0, spread, (4, 4)))
    network = dataclasses.replace(network, W=W)
    data = pcb.simulate(
        network, 20, times=[0.5, 1.0, 2.0, 4.0], noise=noise, seed=seed, backend="numpy"
    )
    fit = pcb.fit(
        data.isel(condition=slice(5)), pcb.CellBox(), schedule=LM, solver=pcb.RK4(0.125),
        penalty=pcb.Penalty(l2=(noise / spread) ** 2, scale="sum"), progress=False,
        backend="numpy",
    )  # fmt: skip
    return fit, _rest(data, 5)


def epidemic(seed: int) -> tuple[pcb.Fit, xr.Dataset]:
    """One course of an epidemic, its hidden states and what is in bed, and what comes after."""
    model = pcb.ODE(
        {"S": "-beta*S*I/N", "I": "beta*S*I/N - gamma*I"},
        parameters={
            "N": pcb.Parameter(763, fixed=True),
            "beta": pcb.Parameter(1.0, positive=True),
            "gamma": pcb.Parameter(0.3, positive=True),
        },
        initial={"S": "N - 1", "I": 1},
        observe={"in bed": "I"},
    )
    data = pcb.simulation.courses(
        model, {"beta": 1.7, "gamma": 0.45}, np.arange(0, 20, 0.5), noise=8.0,
        noise_kind="absolute", seed=seed, units="d", backend="numpy",
    )  # fmt: skip
    fit = pcb.fit(data.isel(time=slice(24)), model, schedule=LM, progress=False, backend="numpy")
    return fit, data.isel(time=slice(24, None))


def taxa(seed: int) -> tuple[pcb.Fit, xr.Dataset]:
    """Courses of three competing taxa in logarithms, some of whose starts are fitted."""
    names = ["A", "B", "C"]
    model = pcb.ODE(
        lambda x, p: p.r + p.M @ pcb.exp(x),
        states=names,
        parameters={
            "r": pcb.Parameter([0.9, 0.6, 0.7]),
            "M": pcb.Parameter([[-1.1, -0.3, 0], [0.2, -0.9, -0.2], [0, -0.4, -0.8]]),
        },
    )
    true = {"r": [1.0, 0.6, 0.8], "M": [[-1.2, -0.4, 0.1], [0.3, -1.0, -0.3], [-0.1, -0.5, -0.9]]}
    rng = np.random.default_rng(1)
    starts = {name: rng.normal(-1.5, 0.8, 8).tolist() for name in names}
    data = pcb.simulation.courses(
        model, true, np.linspace(0, 8, 9), initial=starts, noise=0.15, noise_kind="absolute",
        seed=seed, backend="numpy",
    )  # fmt: skip
    fit = pcb.fit(
        data.isel(condition=slice(3)), model, schedule=LM, progress=False, backend="numpy"
    )
    return fit, _rest(data, 3)


KINDS: dict[str, Callable[[int], tuple[pcb.Fit, xr.Dataset]]] = {
    "estimated screen": estimated_screen,
    "trained screen": trained_screen,
    "trained courses": trained_courses,
    "epidemic": epidemic,
    "taxa": taxa,
}


def held(kind: str, seed: int, shares: tuple[float, ...]) -> Row:
    """Shares of measurements, and of responses without noise, that the intervals of a draw hold."""
    row: Row = {"kind": kind, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit, new = KINDS[kind](seed)
            times = new["time"].values if "time" in new.dims else None
            found = [fit.predict(new, times=times, interval=share) for share in shares]
        except pcb.PycellboxError as error:
            return row | {"failed": f"{type(error).__name__}: {error}"}
    for share, one in zip(shares, found, strict=True):
        one = one.sel(node=new["node"].values)
        seen = new["response"].notnull() & one["sd"].notnull()
        off = abs(new["response"] - one["response"])
        half = (one["upper"] - one["lower"]) / 2
        of_state = half * one["sd_state"] / one["sd"]
        bare = abs(new["true_response"] - one["response"])
        row[f"new {share:.0%}"] = float((off <= half).where(seen).mean())
        moves = seen & (one["sd_state"] > 1e-6 * one["sd"])  # what nothing reaches stays at rest
        row[f"state {share:.0%}"] = float((bare <= of_state).where(moves).mean())
    return row


def run(
    out: Path, draws: int, first: int, kinds: Sequence[str] | None, shares: tuple[float, ...]
) -> str:
    """Judge draws that are not in OUT/simulated.jsonl yet, and write the table of all of them."""
    path = out / "simulated.jsonl"
    report.cut_unfinished(path)
    rows = report.read_rows(path, ("kind", "seed"))
    done = {(row["kind"], row["seed"]) for row in rows}
    for kind in KINDS:
        if kinds and not any(part in kind for part in kinds):
            continue
        for seed in range(first, first + draws):
            if (kind, seed) in done:
                continue
            rows.append(held(kind, seed, shares))
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
        print(kind, flush=True)
    text = table(rows, shares)
    (out / "simulated.md").write_text(text + "\n", encoding="utf-8")
    return text


def table(rows: Sequence[Row], shares: tuple[float, ...]) -> str:
    """Write the shares out."""
    columns = {"kind": "drawn from", "draws": "draws"}
    for what, said in (("new", "new"), ("state", "without noise")):
        columns |= {f"{what} {share:.0%}": f"{said}, {share:.0%}" for share in shares}
    about = (
        "Share that intervals hold of new measurements, and of responses without noise, of data "
        "drawn from a model that is then fitted: mean over draws ± two standard errors; * where "
        "nominal is further off."
    )
    return f"{about}\n\n{report.markdown(summary(rows, shares), columns)}"


def summary(rows: Sequence[Row], shares: tuple[float, ...]) -> list[Row]:
    """Mean shares over draws, with two standard errors; * where they are further off."""
    found = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        every = [row for row in rows if row["kind"] == kind]
        some = [row for row in every if "failed" not in row]
        lost = f" ({len(every) - len(some)} failed)" if len(some) < len(every) else ""
        entry: Row = {"kind": kind, "draws": f"{len(some)}{lost}"}
        for what in ("new", "state"):
            for share in shares:
                values = np.array([row[f"{what} {share:.0%}"] for row in some])
                error = 2 * float(values.std(ddof=1)) / np.sqrt(len(values))
                off = abs(float(values.mean()) - share) > error
                entry[f"{what} {share:.0%}"] = (
                    f"{values.mean():.3f} ± {error:.3f}{' *' if off else ''}"
                )
        found.append(entry)
    return found


def _screen(rng: np.random.Generator, conditions: int) -> xr.Dataset:
    """Draw a screen of four drugs, alone and in pairs, and six proteins."""
    drugs, nodes = 4, 6
    doses = np.zeros((conditions, drugs))
    for row in doses:
        which = rng.choice(drugs, 1 if rng.random() < 0.3 else 2, replace=False)
        row[which] = rng.choice([0.5, 1.0, 2.0], which.size)
    effects, b = rng.normal(0, 1, (nodes, drugs)), rng.normal(0, 0.3, nodes)
    x = 2 * (np.tanh(doses @ effects.T / 2 + b) - np.tanh(b))
    values = {
        "perturbation": np.concatenate([np.zeros_like(x), doses], axis=1),
        "response": np.concatenate([x + rng.normal(0, 0.2, x.shape), np.nan * doses], axis=1),
    }
    coords = {
        "condition": [f"c{i}" for i in range(conditions)],
        "node": [f"p{i}" for i in range(nodes)] + [f"D{i}" for i in range(drugs)],
        "node_kind": ("node", ["protein"] * nodes + ["drug"] * drugs),
    }
    dims = ("condition", "node")
    return xr.Dataset({name: (dims, value) for name, value in values.items()}, coords)


def _rest(data: xr.Dataset, fitted: int) -> xr.Dataset:
    return data.isel(condition=slice(fitted, None))
