"""Pre-treatments, pulses, held nodes and states of their own: test errors beside baselines.

Published data (`experiments.py`) are fitted with the package's defaults and judged on conditions
that the fit has not seen; then regimens are simulated on known networks. Test rows are never used
for a choice.

    python benchmarks/regimens.py --data FOLDER
    python benchmarks/regimens.py --data FOLDER --parts hpn simulated --splits 5 --seeds 9
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import xarray as xr

import pycellbox as pcb

sys.path.insert(0, str(Path(__file__).resolve().parent))
import experiments

from harness import report
from harness.report import Row

PARTS = ("hpn", "dream4", "gut", "irma", "simulated")
MODELS = {
    "CellBox": "CellBox",
    "mean response": "mean",
    "no change": "no change",
    "additive effects": "additive",
    "ridge": "ridge",
    "ridge with intercept": "ridge, intercept",
}
COLUMNS = {
    "label": "data",
    "test": "left out",
    "fits": "fits",
    **MODELS,
    "best": "best baseline",
    "lowest": "its error",
    "ratio": "CellBox / best",
    "warnings": "warnings",
    "seconds": "s a fit",
}


@dataclass
class Judged:
    """Squared errors of all models over the test entries of several fits."""

    label: str
    test: str
    squares: dict[str, list[np.ndarray]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)

    def fit(self, data: xr.Dataset, left_out: Sequence[str], backend: str) -> None:
        """Fit all but some conditions, and judge on these."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            began = time.process_time()
            fit = pcb.fit(data.drop_sel(condition=left_out), backend=backend, progress=False)
            self.seconds.append(time.process_time() - began)
        self.warned |= {str(w.message) for w in caught}
        test = unseen(data.sel(condition=left_out))
        with warnings.catch_warnings():
            # An input or a level that no fitted condition has: that is what is asked.
            warnings.simplefilter("ignore", pcb.DataWarning)
            predictions = fit.evaluate(test).predictions
        predictions["no change"] = start(test)
        for name, predicted in predictions.items():
            error = (predicted - test["response"]).values.ravel()
            self.squares.setdefault(name, []).append(error[~np.isnan(error)] ** 2)

    def mse(self, name: str) -> float:
        """Mean over all test entries of all fits; NaN if the model was missing in one."""
        parts = self.squares.get(name, [])
        return float(np.concatenate(parts).mean()) if len(parts) == len(self.seconds) else np.nan

    @property
    def row(self) -> Row:
        scores = {name: self.mse(name) for name in self.squares}
        best = min(
            scores.keys() - {"CellBox"}, key=lambda name: np.nan_to_num(scores[name], nan=np.inf)
        )
        return {
            "label": self.label,
            "test": self.test,
            "fits": len(self.seconds),
            **{k: None if np.isnan(v) else v for k, v in scores.items()},
            "best": best,
            "lowest": scores[best],
            "ratio": scores["CellBox"] / scores[best],
            "warnings": len(self.warned),
            "seconds": float(np.median(self.seconds)),
        }


def unseen(test: xr.Dataset) -> xr.Dataset:
    """Leave out of the responses what the test condition was given: held nodes, initial states."""
    response = test["response"]
    if "held" in test:
        response = response.where(test["held"].isnull())
    if "initial_state" in test:
        response = response.where(test["initial_state"].isnull() | (test["time"] > 0))
    return test.assign(response=response)


def start(test: xr.Dataset) -> xr.DataArray:
    """Say that everything stays where it begins."""
    begins = test["initial_state"].fillna(0) if "initial_state" in test else 0
    return xr.zeros_like(test["response"]) + begins


def random_parts(data: xr.Dataset, number: int) -> list[tuple[str, ...]]:
    return [pcb.splits.random(data, seed=seed).test for seed in range(number)]


def each(data: xr.Dataset, labels: Sequence[str] | None = None) -> list[tuple[str, ...]]:
    chosen = data["condition"].values if labels is None else labels
    return [(str(label),) for label in chosen]


def published(args: argparse.Namespace) -> Iterator[Judged]:
    """Fit the published data, one table row after the other."""

    def judged(label: str, test: str, data: xr.Dataset, parts: list[tuple[str, ...]]) -> Judged:
        found = Judged(label, test)
        for part in parts:
            found.fit(data, list(part), args.backend)
        return found

    splits, random = args.splits, "30 % at random"
    if "hpn" in args.parts:
        for line in args.lines:
            data = experiments.hpn(args.data / f"hpn/midas/MD-{line}.csv")
            parts = random_parts(data, splits)
            yield judged(f"hpn {line}", random, data, parts)
            if line == "MCF7":
                constant = data.isel(phase=-1).drop_vars("phase_start")
                yield judged(f"hpn {line}, all inputs from 0 on", random, constant, parts)
    if "dream4" in args.parts:
        for i in args.networks:
            data = experiments.dream4(args.data / f"dream4/insilico_size10_{i}")
            yield judged(f"dream4 network {i}", random, data, random_parts(data, splits))
            courses = [f"course {j}" for j in range(5)]
            yield judged(f"dream4 network {i}", "each course", data, each(data, courses))
    if "gut" in args.parts:
        data = experiments.gut(args.data / "gut/raw_data.csv")
        yield judged("gut", "each mouse", data, each(data))
    if "irma" in args.parts:
        data = experiments.irma(args.data / "irma")
        yield judged("irma", "each course", data, each(data, ["on", "off"]))
        names = data["condition"].values
        genes = [tuple(n for n in names if n.startswith(f"{g} ")) for g in experiments.IRMA]
        yield judged("irma", "samples, by gene held", data, genes)


