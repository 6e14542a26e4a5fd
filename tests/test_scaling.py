"""The programs in benchmarks/: their cells, their tables, their figures, their subsets."""

from __future__ import annotations

import csv
import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

import pycellbox as pcb
from benchmarks import melanoma, scaling
from benchmarks.scaling import Cell, Table
from pycellbox.ji import JI_MODEL
from pycellbox.simulation import true_model, truth

SMALL = Cell("size", nodes=3, conditions=6, times=2, noise=0.0, updates=15)


@pytest.mark.parametrize("grid", scaling.AXES)
@pytest.mark.parametrize("quick", [True, False])
def test_a_grid_has_every_combination_once_per_seed(grid, quick):
    cells = scaling.cells(grid, quick, range(2), "julia")
    values = [len(v) for v in scaling.AXES[grid][quick].values()]
    assert len(cells) == len(set(cells)) == 2 * int(np.prod(values))
    seeds = [c.seed for c in cells]
    assert seeds == sorted(seeds)
    costs = [c.cost for c in cells if c.seed == 0]
    assert costs == sorted(costs)


def test_solvers_of_julia_alone_are_left_out_elsewhere():
    numpy, julia = (
        {c.solver for c in scaling.cells("topology", False, [0], backend)}
        for backend in ("numpy", "julia")
    )
    assert {s for s in julia - numpy} == {s for s in julia if s.startswith("Adaptive")} != set()


@pytest.mark.parametrize("topology", ["random", *scaling.TOPOLOGIES])
def test_networks_have_the_size_and_topology_asked_for(topology):
    network = scaling.network(Cell("topology", nodes=40, topology=topology))
    W = network.W.values
    assert W.shape == (40, 40)
    assert 0.5 < (W != 0).sum() / 40 < 3
    if topology == "acyclic":
        assert (np.triu(W) == 0).all()
    if topology == "random":
        assert np.abs(W[W != 0]).min() >= 0.3


def test_an_experiment_has_three_parts_and_what_noise_was_asked_for():
    cell = dataclasses.replace(SMALL, conditions=40, noise=0.5, missing=0.4)
    train, validation, test = scaling.experiment(cell)
    assert [d.sizes["condition"] for d in (train, validation, test)] == [40, 10, scaling.N_TEST]
    labels = [set(d["condition"].values) for d in (train, validation, test)]
    assert len(set.union(*labels)) == 50 + scaling.N_TEST
    error = (train["response"] - train["true_response"]).values
    assert np.nanstd(error) == pytest.approx(0.5, rel=0.15)
    assert np.isnan(error).mean() == pytest.approx(0.4, abs=0.08)
    assert list(train["time"].values) == [10.0, 20.0]
    assert true_model(train) == JI_MODEL
    alpha = truth(train)["alpha"].values
    assert ((alpha >= 0.8) & (alpha <= 1.2)).all()


def test_a_cell_is_scored_against_the_truth():
    row = scaling.run(dataclasses.replace(SMALL, conditions=20, updates=150, solver="Heun"))
    assert row["status"] == "completed"
    assert row["mae"] < 0.6 * row["flat_mae"]
    assert row["pearson"] > 0.8
    assert row["seconds"] > 0
    assert row["nodes"] == 3


def test_a_cell_that_fails_says_why(monkeypatch):
    def failing(*args, **options):
        raise pcb.DivergenceError("it blew up.")

    monkeypatch.setattr(pcb, "fit", failing)
    row = scaling.run(SMALL)
    assert row["status"] == "DivergenceError: it blew up."
    assert "mae" not in row


def result(cell: Cell, **scores: float) -> dict[str, object]:
    return dataclasses.asdict(cell) | {"status": "completed", "seconds": 1.0} | scores


