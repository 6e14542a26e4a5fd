from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import RidgeCV

import pycellbox as pcb
from pycellbox import baselines, metrics, splits
from pycellbox.errors import DataError, ModelError, OptionError
from pycellbox.evaluation import EDGELESS, known_baselines

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


@pytest.mark.parametrize("name", known_baselines())
def test_prediction_is_labelled_like_the_response(name):
    data, new = dataset(SINGLES), dataset(PAIRS)
    predicted = known_baselines()[name].fit(data).predict(new.perturbation)
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
        if name == "ridge with shared column":
            continue
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
    for name, baseline in known_baselines().items():
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


@pytest.mark.parametrize("where", [{"node": 0}, {"condition": 0}, {"condition": 0, "node": 0}])
def test_predict_of_what_is_no_table(noisy, where):
    fitted = baselines.MeanResponse().fit(noisy)
    with pytest.raises(DataError, match="it needs"):
        fitted.predict(noisy.perturbation.isel(where))


def test_predict_for_other_nodes(noisy):
    fitted = baselines.MeanResponse().fit(noisy)
    with pytest.raises(DataError, match=r"differ in 1 node.*'Q'"):
        fitted.predict(noisy.perturbation.drop_sel(node="Q"))


@pytest.mark.parametrize("name", ["additive effects", "ridge", "robust ridge", EDGELESS])
def test_doses_are_needed(name):
    with pytest.raises(DataError, match="no node is perturbed"):
        known_baselines()[name].fit(dataset(np.zeros((3, 3))))


def test_measurements_are_needed(noisy):
    with pytest.raises(DataError, match="no response was measured"):
        baselines.MeanResponse().fit(noisy.assign(response=noisy.response * np.nan))


@pytest.mark.parametrize("name", ["ridge", EDGELESS])
def test_strengths_need_two_conditions(name):
    with pytest.raises(DataError, match=f"^{name} needs at least two"):
        known_baselines()[name].fit(dataset([[1, 0, 0]]))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("alphas", []), ("alphas", [0.0]), ("alphas", [np.inf]), ("saturations", []),
        ("saturations", [-1.0]), ("huber", 0.0), ("huber", np.nan), ("per_output", 2),
    ],
)  # fmt: skip
def test_ridge_options_are_checked(option, value):
    with pytest.raises(OptionError, match=option):
        baselines.Ridge(**{option: value})


RIDGES = {n: b for n, b in baselines.all_baselines().items() if isinstance(b, baselines.Ridge)}


def by_definition(ridge, data, inputs, alpha, intercept):
    """Squared error of each output of really leaving every condition out, (output,)."""
    doses, Y = data.perturbation.values, data.response.values
    X = inputs(doses[:, 2:], np.abs(doses))
    if ridge.fit_intercept:
        X = np.hstack([X, np.ones((len(X), 1))])
    strength = np.full(X.shape[1], alpha)
    strength[X.shape[1] - ridge.fit_intercept :] = 0
    errors = np.zeros(Y.shape[1])
    for j, y in enumerate(Y.T):
        rows = np.flatnonzero(~np.isnan(y))
        for out in rows:
            left = rows[rows != out]
            b = np.linalg.solve(X[left].T @ X[left] + np.diag(strength), X[left].T @ y[left])
            errors[j] += (y[out] - X[out] @ b) ** 2
    return errors


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", RIDGES)
def test_no_choice_would_have_left_conditions_out_better(noisy, name, gaps):
    if gaps:
        noisy.response[[1, 4], 0] = np.nan
        noisy.response[3:5, 1] = np.nan
    ridge = dataclasses.replace(RIDGES[name], alphas=(0.01, 0.3, 1.0, 30.0)).fit(noisy)
    chosen = ridge.inputs_
    others = [
        dataclasses.replace(chosen, saturation=k, common=c, shared=s)
        for k in ridge.saturations
        for c in ([0.1, 1.0, 10.0] if ridge.common_effect else [0.0])
        for s in ([0.1, 1.0, 10.0] if ridge.shared_column else [0.0])
    ]
    errors = np.array(
        [[by_definition(ridge, noisy, i, a, 0) for a in ridge.alphas] for i in [chosen, *others]]
    )
    reached = errors.min(axis=1).sum(axis=1) if ridge.per_output else errors.sum(axis=2).min(axis=1)
    assert reached[0] <= reached.min() * (1 + 1e-9)
    if ridge.per_output:
        np.testing.assert_array_equal(ridge.alpha_, np.take(ridge.alphas, errors[0].argmin(axis=0)))
    else:
        assert ridge.alpha_ == ridge.alphas[errors[0].sum(axis=1).argmin()]


def test_a_common_effect_is_that_of_every_treated_condition_and_of_no_other():
    doses = np.array(SINGLES + PAIRS, dtype=float)
    data = dataset(doses, response=doses @ EFFECTS + 2.0)
    ridge = baselines.Ridge(common_effect=True, alphas=[1e-9]).fit(data)
    new = dataset([[0, 0, 0], [2, 1, 0]])
    predicted = ridge.predict(new.perturbation)
    expected = new.response.values[:, :2] + [[0.0], [2.0]]
    np.testing.assert_allclose(predicted.isel(node=[0, 1]), expected, atol=1e-6)


