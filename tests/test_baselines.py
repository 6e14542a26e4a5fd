from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import RidgeCV

from pycellbox import baselines, metrics, splits
from pycellbox.errors import DataError, ModelError, OptionError, PycellboxError

NODES = ["P", "Q", "D0", "D1", "D2"]


def dataset(doses, response=None):
    """Doses of D0, D1, D2; responses of P and Q, drugs responding by their dose."""
    doses = np.asarray(doses, dtype=float)
    u = np.column_stack([np.zeros((len(doses), 2)), doses])
    if response is None:
        response = doses @ EFFECTS
    y = np.column_stack([response, doses])
    return xr.Dataset(
        {"perturbation": (("condition", "node"), u), "response": (("condition", "node"), y)},
        coords={
            "condition": [f"c{i}" for i in range(len(doses))],
            "node": NODES,
            "node_kind": ("node", ["protein"] * 2 + ["drug"] * 3),
        },
    )


EFFECTS = np.array([[1.0, -2.0], [0.5, 0.0], [-1.0, 3.0]])
SINGLES = [[1, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, -1]]
PAIRS = [[1, 1, 0], [1, 0, -1], [0, 2, -1]]


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    doses = rng.choice([0.0, -0.5, -1.0], size=(12, 3))
    return dataset(doses, doses @ EFFECTS + 0.3 * rng.normal(size=(12, 2)))


@pytest.mark.parametrize("name", ["additive effects", "mean response", "ridge"])
def test_prediction_is_labelled_like_the_response(name):
    data, new = dataset(SINGLES), dataset(PAIRS)
    predicted = baselines.all_baselines()[name].fit(data).predict(new.perturbation)
    xr.testing.assert_identical(
        predicted.copy(data=np.zeros(predicted.shape)), xr.zeros_like(new.response)
    )


def test_mean_response_is_the_mean_of_what_was_measured():
    data = dataset(SINGLES)
    data.response[0, 0] = np.nan
    predicted = baselines.MeanResponse().fit(data).predict(dataset(PAIRS).perturbation)
    expected = data.response.mean("condition")
    for row in predicted:
        np.testing.assert_allclose(row, expected)


def test_additive_effects_sum_what_singles_show():
    new = dataset(PAIRS)
    predicted = baselines.AdditiveEffects().fit(dataset(SINGLES)).predict(new.perturbation)
    xr.testing.assert_allclose(predicted, new.response)


def test_additive_effects_fit_a_line_through_zero():
    data = dataset([[1, 0, 0], [2, 0, 0]], response=[[1.0, 0.0], [3.0, 0.0]])
    predicted = baselines.AdditiveEffects().fit(data).predict(dataset([[3, 0, 0]]).perturbation)
    # least squares: (1·1 + 2·3) / (1 + 4) for each unit of dose
    assert predicted.sel(node="P").item() == pytest.approx(3 * 7 / 5)


def test_additive_effects_trust_singles_over_combinations():
    data = dataset([[1, 0, 0], [1, 1, 0]], response=[[1.0, 0.0], [9.0, 0.0]])
    predicted = baselines.AdditiveEffects().fit(data).predict(dataset([[1, 0, 0]]).perturbation)
    assert predicted.sel(node="P").item() == pytest.approx(1)


def test_additive_effects_learn_a_drug_without_singles_from_combinations():
    data = dataset([[1, 0, 0], [2, 0, 0], [1, 1, 0], [1, 0, -1]])
    new = dataset([[0, 2, 0], [0, 1, -2]])
    predicted = baselines.AdditiveEffects().fit(data).predict(new.perturbation)
    xr.testing.assert_allclose(predicted, new.response)


def test_an_unseen_drug_contributes_nothing():
    data = dataset([[1, 0, 0], [2, 0, 0], [0, 1, 0]])
    for name, baseline in baselines.all_baselines().items():
        with_it, without = baseline.fit(data).predict(dataset([[1, 0, -5], [1, 0, 0]]).perturbation)
        np.testing.assert_array_equal(with_it, without, err_msg=name)


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_is_that_of_scikit_learn(noisy, intercept):
    doses = noisy.perturbation.values[:, 2:]
    reference = RidgeCV(baselines.ALPHAS, fit_intercept=intercept).fit(doses, noisy.response)
    ridge = baselines.Ridge(fit_intercept=intercept).fit(noisy)
    assert ridge.alpha_ == reference.alpha_
    predicted = ridge.predict(noisy.perturbation)
    np.testing.assert_allclose(predicted, reference.predict(doses), atol=1e-12)


def test_ridge_uses_only_measured_rows_of_each_node(noisy):
    complete = baselines.Ridge(alphas=[0.1]).fit(noisy).predict(noisy.perturbation)
    noisy.response[[1, 4], 0] = np.nan
    predicted = baselines.Ridge(alphas=[0.1]).fit(noisy).predict(noisy.perturbation)
    kept = noisy.isel(condition=[i for i in range(12) if i not in (1, 4)])
    expected = baselines.Ridge(alphas=[0.1]).fit(kept).predict(noisy.perturbation)
    np.testing.assert_allclose(predicted.sel(node="P"), expected.sel(node="P"))
    np.testing.assert_allclose(predicted.sel(node="Q"), complete.sel(node="Q"))