class TestTable:
    """The CSV file behind a run that can be taken up again."""

    def test_finished_cells_are_known_after_a_restart(self, tmp_path):
        table = Table(tmp_path / "new" / "size.csv")
        other = dataclasses.replace(SMALL, seed=1)
        assert SMALL not in table
        table.add(result(SMALL, mae=0.1))
        again = Table(table.path)
        assert SMALL in table
        assert SMALL in again
        assert other not in again
        again.add(result(other))
        rows = list(csv.DictReader(table.path.read_text().splitlines()))
        assert [row["mae"] for row in rows] == ["0.1", ""]

    def test_a_row_cut_short_is_removed(self, tmp_path):
        table = Table(tmp_path / "size.csv")
        table.add(result(SMALL))
        whole = table.path.read_bytes()
        table.path.write_bytes(whole + whole.splitlines()[1][:20])
        again = Table(table.path)
        assert table.path.read_bytes() == whole
        assert SMALL in again

    def test_a_header_cut_short_is_written_anew(self, tmp_path):
        path = tmp_path / "size.csv"
        path.write_text("grid,nod")
        Table(path)
        assert path.read_text() == ",".join(scaling.COLUMNS) + "\n"


def test_work_stops_when_time_is_up(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "run", lambda cell: result(cell, mae=0.1, auprc_ratio=2.0))
    table = Table(tmp_path / "size.csv")
    todo = [dataclasses.replace(SMALL, seed=s) for s in range(3)]
    assert scaling.work(todo, table, -1.0) == 3
    assert not table.done
    assert scaling.work(todo, table, 60.0) == 0
    assert len(table.done) == 3


def test_a_second_run_computes_nothing_and_draws_again(tmp_path, monkeypatch):
    quick = {"nodes": (3,), "conditions": (6, 8)}
    monkeypatch.setitem(scaling.AXES, "size", (quick, quick))
    monkeypatch.setattr(scaling, "figure", lambda grid, varied, rows, path: drawn.append(len(rows)))
    runs, drawn = [], []

    def listen(cell):
        runs.append(cell)
        return result(cell, mae=0.1, pearson=0.9, auprc_ratio=2.0)

    monkeypatch.setattr(scaling, "run", listen)
    arguments = ["scaling", "--grid", "size", "--quick", "--seeds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--backend", "numpy"])
    scaling.main()
    assert len(runs) == 5  # four cells, and one to have the solver compiled
    scaling.main()
    assert len(runs) == 5
    assert drawn == [4, 4]


def test_means_are_over_the_same_networks_everywhere():
    cells = scaling.cells("times", True, range(3), "numpy")
    other = [dataclasses.replace(cells[0], updates=3), dataclasses.replace(cells[0], backend="x")]
    rows = pd.DataFrame([result(cell) for cell in [*cells[:-1], *other]])
    kept = scaling.comparable(rows)
    assert [Cell(*row) for row in kept[list(scaling.KEY)].itertuples(index=False)] == cells[:6]


@pytest.mark.slow
@pytest.mark.parametrize("grid", scaling.AXES)
def test_every_grid_has_a_figure_even_if_cells_are_missing(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.scaling_figures.DPI", 60)
    rng = np.random.default_rng(0)
    rows = [
        result(cell, mae=rng.uniform(0.01, 1), pearson=rng.uniform(-0.2, 1), auprc_ratio=2.0)
        for cell in scaling.cells(grid, True, [0, 1], "numpy")[:-1]
    ]
    rows[0].pop("mae")
    path = tmp_path / "figure.png"
    scaling.figure(grid, tuple(scaling.AXES[grid][0]), pd.DataFrame(rows), path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_the_24_nodes_are_twelve_proteins_and_all_drugs(melanoma_dir):
    everything, some = (melanoma.read(melanoma_dir, nodes) for nodes in (99, 24))
    kinds = list(some["node_kind"].values)
    assert (kinds.count("protein"), kinds.count("drug"), len(kinds)) == (12, 12, 24)
    assert everything.sizes["node"] == 99
    np.testing.assert_array_equal(some["response"], everything["response"].sel(node=some["node"]))
    # No perturbation is lost, so that the splits are the same.
    left_out = everything["perturbation"].drop_sel(node=some["node"].values)
    assert (left_out == 0).all()
    assert melanoma.tasks(some, 2) == melanoma.tasks(everything, 2)