def test_a_shared_column_predicts_an_unseen_drug_whatever_its_sign():
    data = dataset([[1, 0, 0], [2, 0, 0], [0, -1, 0], [0, -2, 0]],
                   response=[[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [2.0, 0.0]])  # fmt: skip
    ridge = baselines.Ridge(shared_column=True, alphas=[1e-3]).fit(data)
    predicted = ridge.predict(dataset([[0, 0, 3], [0, 0, -3]]).perturbation).sel(node="P")
    np.testing.assert_allclose(predicted, 3.0, rtol=0.02)


def test_flipping_the_sign_of_a_drug_changes_no_prediction(noisy):
    flipped = noisy.assign(perturbation=noisy.perturbation * [1, 1, -1, 1, 1])
    for name, baseline in baselines.all_baselines().items():
        plain = baseline.fit(noisy).predict(noisy.perturbation)
        again = baseline.fit(flipped).predict(flipped.perturbation)
        xr.testing.assert_allclose(plain, again, atol=1e-12), name


def test_saturation_is_found_where_doses_saturate():
    doses = np.array([[a, b, 0] for a in (0, 1, 4) for b in (0, 1, 4)], dtype=float)
    data = dataset(doses, response=np.tanh(doses) @ EFFECTS)
    data.response[:, 2:] = np.nan  # drug nodes, whose activity is the dose
    ridge = baselines.Ridge(saturations=baselines.SATURATIONS).fit(data)
    assert ridge.inputs_.saturation == 1.0
    data.response[:, :2] = doses @ EFFECTS
    assert ridge.fit(data).inputs_.saturation == 0.0


def test_robust_ridge_minimizes_hubers_loss(noisy):
    out = int(np.abs(noisy.perturbation.values).sum(axis=1).argmax())
    noisy.response[out, 0] += 50.0
    plain, robust = baselines.Ridge(alphas=[0.1]), baselines.Ridge(alphas=[0.1], huber=1.0)
    X, y = noisy.perturbation.values[:, 2:], noisy.response.values[:, 0]
    shape = [[0] * 2 + row for row in np.eye(3).tolist()]
    one = noisy.perturbation[:3].copy(data=shape)
    b, start = (r.fit(noisy).predict(one).sel(node="P").values for r in (robust, plain))
    errors = [
        y[i] - X[i] @ np.linalg.solve(X[k].T @ X[k] + 0.1 * np.eye(3), X[k].T @ y[k])
        for i, k in ((i, np.arange(12) != i) for i in range(12))
    ]
    threshold = max(np.median(np.abs(errors)) / 0.6745, 0.75 * np.sqrt(np.mean(np.square(errors))))

    def gradient(b):
        r = y - X @ b
        return -2 * X.T @ np.clip(r, -threshold, threshold) + 2 * 0.1 * b

    np.testing.assert_allclose(gradient(b), 0, atol=1e-5)
    assert np.abs(gradient(start)).max() > 1


def test_robust_ridge_without_outliers_is_ridge():
    doses = np.random.default_rng(1).choice([0.0, 1.0, 2.0], size=(20, 3))
    sign = np.where(np.arange(20) % 2, 1, -1)[:, None]  # errors of one size have no outlier
    data = dataset(doses, response=doses @ EFFECTS + 0.1 * sign)
    plain, robust = baselines.Ridge(), baselines.Ridge(huber=4.0)
    xr.testing.assert_allclose(
        plain.fit(data).predict(data.perturbation), robust.fit(data).predict(data.perturbation)
    )


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


@pytest.fixture
def screen():
    """Three drugs and all pairs, one of the drugs never alone; gaps, and a drug node of its own."""
    rng = np.random.default_rng(3)
    doses = -np.array([*SINGLES[:3], *np.abs(PAIRS), [0, 1, 2], [1, 0, 2], [2, 2, 0]], dtype=float)
    data = dataset(doses, np.tanh(doses @ EFFECTS + 0.3) + 0.05 * rng.normal(size=(9, 2)))
    data.response[2, 0] = np.nan
    return data


def test_without_edges_is_what_a_fit_for_prediction_estimates(screen):
    train = screen.isel(condition=screen.perturbation.values[:, 4] == 0)
    of_drugs = np.isin(NODES, ["D0", "D1", "D2"])
    model = pcb.CellBox(mask=np.broadcast_to(of_drugs, (5, 5)))
    for fitted in (screen, train):  # the latter does not have D2
        fit = pcb.fit(fitted, model, purpose="prediction", progress=False, backend="numpy")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pcb.DataWarning)  # beyond what was fitted
            scores = fit.evaluate(screen, baselines=[EDGELESS])
        ours, theirs = (scores.predictions[n].values[:, :2] for n in ("CellBox", EDGELESS))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert np.ptp(ours) > 0.5


def test_the_drug_nodes_have_no_say_in_what_is_estimated_of_others(screen):
    strange = screen.copy(deep=True)
    strange.response[:, 2:] = 50 * strange.response[::-1, 2:].values
    one, two = (known_baselines()[EDGELESS].fit(d).predict(screen) for d in (screen, strange))
    xr.testing.assert_identical(one[:, :2], two[:, :2])
    assert (one[:, 2:] != two[:, 2:]).any()


def test_the_sign_of_doses_of_a_drug_not_seen_does_not_matter_without_edges(screen):
    train = screen.isel(condition=screen.perturbation.values[:, 4] == 0)
    baseline = known_baselines()[EDGELESS].fit(train)
    new = screen.perturbation.copy(deep=True)
    new.loc[{"node": "D2"}] *= -1
    np.testing.assert_array_equal(baseline.predict(new), baseline.predict(screen.perturbation))
    gone = new.copy(deep=True)
    gone.loc[{"node": "D2"}] = 0
    assert (baseline.predict(gone) != baseline.predict(new)).any()
