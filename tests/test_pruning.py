"""Pruning: absent edges go, true ones stay, and only unseen conditions say how many."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import pruning
from pycellbox.backends.julia.project import readiness
from pycellbox.errors import DataError, DivergenceError, ModelError, OptionError
from pycellbox.pruning import api
from pycellbox.pruning import path as refits
from tests.support.fits import PLAIN, fitted, known_network, quick
from tests.support.problems import dataset

STATE = readiness()
NO_JULIA = f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
BACKENDS = [
    "numpy",
    pytest.param("julia", marks=pytest.mark.skipif(not STATE.ready, reason=NO_JULIA)),
]
DENSE = pcb.Penalty(l1=1e-5)


def sparse_network(
    times=None, noise=0.01, conditions=28, backend="numpy", iterations=250, **options
):
    """Fit of a known network of six nodes and nine edges, with validation conditions."""
    network = pcb.networks.erdos_renyi(6, 0.3, scale=1.5, gap=0.5, seed=2)
    assert int((network.W != 0).sum()) == 9
    where = {"horizon": 8.0} if times is None else {"times": times}
    data = pcb.simulate(
        network, conditions, model=PLAIN, noise=noise, seed=1, backend="numpy", **where
    )
    defaults = {"validation": 0.25, "penalty": DENSE, "solver": pcb.Heun(0.25)}
    if times is None:
        defaults["horizon"] = 8.0
    stage = quick(iterations, decay="cosine", warmup=10)
    return fitted(data, schedule=stage, backend=backend, **(defaults | options)), network


@pytest.fixture(scope="module")
def steady() -> tuple[pcb.Fit, pcb.networks.Network]:
    return sparse_network()


@pytest.fixture(scope="module")
def pruned(steady) -> pruning.Pruned:
    return pcb.prune(steady[0], edges=[16, 12, 11, 10, 9, 8, 6])


@pytest.mark.slow
class TestKnownNetwork:
    """Nine of thirty possible edges exist."""

    def test_only_absent_edges_are_removed(self, steady, pruned):
        absent = steady[1].W.values == 0
        kept = pruned.mask.values
        assert not (~kept & ~absent).any()
        assert (kept & absent).sum() <= 1 < (steady[0].parameters["W"].values[absent] != 0).sum()

    def test_recovery_improves(self, steady, pruned):
        recovery = pruned.recovery()
        assert recovery.loc["after", "pearson"] > recovery.loc["before", "pearson"]
        assert recovery.loc["after", "auprc"] >= recovery.loc["before", "auprc"]
        given = pruned.recovery(steady[1].W)
        np.testing.assert_array_equal(given, recovery)

    def test_unseen_conditions_are_predicted_better(self, steady, pruned):
        new = pcb.simulate(
            steady[1], 20, model=PLAIN, horizon=8.0, seed=9, backend="numpy"
        )  # fmt: skip
        errors = [
            float(((f.predict(new, backend="numpy") - new["response"]) ** 2).mean())
            for f in (steady[0], pruned.fit)
        ]
        assert errors[1] < errors[0]

    def test_too_few_edges_are_not_chosen(self, pruned):
        table = pruned.table
        assert list(table["edges"]) == [30, 16, 12, 11, 10, 9, 8, 6]
        fewest = table["validation_loss"].to_numpy()[-1]
        assert fewest > 5 * table["validation_loss"].min()
        assert table.loc[table["chosen"], "edges"].item() >= 9


@pytest.mark.slow
def test_fitted_conditions_have_a_veto(pruned):
    """No validation condition perturbs g6, so that they do not miss what it does."""
    held_out = pruned.fit.data.isel(condition=pruned.fit.data["role"].values == "validation")
    assert (held_out["perturbation"].sel(node="g6") == 0).all()
    table = pruned.table.set_index("edges")
    best = table["validation_loss"].idxmin()
    limit = table["validation_loss"][best] + table["standard_error"][best]
    assert table["validation_loss"][8] < limit
    assert table["train_loss"][8] > 50 * table["train_loss"][best]
    assert table["chosen"][9]


def test_table_and_provenance_tell_the_choice(steady, pruned, tmp_path):
    table = pruned.table
    assert table["chosen"].sum() == 1
    step = int(table.index[table["chosen"]][0])
    assert (pruned.fit.parameters["W"] == pruned.path[step].parameters["W"]).all()
    best = table["validation_loss"].idxmin()
    limit = table["validation_loss"][best] + table["standard_error"][best]
    assert table["validation_loss"][step] <= limit
    assert pruned.path[0] is steady[0]
    assert pruned.fit.provenance["pruning"]["step"] == step
    assert pruned.fit.status == "completed"
    again = pcb.load(pruned.fit.save(tmp_path / "pruned.nc"))
    assert again.provenance["pruning"]["edges"] == list(table["edges"])
    xr.testing.assert_identical(again.parameters, pruned.fit.parameters)
    assert "chosen" in repr(pruned)


def test_validation_loss_is_that_of_the_training(steady, pruned):
    first = steady[0].history["validation_loss"].min()
    assert pruned.table["validation_loss"][0] == pytest.approx(float(first), rel=1e-6)
    for step, result in enumerate(pruned.path[1:], start=1):
        best = float(result.history["validation_loss"].min())
        assert pruned.table["validation_loss"][step] == pytest.approx(best, rel=1e-9)


def test_standard_error_is_that_of_a_mean_over_conditions():
    losses, equal = np.array([[1.0, 2.0, 6.0]]), np.array([4.0, 4.0, 4.0])
    mean, error = refits.mean_and_error(losses, equal)
    assert mean[0] == pytest.approx(3)
    assert error[0] == pytest.approx(losses.std(ddof=1) / np.sqrt(3))
    mean, error = refits.mean_and_error(losses, np.array([4.0, 4.0, 0.0]))
    assert mean[0] == pytest.approx(1.5)
    assert error[0] > 0


def test_the_lowest_loss_may_choose(steady, pruned):
    lowest = pcb.prune(steady[0], edges=[16, 9, 6], choose="lowest")
    table = lowest.table
    assert table["chosen"][table["validation_loss"].idxmin()]
    assert table["chosen"].sum() == 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("times", [None, (1.0, 2.0, 4.0)], ids=["steady", "time course"])
def test_removed_edges_are_exactly_zero_and_never_return(times, backend):
    fit, _ = sparse_network(times, backend=backend, iterations=100)
    result = pcb.prune(fit, edges=[14, 9], schedule=quick(20))
    assert result.fit.backend == backend
    W = [step.parameters["W"].values != 0 for step in result.path]
    for more, fewer, count in zip(W, W[1:], (14, 9), strict=False):
        assert not (fewer & ~more).any()
        assert fewer.sum() == count
    for step in result.path[1:]:
        assert (step.parameters["W"].values[~np.asarray(step.model.mask)] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_shared_drug_columns_lose_edges_too(backend):
    model = pcb.CellBox(drug_columns="shared")
    data = dataset(np.random.default_rng(3), conditions=16)
    fit = fitted(
        data, model=model, validation=0.25, backend=backend, penalty=DENSE, schedule=quick(30)
    )
    result = pcb.prune(fit, edges=[12, 6], schedule=quick(30, learning_rate=0.1))
    W = result.path[-1].parameters["W"]
    drugs = W.sel(source=["x", "y"]).values
    assert np.count_nonzero(W) == 6
    assert 0 < np.count_nonzero(drugs) < 8
    before = fit.parameters["W"].values
    kept = W.values != 0
    assert (W.values[kept] != before[kept]).all()  # refitted, not only cut


def test_the_mask_of_the_model_still_holds():
    data, _ = known_network()
    allowed = np.ones((7, 7), dtype=bool)
    allowed[0, 1] = allowed[2, 3] = False
    model = pcb.CellBox(dose_saturation=None, drug_columns="free", mask=allowed)
    fit = fitted(data, model=model, validation=0.25, penalty=DENSE)
    result = pcb.prune(fit, edges=[15, 10], schedule=quick(10))
    assert all((f.parameters["W"].values[~allowed] == 0).all() for f in result.path)


def test_thresholds_remove_what_is_below_them(steady):
    result = pcb.prune(steady[0], thresholds=[0.02, 0.2], schedule=quick(5))
    assert list(result.table["threshold"]) == [0, 0.02, 0.2]
    size = [np.abs(f.parameters["W"].values) for f in result.path]
    for step, threshold in enumerate((0.02, 0.2), start=1):
        np.testing.assert_array_equal(size[step] > 0, size[step - 1] >= threshold)


def test_a_threshold_above_everything_ends_the_path(steady):
    result = pcb.prune(steady[0], thresholds=[0.1, 100.0], schedule=quick(5))
    assert len(result.path) == 2


def test_by_default_the_path_falls_evenly_to_half_the_nodes(steady):
    result = pcb.prune(steady[0], schedule=quick(2))
    edges = result.table["edges"].to_numpy()
    assert edges[0] == 30
    assert edges[-1] == 3
    assert (np.diff(edges) < 0).all()
    assert result.path[1].history.sizes["iteration"] == 2


def test_refits_take_a_quarter_of_the_last_stage(steady):
    result = pcb.prune(steady[0], edges=[20])
    stages = result.path[1].recipe.stages
    assert [s.iterations for s in stages] == [62]
    assert stages[0].decay == "cosine"
    assert result.path[1].recipe.penalty == steady[0].recipe.penalty


def test_refits_start_from_where_the_network_stood(steady):
    still = quick(1, learning_rate=0.0)
    result = pcb.prune(steady[0], edges=[20], schedule=still, penalty=pcb.Penalty())
    W, before = (f.parameters["W"].values for f in (result.path[1], steady[0]))
    np.testing.assert_allclose(W[W != 0], before[W != 0], rtol=1e-12)
    np.testing.assert_allclose(
        result.path[1].parameters["alpha"], steady[0].parameters["alpha"], rtol=1e-12
    )


def test_refits_have_the_horizons_of_the_fit():
    """A stage without one has the fit's, which need not be that of the last stage."""
    data = dataset(np.random.default_rng(2), conditions=16)
    fit = fitted(data, schedule=[quick(2), quick(4, horizon=1.5)], validation=0.25)
    result = pcb.prune(fit, edges=[8])
    assert [f.horizon for f in result.path] == [1.5, 1.5]
    fit = fitted(data, schedule=[quick(2), quick(4, horizon=1.5)])
    anew = refits.Refits(fit, fit.recipe, "numpy").anew(fit.data.drop_vars("role"))
    xr.testing.assert_identical(anew.history["horizon"], fit.history["horizon"])
    given = pcb.prune(fit, folds=2, edges=[8], schedule=quick(1), choose="lowest")
    assert given.path[1].horizon == 1.5
    with ThreadPoolExecutor(2) as pool:
        options = {"edges": [8], "schedule": quick(1), "choose": "lowest", "executor": pool}
        again = pcb.prune(fit, folds=2, **options)
    pd.testing.assert_frame_equal(again.table, given.table)