def test_ridge_chooses_one_strength_from_all_gaps_together(noisy):
    noisy.response[[1, 4], 0] = np.nan
    doses, y = noisy.perturbation.values[:, 2:], noisy.response.values
    alphas = (0.01, 0.3, 1.0, 30.0)
    errors = []
    for alpha in alphas:
        total = 0.0
        for j in range(5):
            rows = np.flatnonzero(~np.isnan(y[:, j]))
            for out in rows:
                x = doses[rows[rows != out]]
                b = np.linalg.solve(x.T @ x + alpha * np.eye(3), x.T @ y[rows[rows != out], j])
                total += (y[out, j] - doses[out] @ b) ** 2
        errors.append(total)
    assert baselines.Ridge(alphas=alphas).fit(noisy).alpha_ == alphas[int(np.argmin(errors))]


def test_ridge_predicts_a_response_to_nothing_only_with_an_intercept():
    data = dataset(SINGLES, response=np.array(SINGLES) @ EFFECTS + 1.0)
    nothing = dataset([[0, 0, 0]]).perturbation
    assert baselines.Ridge().fit(data).predict(nothing).sel(node="P").item() == 0
    ridge = baselines.Ridge(fit_intercept=True, alphas=[1e-9]).fit(data)
    assert ridge.predict(nothing).sel(node="P").item() == pytest.approx(1)


def test_a_node_never_measured_is_predicted_zero(noisy):
    noisy.response[:, 1] = np.nan
    for name, baseline in baselines.all_baselines().items():
        predicted = baseline.fit(noisy).predict(noisy.perturbation)
        assert (predicted.sel(node="Q") == 0).all(), name
        assert predicted.notnull().all(), name


def test_time_courses_keep_their_times(noisy):
    late = noisy.assign(response=3 * noisy.response)
    data = noisy.assign(
        response=xr.concat([noisy.response, late.response], "time").assign_coords(time=[1.0, 2.0])
    )
    predicted = baselines.Ridge(alphas=[0.1]).fit(data).predict(data.perturbation)
    assert predicted.dims == ("condition", "time", "node")
    expected = baselines.Ridge(alphas=[0.1]).fit(late).predict(late.perturbation)
    xr.testing.assert_allclose(predicted.sel(time=2.0, drop=True), expected)


def test_nodes_are_matched_by_label(noisy):
    ridge = baselines.Ridge().fit(noisy)
    shuffled = noisy.perturbation[:, ::-1]
    xr.testing.assert_identical(ridge.predict(shuffled), ridge.predict(noisy.perturbation))


def test_predict_before_fit(noisy):
    with pytest.raises(ModelError, match=r"Ridge\(.*\) is not fitted"):
        baselines.Ridge().predict(noisy.perturbation)


def test_predict_for_other_nodes(noisy):
    fitted = baselines.MeanResponse().fit(noisy)
    with pytest.raises(DataError, match=r"differ in 1 node.*'Q'"):
        fitted.predict(noisy.perturbation.drop_sel(node="Q"))


@pytest.mark.parametrize("name", ["additive effects", "ridge"])
def test_doses_are_needed(name):
    with pytest.raises(DataError, match="no node is perturbed"):
        baselines.all_baselines()[name].fit(dataset(np.zeros((3, 3))))


def test_measurements_are_needed(noisy):
    with pytest.raises(DataError, match="no response was measured"):
        baselines.MeanResponse().fit(noisy.assign(response=noisy.response * np.nan))


def test_ridge_needs_two_conditions():
    with pytest.raises(DataError, match="at least two training conditions"):
        baselines.Ridge().fit(dataset([[1, 0, 0]]))


@pytest.mark.parametrize("alphas", [[], [0.0], [np.inf]])
def test_ridge_strengths_are_checked(alphas):
    with pytest.raises(OptionError, match="alphas"):
        baselines.Ridge(alphas=alphas)


def test_without_scikit_learn_the_way_to_get_it_is_named(noisy, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(PycellboxError, match=r'pip install "pycellbox\[baselines\]"'):
        baselines.Ridge().fit(noisy)


@pytest.fixture
def melanoma(melanoma_dir):
    def table(name):
        return np.loadtxt(melanoma_dir / name, delimiter=",")

    dims = ("condition", "node")
    return xr.Dataset(
        {"perturbation": (dims, table("pert.csv")), "response": (dims, table("expr.csv"))},
        coords={
            "condition": [f"c{i}" for i in range(89)],
            "node": (melanoma_dir / "node_Index.csv").read_text().split(),
        },
    )


def scores(split, data, baseline):
    baseline.fit(data.sel(condition=list(split.fit)))
    _, _, test = split.apply(data)
    predicted = baseline.predict(test.perturbation)
    return metrics.pearson(predicted, test.response), metrics.mse(predicted, test.response)


@pytest.mark.parametrize(
    ("intercept", "pearson", "mse"), [(True, 0.9474, 0.0206), (False, 0.9482, 0.0203)]
)
def test_melanoma_random_splits(melanoma, intercept, pearson, mse):
    found = [
        scores(
            splits.random(melanoma, seed=1000 + s, together=False),
            melanoma,
            baselines.Ridge(intercept),
        )
        for s in range(10)
    ]
    np.testing.assert_allclose(np.mean(found, axis=0), [pearson, mse], atol=6e-5)


def test_melanoma_singles_to_combinations(melanoma):
    found = scores(
        splits.single_to_combo(melanoma, together=False), melanoma, baselines.Ridge(True)
    )
    assert found[0] == pytest.approx(0.930, abs=5e-4)


def test_melanoma_leave_one_drug_out_is_the_mean_over_drugs(melanoma):
    found = [
        scores(split, melanoma, baselines.Ridge(True))[0]
        for split in splits.leave_one_drug_out(melanoma, keep_singles=False, together=False)
    ]
    assert np.mean(found) == pytest.approx(0.782, abs=5e-4)
