"""Ensembles: members the same wherever they are fitted, kept, and put together."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.ensembles import api
from pycellbox.ensembles.resampling import drawn, of_conditions, of_residuals
from tests.support.screens import dataset, screen

OPTIONS = {"progress": False, "backend": "numpy"}


@pytest.fixture(scope="module")
def data():
    doses, y = screen(np.random.default_rng(3))
    return dataset(doses, y, ["protein"] * 4 + ["phenotype"] * 2)


@pytest.fixture(scope="module")
def fit(data):
    return pcb.fit(data, **OPTIONS)


@pytest.fixture(scope="module")
def together(fit):
    return pcb.ensemble(fit, members=12, seed=1, **OPTIONS)


def test_conditions_are_drawn_with_their_replicates(data):
    labels = data["condition"].values
    twins = data.assign_coords(replicate_of=("condition", ["a", "a", "a", *labels[3:]]))
    sizes = []
    for seed in range(20):
        rows = drawn(twins, np.random.default_rng(seed))
        times = np.bincount(rows, minlength=labels.size)
        assert times[0] == times[1] == times[2]
        sizes.append(rows.size)
    assert np.mean(sizes) == pytest.approx(labels.size, rel=0.1)
    again = of_conditions(data, np.array([1, 1, 0, 1]))
    assert len(set(again["condition"].values)) == 4
    np.testing.assert_array_equal(again["response"][0], data["response"][1])
    pcb.validate(again)


def test_residuals_are_drawn_within_their_node(data, fit):
    gaps = data.assign(response=data["response"].where(data["perturbation"].sum("node") != 1.0))
    sigma = xr.full_like(data["response"], 0.5)
    sigma[3] = 2.0
    predictions = fit.predictions
    again = of_residuals(gaps.assign(sigma=sigma), predictions, np.random.default_rng(0))
    np.testing.assert_array_equal(again["response"].isnull(), gaps["response"].isnull())
    for node in ("p0", "p3"):
        own = ((gaps["response"] - predictions) / sigma).sel(node=node).values
        own = own[~np.isnan(own)]
        new = ((again["response"] - predictions) / sigma).sel(node=node).values
        nearest = np.abs(new[~np.isnan(new)][:, None] - (own - own.mean())).min(axis=1)
        assert nearest.max() < 1e-12


@pytest.mark.parametrize("resample", ["conditions", "residuals", None])
def test_members_are_the_same_on_any_executor(fit, resample):
    asked = {"members": 3, "seed": 5, "resample": resample, **OPTIONS}
    here = pcb.ensemble(fit, **asked).members
    with ThreadPoolExecutor(2) as pool:
        xr.testing.assert_identical(here, pcb.ensemble(fit, executor=pool, **asked).members)
    more = pcb.ensemble(fit, **asked | {"members": 4}).members
    xr.testing.assert_identical(here, more.isel(member=slice(3)))
    assert (here["count"] == 1).all() == (resample != "conditions")
    same = np.ptp(here["W"].values, axis=0).max() == 0
    assert same == (resample is None)  # an estimate has no seed


def test_members_are_the_same_in_other_processes(fit, together):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pcb.ensemble(fit, members=2, seed=1, executor=pool, **OPTIONS)
    xr.testing.assert_identical(there.members, together.members.isel(member=slice(2)))


def test_members_that_are_trained_are_fits_of_the_data_drawn_again(data):
    recipe = pcb.Recipe(pcb.CellBox(), schedule=pcb.Stage(3, learning_rate=0.01), seed=4)
    whole = pcb.fit(data, recipe, **OPTIONS)
    found = pcb.ensemble(whole, members=2, **OPTIONS)
    count = found.members["count"].isel(member=1).values
    rows = np.repeat(np.arange(count.size), count)
    seed = api.many.seeds(0, 2)[1]
    order = drawn(data, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(order), rows)
    alone = pcb.fit(of_conditions(data, order), recipe.replace(seed=seed), **OPTIONS)
    np.testing.assert_array_equal(alone.parameters["W"], found.members["W"].isel(member=1))


def test_predictions_are_those_of_the_members(fit, together, data):
    found = together.predict(data, quantiles=[0.25, 0.75])
    assert len(together) == 12
    laid, first = fit._predictor.laid(data), together.members.isel(member=0)
    one = fit._predictor.solved(*laid, None, "numpy", first, {})
    each = together._each(data, None, "numpy")
    np.testing.assert_allclose(each[0], one, atol=1e-12)
    np.testing.assert_allclose(found["mean"], each.mean("member"))
    np.testing.assert_allclose(found["sd_members"], each.std("member", ddof=1))
    wider = together.predict(data, interval=0.5)
    for q, end in ((0.25, "lower"), (0.75, "upper")):  # of new measurements
        np.testing.assert_allclose(found["quantiles"].sel(quantile=q), wider[end])
    assert found["quantiles"].dims == ("quantile", "condition", "node")
    median = together.predict(data, quantiles=[0.5])["quantiles"]
    np.testing.assert_array_equal(median[0], found["mean"])
    measured = found["sd"].notnull()
    assert bool((found["sd"] >= found["sd_members"]).where(measured, True).all())


def test_intervals_of_an_ensemble_hold_as_many_as_they_say():
    held = []
    for seed in range(3):
        doses, y = screen(np.random.default_rng(seed), conditions=130)
        all_of_it = dataset(doses, y)
        found = pcb.ensemble(all_of_it.isel(condition=slice(30)), members=15, **OPTIONS)
        test = all_of_it.isel(condition=slice(30, None))
        row = []
        for share in (0.5, 0.9):
            at = found.predict(test, interval=share)
            inside = (test["response"] >= at["lower"]) & (test["response"] <= at["upper"])
            row.append(float(inside.where(test["response"].notnull()).mean()))
        held.append(row)
    error = np.std(held, axis=0, ddof=1) / np.sqrt(3)
    assert (np.abs(np.mean(held, axis=0) - [0.5, 0.9]) < np.maximum(2 * error, 0.05)).all(), held


def test_pictures_have_the_intervals_of_new_measurements(together, data):
    pytest.importorskip("matplotlib")
    found = together.predict(data, interval=0.8)
    figure = pcb.plot.observed_against_predicted(found, data)
    bars = [one for one in figure.axes[0].collections if hasattr(one, "get_segments")]
    drawn = sorted(segment[:, 0].max() for one in bars for segment in one.get_segments())
    measured = data["response"].notnull() & found["upper"].notnull()
    upper = found["upper"].transpose(*measured.dims).values[measured.values]
    np.testing.assert_allclose(drawn, np.sort(upper))


def test_edges_have_the_weight_of_the_fit_and_the_spread_of_the_members(fit, together):
    table = together.edges(0.8)
    assert table["weight"].abs().is_monotonic_decreasing
    first = table.iloc[0]
    W = together.members["W"].sel(target=first["target"], source=first["source"])
    own = fit.parameters["W"].sel(target=first["target"], source=first["source"])
    assert first["weight"] == float(own)
    assert first["lower"] == pytest.approx(float(W.quantile(0.1)))
    assert first["agree"] == float((np.sign(W) == np.sign(first["weight"])).mean())
    assert "confidence" not in table.columns


def test_an_ensemble_is_one_file(together, data, tmp_path):
    again = pcb.load(together.save(tmp_path / "members.nc"))
    assert isinstance(again, pcb.Ensemble)
    xr.testing.assert_identical(again.members, together.members)
    xr.testing.assert_identical(again.predict(data), together.predict(data))
    assert repr(again) == repr(together)


def test_members_that_fail_are_named_and_the_others_kept(fit, monkeypatch):
    def failing(setting, number):
        if number == 2:
            raise pcb.DivergenceError("it blew up")
        return api.__dict__["_member"](setting, number)

    monkeypatch.setitem(api.__dict__, "_member", api.member)
    monkeypatch.setattr(api, "member", failing)
    with pytest.warns(pcb.NumericsWarning, match="1 member of 4 could not be fitted.*blew up"):
        found = pcb.ensemble(fit, members=4, **OPTIONS)
    assert found.members["member"].values.tolist() == [0, 1, 3]
    assert found.failures["member"].tolist() == [2]
    assert "1 failed" in repr(found)
    monkeypatch.setattr(api, "member", lambda setting, number: failing(setting, 2))
    with pytest.raises(pcb.PycellboxError, match="4 members of 4 could not"):
        pcb.ensemble(fit, members=4, **OPTIONS)


def test_a_run_that_was_stopped_goes_on_from_its_store(fit, tmp_path, monkeypatch):
    whole = pcb.ensemble(fit, members=4, **OPTIONS)
    store, made = tmp_path / "store", []

    def stopping(setting, number):
        made.append(number)
        if len(made) == 3:
            raise KeyboardInterrupt
        return fitted(setting, number)

    fitted = api.member
    monkeypatch.setattr(api, "member", stopping)
    with pytest.raises(KeyboardInterrupt):
        pcb.ensemble(fit, members=4, store=store, **OPTIONS)
    found = pcb.ensemble(fit, members=4, store=store, **OPTIONS)
    assert made == [0, 1, 2, 2, 3]  # two were there
    xr.testing.assert_identical(found.members, whole.members)
    with pytest.raises(pcb.ResultFileError, match="other data or options"):
        pcb.ensemble(fit, members=4, seed=9, store=store, **OPTIONS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("words")
    with pytest.raises(pcb.ResultFileError, match="other files"):
        pcb.ensemble(fit, members=4, store=tmp_path / "other", **OPTIONS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"members": 1}, "members=1"),
        ({"resample": "rows"}, "resample='rows'"),
        ({"seed": -1}, "seed=-1"),
        ({"model": pcb.CellBox()}, "its own model"),
    ],
)
def test_what_does_not_fit_is_refused(fit, given, message):
    with pytest.raises(pcb.PycellboxError, match=message):
        pcb.ensemble(fit, given.pop("model", None), **OPTIONS, **given)