@pytest.mark.slow
def test_the_choice_never_looks_at_the_truth(steady, pruned, monkeypatch):
    hidden = ["true_W", "true_alpha", "true_epsilon", "true_response"]
    monkeypatch.setattr(api, "truth_of", lambda *a: pytest.fail("looked at the truth"))
    tree = steady[0].tree.copy()
    tree["data"] = xr.DataTree(steady[0].data.drop_vars(hidden))
    blind = pcb.prune(pcb.Fit(tree), edges=[16, 12, 11, 10, 9, 8, 6])
    xr.testing.assert_identical(blind.fit.parameters, pruned.fit.parameters)


def test_folds_that_cannot_be_fitted_are_named(monkeypatch):
    fit = fitted(dataset(np.random.default_rng(2), conditions=16), schedule=quick(2))

    def fails(self, train):
        raise DivergenceError("it blew up")

    monkeypatch.setattr(refits.Refits, "anew", fails)
    with pytest.raises(DivergenceError, match=r"fold 0 of 2.*it blew up"):
        pcb.prune(fit, folds=2, edges=[8], schedule=quick(1), choose="lowest")


def test_validation_conditions_may_come_later(steady):
    data = steady[0].data.drop_vars("role")
    roles = steady[0].data["role"].values
    without = fitted(
        data.isel(condition=np.flatnonzero(roles == "train")), schedule=quick(60), horizon=8.0
    )
    unseen = data.isel(condition=np.flatnonzero(roles == "validation"))
    result = pcb.prune(without, validation=unseen, edges=[12], schedule=quick(10))
    assert list(result.path[1].data["role"].values) == ["train"] * 21 + ["validation"] * 7
    with pytest.raises(DataError, match="in both"):
        pcb.prune(without, validation=data, edges=[12])


