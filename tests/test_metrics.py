from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import xarray as xr

from pycellbox import metrics
from pycellbox.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def array(values, conditions=None):
    values = np.asarray(values, dtype=float)
    n, k = values.shape
    return xr.DataArray(
        values,
        dims=("condition", "node"),
        coords={
            "condition": conditions or [f"c{i}" for i in range(n)],
            "node": [f"n{j}" for j in range(k)],
            "node_kind": ("node", ["protein"] * k),
        },
    )


@pytest.fixture
def both():
    rng = np.random.default_rng(0)
    observed = array(rng.normal(size=(6, 4)))
    predicted = observed + 0.5 * rng.normal(size=(6, 4))
    observed[2, 1] = observed[5, 3] = np.nan
    return predicted, observed


def flat(predicted, observed):
    keep = ~np.isnan(observed.values)
    return predicted.values[keep], observed.values[keep]


def test_pearson_pools_measured_entries(both):
    expected = scipy.stats.pearsonr(*flat(*both)).statistic
    assert metrics.pearson(*both) == pytest.approx(expected, abs=1e-14)


def test_pearson_by_node(both):
    predicted, observed = both
    result = metrics.pearson(predicted, observed, by="node")
    expected = [
        scipy.stats.pearsonr(*flat(predicted[:, j], observed[:, j])).statistic for j in range(4)
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert result.dims == ("node",)
    assert list(result.node_kind.values) == ["protein"] * 4


def test_pearson_by_condition_over_time(both):
    predicted, observed = (
        xr.concat([a, 2 * a], "time").assign_coords(time=[0.0, 1.0]) for a in both
    )
    result = metrics.pearson(predicted, observed, by="condition")
    expected = [
        scipy.stats.pearsonr(*flat(predicted[:, i], observed[:, i])).statistic for i in range(6)
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_mse_against_sklearn(both):
    expected = sklearn.metrics.mean_squared_error(*flat(*both))
    assert metrics.mse(*both) == pytest.approx(expected, rel=1e-14)


def test_mae_by_node_against_sklearn(both):
    predicted, observed = both
    expected = [
        sklearn.metrics.mean_absolute_error(*flat(predicted[:, j], observed[:, j]))
        for j in range(4)
    ]
    np.testing.assert_allclose(metrics.mae(predicted, observed, by="node"), expected, rtol=1e-14)


def test_labels_not_positions_are_matched(both):
    predicted, observed = both
    shuffled = predicted[::-1, [2, 0, 3, 1]].transpose("node", "condition")
    assert metrics.mse(shuffled, observed) == metrics.mse(predicted, observed)


def test_pearson_of_a_constant_is_nan():
    observed = array([[1.0, 2.0], [3.0, 5.0]])
    # 0.1 three times has a mean that differs from 0.1 in its last bit
    assert np.isnan(metrics.pearson(xr.full_like(observed, 0.1), observed))


def test_pearson_of_one_entry_is_nan():
    observed = array([[1.0, np.nan], [np.nan, np.nan]])
    assert np.isnan(metrics.pearson(xr.zeros_like(observed), observed))


def test_labels_of_pandas_tables_are_fine(both):
    predicted, observed = (xr.DataArray(a.to_pandas()).copy() for a in both)
    assert metrics.mse(predicted[::-1], observed) == metrics.mse(*both)
    predicted[0, 0] = np.nan
    with pytest.raises(DataError, match="first at condition 'c0', node 'n0'"):
        metrics.mse(predicted, observed)


def test_mse_of_a_node_never_measured_is_nan():
    observed = array([[1.0, np.nan], [2.0, np.nan]])
    result = metrics.mse(xr.zeros_like(observed), observed, by="node")
    np.testing.assert_array_equal(result, [2.5, np.nan])


def test_no_condition_is_nan(both):
    predicted, observed = both
    assert np.isnan(metrics.mse(predicted[:0], observed[:0]))


def test_differing_labels_are_named(both):
    predicted, observed = both
    with pytest.raises(DataError, match=r"2 label.*'condition': 'c0' is in observed but not in pr"):
        metrics.pearson(predicted[2:], observed)


def test_missing_labels_are_an_error(both):
    predicted, observed = both
    with pytest.raises(DataError, match="need labels along 'condition'"):
        metrics.mse(predicted.drop_vars("condition"), observed)


def test_repeated_labels_are_an_error():
    observed = array([[1.0], [2.0]], conditions=["a", "a"])
    with pytest.raises(DataError, match="not unique"):
        metrics.mse(observed, observed)


def test_differing_dims_are_an_error(both):
    predicted, observed = both
    with pytest.raises(DataError, match="has dims"):
        metrics.mse(predicted.expand_dims(time=[1.0]), observed)


def test_plain_arrays_are_refused(both):
    with pytest.raises(OptionError, match="predicted=array"):
        metrics.mse(both[0].values, both[1])


def test_a_prediction_that_is_not_finite_is_an_error(both):
    predicted, observed = both
    predicted[3, 2] = np.inf
    with pytest.raises(DataError, match="1 measured entries, first at condition 'c3', node 'n2'"):
        metrics.mse(predicted, observed)


def test_a_gap_in_the_prediction_does_not_matter_where_nothing_was_measured(both):
    predicted, observed = both
    expected = metrics.pearson(predicted, observed)
    predicted[2, 1] = np.nan
    assert metrics.pearson(predicted, observed) == expected


def test_unknown_by(both):
    with pytest.raises(OptionError, match="by='time'"):
        metrics.mse(*both, by="time")


def test_compare_has_a_row_for_each_model_in_order(both):
    predicted, observed = both
    table = metrics.compare({"b": predicted, "a": xr.zeros_like(predicted)}, observed)
    assert list(table.index) == ["b", "a"]
    assert table.loc["b", "mse"] == metrics.mse(predicted, observed)
    by_node = metrics.pearson(predicted, observed, by="node")
    assert table.loc["b", "pearson_by_node"] == pytest.approx(float(by_node.mean()))
    assert np.isnan(table.loc["a", "pearson_by_condition"])


def test_compare_names_the_model_that_fails(both):
    predicted, observed = both
    with pytest.raises(DataError, match="bad: predicted"):
        metrics.compare({"good": predicted, "bad": predicted[1:]}, observed)


def test_format_table_is_aligned(both):
    predicted, observed = both
    table = metrics.compare({"a model": predicted, "z": xr.zeros_like(predicted)}, observed)
    title, header, rule, *rows = metrics.format_table(table, title="scores").splitlines()
    assert title == "scores"
    assert header.split("  ")[0] == "model"
    assert len(rule) == len(header) == len(rows[0]) == len(rows[1])
    assert rows[1].split()[1:] == ["-", f"{table.loc['z', 'mse']:.4f}", "-", "-"]


def test_format_table_does_not_hide_small_errors(both):
    _, observed = both
    table = metrics.compare({"m": observed.fillna(0) + 1e-4}, observed)
    assert "1.000e-08" in metrics.format_table(table)


def network(values):
    labels = [f"n{i}" for i in range(len(values))]
    return xr.DataArray(
        np.asarray(values, dtype=float),
        dims=("target", "source"),
        coords={"target": labels, "source": labels},
    )


TRUTH = [[0, 1, 0], [-2, 0, 0.5], [0, 0, 0]]


def random_pair(seed, n=12, levels=None):
    """A true network and a fit of it; with ``levels``, the fit has ties."""
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random((n, n)) < 0.3, rng.normal(size=(n, n)), 0)
    fitted = 0.5 * truth + 0.4 * rng.normal(size=(n, n))
    if levels is not None:
        fitted = np.round(fitted * levels) / levels
    return network(fitted), network(truth)


def counted(n, self_loops):
    return np.ones((n, n), dtype=bool) if self_loops else ~np.eye(n, dtype=bool)


@pytest.mark.parametrize("levels", [None, 20, 3, 1])
@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_recovery_against_sklearn_and_scipy(seed, self_loops, levels):
    fitted, truth = random_pair(seed, levels=levels)
    result = metrics.recovery(fitted, truth, self_loops=self_loops)
    on = counted(12, self_loops)
    f, t = fitted.values[on], truth.values[on]
    edge, score = t != 0, np.abs(f)
    density = edge.mean()
    expected = {
        "pearson": scipy.stats.pearsonr(f, t).statistic,
        "spearman": scipy.stats.spearmanr(f, t).statistic,
        "auroc": sklearn.metrics.roc_auc_score(edge, score),
        "auprc": sklearn.metrics.average_precision_score(edge, score),
        "auprc_ratio": sklearn.metrics.average_precision_score(edge, score) / density,
        "sign_accuracy": sklearn.metrics.accuracy_score(np.sign(t[edge]), np.sign(f[edge])),
        "edge_density": density,
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 20, 3, 1])
def test_early_precision_is_the_expectation_over_orders_of_ties(levels):
    fitted, truth = random_pair(7, levels=levels)
    result = metrics.recovery(fitted, truth)["early_precision_ratio"]
    on = counted(12, False)
    edge, score = truth.values[on] != 0, np.abs(fitted.values[on])
    rng, k = np.random.default_rng(0), edge.sum()
    orders = [rng.permutation(edge.size) for _ in range(1 if levels is None else 4000)]
    drawn = [edge[o][np.argsort(-score[o], kind="stable")[:k]].mean() for o in orders]
    spread = 5 * np.std(drawn) / len(drawn) ** 0.5
    assert result == pytest.approx(np.mean(drawn) / edge.mean(), abs=spread / edge.mean() + 1e-12)
    if levels is not None:
        assert np.std(drawn) > 0  # there was a tie for the last place