# ---- simulated
TIMES = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0])


def experiment(network: pcb.Network, treated: bool, size: dict[str, Any]) -> xr.Dataset:
    """Simulate plain doses, or regimens of the same doses, measured at the same times.

    Regimens in turn: pulses that end; a dose before time 0 until steady, washed out at 0, beside
    one that begins at 0; a node held beside one that is dosed.
    """
    data = pcb.simulate(network, times=TIMES, **size)
    regimen: list[Any] = []
    names, doses = data["condition"].values, data["perturbation"].values
    for i, (label, row) in enumerate(zip(names, doses, strict=True)):
        dosed, only = data["node"].values[row != 0].tolist(), {"conditions": str(label)}
        if i % 3 == 0:
            regimen.append(pcb.pulse(dosed, 0, 1, **only))
        elif i % 3 == 1:
            regimen += [pcb.pretreat(dosed[0], **only), pcb.washout(dosed[0], 0, **only)]
        else:
            regimen.append(pcb.knockout(dosed[0], level=-1, **only))
    return pcb.simulate(network, times=TIMES, regimen=regimen, **size) if treated else data


def hidden(data: xr.Dataset, nodes: Sequence[str]) -> xr.Dataset:
    """Measure some nodes never."""
    never = data["node"].isin(list(nodes))
    kinds = data["node_kind"].astype(object).where(~never, "hidden").astype(str)
    return data.assign(response=data["response"].where(~never)).assign_coords(node_kind=kinds)


def simulated(args: argparse.Namespace) -> Iterator[Row]:
    """Correlation of W, and errors on new regimens, with and without nodes that are hidden."""
    for seed in range(args.seeds):
        network = pcb.networks.erdos_renyi(args.nodes, 0.25, seed=seed)
        size = {"design": args.conditions, "noise": args.noise, "backend": args.backend}
        plain, treated = (experiment(network, way, size | {"seed": seed}) for way in (False, True))
        test = experiment(network, True, size | {"seed": 1000 + seed})
        never = [network.nodes[seed % args.nodes]]
        row: Row = {"label": f"seed {seed}", "hidden": ", ".join(never)}
        for name, data in (
            ("plain", plain), ("regimens", treated), ("hide", hidden(treated, never)),
        ):  # fmt: skip
            fit = pcb.fit(data, backend=args.backend, progress=False)
            if name != "hide":
                W = fit.parameters["W"]
                row[f"W {name}"] = pcb.metrics.recovery(W, network.parameters["W"])["pearson"]
            if name != "plain":
                seen, predicted = ~test["node"].isin(never), fit.predict(test)
                for what, response in (("error", "response"), ("true error", "true_response")):
                    error = (predicted - test[response]).where(seen)
                    row[f"{what} {name}"] = float(np.sqrt((error**2).mean()))
        yield row


RECOVERY = {
    "label": "",
    "W plain": "W, plain",
    "W regimens": "W, regimens",
    "hidden": "hidden",
    "error regimens": "test error, all measured",
    "error hide": "test error, one hidden",
    "true error regimens": "from the truth, all measured",
    "true error hide": "from the truth, one hidden",
}


def medians(rows: Sequence[Row]) -> Row:
    keys = [k for k, v in rows[0].items() if isinstance(v, float)]
    return {"label": "median", **{k: float(np.median([row[k] for row in rows])) for k in keys}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with hpn, dream4, gut, irma")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--splits", type=int, default=1, help="random splits (default 1)")
    parser.add_argument("--lines", nargs="+", choices=("MCF7", "BT20"), default=["MCF7"])
    parser.add_argument("--networks", nargs="+", type=int, default=[1], help="of dream4 (1)")
    parser.add_argument("--seeds", type=int, default=3, help="simulated networks (default 3)")
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--conditions", type=int, default=24)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", type=Path, help="folder for regimens.csv and regimens.md")
    args = parser.parse_args(arguments)
    if args.data is None and set(args.parts) != {"simulated"}:
        parser.error("--data is needed for the published data; or --parts simulated")
    began, tables = time.process_time(), []
    rows: list[Row] = []
    for judged in published(args):
        rows.append(judged.row)
        print(report.markdown(rows[-1:], COLUMNS), *sorted(judged.warned), sep="\n", flush=True)
    if rows:
        tables.append(
            "Mean squared error on conditions left out\n\n" + report.markdown(rows, COLUMNS)
        )
    if "simulated" in args.parts:
        found = list(simulated(args))
        tables.append(
            "Simulated networks: correlation of W, root mean square error on new regimens\n\n"
            + report.markdown([*found, medians(found)], RECOVERY)
        )
    print("\n" + "\n\n".join(tables))
    print(f"\n{time.process_time() - began:.0f} s of one core")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        report.write_csv(args.out / "regimens.csv", rows)
        (args.out / "regimens.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
