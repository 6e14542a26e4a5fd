"""Intervals of predictions: their spread, their calibration, how many measurements they hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.estimation import estimate
from pycellbox.estimation.design import Parts
from pycellbox.estimation.spread import Spread
from pycellbox.intervals.spreads import Calibration
from tests.support.data import SHARED_DATA
from tests.support.screens import dataset, screen

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import intervals

FAR = {"drugs": 0.7, "common": 0.3, "shared": 2.0, "range": 1e6, "operating_point": 1e9}


def linear(rng, weights=None):
    """An estimate far from saturation, where it is ridge regression."""
    doses, y = screen(rng)
    y[rng.random(y.shape) < 0.1] = np.nan
    parts = Parts(robust=False, saturation=0.0)
    found = estimate(doses, y, weights, parts=parts, strengths=FAR)
    return found, y


def of_node(found, i):
    """Columns, weights and penalties of a node's ridge regression, over its own rows."""
    nodes = found.acted.nodes
    measured = nodes.measured[i]
    return nodes.columns[measured], nodes.weights[i, measured], nodes.penalties[i, :-1]


def test_far_from_saturation_states_spread_as_in_ridge_regression():
    rng = np.random.default_rng(0)
    found, _ = linear(rng, rng.uniform(0.3, 3, (30, 6)))
    spread, new = Spread(found.acted), rng.normal(size=(5, found.acted.nodes.columns.shape[1]))
    variance, _ = spread.of_states(new)
    for i in range(len(variance)):
        D, w, penalty = of_node(found, i)
        inverse = np.linalg.inv((D * w[:, None]).T @ D + np.diag(penalty))
        wanted = spread.noise[i] * np.einsum("cp,pq,cq->c", new, inverse, new)
        np.testing.assert_allclose(variance[i], wanted, rtol=1e-4)


def test_errors_of_conditions_left_out_are_those_of_leaving_them_out():
    rng = np.random.default_rng(1)
    found, y = linear(rng, rng.uniform(0.3, 3, (30, 6)))
    nodes, spread = found.acted.nodes, Spread(found.acted)
    got, row = spread.left_out(), 4
    for i in range(y.shape[1]):
        D, w, penalty = of_node(found, i)
        kept = np.flatnonzero(nodes.measured[i]) != row
        gram = (D[kept] * w[kept, None]).T @ D[kept] + np.diag(penalty)
        effects = np.linalg.solve(gram, (D * w[:, None])[kept].T @ y[nodes.measured[i], i][kept])
        if not nodes.measured[i, row]:
            assert np.isnan(got[i, row])
            continue
        column = nodes.columns[row]
        covariance = spread.noise[i] * np.linalg.inv(gram)
        sd = np.sqrt(spread.noise[i] / nodes.weights[i, row] + column @ covariance @ column)
        wanted = (y[row, i] - column @ effects) / sd
        assert got[i, row] == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def with_many_drugs(seed, sign=1.0):
    """A screen of ten drugs, whose effects are draws of one distribution, at two doses."""
    rng = np.random.default_rng(seed)
    doses = np.zeros((60, 10))
    for row in doses:
        row[rng.choice(10, size=rng.integers(1, 3), replace=False)] = rng.choice([0.5, 1.0])
    y = doses @ rng.normal(size=(10, 6)) * 0.3 + 0.05 * rng.normal(size=(60, 6))
    doses[:, 3] *= sign
    return dataset(doses, y)


def held_of_drugs_left_out(data):
    """Shares of intervals at 50 and 90 % that hold what was measured with a drug never seen."""
    found = []
    for drug in ("D0", "D3", "D5"):
        out = data["perturbation"].sel(node=drug).values != 0
        fit, test = pcb.fit(data.isel(condition=~out), progress=False), data.isel(condition=out)
        with pytest.warns(pcb.DataWarning):
            ends = [fit.predict(test, interval=share) for share in (0.5, 0.9)]
        y = test["response"]
        inside = [((y >= e["lower"]) & (y <= e["upper"])).where(y.notnull()) for e in ends]
        found.append([float(each.mean()) for each in inside])
    return found


def test_intervals_of_drugs_never_seen_hold_as_many_measurements_as_they_say():
    held = [row for seed in range(3) for row in held_of_drugs_left_out(with_many_drugs(seed))]
    mean, error = np.mean(held, axis=0), np.std(held, axis=0, ddof=1) / np.sqrt(len(held))
    assert (np.abs(mean - [0.5, 0.9]) < np.maximum(0.08, 2 * error)).all(), (mean, error)
    assert (error < 0.09).all()


def test_the_sign_that_a_table_gives_to_doses_does_not_matter():
    one, other = (held_of_drugs_left_out(with_many_drugs(0, sign)) for sign in (1.0, -1.0))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_calibration_reaches_as_far_as_its_errors():
    calibration = Calibration(np.arange(1.0, 20.0), "")
    assert calibration.reach(0.5) == 10
    assert calibration.reach(0.95) == 19
    assert calibration.reach(0.96) == np.inf