def test_early_precision_by_hand():
    # Three edges among six entries; two places go to 3 and 2, one to either of the tied 1s.
    truth = network([[0, 1, -1], [0, 0, 1], [0, 0, 0]])
    fitted = network([[0, 3, 1], [2, 0, 0], [1, 0, 0]])
    result = metrics.recovery(fitted, truth)["early_precision_ratio"]
    assert result == pytest.approx((1 + 0 + 0.5) / 3 / 0.5)


def test_a_perfect_network_scores_the_most():
    _, truth = random_pair(0)
    result = metrics.recovery(2 * truth, truth)
    density = result["edge_density"]
    assert result == pytest.approx(
        {
            "pearson": 1,
            "spearman": 1,
            "auroc": 1,
            "auprc": 1,
            "auprc_ratio": 1 / density,
            "early_precision_ratio": 1 / density,
            "sign_accuracy": 1,
            "edge_density": density,
        }
    )
    wrong = metrics.recovery(-truth, truth)
    assert (wrong["sign_accuracy"], wrong["auroc"]) == (0, 1)
    assert wrong["pearson"] == pytest.approx(-1)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_constant_network_scores_as_chance_does(weight):
    _, truth = random_pair(0)
    result = metrics.recovery(xr.full_like(truth, weight), truth)
    assert np.isnan(result["pearson"])
    assert np.isnan(result["spearman"])
    assert result["auroc"] == 0.5
    assert result["auprc"] == pytest.approx(result["edge_density"])
    assert result["auprc_ratio"] == pytest.approx(1)
    assert result["early_precision_ratio"] == pytest.approx(1)


