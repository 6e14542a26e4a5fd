"""`benchmarks/panel.py`: tables and tasks, what is kept and taken up, sums, choices."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from tests.support.data import SHARED_DATA

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import methods  # noqa: E402
import panel  # noqa: E402
import screens  # noqa: E402

from harness import panel_scores, panel_tables, splits  # noqa: E402
from harness.panel_scores import judged, left_out  # noqa: E402

DRUGS = ("a", "b", "c", "d")
NODES = ("p", "q", *DRUGS)


def screen(pairs="ab ac bc ad", singles="abc", seed=0):
    """Four drugs, the last one never alone; two proteins, whose responses add up but for noise."""
    given = [*singles, *pairs.split()]
    doses = np.array([[float(drug in row) for drug in DRUGS] for row in given])
    rng = np.random.default_rng(seed)
    y = doses @ rng.normal(size=(4, 2)) + rng.normal(0, 0.1, (len(given), 2))
    conditions = ["+".join(row) for row in given]
    return pcb.from_tables(
        pd.DataFrame(doses, conditions, DRUGS).reindex(columns=NODES, fill_value=0.0),
        pd.DataFrame(y, conditions, ["p", "q"]).reindex(columns=NODES),
        node_kind=dict.fromkeys("pq", "protein") | dict.fromkeys(DRUGS, "drug"),
    )


def test_tasks_are_what_the_conditions_allow():
    found = splits.tasks(screen(), range(3), together=True)
    assert list(found) == list(splits.TASKS)
    assert len(found[splits.RANDOM]) == 3
    names = [{s.name.split()[1] for s in found[task]} for task in splits.TASKS[2:]]
    # Nothing is to be kept of a drug that is nowhere alone.
    assert names == [{"a", "b", "c"}, {"a", "b", "c", "d"}]
    alone = splits.tasks(screen(pairs=""), [0], together=True)
    assert list(alone) == [splits.RANDOM, splits.WITHOUT_SINGLES]


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the tables lie beside the checkout")
def test_all_tables_are_found_and_read():
    tables = screens.find(SHARED_DATA)
    assert {table.family for table in tables} == set(screens.FAMILIES)
    assert len({table.label for table in tables}) == len(tables)
    for family, kind in screens.FAMILIES.items():
        data = next(table for table in tables if table.family == family).read()
        assert ("time" in data["response"].dims) == kind.courses
        assert {"protein", "drug"} <= set(data["node_kind"].values)


def lab(folder, tables=("A", "B")):
    """Write tables as `crc` has them."""
    for seed, name in enumerate(tables):
        data, place = screen(seed=seed), folder / "crc/tables" / name
        place.mkdir(parents=True)
        for file, what in (("pert", "perturbation"), ("expr", "response")):
            data[what].to_pandas().to_csv(place / f"{file}.csv")
        data["node_kind"].to_pandas().rename("kind").to_csv(place / "kinds.csv")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A panel with a cheap model; returns what was fitted."""
    fitted = []

    def cheap(rows, backend):
        fitted.append(tuple(rows["condition"].values))
        return methods.BASELINES["mean response"](rows, backend)

    def refused(rows, backend):
        raise pcb.DataError("too few rows.")

    models = {methods.CELLBOX: cheap, "refused": refused}
    few = {name: methods.BASELINES[name] for name in ("ridge", "no change")}
    for module in (panel, panel_tables):
        monkeypatch.setattr(module, "MODELS", models)
        monkeypatch.setattr(module, "BASELINES", few)
    monkeypatch.setattr(panel, "METHODS", models | few)
    monkeypatch.setattr(panel, "figure", lambda *arguments: None)
    arguments = ["--data", lab(tmp_path / "data"), "--out", tmp_path, "--workers", 1]
    arguments += ["--methods", methods.CELLBOX, "refused", "--seeds", 1, "--tasks", "random"]

    def run(*more):
        fitted.clear()
        panel.main([*map(str, arguments), *more])
        return len(fitted)

    return run


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(run, tmp_path, capsys):
    kept = tmp_path / "panel.jsonl"

    def scores():
        return {tuple(row[k] for k in panel.KEY): row.get("mse") for row in panel.results(kept)}

    assert run() == 2
    first = scores()
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(rows) == 2 * (2 + 2)
    assert [row["failed"] for row in rows if row["method"] == "refused"] == [
        "DataError: too few rows."
    ] * 2
    assert (
        "1 of the fits of refused: DataError: too few rows." in (tmp_path / "panel.md").read_text()
    )
    assert run() == 0
    # The middle of a line, of the first method of the last split.
    last = [k for k, row in enumerate(rows) if row["method"] == methods.CELLBOX][-1]
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:last]) + lines[last][:40])
    assert run() == 1
    assert scores() == first
    assert run("--again") == 2
    assert run("--draw", "--tables", "B") == 0
    assert "crc A" not in (tmp_path / "panel.md").read_text()


