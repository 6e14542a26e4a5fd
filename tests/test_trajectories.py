"""The program of the trajectory benchmarks, on works of no work."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import pycellbox as pcb

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import trajectories
import works
from works import circuit


@pytest.fixture
def made(monkeypatch):
    """Two works, one with a start that fails; the starts that they have run."""
    ran = []

    def run(start, backend):
        ran.append(start)
        if start == 1:
            raise pcb.DivergenceError("it blew up")
        return {"value": float(start), "seconds": 2.0 * start}

    both = [
        works.Work("many", "many starts", "small", run, lambda row: row["value"] < 1),
        works.Work("one", "no starts", "any", run, once=True),
    ]
    monkeypatch.setattr(trajectories, "every", lambda: both)
    return ran


def test_rows_go_on_where_they_stopped(made, tmp_path):
    def main(*more):
        trajectories.main(["--out", str(tmp_path), "--table", str(tmp_path / "t.md"), *more])
        return (tmp_path / "t.md").read_text()

    main("--starts", "2", "--only", "many")
    assert made == [0, 1]
    with (tmp_path / "trajectories.jsonl").open("a") as file:
        file.write('{"work": "many", "sta')  # a run that was killed
    text = main("--starts", "3")
    assert made == [0, 1, 2, 0]
    assert "1 of 3, 1 failed" in text
    assert text.count("| numpy |") == 2
    assert main("--draw") == text
    main("--starts", "1", "--only", "many", "--again")
    assert made == [0, 1, 2, 0, 0]


def test_works_have_names_of_their_own():
    names = [work.name for work in works.every()]
    assert len(set(names)) == len(names)


def test_promoters_of_the_circuit_are_in_equilibrium():
    """dx/dt is that of sums over all that may be bound, counted here one by one."""
    model = circuit.circuit()
    rng, n = np.random.default_rng(0), circuit.GENES
    found = {name: rng.normal(0, 1, ends[4]) for name, ends in circuit.RANGES.items()}
    x = rng.uniform(0.5, 2, 2 * n)
    begin = {f"{state}_0": value for state, value in zip(model.states, x, strict=True)}
    assert sum(np.size(value) for value in (found | begin).values()) == 164
    times = [0.0, 1e-5, 2e-5]
    measured = list(model.states)
    courses = pcb.simulation.courses(
        model, found | begin, times, measured=measured, backend="numpy"
    )
    states = courses["response"].sel(node=measured).values[0]

    value = {}
    for name, (low, high, *_) in circuit.RANGES.items():
        share = 1 / (1 + np.exp(-found[name]))
        value[name] = low ** (1 - share) * high**share if low else high * share
    rates = []
    for i in range(n):
        weights, active = {}, 0.0
        for on in product([0, 1], repeat=n):
            s = tuple(j for j in range(n) if on[j])
            weights[s] = np.prod([(x[n + j] / value["k"][i, j]) ** value["h"][i, j] for j in s])
            if len(s) > 1:
                weights[s] *= value["r"][i, circuit.TOGETHER.index(s)]
            active += value["a"][i, circuit.SETS.index(s)] * weights[s]
        rates.append(
            value["make_m"][i] * active / sum(weights.values()) - value["lose_m"][i] * x[i]
        )
    rates += list(value["make_p"] * x[:n] - value["lose_p"] * x[n:])
    np.testing.assert_allclose((states[1] - states[0]) / times[1], rates, rtol=1e-3)