@pytest.mark.slow
def test_folds_judge_by_networks_that_have_not_seen_the_condition(monkeypatch):
    fit, network = sparse_network(validation=None, conditions=21, iterations=150)
    seen = []
    original = refits.losses_of

    def listen(path, data, asked):
        seen.append((set(data["condition"].values), set(path[1].data["condition"].values)))
        return original(path, data, asked)

    monkeypatch.setattr(refits, "losses_of", listen)
    result = pcb.prune(fit, folds=3, edges=[12, 9, 5])
    assert len(seen) == 3
    assert all(not judged & fitted_to for judged, fitted_to in seen)
    assert set.union(*(judged for judged, _ in seen)) == set(fit.data["condition"].values)
    assert "cross-validation" in result.fit.provenance["pruning"]["judged_by"]
    assert list(result.table["edges"]) == [30, 12, 9, 5]
    assert result.table["validation_loss"].to_numpy()[-1] > 3 * result.table["validation_loss"][2]
    assert not ((result.fit.parameters["W"].values == 0) & (network.W.values != 0)).any()
    assert (result.fit.data["role"] == "train").all()


def test_there_are_no_more_folds_than_different_perturbations(steady):
    data = steady[0].data.isel(condition=[0, 1, 2, 0, 1, 2]).drop_vars("role")
    data = data.assign_coords(condition=[f"c{i}" for i in range(6)])
    fit = fitted(data, schedule=quick(2))
    with pytest.raises(OptionError, match=r"folds=4; it needs an integer from 2 to 3"):
        pcb.prune(fit, folds=4)


