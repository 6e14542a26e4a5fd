from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import xarray as xr

from pycellbox import metrics
from pycellbox.errors import DataError


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
    with pytest.raises(DataError, match="predicted is a ndarray"):
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
    with pytest.raises(DataError, match="by='time'"):
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
    return xr.DataArray(
        np.asarray(values, dtype=float),
        dims=("target", "source"),
        coords={"target": list("abc"), "source": list("abc")},
    )


def test_recovery_counts_off_diagonal_entries_only():
    truth = network([[0, 1, 0], [-2, 0, 0.5], [0, 0, 0]])
    fitted = network([[9, 0.9, 0.1], [-1.5, 9, -0.2], [0, 0.1, 9]])
    result = metrics.recovery(fitted, truth)
    off = ~np.eye(3, dtype=bool)
    expected = scipy.stats.pearsonr(fitted.values[off], truth.values[off]).statistic
    assert result["pearson"] == pytest.approx(expected, abs=1e-14)
    assert result["sign_accuracy"] == pytest.approx(2 / 3)


def test_recovery_leaves_out_what_the_mask_forbids():
    truth = network([[0, 1, 0], [-2, 0, 0.5], [0, 0, 0]])
    mask = truth.copy(data=np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=bool))
    fitted = network([[0, 2, 0], [-4, 0, -7], [7, 0, 0]])
    assert metrics.recovery(fitted, truth, mask=mask) == {
        "pearson": pytest.approx(1),
        "sign_accuracy": 1.0,
    }


def test_recovery_matches_labels():
    truth = network([[0, 1, 0], [-2, 0, 0.5], [0, 0, 0]])
    assert metrics.recovery(truth[::-1].T, truth)["pearson"] == pytest.approx(1)


def test_recovery_of_a_pandas_table():
    truth = network([[0, 1, 0], [-2, 0, 0.5], [0, 0, 0]])
    table = xr.DataArray(truth.to_pandas())
    assert metrics.recovery(table, table)["sign_accuracy"] == 1


def test_recovery_needs_target_and_source():
    with pytest.raises(DataError, match=r"needs \('target', 'source'\)"):
        metrics.recovery(array([[1.0]]), array([[1.0]]))