def test_intervals_hold_as_many_new_measurements_as_they_say():
    held = []
    for seed in range(7):
        doses, y = screen(np.random.default_rng(seed), conditions=130)
        data = dataset(doses, y)
        fit = pcb.fit(data.isel(condition=slice(30)), progress=False)
        test = data.isel(condition=slice(30, None))
        row = []
        for share in (0.5, 0.8, 0.9):
            found = fit.predict(test, interval=share)
            inside = (test["response"] >= found["lower"]) & (test["response"] <= found["upper"])
            row.append(float(inside.where(test["response"].notnull()).mean()))
        held.append(row)
    mean, error = np.mean(held, axis=0), np.std(held, axis=0, ddof=1) / np.sqrt(len(held))
    assert (np.abs(mean - [0.5, 0.8, 0.9]) < 2 * error).all(), (mean, error)
    assert (error < 0.03).all()


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(5)
    doses, y = screen(rng)
    doses = np.column_stack([doses, np.zeros(30)])  # with a drug that the fit has not seen
    kinds = ["protein", "protein", "protein", "phenotype", "protein", "protein"]
    data = dataset(doses, y, kinds)
    return data, pcb.fit(data, progress=False)


def test_intervals_are_about_the_prediction_and_wider_the_more_they_hold(fitted):
    data, fit = fitted
    half, most = (fit.predict(data, interval=share) for share in (0.5, 0.95))
    xr.testing.assert_identical(half["response"], fit.predict(data))
    seen = data["response"].notnull().any("condition")
    assert half["sd"].sel(node="D0").isnull().all()  # which nobody measured
    for found in (half, most):
        middle = (found["upper"] + found["lower"]) / 2
        np.testing.assert_allclose(middle.where(seen), found["response"].where(seen), atol=1e-12)
        assert bool((found["sd"] >= found["sd_state"]).where(seen, True).all())
    wider = (most["upper"] - most["lower"] > half["upper"] - half["lower"]).where(seen, True)
    assert bool(wider.all())
    assert half.attrs["interval"] == 0.5


def test_a_drug_that_was_not_seen_is_less_sure(fitted):
    data, fit = fitted
    known = data.isel(condition=[0])
    doses = known["perturbation"].copy()
    doses.loc[{"node": "D4"}] = 1.0
    with pytest.warns(pcb.DataWarning):
        found = fit.predict(known.assign(perturbation=doses), interval=0.9)
    proteins = [f"p{i}" for i in range(6)]
    before = fit.predict(known, interval=0.9)["sd_state"].sel(node=proteins)
    assert bool((found["sd_state"].sel(node=proteins) > before).all())
    assert "all of a drug" in found.attrs["calibrated_by"]


def test_intervals_of_combinations_say_that_the_fit_has_seen_none():
    rng = np.random.default_rng(3)
    doses = np.concatenate([np.eye(4), np.eye(4) / 2, np.eye(4) + np.eye(4)[[1, 2, 3, 0]]])
    y = doses @ rng.normal(size=(4, 6)) * 0.3 + 0.05 * rng.normal(size=(12, 6))
    data = dataset(doses, y)
    alone, combined = data.isel(condition=slice(8)), data.isel(condition=slice(8, None))
    fit, whole = pcb.fit(alone, progress=False), pcb.fit(data, progress=False)
    assert "none of which combines" in fit.predict(combined, interval=0.9).attrs["calibrated_by"]
    for found in (fit.predict(alone, interval=0.9), whole.predict(combined, interval=0.9)):
        assert "combines" not in found.attrs["calibrated_by"]


def test_a_fit_that_was_read_gives_the_same_intervals(fitted, tmp_path):
    data, fit = fitted
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    xr.testing.assert_identical(again.predict(data, interval=0.8), fit.predict(data, interval=0.8))


def test_measurements_of_less_precision_have_wider_intervals(fitted):
    data, _ = fitted
    sigma = xr.full_like(data["response"], 0.2)
    fit = pcb.fit(data.assign(sigma=sigma), progress=False)
    plain, rough = (
        fit.predict(data.assign(sigma=factor * sigma), interval=0.8)["sd"] for factor in (1, 3)
    )
    measured = data["response"].notnull()
    assert bool((rough > plain).where(measured, True).all())


@pytest.mark.parametrize("share", [0, 1, -0.5, 90, "much", True])
def test_a_share_is_between_0_and_1(fitted, share):
    data, fit = fitted
    with pytest.raises(pcb.OptionError, match="interval="):
        fit.predict(data, interval=share)


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the tables lie beside the checkout")
def test_the_benchmark_counts_what_intervals_hold(tmp_path):
    told = ["--data", str(SHARED_DATA), "--out", str(tmp_path), "--tables", "LiverDREAM"]
    intervals.main([*told, "--seeds", "1", "--tasks", "random"])
    lines = (tmp_path / "intervals.jsonl").read_text(encoding="utf-8").splitlines()
    rows = list(map(json.loads, lines))
    assert {row["method"] for row in rows} == {"CellBox", "ridge"}
    for row in rows:
        half, most = (np.nanmean([*row["held"][share].values()]) for share in ("0.5", "0.9"))
        assert 0.2 < half < most <= 1
    before = (tmp_path / "intervals.md").read_text()
    intervals.main([*told, "--seeds", "1", "--tasks", "random"])  # nothing is left to do
    assert (tmp_path / "intervals.md").read_text() == before