def test_names_are_whole_or_parts():
    known = ["ridge", "ridge with intercept", "robust ridge", "no change"]
    assert panel.chosen(["ridge"], known, "method") == ["ridge"]
    assert panel.chosen(["with", "no"], known, "method") == ["ridge with intercept", "no change"]
    assert panel.chosen(None, known, "method") == known
    with pytest.raises(SystemExit, match="no method has 'lasso' in its name; there are: ridge,"):
        panel.chosen(["lasso"], known, "method")


def rows_of(errors, family="crc", table="crc A", task="random"):
    """Rows of methods by their errors on splits."""
    return [
        {
            "family": family, "table": table, "task": task, "split": str(k), "method": method,
            "fitted": 7, "tested": 3, "mse": mse, "pearson": None, "seconds": 1.0 + k,
            "errors": {f"{k}": mse, "both": mse},
        }
        for method, of in errors.items()
        for k, mse in enumerate(of)
    ]  # fmt: skip


def test_the_best_baseline_is_chosen_by_the_mean_error_on_the_splits_of_a_method():
    errors = {
        "CellBox": [0.8, 1.6],
        "ridge": [1.0, 1.5],
        "no change": [2.0, 1.0],
        "robust ridge": [1.0, 1.0],  # none of the six
        "additive effects": [0.1],  # lacks a split
    }
    (row,) = judged(rows_of(errors), ["CellBox"])
    assert (row["best"], row["best of all"]) == ("ridge", "robust ridge")
    assert row["ratio"] == pytest.approx(1.2 / 1.25)
    assert row["ratio of all"] == pytest.approx(1.2)
    expected = pcb.metrics.over_splits([-0.2, 0.1], fitted=7, tested=3)
    assert row["difference"] == pytest.approx(expected.mean / 1.25)
    assert row["error"] == pytest.approx(expected.error / 1.25)
    assert (row["p"], row["better in"]) == (pytest.approx(expected.p), "1 of 2")
    assert (row["seconds"], row["longest"]) == (1.5, 2.0)
    # Its own splits are what counts: additive effects have the only one of this method.
    (row,) = judged(rows_of({**errors, "CellBox": [0.8]}), ["CellBox"])
    assert row["best"] == "additive effects"


def test_each_condition_is_tested_once_by_its_mean_over_splits():
    rng = np.random.default_rng(0)
    labels = {"condition": list("abcdef"), "node": list("xyz")}
    observed, ours, theirs = (
        xr.DataArray(rng.normal(size=(6, 3)), dims=("condition", "node"), coords=labels)
        for _ in range(3)
    )
    rows = rows_of({"CellBox": [1.0, 1.0], "ridge": [2.0, 2.0]})
    for row in rows:
        predicted = ours if row["method"] == "CellBox" else theirs
        of_each = pcb.metrics.mse(predicted, observed, "condition")
        # The splits are twice as far off, and not at all.
        scale = {"0": 2.0, "1": 0.0}[row["split"]]
        pairs = zip(labels["condition"], of_each.values, strict=True)
        row["errors"] = {name: scale * float(error) for name, error in pairs}
    (row,) = judged(rows, ["CellBox"])
    expected = pcb.metrics.paired_by_condition(ours, theirs, observed)
    assert row["p by condition"] == pytest.approx(expected.p)


