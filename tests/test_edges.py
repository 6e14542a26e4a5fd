"""Interactions as tables: their kinds, and how far their estimates spread."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.edges import EDGE_KINDS, edge_kinds
from tests.support.fits import fitted, known_network, quick
from tests.support.screens import dataset, screen

OPTIONS = {"progress": False, "backend": "numpy"}


@pytest.fixture(scope="module")
def fit():
    doses, y = screen(np.random.default_rng(5), conditions=20, nodes=5)
    y = y - 0.7 * doses.sum(axis=1, keepdims=True)  # that of any drug
    doses = np.column_stack([doses, np.zeros(20)])  # a drug that nobody gave
    return pcb.fit(dataset(doses, y, ["protein"] * 3 + ["phenotype"] * 2), **OPTIONS)


def test_the_spread_of_an_estimate_is_that_of_draws_about_its_optimum(fit):
    found = fit._predictor.screen._found
    rng, noise = np.random.default_rng(0), fit._predictor.screen._spread.parts
    drawn = []
    for criterion, spread in zip((found.acted, found.read), noise, strict=True):
        nodes = criterion.nodes
        each = np.stack([
            theta[:, None]
            + np.sqrt(s) * np.linalg.cholesky(np.linalg.inv(matrix)) @ rng.normal(
                size=(theta.size, 4000)
            )
            for theta, matrix, s in zip(
                nodes.theta, nodes.normal(nodes.theta).matrix, spread.noise, strict=True
            )
        ])  # fmt: skip
        drawn.append(np.moveaxis(each, 2, 0)[:, :, :-1])
    table = fit.edges().set_index(["source", "target"])
    ranges = found.acted.nodes.ranges
    drugs = fit.data["node"].values[fit.data["node_kind"].values == "drug"]
    slope = (fit.parameters["epsilon"] / fit.parameters["alpha"]).sel(node=drugs).values
    effects = np.stack([found.design.effects(theta) for theta in drawn[0]])
    W = effects / (ranges[:, None] * slope[:4])
    for i, target in enumerate(["p0", "p1", "p2"]):
        own = table.loc[[(drug, target) for drug in drugs[:4]]]
        np.testing.assert_allclose(own["sd"], W.std(axis=0)[i], rtol=0.05)
        np.testing.assert_allclose(own["weight"], W.mean(axis=0)[i], atol=0.1)
    between = drawn[1][:, :, : found.basis.shape[1]] @ found.basis.T
    W = between / found.read.nodes.ranges[:, None]
    for i, target in enumerate(["p3", "p4"]):
        own = table.loc[[(f"p{k}", target) for k in range(3)]]
        np.testing.assert_allclose(own["sd"], W.std(axis=0)[i], rtol=0.05)


def test_the_table_has_all_interactions_with_their_kinds(fit, tmp_path):
    table = fit.edges(0.5)
    columns = ["source", "target", "kind", "weight", "sign", "lower", "upper", "sd"]
    assert list(table.columns) == columns
    W = fit.parameters["W"].transpose("target", "source")
    assert len(table) == int((W != 0).sum())
    kind = dict(zip(fit.data["node"].values, fit.data["node_kind"].values, strict=True))
    for row in table.itertuples():
        from_drug = "drug → node" if kind[row.source] == "drug" else None
        assert row.kind == (from_drug or "node → phenotype")
        assert row.weight == W.sel(target=row.target, source=row.source)
        assert row.sign == np.sign(row.weight)
    unseen = table["source"] == "D4"
    assert unseen.any()
    assert table.loc[unseen, ["lower", "upper", "sd"]].isna().all(axis=None)
    seen = table[~unseen]
    assert (seen["lower"] < seen["weight"]).all()
    assert (seen["sd"] > 0).all()
    np.testing.assert_allclose(seen["upper"] - seen["lower"], 2 * 0.67449 * seen["sd"], rtol=1e-4)
    again = pcb.load(fit.save(tmp_path / "fit.nc")).edges(0.5)
    assert table.equals(again)
    of_members = pcb.ensemble(fit, members=2, **OPTIONS).edges(0.5)
    assert list(of_members.columns) == [*columns, "agree"]
    assert set(of_members["kind"]) == set(table["kind"])


@pytest.mark.filterwarnings("ignore::pycellbox.NumericsWarning")  # of wide steps
def test_the_spread_of_what_is_trained_is_that_of_its_jacobian():
    data, _ = known_network(conditions=24)
    noise = np.random.default_rng(1).normal(0, 0.05, data["response"].shape)
    data = data.assign(response=data["response"] + noise)
    penalty = pcb.Penalty(l2=0.01)
    fit = fitted(data, schedule=pcb.Stage(5, optimizer=pcb.LM()), penalty=penalty)
    table = fit.edges(0.5)
    assert set(table["kind"]) == set(EDGE_KINDS)
    assert table["weight"].abs().is_monotonic_decreasing
    found = fit._predictor._trained(fit._predictor._backend("auto"))._found
    names = list(fit._predictor._trained(fit._predictor._backend("auto"))._entries.names)
    covariance = found._inverse @ found._middle @ found._inverse * np.outer(*[found._unit] * 2)
    for row in table.itertuples():
        k = names.index(f"W[{row.target}, {row.source}]")
        assert row.sd == pytest.approx(np.sqrt(covariance[k, k]))
    np.testing.assert_allclose(table["upper"] - table["weight"], 0.67449 * table["sd"], rtol=1e-4)


def test_where_no_spread_is_known_it_is_said_and_equations_have_no_edges():
    data, _ = known_network(conditions=6)
    fit = fitted(data, schedule=quick(1), loss="mae")
    with pytest.warns(pcb.NumericsWarning, match="the spread of edges is not known.*mae"):
        table = fit.edges()
    assert table[["lower", "upper", "sd"]].isna().all(axis=None)
    decay = pcb.ODE({"x": "-k*x"}, parameters={"k": 1.0}, initial={"x": 1})
    course = pcb.simulation.courses(decay, {"k": 1.0}, [1.0, 2.0], noise=0.01)
    fit = pcb.fit(course, decay, schedule=pcb.Stage(1), **OPTIONS)
    with pytest.raises(pcb.ModelError, match="edges are those of a network"):
        fit.edges()


def test_kinds_of_edges_are_by_the_nodes_at_their_ends():
    kinds = edge_kinds(np.array(["protein", "hidden", "phenotype", "drug"]))
    assert kinds[2].tolist() == ["node → phenotype"] * 3 + ["drug → node"]
    assert kinds[0].tolist() == ["node → node"] * 3 + ["drug → node"]