def test_a_truth_without_edges_leaves_all_but_the_density_undefined():
    fitted, truth = random_pair(0)
    result = metrics.recovery(fitted, xr.zeros_like(truth))
    assert result.pop("edge_density") == 0
    assert np.isnan(list(result.values())).all()


def test_where_every_entry_is_an_edge_nothing_ranks_below():
    fitted, truth = random_pair(0)
    full = truth.copy(data=np.random.default_rng(0).normal(size=(12, 12)))
    result = metrics.recovery(fitted, full, self_loops=True)
    assert np.isnan(result["auroc"])
    ones = ("auprc", "auprc_ratio", "early_precision_ratio", "edge_density")
    assert [result[name] for name in ones] == [1, 1, 1, 1]


def test_where_nothing_counts_all_is_undefined():
    fitted, truth = random_pair(0)
    nothing = xr.zeros_like(truth, dtype=bool)
    assert np.isnan(list(metrics.recovery(fitted, truth, mask=nothing).values())).all()


def test_recovery_counts_off_diagonal_entries_only_unless_told():
    fitted = network([[9, 0.9, 0.1], [-1.5, 9, -0.2], [0, 0.1, 9]])
    result = metrics.recovery(fitted, network(TRUTH))
    assert result["sign_accuracy"] == pytest.approx(2 / 3)
    assert result["edge_density"] == pytest.approx(3 / 6)
    assert result["auroc"] == pytest.approx(1)
    looped = metrics.recovery(fitted, network(TRUTH), self_loops=True)
    assert looped["edge_density"] == pytest.approx(3 / 9)
    assert looped["auroc"] == pytest.approx(1 - 9 / 18)


def test_recovery_leaves_out_what_the_mask_forbids():
    truth = network(TRUTH)
    mask = truth.copy(data=np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=bool))
    fitted = network([[0, 2, np.nan], [-4, 0, -7], [7, 0, 0]])
    result = metrics.recovery(fitted, truth, mask=mask[::-1])
    assert result["pearson"] == pytest.approx(1)
    assert result["sign_accuracy"] == 1
    assert result["edge_density"] == pytest.approx(2 / 3)


def test_recovery_matches_labels():
    fitted, truth = random_pair(1)
    expected = metrics.recovery(fitted, truth)
    assert metrics.recovery(fitted[::-1].T, truth) == pytest.approx(expected)
    assert metrics.recovery(fitted[::-1].T, truth)["auroc"] == expected["auroc"]


def test_recovery_of_a_pandas_table():
    table = xr.DataArray(network(TRUTH).to_pandas())
    assert metrics.recovery(table, table)["sign_accuracy"] == 1


def test_recovery_needs_target_and_source():
    with pytest.raises(DataError, match=r"needs labelled dims \('target', 'source'\)"):
        metrics.recovery(array([[1.0]]), array([[1.0]]))
    with pytest.raises(OptionError, match=r"truth=array.*; it needs a DataArray"):
        metrics.recovery(network(TRUTH), np.array(TRUTH))


