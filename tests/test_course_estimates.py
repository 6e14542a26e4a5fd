"""Time courses of drug screens: nodes estimated one by one, from where their network is trained."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.estimation import courses
from pycellbox.estimation.courses import CourseEstimate, estimate_courses
from pycellbox.fitting import defaults
from tests.support.problems import dataset

TIMES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
STAY = pcb.Stage(1, learning_rate=0.0)
QUIET = {"backend": "numpy", "progress": False}


@pytest.fixture(autouse=True)
def few_conditions(monkeypatch, request):
    """Let seven nodes be more than 24 conditions."""
    if "told_by" not in request.node.name:
        real = defaults.estimates
        spoken = lambda recipe, data: real(recipe, data.isel(condition=slice(6)))  # noqa: E731
        monkeypatch.setattr("pycellbox.fitting.api.estimates", spoken)
        monkeypatch.setattr(defaults, "estimates", spoken)


@pytest.fixture(scope="module")
def plain():
    """Courses of two drugs, alone and together, that saturate; a node is left out now and then."""
    rng = np.random.default_rng(0)
    made = dataset(rng, 24, TIMES)
    u = made["perturbation"].values
    u[...] = 0
    u[:, 5] = np.tile([0.5, 1.0, 2.0, 0.0], 6)
    u[:, 6] = np.repeat([0.0, -1.0, -2.0], 8)
    ends = np.tanh(u @ rng.normal(0, 1, (7, 7)) + 0.3) - np.tanh(0.3)
    rates = np.array([0.5, 1.0, 2.0, 4.0, 0.7, 1.0, 1.0])
    x = ends[:, None] * (1 - np.exp(-rates * np.array(TIMES)[:, None]))
    made["response"].values[...] = x + rng.normal(0, 0.03, x.shape)
    made["response"].values[:, :, 5:] = np.nan
    made["response"].values[2, 1, 1] = np.nan
    return made


def changing(data: xr.Dataset) -> xr.Dataset:
    """One drug long before, the other for a while."""
    first, second = (str(n) for n in data["node"].values[5:])
    return pcb.regimen(data, pcb.pretreat(first), pcb.pulse(second, "30 min", "2 h"))


@pytest.mark.parametrize("laid", [lambda data: data, changing], ids=["plain", "changing"])
def test_the_network_does_what_was_estimated(plain, laid, monkeypatch):
    found = []

    def kept(*arguments):
        found.append((estimate_courses(*arguments), arguments[:-1]))
        return found[0][0]

    monkeypatch.setattr("pycellbox.estimation.course_parameters.estimate_courses", kept)
    monkeypatch.setattr("pycellbox.fitting.defaults.FROM_ESTIMATE", STAY)
    fit = pcb.fit(laid(plain), solver=pcb.Tsit5(1e-9, 1e-11), **QUIET)
    estimate, arguments = found[0]
    wanted = estimate.predict(*arguments)
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(fit.predictions.values[:, :, :5], wanted, atol=1e-7)


def test_conditions_not_fitted_are_predicted(plain):
    rows = np.arange(24) % 4 != 0
    fit = pcb.fit(plain.isel(condition=rows), **QUIET)
    assert fit.history.sizes["iteration"] == fit.recipe.stages[0].iterations
    seen = plain["response"].values[~rows, :, :5]
    error = fit.predict(plain["perturbation"]).values[~rows, :, :5] - seen
    assert np.sqrt(np.nanmean(error**2)) < 0.4 * np.nanstd(seen)


def test_what_is_estimated_is_what_made_the_data():
    rng = np.random.default_rng(1)
    truth = CourseEstimate(
        effects=rng.normal(0, 1, (4, 3)),
        point=np.array([0.8, 0.0, -0.5, 0.3]),
        ranges=np.ones(4),
        rates=np.array([0.25, 0.5, 1.0, 2.0]),
    )
    given = rng.normal(0, 1, (40, 3, 3))
    arguments = given, np.array([0.0, 1.5]), rng.random(40) < 0.5, np.array(TIMES)
    outputs = truth.predict(*arguments)
    found = estimate_courses(*arguments, outputs)
    np.testing.assert_array_equal(found.rates, truth.rates)
    error = found.predict(*arguments) - outputs
    assert np.sqrt((error**2).mean()) < 0.2 * outputs.std()


def test_in_parts_it_is_the_same(monkeypatch):
    rng = np.random.default_rng(2)
    given = rng.normal(0, 1, (12, 2, 3)), np.zeros(1), np.arange(12) < 5, np.array(TIMES)
    outputs = rng.normal(0, 1, (12, len(TIMES), 5))
    whole = estimate_courses(*given, outputs)
    monkeypatch.setattr(courses, "_ENTRIES", 1.0)
    parts = estimate_courses(*given, outputs)
    np.testing.assert_allclose(parts.effects, whole.effects, atol=1e-3)
    np.testing.assert_array_equal(parts.rates, whole.rates)


def test_errors_of_leaving_conditions_out_are_those_of_doing_it(monkeypatch):
    """Far from saturation, where the model is linear."""
    monkeypatch.setattr(courses, "RANGE", 1e6)
    monkeypatch.setattr(courses, "_LEAST_SHARE", 0.0)
    rng = np.random.default_rng(3)
    columns, outputs = rng.normal(0, 1, (8, 2, 3)), rng.normal(0, 1, (8, len(TIMES), 2))
    outputs[1, 2, 0] = np.nan
    shares = courses.shares_of(np.zeros(1), np.arange(8) < 3, np.array(TIMES), 0.7)
    found = courses._Nodes(columns, shares, outputs).settle()
    squares = np.zeros(2)
    for row in range(8):
        rest = np.arange(8) != row
        part = courses._Nodes(columns[rest], shares[rest], outputs[rest])
        part.settle()
        one = courses._Nodes(columns[[row]], shares[[row]], outputs[[row]])
        one.ranges = part.ranges
        squares += np.nansum((outputs[row].T - one.states(part.theta)[1][:, 0]) ** 2, axis=1)
    np.testing.assert_allclose(found, squares, rtol=1e-4)


@pytest.fixture
def short(monkeypatch):
    """Little training."""
    monkeypatch.setattr("pycellbox.fitting.defaults.FROM_ESTIMATE", pcb.Stage(3, 0.01))


def test_the_unit_of_time_makes_no_difference(plain, short):
    fits = [pcb.fit(pcb.data.in_unit(plain, unit), **QUIET) for unit in ("h", "min")]
    np.testing.assert_allclose(fits[1].predictions, fits[0].predictions, atol=1e-10)
    np.testing.assert_allclose(fits[1].parameters["alpha"] * 60, fits[0].parameters["alpha"])


def test_the_recipe_of_a_fit_makes_it_again(plain, tmp_path, short):
    fit = pcb.fit(plain, **QUIET)
    assert fit.model.drugs == "clamped"
    loaded = pcb.load(fit.save(tmp_path / "fit.nc"))
    again = pcb.fit(plain, loaded.recipe, backend="numpy", progress=False)
    xr.testing.assert_identical(again.parameters, fit.parameters)


@pytest.mark.parametrize("instruction", ["knockout", "start"])
def test_what_cannot_be_estimated_is_trained_and_says_why(plain, instruction, monkeypatch):
    node = str(plain["node"].values[0])
    told = {
        "knockout": pcb.knockout(node, level=-1.0, conditions=["c3"]),
        "start": pcb.start_as_measured([node]),
    }[instruction]
    data = pcb.regimen(plain, told)
    stages, penalty = (pcb.Stage(2),), pcb.Penalty(l2=0.1)
    monkeypatch.setattr(defaults, "default_schedule", lambda data: (stages, penalty))
    fit = pcb.fit(data, **QUIET)
    assert "no node is held" in fit.provenance["estimate"]["obstacle"]
    trained = pcb.fit(data, schedule=stages, penalty=penalty, **QUIET)
    np.testing.assert_array_equal(fit.predictions, trained.predictions)


def test_courses_to_estimate_are_told_by_few_conditions_without_hidden_nodes(plain):
    few, recipe = plain.isel(condition=slice(6)), pcb.Recipe()
    assert defaults.estimates(recipe, few)
    assert not defaults.estimates(recipe, plain)
    hidden = few.copy(deep=True)
    hidden["node_kind"] = "node", ["hidden", *few["node_kind"].values[1:]]
    assert not defaults.estimates(recipe, hidden)
    screen = plain.isel(time=-1, drop=True)
    assert defaults.estimates(recipe, screen)


def test_drugs_that_are_measured_are_trained(plain, monkeypatch):
    few = plain.copy(deep=True)
    few["response"][:, 1, 6] = 0.3
    monkeypatch.setattr(defaults, "default_schedule", lambda data: ((pcb.Stage(2),), pcb.Penalty()))
    fit = pcb.fit(few, **QUIET)
    assert "drugs' own courses" in fit.provenance["estimate"]["obstacle"]
    assert fit.model.drugs == "input"
