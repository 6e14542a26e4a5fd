"""Fits for prediction: estimated nodes as a network, what is said of them, and who has none."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli.tables import summary as command_line_summary
from pycellbox.errors import ModelError, OptionError
from pycellbox.estimation import estimate
from pycellbox.fitting.defaults import default_schedule
from tests.support.problems import dataset


@pytest.fixture(scope="module")
def data():
    """A screen of two drugs, alone and together."""
    rng = np.random.default_rng(0)
    made = dataset(rng, 24)
    u = made["perturbation"].values
    u[...] = 0
    u[:, 5] = np.tile([0.5, 1.0, 2.0, 0.0], 6)
    u[:, 6] = np.repeat([0.0, -1.0, -2.0], 8)
    truth = np.tanh(u @ rng.normal(0, 1, (7, 7)) + 0.3) - np.tanh(0.3)
    made["response"].values[...] = truth + rng.normal(0, 0.05, truth.shape)
    made["response"].values[:, 5:] = 0.8 * u[:, 5:]
    made["response"].values[2, 1] = np.nan
    return made


@pytest.fixture(scope="module")
def fitted(data):
    return pcb.fit(data, progress=False)


def test_predictions_are_those_of_the_estimate(data, fitted):
    u = data["perturbation"].values[:, 5:]
    phenotype = (data["node_kind"] == "phenotype").values[:5]
    found = estimate(u, data["response"].values[:, :5], read=phenotype)
    wanted = found.predict(u)
    np.testing.assert_allclose(fitted.predictions.values[:, :5], wanted, rtol=0, atol=1e-8)
    assert fitted.predict(data["perturbation"])["settled"].all()
    assert fitted.model.dose_saturation == found.design.saturation
    W = fitted.parameters["W"].values[:5, :5]
    assert (W[phenotype][:, ~phenotype] != 0).all()
    assert (W[~phenotype] == 0).all()


def test_what_was_not_fitted_is_predicted(data):
    rows = np.arange(24) % 4 != 0
    fit = pcb.fit(data.isel(condition=rows), progress=False)
    error = fit.predict(data["perturbation"]).values[~rows, :5] - data["response"].values[~rows, :5]
    assert np.sqrt(np.nanmean(error**2)) < 0.3 * np.nanstd(data["response"].values[:, :5])


def test_what_was_chosen_is_kept_and_printed(fitted, tmp_path):
    said = fitted.provenance["estimate"]
    assert set(said["strengths"]) == {"drugs", "common", "operating_point", "range", "shared"}
    assert said["chosen_by"] == "leave-one-out"
    assert "strengths by leave-one-out: drugs" in str(fitted)
    fitted.save(tmp_path / "fit.nc")
    again = pcb.load(tmp_path / "fit.nc")
    assert again.provenance["estimate"] == said
    assert again.recipe == fitted.recipe
    assert again.recipe.purpose == "prediction"


def test_the_recipe_gives_the_same_fit(data, fitted):
    again = pcb.fit(data, fitted.recipe, progress=False)
    assert again.recipe == fitted.recipe
    np.testing.assert_array_equal(again.predictions.values, fitted.predictions.values)


def test_conditions_for_validation_choose_nothing(data):
    """Not even κ: with other responses there, the fit is the same."""
    other, labels = data.copy(deep=True), ["c1", "c5", "c10", "c14"]  # with their replicates
    other["response"].loc[{"condition": labels}] = 7.0
    one, two = (pcb.fit(d, validation=labels, progress=False) for d in (data, other))
    assert one.provenance["estimate"] == two.provenance["estimate"]
    np.testing.assert_array_equal(one.parameters["W"].values, two.parameters["W"].values)


def test_pruning_trains_the_estimated_network(data):
    labels = ["c1", "c5", "c10", "c14"]
    fit = pcb.fit(data, validation=labels, progress=False)
    pruned = pcb.prune(fit, edges=[6]).path[-1]
    assert np.count_nonzero(pruned.parameters["W"].values) == 6
    assert not pruned.estimated
    assert pruned.history.sizes["iteration"] > 1


def test_a_refinement_would_undo_the_estimate(fitted):
    with pytest.raises(ModelError, match="estimated for prediction"):
        pcb.refine(fitted, solver=pcb.Heun(0.2))


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": pcb.Stage(iterations=5)},
        {"penalty": pcb.Penalty(l1=0.1)},
        {"loss": "mae"},
        {"initial": pcb.Initialization()},
        {"solver": pcb.Heun(0.1)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_asks_for_training_is_trained(data, options):
    fit = pcb.fit(data, **{"schedule": pcb.Stage(iterations=5)} | options, progress=False)
    assert not fit.estimated
    assert "estimate" not in fit.provenance
    assert not fit.model.operating_point
    assert fit.recipe.purpose == "prediction"
    assert (fit.parameters["W"].values[:4, :5] != 0).any()
    if "schedule" not in options:
        alone = pcb.fit(data, **options, progress=False)
        assert alone.history.sizes["iteration"] == 150
        assert not alone.estimated


def test_an_estimate_can_be_trained_on(data, fitted):
    stage = pcb.Stage(iterations=3, learning_rate=1e-9)
    trained = pcb.fit(
        data, fitted.model, initial=fitted.parameters, schedule=stage, progress=False
    )  # fmt: skip
    np.testing.assert_allclose(trained.predictions.values, fitted.predictions.values, atol=1e-5)


def test_classes_of_drugs_are_those_of_the_data(data):
    grouped = data.assign_coords(group=("node", [""] * 5 + ["ligand", "inhibitor"]))
    fit = pcb.fit(grouped, progress=False)
    said = fit.provenance["estimate"]
    assert {"drugs of ligand", "drugs of inhibitor"} <= set(said["strengths"])
    assert said["unseen_drug"] == {"ligand": 0, "inhibitor": 0}
    assert "(ligand)" in str(fit)


@pytest.mark.filterwarnings("ignore:predicted far outside:pycellbox.errors.DataWarning")
def test_the_sign_of_doses_decides_nothing_of_a_drug_not_seen(data):
    alone = data.isel(condition=data["perturbation"].values[:, 6] == 0)
    fit = pcb.fit(alone, progress=False)
    assert fit.provenance["estimate"]["unseen_signs"] == {"y": 1.0}
    assert fit.provenance["estimate"]["unseen_drug"] == 0  # of one drug nothing is typical
    several = data.copy(deep=True)
    several["perturbation"].values[:] = 0
    u = several["perturbation"].values
    u[np.arange(24), 4 + np.arange(24) % 2] = 1.5
    drugs = several.assign_coords(node_kind=("node", ["protein"] * 4 + ["drug"] * 3))
    drugs["response"].values[:, :4] = 0.5 + 0.1 * u[:, [4]]
    fit = pcb.fit(drugs, progress=False)
    assert fit.provenance["estimate"]["unseen_drug"] > 0.5
    new = xr.zeros_like(data["perturbation"][:2])
    new[:, 6] = [1.5, -1.5]
    up, down = fit.predict(new).values
    np.testing.assert_allclose(down[:4], up[:4], rtol=1e-10)
    assert (np.abs(up[:4]) > 0.1).all()
    assert down[6] == pytest.approx(-up[6])
    washed = pcb.regimen(new, pcb.washout(["y"], at=5.0))
    up, down = fit.predict(washed, times=[3.0, 20.0]).values
    np.testing.assert_allclose(down[:, :4], up[:, :4], rtol=1e-6)
    np.testing.assert_allclose(down[:, 4:], -up[:, 4:], atol=1e-12)
    assert (np.abs(up[0, :4]) > 0.1).all()


def test_standard_deviations_weigh_responses(data, fitted):
    noise = xr.full_like(data["response"], 0.1)
    same = pcb.fit(data.assign(sigma=noise), progress=False)
    np.testing.assert_allclose(same.predictions, fitted.predictions, atol=1e-6)
    noise[:8] = 1.0
    other = pcb.fit(data.assign(sigma=noise), progress=False)
    assert other.estimated
    assert np.abs(other.predictions - fitted.predictions).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ({"operating_point": False}, None),
        ({"common_effect": False}, None),
        ({"drug_columns": "free"}, None),
        ({"dose_saturation": 0.25}, None),
        ({"drugs_on_phenotypes": True}, None),
        ({}, "mse"),
    ],
    ids=["point", "common", "shared", "doses", "phenotypes", "loss"],
)
def test_parts_can_be_left_out(data, fitted, model, loss):
    fit = pcb.fit(data, pcb.CellBox(**model), loss=loss, progress=False)
    assert fit.estimated
    assert {name: getattr(fit.model, name) for name in model} == model
    strengths = fit.provenance["estimate"]["strengths"]
    for option, strength in [("operating_point", "operating_point"), ("common_effect", "common")]:
        assert (strength in strengths) == (option not in model)
    assert ("shared" in strengths) == (model.get("drug_columns") != "free")
    change = np.abs(fit.predictions.values - fitted.predictions.values).max()
    assert change > 1e-6
    again = pcb.fit(data, fit.recipe, progress=False)
    np.testing.assert_array_equal(again.predictions.values, fit.predictions.values)


def test_an_interrupted_fit_keeps_what_was_chosen(data, fitted, tmp_path):
    path = tmp_path / "run.nc"

    def stop(state):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        pcb.fit(data, checkpoint=path, callbacks=stop, progress=False)
    resumed = pcb.resume(path, progress=False)
    assert resumed.provenance["estimate"] == fitted.provenance["estimate"]
    np.testing.assert_array_equal(resumed.predictions.values, fitted.predictions.values)


def test_it_is_said_of_estimated_nodes_that_no_iteration_made_them(data, fitted):
    assert "estimated" in str(fitted)
    assert "iterations" not in str(fitted)
    assert "loss huber, a threshold for each node" in fitted._repr_html_()
    squares = pcb.fit(data, loss="mse", progress=False)
    assert "loss mse" in squares._repr_html_()
    for each in (fitted, squares):
        lines = command_line_summary(each, data, 0, "")
        assert "estimated, loss" in lines
        assert "iterations" not in lines


def test_it_is_said_of_courses_that_nodes_were_estimated_before_the_training():
    network = pcb.networks.demo_network()
    design = pcb.simulation.perturbations(["aMEK", "aAKT"], network.node_kind, doses=[-1.0])
    courses = pcb.simulate(network, design, times=[0.5, 1, 2])
    courses["response"] = courses["response"].where(courses["node_kind"] != "drug")
    fit = pcb.fit(courses, progress=False)
    assert "estimate  of each node, from which it was trained: κ = " in str(fit)
    assert "estimate    of each node" in command_line_summary(fit, courses, 0, "")


def test_one_that_was_interrupted_before_its_first_iteration_is_printed(data):
    def stop(state):
        raise KeyboardInterrupt

    fit = pcb.fit(data, callbacks=stop, progress=False)
    assert fit.history.sizes["iteration"] == 0
    assert "estimated" in str(fit)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (pcb.CellBox(envelope="hill"), "envelope='hill'"),
        (pcb.CellBox(mask=np.eye(7, k=1) + np.eye(7, k=-6)), "mask"),
        (pcb.CellBox(form=2), "form=2"),
        (pcb.CellBox(dose_saturation=None), "mapped doses"),
    ],
    ids=["envelope", "mask", "form", "doses"],
)
def test_what_cannot_be_estimated_is_trained_and_says_why(data, model, said):
    fit = pcb.fit(data, model, progress=False)
    stages, penalty = default_schedule(data)
    plain = pcb.fit(data, model, schedule=stages, penalty=penalty, progress=False)
    assert not fit.estimated
    assert said in fit.provenance["estimate"]["obstacle"]
    assert f"estimate  none, so it was trained: {fit.provenance['estimate']['obstacle']}" in str(
        fit
    )
    np.testing.assert_array_equal(fit.predictions.values, plain.predictions.values)
    assert fit.recipe == plain.recipe


def test_other_data_are_trained():
    courses = dataset(np.random.default_rng(2), times=(0.5, 2.0))
    fit = pcb.fit(courses, schedule=pcb.Stage(3), progress=False)
    assert not fit.estimated
    assert fit.recipe.purpose == "prediction"
    assert pcb.Recipe().purpose == "prediction"


def test_there_is_one_purpose(data):
    with pytest.raises(OptionError, match=r"purpose.*prediction"):
        pcb.fit(data, purpose="predictions")