def test_judging_replicates_are_warned_of_once_for_all_refits(steady):
    without = fitted(steady[0].data.drop_vars("role"), schedule=quick(2))
    judges = without.data.drop_vars("role").isel(condition=[0, 1])
    judges = judges.assign_coords(condition=["r0", "r1"])
    with pytest.warns(pcb.DataWarning, match="2 of 2 validation conditions") as caught:
        pcb.prune(without, validation=judges, edges=[12, 9], schedule=quick(2))
    assert len(caught) == 1


def test_a_blow_up_ends_the_path_with_what_there_is(steady, monkeypatch, caplog):
    original, calls = refits.fit, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) > 1:
            raise DivergenceError("it blew up.")
        return original(*args, **options)

    monkeypatch.setattr(refits, "fit", failing)
    result = pcb.prune(steady[0], edges=[16, 12, 8], schedule=quick(3))
    assert list(result.table["edges"]) == [30, 16]
    assert "pruning ends with 16 edges: it blew up." in caplog.text


def test_an_interrupt_is_one(steady, monkeypatch):
    def interrupted(*args, **options):
        tree = steady[0].tree.copy()
        ended = {"ending": "interrupted", "status": "interrupted in stage 0"}
        tree.attrs["provenance"] = json.dumps(steady[0].provenance | ended)
        return pcb.Fit(tree)

    monkeypatch.setattr(refits, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pcb.prune(steady[0], edges=[16])


def test_data_without_truth_have_no_recovery():
    data = dataset(np.random.default_rng(5), conditions=16)
    fit = fitted(data, validation=0.25)
    result = pcb.prune(fit, edges=[8], schedule=quick(3))
    with pytest.raises(DataError, match="true_W"):
        result.recovery()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"edges": [5], "thresholds": [0.1]}, "not both"),
        ({"edges": []}, "list of numbers"),
        ({"edges": "12"}, "list of numbers"),
        ({"edges": [31]}, "below 30"),
        ({"edges": [12, 12]}, "falling"),
        ({"edges": [12, 0]}, "falling"),
        ({"edges": [12.5]}, "falling"),
        ({"thresholds": [0.2, 0.1]}, "rising"),
        ({"thresholds": [-0.1]}, "rising"),
        ({"thresholds": ["a"]}, "rising"),
        ({"folds": 3}, "leave folds out"),
        ({"folds": 1}, "folds=1"),
        ({"folds": 3, "validation": dataset(np.random.default_rng(0))}, "not both"),
        ({"validation": 0.2}, "validation=0.2; it needs a Dataset"),
        ({"choose": "best"}, "choose='best'"),
        ({"schedule": "fast"}, "pcb.Stage"),
        ({"penalty": 0.1}, "pcb.Penalty"),
        ({"backend": "torch"}, "backend='torch'"),
    ],
)
def test_bad_arguments_stop_before_any_work(steady, options, match, monkeypatch):
    monkeypatch.setattr(refits, "fit", lambda *a, **k: pytest.fail("work was started"))
    with pytest.raises(OptionError, match=match):
        pcb.prune(steady[0], **options)


def test_there_must_be_something_to_judge_by():
    data = dataset(np.random.default_rng(6))
    with pytest.raises(DataError, match=r"no validation conditions.*validation=0.2.*folds=5"):
        pcb.prune(fitted(data))
    one = fitted(data, validation=["c0"])
    with pytest.raises(DataError, match="no standard error"):
        pcb.prune(one)
    with pytest.raises(OptionError, match=r"a fit, as pcb\.fit"):
        pcb.prune(data)


def test_there_must_be_something_to_prune():
    mask = np.zeros((7, 7), dtype=bool)
    mask[1, 0] = True
    model = pcb.CellBox(mask=mask)
    fit = fitted(dataset(np.random.default_rng(7)), model=model, validation=0.25)
    with pytest.raises(ModelError, match=r"1 edge\(s\)"):
        pcb.prune(fit)


def test_judges_may_have_their_nodes_in_another_order(steady):
    without = fitted(steady[0].data.drop_vars("role"), schedule=quick(2))
    judges = without.data.drop_vars("role").isel(condition=[0, 3])
    judges = judges.assign_coords(condition=["r0", "r3"])
    judges["perturbation"] = judges["perturbation"] * 0.5
    turned = judges.isel(node=slice(None, None, -1))
    options = {"edges": [12, 9], "schedule": quick(2)}
    tables = [pcb.prune(without, validation=given, **options).table for given in (judges, turned)]
    assert tables[0].equals(tables[1])
