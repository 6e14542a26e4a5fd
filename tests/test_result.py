"""Saving, loading, predicting, evaluating."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.container import read_datasets, write_datasets
from pycellbox.errors import DataError, ResultFileError
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
