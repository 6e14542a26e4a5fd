"""Is the steady state the one that a long integration finds? On the ten networks, and how fast.

    python benchmarks/steady.py [--backend numpy] [--conditions 200] [--out steady.csv]

Each BEELINE network, in the equation of the original CellBox (form 0, self-interactions allowed)
and in that of its Julia port, is perturbed at random (normal, two nodes a condition). For every
condition the steady state by `pcb.SteadyState` is held to an integration over 400 decay times at
1e-10. A condition "rests" if the integration moves by less than 1e-8 over its last tenth.

Prints, per network: how many conditions rest, how many of them SteadyState settles, the largest
difference between the two, how many settle that approach too slowly to rest by then, how many
settle elsewhere (should be none), and the milliseconds of a loss and gradient beside Heun with 100
steps. Of the symmetric networks many conditions rest only because rounding drives the integration
off the divide between two states; SteadyState does not settle those.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.models import Structure
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem

LONG, ACCURATE = 400.0, pcb.Tsit5(1e-10, 1e-12)
EQUATIONS = {
    "original": pcb.CellBox(self_interaction=True, dose_saturation=None, drug_columns="free"),
    "port": pcb.CellBox(
        form="ji-code", self_interaction=True, dose_saturation=None, drug_columns="free"
    ),
}


def experiment(name: str, model: pcb.CellBox, conditions: int) -> tuple[Problem, Parameters]:
    """Perturb a network at random, with responses to be missed by the loss."""
    network = pcb.networks.beeline(name)
    structure = Structure.over(model, network.nodes, network.node_kind.values)
    n, rng = structure.n_nodes, np.random.default_rng(0)
    u = np.zeros((conditions, n))
    for row in u:
        row[rng.choice(n, 2, replace=False)] = rng.normal(size=2)
    response = rng.normal(0, 0.5, (conditions, 1, n))
    problem = Problem(
        structure=structure,
        conditions=tuple(f"c{i}" for i in range(conditions)),
        perturbation=u,
        response=response,
        weight=np.ones_like(response),
        times=np.array([20.0]),
        steady=True,
    )
    rates = {name: np.ones(n) for name in model.rates}
    return problem, {"W": np.asarray(network.W.values), **rates}


def compare(backend: str, problem: Problem, parameters: Parameters) -> dict[str, float]:
    """Hold the steady states to a long integration."""
    engine, u = get_backend(backend), problem.perturbation
    network = (parameters, u)
    found = engine.solve(problem.structure, pcb.SteadyState(), *network, np.array([20.0]))
    late = engine.solve(problem.structure, ACCURATE, *network, np.array([0.9 * LONG, LONG])).states
    rests = np.abs(late[:, 1] - late[:, 0]).max(axis=1) < 1e-8
    distance: Array = np.abs(found.final - late[:, 1]).max(axis=1)
    both = found.settled & rests
    return {
        "conditions": len(u),
        "rest": int(rests.sum()),
        "settled": int(both.sum()),
        "largest difference": float(distance[both].max(initial=0.0)),
        "slow": int((found.settled & ~rests).sum()),
        "elsewhere": int((both & (distance > 1e-6)).sum()),
    }


def milliseconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median time of a call, the first one apart."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--conditions", type=int, default=200)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    engine, table = get_backend(args.backend), []
    for equation, model in EQUATIONS.items():
        for name in pcb.networks.BEELINE:
            problem, parameters = experiment(name, model, args.conditions)
            row = {
                "equation": equation,
                "network": name,
                **compare(args.backend, problem, parameters),
            }
            for label, solver in (("steady ms", pcb.SteadyState()), ("Heun-100 ms", pcb.Heun(0.2))):
                session = engine.session(problem, solver, Loss())
                row[label] = milliseconds(functools.partial(session.value_and_gradient, parameters))
            table.append(row)
            print(row, flush=True)
    frame = pd.DataFrame(table)
    print(frame.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    if args.out:
        frame.to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
