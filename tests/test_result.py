"""Saving, loading, predicting, evaluating."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.container import read_datasets, write_datasets
from pycellbox.errors import DataError, ResultFileError
from pycellbox.evaluation import roles_in_fit
from pycellbox.result import interactions
from tests.helpers import NODES, dataset


def fitted(times=None, **options) -> pcb.Fit:
    data = dataset(np.random.default_rng(0), times=times)
    model = options.pop("model", pcb.CellBox())
    return pcb.fit(data, model, schedule=pcb.Stage(8), progress=False, **options)


@pytest.fixture(scope="module")
def fit() -> pcb.Fit:
    return fitted(validation=0.25)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"times": (0.5, 1.0, 2.0)},
        {"dtype": "float32"},
        {"solver": pcb.Tsit5(1e-4, 1e-7)},
        {"model": pcb.CellBox(form=2, envelope="hill", order=3, degree=2)},
        {"model": pcb.CellBox(mask=np.triu(np.ones((7, 7), bool)))},
        {"model": pcb.CellBox(form="ji", drugs="clamped", dose_saturation=None)},
    ],
    ids=repr,
)
def test_a_loaded_fit_predicts_the_same_bits(options, tmp_path):
    fit = fitted(**options)
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    u = fit.data["perturbation"] * 0.7
    np.testing.assert_array_equal(again.predict(u).values, fit.predict(u).values)
    xr.testing.assert_identical(again.parameters, fit.parameters)
    xr.testing.assert_identical(again.history, fit.history)
    xr.testing.assert_identical(again.predictions, fit.predictions)
    assert again.model == fit.model
    assert again.solver == fit.solver
    assert again.provenance == fit.provenance
    if fit.model.mask is not None:
        np.testing.assert_array_equal(np.asarray(again.model.mask), np.asarray(fit.model.mask))
        again.save(tmp_path / "twice.nc")


def test_provenance_says_how_it_was_made(fit):
    p = fit.provenance
    assert p["backend"] == fit.backend == "numpy"
    assert p["seed"] == 0
    assert p["versions"]["pycellbox"] == pcb.__version__
    assert p["schedule"][0]["iterations"] == 8
    assert p["penalty"]["scale"] == "mean"
    assert fit.status == "completed"


def test_fixed_steps_are_held_to_the_equation(fit, caplog):
    assert fit.provenance["steps"]["distance_to_integration"] < 1e-2
    assert "leave the equation's solution" not in caplog.text
    coarse = fitted(times=(1.0, 2.0), solver=pcb.Euler(1.0))
    wanted = pcb.solve(
        coarse.model, coarse.parameters, coarse.data["perturbation"],
        solver=pcb.Tsit5(1e-10, 1e-12), times=(1.0, 2.0), backend="numpy",
    )  # fmt: skip
    distance = np.abs(coarse.predictions - wanted).max().item()
    said = coarse.provenance["steps"]["distance_to_integration"]
    assert said == pytest.approx(distance, rel=1e-3)
    assert f"leave the equation's solution by up to {distance:.2g}" in caplog.text


def test_an_adaptive_fit_needs_no_such_check():
    assert "steps" not in fitted(times=(1.0, 2.0)).provenance


def test_groups_and_dims(fit):
    assert set(fit.tree.children) == {"parameters", "history", "predictions", "data"}
    assert fit.parameters["W"].dims == ("target", "source")
    assert fit.parameters["alpha"].dims == ("node",)
    assert "mask" not in fit.parameters
    assert set(fit.data["role"].values) == {"train", "validation"}


def test_the_repr_tells_the_essentials(fit):
    text = repr(fit)
    assert "7 nodes, 9 conditions fitted, 3 for validation" in text
    assert "ε∘φ(Wx + u)" in text
    assert "completed; numpy backend" in text


def test_interactions_are_counted_by_block(fit):
    W = np.zeros((7, 7))  # A, B, C, D, then P the phenotype, then x, y the drugs
    W[0, 5], W[1, 6], W[2, 5] = 1.0, -0.5, 0.0011
    W[3, 5] = -0.0009  # too weak
    W[0, 1], W[1, 1] = 0.2, 0.3
    W[4, 0] = -0.4
    parameters = fit.parameters.assign(W=(("target", "source"), W))
    said = "6 interactions with |w| > 0.001: 3 drug → node, 2 node → node, 1 node → phenotype"
    assert interactions(parameters) == said
    backwards = parameters.transpose("source", "target", "node")
    assert interactions(backwards.isel(node=slice(None))) == said
    assert interactions(fit.parameters) in repr(fit)


def test_blocks_that_cannot_be_are_not_counted(fit):
    part = fit.parameters.sel(node=list("ABCD"), target=list("ABCD"), source=list("ABCD"))
    number = int((np.abs(part["W"]) > 1e-3).sum())
    text = f"{number} interactions with |w| > 0.001: {number} node → node"
    assert interactions(part) == text


def test_predictions_are_those_of_predict(fit):
    np.testing.assert_array_equal(fit.predictions.values, fit.predict(fit.data).values)


def test_predict_at_times_of_a_steady_state_fit(fit):
    x = fit.predict(fit.data, times=[1.0, fit.horizon])
    assert x.dims == ("condition", "time", "node")
    np.testing.assert_allclose(x.isel(time=-1).values, fit.predictions.values, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda u: u.isel(node=slice(1, None)), r"lacks the node\(s\) A"),
        (lambda u: u.assign_coords(node=["Q", *NODES[1:]]), r"lacks the node\(s\) A"),
        (lambda u: u.where(u != 0), "must be a finite number"),
        (lambda u: u.rename(condition="row"), "'condition', 'node'"),
        (lambda u: u.values, "is a ndarray"),
        (lambda u: u.to_dataset(name="dose"), "no variable 'perturbation'"),
    ],
)
def test_bad_perturbation(fit, change, match):
    with pytest.raises(DataError, match=match):
        fit.predict(change(fit.data["perturbation"]))


def test_evaluate_stands_beside_the_baselines(fit):
    pytest.importorskip("sklearn", reason='ridge needs scikit-learn: pip install "pycellbox[all]"')
    result = fit.evaluate(fit.data)
    assert list(result.table.index) == [
        "CellBox", "mean response", "additive effects", "ridge", "ridge with intercept",
    ]  # fmt: skip
    assert result.by_node["pearson"].dims == ("model", "node")
    assert result.by_condition["mse"].dims == ("model", "condition")
    error = ((fit.predictions - fit.data["response"]) ** 2).mean()
    assert result.table.loc["CellBox", "mse"] == pytest.approx(float(error))
    assert "ridge with intercept" in repr(result)
    assert list(fit.evaluate(fit.data, baselines=False).table.index) == ["CellBox"]


def test_scores_without_drug_nodes_stand_beside_those_of_all(fit):
    result = fit.evaluate(fit.data)
    assert list(result.table.columns) == [
        "pearson", "mse", "pearson_without_drugs", "mse_without_drugs",
        "pearson_by_node", "pearson_by_condition",
    ]  # fmt: skip
    nodes = list("ABCDP")
    off = (fit.predictions - fit.data["response"]).sel(node=nodes)
    assert result.table.loc["CellBox", "mse_without_drugs"] == pytest.approx(float((off**2).mean()))
    for name, predicted in result.predictions.items():
        seen = fit.data["response"].sel(node=nodes)
        wanted = pcb.metrics.pearson(predicted.sel(node=nodes), seen)
        np.testing.assert_equal(result.table.loc[name, "pearson_without_drugs"], wanted)
    assert "over all 7 nodes, then without the 2 drug nodes" in repr(result)
    assert "MSE w/o drugs" in repr(result)
    assert "without the 2 drug nodes" in result._repr_html_()


@pytest.mark.parametrize("unmeasured", [["x", "y"], list("ABCDP")])
def test_drug_nodes_are_left_out_only_where_that_makes_a_difference(fit, unmeasured):
    part = fit.data.copy(deep=True)
    part["response"].loc[{"node": unmeasured}] = np.nan
    result = fit.evaluate(part, baselines=False)
    assert not [name for name in result.table if "drugs" in name]
    assert "drug nodes" not in repr(result)


def test_rows_the_fit_has_seen_are_marked(fit):
    data = fit.data.drop_vars("role")
    named = lambda part, *labels: part.assign_coords(condition=list(labels))  # noqa: E731
    unseen = named(data.isel(condition=[0, 1]), "n0", "c1")
    unseen["perturbation"][:] *= 1.5
    twin = named(data.isel(condition=[2]), "again")
    twin["perturbation"][:] *= 1 + 1e-9
    role = fit.data["role"].values
    mixed = xr.concat([unseen, twin, data.isel(condition=slice(2, None))], "condition")
    result = fit.evaluate(mixed.isel(node=slice(None, None, -1)), baselines=False)
    wanted = ["unseen", "unseen", "replicate", *role[2:]]
    np.testing.assert_array_equal(result.by_condition["role"], wanted)
    fitted, judging = (role[2:] == "train").sum(), (role[2:] == "validation").sum()
    first = result.caption.splitlines()[0]
    assert first == (
        f"scores on 13 rows: {fitted} fitted, {judging} validation, 1 replicate, 2 unseen; "
        "rows that the fit has seen, and replicates of them, flatter every model"
    )
    assert repr(result).startswith(result.caption)
    only = fit.evaluate(unseen, baselines=False)
    assert only.caption.startswith("scores on 2 unseen rows\n")
    whole = fit.evaluate(data.isel(condition=role == "train"), baselines=False)
    assert whole.caption.startswith("scores on 9 fitted rows; rows that the fit has seen")


def test_evaluate_a_held_out_part_with_an_unmeasured_node(fit):
    part = fit.data.isel(condition=[0, 1]).copy(deep=True)
    part["response"].loc[{"node": "B"}] = np.nan
    assert np.isnan(fit.evaluate(part).by_node["mse"].sel(node="B")).all()


def test_evaluate_without_scikit_learn_says_so(fit, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    result = fit.evaluate(fit.data)
    assert "ridge" not in result.table.index
    assert "pycellbox[baselines]" in repr(result)


def test_evaluate_time_courses():
    fit = fitted(times=(0.5, 1.0, 2.0))
    result = fit.evaluate(fit.data)
    assert "mean response" in result.table.index


def test_other_nodes_cannot_be_told_seen_or_unseen(fit):
    with pytest.raises(DataError, match=r"differ in 1 node\(s\), the first is 'y'"):
        roles_in_fit(fit.data.isel(node=slice(6)), fit.data)


class TestFiles:
    """What can be wrong with a file."""

    def test_missing(self, tmp_path):
        with pytest.raises(ResultFileError, match="there is no file"):
            pcb.load(tmp_path / "nothing.nc")

    def test_not_netcdf(self, tmp_path):
        path = tmp_path / "notes.nc"
        path.write_text("hello")
        with pytest.raises(ResultFileError, match="damaged, incomplete or of another format"):
            pcb.load(path)

    def test_truncated(self, fit, tmp_path):
        path = fit.save(tmp_path / "fit.nc")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ResultFileError, match="damaged"):
            pcb.load(path)

    def test_a_dataset_is_not_a_fit(self, fit, tmp_path):
        path = pcb.save_data(fit.data.drop_vars("role"), tmp_path / "data.nc")
        with pytest.raises(ResultFileError, match=r"not one that Fit\.save wrote.*open_data"):
            pcb.load(path)

    @pytest.mark.parametrize(
        ("name", "value", "match"),
        [
            ("format_version", 99, r"format version 99.*upgrade"),
            ("solver", json.dumps({"name": "Warp9"}), "unknown solver 'Warp9'"),
            ("provenance", "{}", "damaged: KeyError"),
            ("model", "[" * 5000, "damaged: .*nested"),
            ("horizon", "null", "the horizon does not go with the data"),
        ],
    )
    def test_an_attribute_that_cannot_be(self, fit, tmp_path, name, value, match):
        groups = read_datasets(fit.save(tmp_path / "fit.nc"))
        groups[""].attrs[name] = value
        with pytest.raises(ResultFileError, match=match):
            pcb.load(write_datasets(tmp_path / "fit.nc", groups))

    @pytest.mark.parametrize("group", ["parameters", "history", "predictions", "data"])
    def test_a_group_is_gone(self, fit, tmp_path, group):
        groups = read_datasets(fit.save(tmp_path / "fit.nc"))
        del groups[group]
        with pytest.raises(ResultFileError, match=f"lacks the group.*{group}"):
            pcb.load(write_datasets(tmp_path / "fit.nc", groups))

    @pytest.mark.parametrize(
        ("group", "change"),
        [
            ("parameters", lambda g: g.drop_vars("alpha")),
            ("parameters", lambda g: g.assign(alpha=g["alpha"].astype(str))),
            ("parameters", lambda g: g.assign(W=g["W"] * np.nan)),
            ("parameters", lambda g: g.isel(node=slice(1, None))),
            ("history", lambda g: g.drop_vars("loss")),
            ("history", lambda g: g.assign(loss=g["loss"].astype(str))),
            ("predictions", lambda g: g.isel(node=0)),
            ("data", lambda g: g.drop_vars("role")),
            ("data", lambda g: g.assign_coords(node_kind=("node", ["drug"] * 7))),
            ("data", lambda g: g.assign(response=g["response"].astype(str))),
        ],
    )
    def test_something_in_a_group_cannot_be(self, fit, tmp_path, group, change):
        groups = read_datasets(fit.save(tmp_path / "fit.nc"))
        groups[group] = change(groups[group])
        with pytest.raises(ResultFileError, match="is damaged"):
            pcb.load(write_datasets(tmp_path / "fit.nc", groups))