def test_what_is_best_on_all_families_but_one_is_judged_on_that_one():
    ratios = {  # of each family: of variants A and B
        "melanoma": (0.5, 1.0),
        "crc": (0.9, 0.8),
        "liver": (0.9, 0.8),
        "hpn": (0.9, 0.8),
        "hpn courses": (0.5, 2.0),  # left out with hpn
    }
    rows = [
        row
        for family, pair in ratios.items()
        for row in rows_of(
            {**dict(zip("AB", [[r] for r in pair], strict=True)), "ridge": [1.0]}, family, family
        )
    ]
    # What only one variant has does not count.
    rows += rows_of({"A": [0.001], "ridge": [1.0]}, "liver", "other")
    found = {row.family: row for row in left_out(judged(rows, "AB"), "AB")}
    assert list(found) == ["melanoma", "crc", "hpn", "liver"]
    assert {family: row.chosen for family, row in found.items()} == {
        "melanoma": "A", "crc": "A", "hpn": "A", "liver": "A",
    }  # fmt: skip
    assert [found[f].afterwards for f in ("melanoma", "crc", "hpn")] == ["A", "B", "A"]
    assert found["crc"].ratios["A"]["random"] == pytest.approx(0.9)
    assert found["hpn"].ratios["B"]["random"] == pytest.approx(np.sqrt(0.8 * 2))
    without = [row for row in rows if row["family"] not in ("hpn", "hpn courses")]
    chosen = {row.family: row.chosen for row in left_out(judged(without, "AB"), "AB")}
    assert chosen == {"melanoma": "B", "crc": "A", "liver": "A"}


def test_a_method_that_predicts_as_the_default_does_is_named():
    rows = rows_of({"CellBox": [1.0, 2.0], "CellBox without common effect": [1.0, 2.0]})
    rows += rows_of({"CellBox without shared column": [1.0, 2.1], "ridge": [1.0, 1.0]})
    named = list(dict.fromkeys(row["method"] for row in rows))
    text = panel_tables.markdown(judged(rows, named), rows, named)
    assert "CellBox without common effect predicts as CellBox does" in text
    assert "CellBox without shared column predicts" not in text


def test_groups_and_families_are_those_of_the_tables():
    for grouped in (panel_scores.GROUPS, panel_scores.LEFT_OUT):
        assert {f for families in grouped.values() for f in families} == set(screens.FAMILIES)


def test_models_are_told_what_their_names_say(monkeypatch):
    told, data = {}, screen()
    for name, method in methods.MODELS.items():

        def fit(rows, model, *, name=name, **options):
            told[name] = (model, options)

        monkeypatch.setattr(pcb, "fit", fit)
        method(data, "numpy")
    assert told.keys() == methods.MODELS.keys() - {methods.EDGELESS}
    assert told[methods.CELLBOX][1].items() >= methods.DEFAULT.items()
    kinds = list(data["node_kind"].values)
    for name, (model, _) in told.items():
        fixed = model.declare(list(NODES), kinds)[0].fixed
        assert fixed[:2, :2].all() == ("without edges" in name)
        assert not fixed[:2, 2:].any()


def test_phenotypes_keep_their_edges_where_drugs_cannot_act_on_them():
    data = screen()
    data["node_kind"] = data["node_kind"].astype(object).where(data["node"] != "q", "phenotype")
    free = ~methods.only_drugs_act(data).declare(list(NODES), data["node_kind"].values)[0].fixed
    assert free[1, 0]  # on phenotype q
    assert not free[0, :2].any()
