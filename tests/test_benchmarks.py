"""The benchmark programs on tiny cases: every peer that is installed computes what we compute.

Peers run in processes of their own, as in a benchmark: some libraries cannot be loaded in any
order, and threads and precision are set before they are.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import edges  # noqa: E402

from harness import kinetics, report, run  # noqa: E402
from harness.case import Case, draw, parse  # noqa: E402
from harness.limit import PARTS, gradient_limit, solve_limit  # noqa: E402
from peers import all_contenders, relative_error  # noqa: E402
from tests.support.data import SHARED_DATA  # noqa: E402

# Minutes of compilation.
SLOW = ("torch-compile", "torch-compile-loop", "port")
ALL = os.environ.get("PYCELLBOX_SLOW_BENCHMARKS") == "1"


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Everything a timing worker tells of a tiny case, adaptive solvers at tight tolerances."""
    folder = tmp_path_factory.mktemp("benchmark")
    case = draw(6, 4, 10, seed=1, rtol=1e-9, atol=1e-11)
    case.save(folder / "case.npz")
    job = {
        "case": str(folder / "case.npz"),
        "dtype": "float64",
        "threads": 1,
        "repeats": 1,
        "seconds": 0.01,
        "limit": True,
        "contenders": [n for n in all_contenders() if ALL or n not in SLOW],
        "out": str(folder / "reference.npz"),
    }
    told = list(run.work("reference", job))
    assert told[-1]["status"] == 0, told[-1]["why"]
    return told + list(run.time_all({**job, "reference": job["out"]}))


def of(events, kind, name):
    return next((e for e in events if e["event"] == kind and e.get("contender") == name), None)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(all_contenders()))
def test_contender_computes_our_loss_and_gradient(events, name):
    if name in SLOW and not ALL:
        pytest.skip("compiles for minutes; PYCELLBOX_SLOW_BENCHMARKS=1 runs it")
    if missing := of(events, "absent", name):
        pytest.skip(missing["why"])
    assert of(events, "failed", name) is None
    found = of(events, "prepared", name)
    if all_contenders()[name].method == "heun":
        # The exact derivative of the same steps: nothing but rounding.
        assert found["discrete_loss_error"] < 1e-13
        assert found["discrete_error"] < 1e-12
    else:
        assert found["loss_error"] < 1e-7
        assert found["gradient_error"] < 1e-6
    assert of(events, "times", name)["seconds"]


@pytest.mark.slow
def test_reference_is_converged(events):
    reference = next(e for e in events if e["event"] == "reference")
    assert reference["continuous"] < 1e-10
    assert reference["steady"] < 1e-10


@pytest.mark.slow
def test_limit_adds_up_the_parts_of_all_stages(events):
    parts = [e for e in events if e["event"] == "limit"][-1]["parts"]
    for part in PARTS:
        assert parts[part]["seconds"] == min(parts[part]["all"].values()) > 0
    one = {part: {"seconds": 10.0**i} for i, part in enumerate(PARTS)}
    assert gradient_limit(one, steps=3) == 6 * 1111
    assert solve_limit(one, steps=3) == 6 * 1001


def test_a_wrong_gradient_is_seen_and_the_diagonal_is_not():
    case = draw(5, 3, 10)
    wrong = {k: v.copy() for k, v in case.parameters.items()}
    np.fill_diagonal(wrong["W"], 1e3)
    assert relative_error(wrong, case.parameters) == 0
    wrong["alpha"][2] += 0.01 * case.alpha.max()
    assert relative_error(wrong, case.parameters) == pytest.approx(0.01)


def test_case_settles_and_survives_its_file(tmp_path):
    case = draw(30, 8, 10, seed=3, rtol=1e-5)
    at_rest = case.epsilon[:, None] * case.W - np.diag(case.alpha)
    assert np.linalg.eigvals(at_rest).real.max() < -0.1
    touched = (case.u != 0).sum(axis=1)
    assert touched.min() >= 1
    assert touched.max() <= 3
    case.save(tmp_path / "case.npz")
    again = Case.load(tmp_path / "case.npz").astype("float32")
    assert (again.steps, again.rtol, again.dt) == (10, 1e-5, 1.0)
    assert again.W.dtype == np.float32
    np.testing.assert_array_equal(again.u, case.u.astype("float32"))


def test_case_is_parsed():
    assert parse("99x89/400") == (99, 89, 400)
    assert parse("5x20") == (5, 20, 100)


def test_a_contender_that_takes_the_process_down_is_left_out_of_the_next(monkeypatch):
    asked = []

    def work(task, specification):
        asked.append(list(specification["contenders"]))
        for name in specification["contenders"]:
            yield {"event": "start", "contender": name}
            if name == "bad":
                yield {"event": "end", "status": -11, "why": "signal 11"}
                return
        yield {"event": "end", "status": 0, "why": ""}

    monkeypatch.setattr(run, "work", work)
    told = list(run.time_all({"contenders": ["good", "bad", "other"], "threads": 1}))
    assert asked == [["good", "bad", "other"], ["good", "other"]]
    assert "signal 11" in of(told, "failed", "bad")["why"]


def test_markdown_has_the_columns_that_are_used():
    rows = [{"label": "a", "x": 0.123456, "y": None}, {"label": "b", "x": 1234.5}]
    table = report.markdown(rows, {"label": "", "x": "ms", "y": "empty"})
    assert table.splitlines() == ["|  | ms |", "| --- | ---: |", "| a | 0.123 |", "| b | 1234 |"]