@pytest.mark.parametrize("which", ["W", "truth"])
def test_recovery_refuses_what_is_not_finite(which):
    pair = {"W": network(TRUTH), "truth": network(TRUTH)}
    pair[which][0, 1] = np.nan
    with pytest.raises(DataError, match=f"{which} is NaN or infinite at 1 entries"):
        metrics.recovery(**pair)


def rates(**values):
    n = len(next(iter(values.values())))
    return xr.Dataset(
        {name: ("node", np.asarray(value, dtype=float)) for name, value in values.items()},
        coords={"node": [f"n{i}" for i in range(n)]},
    )


def test_rates_are_correlated_over_nodes_by_label():
    fitted = rates(alpha=[1, 2, 4], epsilon=[1, 3, 2], psi=[1, 2, 3])
    truth = rates(alpha=[2, 4, 7], epsilon=[1, 1, 1])
    expected = scipy.stats.pearsonr([1, 2, 4], [2, 4, 7]).statistic
    result = metrics.rate_recovery(fitted.isel(node=[2, 0, 1]), truth)
    assert list(result) == ["alpha", "epsilon"]
    assert result["alpha"] == pytest.approx(expected, abs=1e-14)
    assert np.isnan(result["epsilon"])


def test_rates_need_one_in_common():
    with pytest.raises(DataError, match="share none of alpha, epsilon"):
        metrics.rate_recovery(rates(alpha=[1, 2]), rates(epsilon=[1, 2]))


# ---- differences of two models


def predictions(rng, conditions, nodes=3):
    dims = {"condition": [f"c{i}" for i in range(conditions)], "node": list("abc")[:nodes]}
    shape = (conditions, nodes)
    return [
        xr.DataArray(rng.normal(size=shape), coords=dims, dims=("condition", "node"))
        for _ in range(3)
    ]


def test_paired_by_condition_is_the_t_test_of_their_errors():
    one, two, seen = predictions(np.random.default_rng(0), 9)
    seen[2, 1] = np.nan
    seen[4] = np.nan
    found = metrics.paired_by_condition(one[::-1], two, seen)
    errors = [np.nanmean(((p - seen).values[[*range(4), *range(5, 9)]]) ** 2, axis=1)
              for p in (one, two)]  # fmt: skip
    wanted = scipy.stats.ttest_rel(*errors)
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.mean == pytest.approx((errors[0] - errors[1]).mean())
    assert found.mean / found.error == pytest.approx(wanted.statistic)
    assert (found.below, found.count) == (int((errors[0] < errors[1]).sum()), 8)


def test_paired_by_condition_needs_a_measurement():
    one, two, seen = predictions(np.random.default_rng(0), 2)
    with pytest.raises(DataError, match="no condition has a measurement"):
        metrics.paired_by_condition(one, two, seen * np.nan)


def test_over_splits_has_the_corrected_error():
    differences = [0.1, -0.2, 0.4, 0.3]
    found = metrics.over_splits(differences, fitted=70, tested=30)
    variance = np.var(differences, ddof=1)
    assert found.error == pytest.approx(np.sqrt((1 / 4 + 30 / 70) * variance))
    t = np.mean(differences) / found.error
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(t, df=3))
    assert (found.below, found.count) == (1, 4)


def test_over_splits_does_not_take_repeated_splits_for_more_data():
    """The error of 200 splits of the same conditions is near that of the mean over new data."""
    rng, tested, fitted = np.random.default_rng(1), 10, 30
    means, errors, naive = [], [], []
    for _ in range(200):
        losses = rng.normal(size=40)  # of each condition: what a test row costs
        drawn = [losses[rng.permutation(40)[:tested]].mean() for _ in range(50)]
        found = metrics.over_splits(drawn, fitted=fitted, tested=tested)
        means.append(found.mean)
        errors.append(found.error)
        naive.append(np.std(drawn, ddof=1) / np.sqrt(50))
    spread = np.std(means)
    assert np.mean(naive) < 0.5 * spread < 0.5 * 1.3 * np.mean(errors)
    assert np.mean(errors) < 1.3 * spread


@pytest.mark.parametrize(("differences", "p"), [([0.3], np.nan), ([0.2, 0.2], 0), ([0, 0], 1)])
def test_differences_without_spread(differences, p):
    np.testing.assert_equal(metrics.over_splits(differences, fitted=2, tested=1).p, p)


@pytest.mark.parametrize(
    ("differences", "options"),
    [([], {}), ([np.nan], {}), ([1.0], {"fitted": 0}), ([1.0], {"tested": -1})],
)
def test_over_splits_checks_what_it_is_given(differences, options):
    with pytest.raises(OptionError):
        metrics.over_splits(differences, **{"fitted": 2, "tested": 1} | options)
