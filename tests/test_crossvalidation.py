"""Cross-validation: each condition predicted by a fit that has not seen it."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.crossvalidation import folds as room
from pycellbox.estimation import strengths
from tests.support.fits import PLAIN, known_network, quick
from tests.support.screens import dataset, screen

OPTIONS = {"progress": False, "backend": "numpy"}
DECAY = pcb.ODE({"x": "-k*x"}, parameters={"k": pcb.Parameter(positive=True)}, initial={"x": 1})
QUICK = pcb.Recipe(schedule=quick(2))
LM = pcb.Recipe(DECAY, schedule=pcb.Stage(10, optimizer=pcb.LM()))


@pytest.fixture(scope="module", autouse=True)
def strengths_are_chosen_quickly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strengths, "_SWEEPS", 1)
        yield


@pytest.fixture(scope="module")
def data():
    doses, y = screen(np.random.default_rng(3), conditions=14, drugs=3, nodes=3)
    made = dataset(doses, y, ["protein"] * 3)
    return made.assign(response=made["response"].fillna(0).where(made["node"] != "D2"))


def courses():
    rng = np.random.default_rng(0)
    x = np.exp(-0.7 * np.arange(1.0, 5)) + rng.normal(0, 0.01, (6, 4))
    dims = ("condition", "time", "node")
    return pcb.validate(
        xr.Dataset(
            {"perturbation": (("condition", "node"), np.zeros((6, 1))),
             "response": (dims, x[:, :, None])},
            {"condition": list("abcdef"), "node": ["x"], "node_kind": ("node", ["protein"]),
             "time": ("time", np.arange(1.0, 5), {"units": "h"}),
             "subject": ("condition", list("uuvvww"))},
        )
    )  # fmt: skip


@pytest.mark.parametrize("by", ["replicate", "drug"])
def test_predictions_are_those_of_fits_without_the_condition(data, by):
    recipe = QUICK if by == "drug" else pcb.Recipe()
    found = pcb.cross_validate(data, recipe, folds=3, by=by, seed=1, **OPTIONS)
    splits = pcb.splits.k_fold(data, 3, by=by, seed=1)
    assert list(found.folds.index) == [split.name for split in splits]
    rows, errors = [], []
    for k, split in enumerate(splits):
        train, _, test = split.apply(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pcb.DataWarning)  # of unseen drugs
            alone = pcb.fit(train, recipe, **OPTIONS).predict(test["perturbation"], backend="numpy")
        own = found.predictions if by == "replicate" else found.predictions[k]
        np.testing.assert_array_equal(own.sel(condition=test["condition"].values), alone)
        rows.append((alone - test["response"]).values)
        errors.append(np.nanmean(rows[-1] ** 2))
    np.testing.assert_allclose(found.folds["mse"], errors)
    every = np.concatenate(rows)
    assert found.overall.loc["mse", "value"] == pytest.approx(np.nanmean(every**2))
    no_drugs = every[:, data["node_kind"].values != "drug"]
    assert found.overall.loc["mse_without_drugs", "value"] == pytest.approx(np.mean(no_drugs**2))
    error = np.std(errors, ddof=1) / np.sqrt(3)
    assert found.overall.loc["mse", "standard_error"] == pytest.approx(error)
    times = sum((np.isin(data["condition"].values, s.test)).astype(int) for s in splits)
    assert times.max() == (1 if by == "replicate" else 2)
    assert found.by_condition.sizes["condition"] == 14
    twice = str(data["condition"].values[times.argmax()])
    mine = [np.nanmean(r[list(s.test).index(twice)] ** 2)
            for r, s in zip(rows, splits, strict=True) if twice in s.test]  # fmt: skip
    assert found.by_condition["mse"].sel(condition=twice).item() == pytest.approx(np.mean(mine))
    measured = data["node"].values[~np.isnan(every).all(axis=0)]
    assert measured.size == data.sizes["node"] - 1
    np.testing.assert_allclose(
        found.by_node["mse"].sel(node=measured), np.nanmean(every[:, : measured.size] ** 2, axis=0)
    )


def cases():
    network, _ = known_network(conditions=6)
    trained = pcb.Recipe(PLAIN, solver=pcb.Heun(0.2), schedule=quick(3), horizon=4.0)
    known, _ = known_network(times=[1.0, 2.0], conditions=6)
    course = pcb.Recipe(PLAIN, solver=pcb.Heun(0.2), schedule=quick(3))
    return {
        "trained": (network, trained, "replicate"),
        "courses": (known, course, "condition"),
        "equations": (courses(), LM, "subject"),
    }


@pytest.mark.filterwarnings("ignore::pycellbox.NumericsWarning")  # few iterations
@pytest.mark.parametrize("name", ["trained", "courses", "equations"])
def test_it_is_for_all_that_is_fitted_on_any_executor(name):
    data, recipe, by = cases()[name]
    found = pcb.cross_validate(data, recipe, folds=2, by=by, **OPTIONS)
    assert found.predictions.dims == data["response"].dims
    assert np.isfinite(found.predictions.values).all()
    assert found.overall.loc["mse", "value"] == pytest.approx(
        float(((found.predictions - data["response"]) ** 2).mean())
    )
    with ThreadPoolExecutor(2) as pool:
        again = pcb.cross_validate(data, recipe, folds=2, by=by, executor=pool, **OPTIONS)
    xr.testing.assert_identical(found.predictions, again.predictions)
    if name == "equations":
        assert found.overall.loc["pearson", "value"] > 0.99


def test_of_a_fit_its_own_rows_and_recipe_are_taken(data):
    fit = pcb.fit(data, QUICK, validation=0.2, **OPTIONS)
    found = pcb.cross_validate(fit, folds=2, **OPTIONS)
    train = fit.data["condition"].values[fit.data["role"].values == "train"]
    assert set(found.predictions["condition"].values) == set(train)
    assert found.folds["fitted"].sum() == found.folds["tested"].sum() == len(train)


def test_a_fold_that_fails_is_counted_and_named(data):
    # Without D0 there are controls alone, which say nothing.
    doses = np.array([[0, 0], [0, 0], [1, 0], [2, 0], [1, 1], [2, 1.0]])
    made = dataset(doses, np.random.default_rng(0).normal(size=(6, 3)))
    with pytest.warns(pcb.NumericsWarning, match=r"1 fold of 2 could not.*'without D0'"):
        found = pcb.cross_validate(made, by="drug", **OPTIONS)
    assert list(found.failures["fold"]) == ["without D0"]
    assert "failed    without D0: " in repr(found)
    assert found.predictions.sel(fold="without D0").isnull().all()
    assert np.isnan(found.folds.loc["without D0", "mse"])
    assert np.isnan(found.overall.loc["mse", "standard_error"])  # of one fold
    with pytest.raises(pcb.PycellboxError, match="none of 1 folds could be fitted"):
        pcb.cross_validate(made.isel(condition=[0, 1, 2, 3]), by="drug", **OPTIONS)


def test_a_fit_cut_short_is_a_fold_that_fails(data, monkeypatch):
    cut = SimpleNamespace(ending=pcb.Ending.DIVERGED, status="stopped early")
    monkeypatch.setattr(room, "fit", lambda *a, **k: cut)
    with pytest.raises(pcb.PycellboxError, match="DivergenceError: stopped early"):
        pcb.cross_validate(data, folds=2, **OPTIONS)


def test_replicates_that_are_parted_are_warned_of_once(data):
    twins = xr.concat([data, data.assign_coords(condition=[f"{c}b" for c in range(14)])],
                      "condition", data_vars="minimal")  # fmt: skip
    with pytest.warns(pcb.DataWarning, match="are replicates of fitted ones") as caught:
        pcb.cross_validate(twins, QUICK, by="condition", folds=2, **OPTIONS)
    assert len(caught) == 1
    pcb.cross_validate(twins, QUICK, folds=2, **OPTIONS)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"by": "drugs"}, "did you mean 'drug'"),
        ({"folds": 31}, "folds=31; it needs an integer from 2 to"),
        ({"validation": 1.5}, "validation=1.5"),
        ({"model": pcb.Recipe(penalty=pcb.Penalty(l2={"k": 1.0}))}, "no parameter of that name"),
        ({"executor": 3}, "executor=3"),
    ],
)
def test_bad_options_are_refused_before_any_fit(data, given, match, monkeypatch):
    monkeypatch.setattr(room, "fit", lambda *a, **k: pytest.fail("a fit was made"))
    with pytest.raises(pcb.OptionError, match=match):
        pcb.cross_validate(data, **given, **OPTIONS)
    with pytest.raises(pcb.DataError, match="role"):
        pcb.cross_validate(data.assign_coords(role=("condition", ["train"] * 14)), **OPTIONS)


def test_it_prints_its_scores(data):
    found = pcb.cross_validate(data, QUICK, folds=2, **OPTIONS)
    lines = repr(found).splitlines()
    assert lines[0] == "<pycellbox.CrossValidation: 2 folds by replicate, 14 conditions left out>"
    assert lines[1].startswith("  scores    mse ")
    assert lines[2].startswith("  no drugs  mse ")
    assert "<table" in found._repr_html_()
    assert isinstance(found.folds, pd.DataFrame)