def program(name, *arguments):
    path = os.pathsep.join([str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_gradient_program_writes_its_tables(tmp_path):
    shown = program(
        "gradient.py", "--cases", "4x3/20", "--dtypes", "float32", "--threads", 1, "--repeats", 2,
        "--contenders", "pycellbox-numpy-heun", "--out", tmp_path,
    )  # fmt: skip
    assert "4 nodes × 3 conditions, 20 Heun steps, float32, 1 thread" in shown
    with (tmp_path / "gradient.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["contender"] == "pycellbox-numpy-heun"
    assert float(row["gradient_ratio"]) == 1
    # Float32 against the reference in float64, and a hundred steps' worth of neither.
    assert 1e-9 < float(row["discrete_error"]) < 1e-4
    assert float(row["mib"]) < 100
    record = json.loads((tmp_path / "gradient.json").read_text())
    assert record["limits"][0]["floors"]["gradient"] > record["limits"][0]["floors"]["solve"] > 0
    assert "| pycellbox numpy, Heun |" in (tmp_path / "gradient.md").read_text()


@pytest.mark.slow
def test_fit_program_times_both_trainings(tmp_path):
    program(
        "fit.py", "--tasks", "recovery", "--backends", "numpy", "--shares", 0.01, 0.1,
        "--seconds", 3, "--out", tmp_path,
    )  # fmt: skip
    with (tmp_path / "fit.csv").open() as file:
        rows = list(csv.DictReader(file))
    ours = [row for row in rows if row["contender"] == "pycellbox numpy"]
    assert [int(row["updates"]) for row in ours] == [10, 100]
    assert float(ours[1]["score"]) > float(ours[0]["score"])
    if not importlib.util.find_spec("torch"):
        pytest.skip("the port's training needs PyTorch; pycellbox's was tested")
    port = [row for row in rows if row["contender"] != "pycellbox numpy"]
    assert {int(row["substage"]) for row in port} == set(range(6))
    updates = [int(row["updates"]) for row in port]
    assert updates == sorted(updates)
    assert updates[0] > 0
    assert all(-1 <= float(row["score"]) <= 1 for row in port)


@pytest.mark.slow
def test_panel_program_draws_what_it_has_run(tmp_path):
    if not (SHARED_DATA / "liver").exists():
        pytest.skip("the tables lie beside the checkout")
    shown = program(
        "panel.py", "--data", SHARED_DATA, "--tables", "LiverDREAM", "--tasks", "random", "→",
        "--methods", "CellBox", "--seeds", 2, "--workers", 1, "--out", tmp_path,
    )  # fmt: skip
    assert shown.endswith((tmp_path / "panel.md").read_text())
    with (tmp_path / "panel.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["splits"] for row in rows] == ["2", "1"]
    assert all(0 < float(row["ratio"]) < 3 for row in rows)
    assert (tmp_path / "panel.png").stat().st_size > 10_000


def test_the_whole_run_of_a_fit_is_the_one_with_most_updates():
    """However busy the machine was while a shorter one ran."""
    import fit

    from harness.tasks import Task

    task = Task("", None, None, None, None, "error", False, {"goal": 0.03})
    runs = [(75, 9.0, 0.05), (150, 4.0, 0.02), (15, 1.0, 0.3)]
    rows = [
        {"contender": "ours", "seed": 0, "updates": n, "seconds": s, "score": score}
        for n, s, score in runs
    ]
    (line,) = fit.summary(task, rows)
    assert line["end_score"] == 0.02
    assert line["end"] == 4.0
    assert line["update_ms"] == pytest.approx(4000 / 150)
    assert line["goal"] == 4.0


def test_simulated_screens_have_the_edges_that_they_say():
    screen = kinetics.draw("activity", 6, 3, drugs=3, noise=0.0)
    response = np.abs(screen.data["response"].values[:3, :6])  # each drug alone
    nodes, drugs = slice(0, 6), slice(6, 9)
    assert (screen.through | ~screen.direct).all()
    reached = screen.through[nodes, drugs].T
    assert response[~reached].max(initial=0) < 1e-3
    assert (response[screen.direct[nodes, drugs].T] > 1e-3).mean() > 0.5


def test_rules_call_as_many_edges_as_they_say_where_their_model_is_right():
    rng = np.random.default_rng(0)
    there = rng.random(5_000) < 0.2
    sd = rng.uniform(0.5, 2, there.size)
    w = there * rng.normal(0, 4, there.size) + sd * rng.normal(0, 1, there.size)
    share = {
        rule: there[edges.called(chance(w, sd, 1.0), rule)].mean()
        for rule, chance in edges.RULES.items()
    }
    assert 0.85 < share["mixture"] < 0.95
    assert 0.85 < share["left out"] < 0.95
    assert share["normal"] < 0.7


def test_edges_that_are_called_are_counted(tmp_path, monkeypatch):
    drawn = kinetics.draw
    few = {"drugs": 3, "noise": 0.05}
    monkeypatch.setattr(edges.kinetics, "draw", lambda kind, n, seed: drawn(kind, n, seed, **few))
    words = ["--out", str(tmp_path), "--kinds", "production", "--sizes", "5", "--seeds", "1"]
    edges.main(words)
    row = json.loads((tmp_path / "edges.jsonl").read_text())
    assert row["edges"] == 15
    assert row["there"]["direct"] == 3 <= row["there"]["through"]
    called = row["rules"]["strongest"]
    assert called["direct"] <= called["called"] == 2
    monkeypatch.setattr(edges, "run", lambda *a: pytest.fail("it was run again"))
    edges.main(words)
    assert "| production | 5 | 1 | strongest | 2 of 15 |" in (tmp_path / "edges.md").read_text()
