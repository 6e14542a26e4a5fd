"""Fits for prediction: estimated nodes as a network, what is said of them, and who has none."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.errors import DataWarning, ModelError, OptionError
from pycellbox.estimation import estimate
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
    return pcb.fit(data, purpose="prediction", progress=False)


def test_predictions_are_those_of_the_estimate(data, fitted):
    u = data["perturbation"].values[:, 5:]
    found = estimate(u, data["response"].values[:, :5])
    wanted = found.predict(u)
    np.testing.assert_allclose(fitted.predictions.values[:, :5], wanted, rtol=0, atol=1e-8)
    assert fitted.predict(data["perturbation"])["settled"].all()
    assert fitted.model.dose_saturation == found.design.saturation
    assert (fitted.parameters["W"].values[:, :5] == 0).all()


def test_what_was_not_fitted_is_predicted(data):
    rows = np.arange(24) % 4 != 0
    fit = pcb.fit(data.isel(condition=rows), purpose="prediction", progress=False)
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
    one, two = (
        pcb.fit(d, purpose="prediction", validation=labels, progress=False) for d in (data, other)
    )
    assert one.provenance["estimate"] == two.provenance["estimate"]
    np.testing.assert_array_equal(one.parameters["W"].values, two.parameters["W"].values)


def test_pruning_trains_the_estimated_network(data):
    labels = ["c1", "c5", "c10", "c14"]
    fit = pcb.fit(data, purpose="prediction", validation=labels, progress=False)
    pruned = pcb.prune(fit, edges=[6]).path[-1]
    assert np.count_nonzero(pruned.parameters["W"].values) == 6
    assert pruned.recipe.purpose is None
    assert pruned.history.sizes["iteration"] > 1


def test_a_refinement_would_undo_the_estimate(fitted):
    with pytest.raises(ModelError, match=r"estimated for prediction.*without purpose="):
        pcb.refine(fitted, solver=pcb.Heun(0.2))


def test_a_schedule_trains_on(data, fitted):
    stage = pcb.Stage(iterations=5, learning_rate=0.01)
    fit = pcb.fit(data, purpose="prediction", schedule=stage, progress=False)
    assert fit.history["loss"].values[0] == pytest.approx(fitted.history["loss"].values[0])
    assert (fit.parameters["W"].values[:4, :5] != 0).any()


def test_the_rest_of_the_model_is_the_user_s(data):
    fit = pcb.fit(data, pcb.CellBox(self_interaction=True), purpose="prediction", progress=False)
    assert fit.model.self_interaction
    assert fit.model.operating_point


def test_an_interrupted_fit_keeps_what_was_chosen(data, fitted, tmp_path):
    path = tmp_path / "run.nc"
    stage = pcb.Stage(iterations=30, learning_rate=0.01)

    def stop(state):
        if state.iteration == 10:
            raise ArithmeticError

    options = {"purpose": "prediction", "schedule": stage, "progress": False}
    with pytest.raises(ArithmeticError):
        pcb.fit(data, **options, checkpoint=path, callbacks=stop)
    resumed = pcb.resume(path, progress=False)
    assert resumed.provenance["estimate"] == fitted.provenance["estimate"]
    whole = pcb.fit(data, **options)
    np.testing.assert_array_equal(resumed.predictions.values, whole.predictions.values)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (pcb.CellBox(envelope="hill"), "envelope='hill'"),
        (pcb.CellBox(mask=np.eye(7, k=1) + np.eye(7, k=-6)), "no mask"),
        (pcb.CellBox(form=2), "form=2"),
        (pcb.CellBox(dose_saturation=None), "mapped doses"),
    ],
    ids=["envelope", "mask", "form", "doses"],
)
def test_what_cannot_be_estimated_is_trained_with_a_warning(data, model, said):
    with pytest.warns(DataWarning, match=f"(?s){said}.*trained as without"):
        fit = pcb.fit(data, model, purpose="prediction", schedule=pcb.Stage(3), progress=False)
    plain = pcb.fit(data, model, schedule=pcb.Stage(3), progress=False)
    assert "estimate" not in fit.provenance
    np.testing.assert_array_equal(fit.predictions.values, plain.predictions.values)


def test_other_data_are_trained_as_ever():
    courses = dataset(np.random.default_rng(2), times=(0.5, 2.0))
    courses["node_kind"] = "node", ["protein"] * courses.sizes["node"]
    one, other = (
        pcb.fit(courses, schedule=pcb.Stage(3), purpose=purpose, progress=False)
        for purpose in ("prediction", None)
    )
    np.testing.assert_array_equal(one.predictions.values, other.predictions.values)


def test_an_initial_state_beside_it_is_refused(data, fitted):
    with pytest.raises(OptionError, match="leave one out"):
        pcb.fit(data, purpose="prediction", initial=fitted.parameters)
    with pytest.raises(OptionError, match=r"purpose.*prediction"):
        pcb.fit(data, purpose="predictions")
