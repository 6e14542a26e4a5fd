"""Nodes estimated in closed steps: the stated optimum, strengths, and the network meant."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize

from pycellbox.backends.numpy import NumpyBackend
from pycellbox.estimation import estimate
from pycellbox.estimation.design import COMMON, Design, Parts, saturated
from pycellbox.estimation.estimate import directions, typical
from pycellbox.estimation.linear import left_out, own_strengths, thresholds
from pycellbox.estimation.nodes import Nodes
from pycellbox.estimation.parameters import estimate_of, obstacle, parameters_of, saturating
from pycellbox.estimation.strengths import by_leaving_out
from pycellbox.initialization import Initialization
from pycellbox.models import CellBox, Structure
from pycellbox.numerics.start import initial_parameters
from pycellbox.problem import Problem
from pycellbox.solvers import SteadyState

MODEL = CellBox(operating_point=True, common_effect=True)


def screen(rng, conditions=24, drugs=4, nodes=5, *, alone=False, missing=0.1, levels=True):
    """Doses (c, drug) and responses (c, node) of nodes that saturate, with noise and gaps."""
    doses = np.zeros((conditions, drugs))
    for row in doses:
        which = rng.choice(drugs, 1 if alone or rng.random() < 0.3 else 2, replace=False)
        row[which] = rng.choice([0.5, 1.0, 2.0], which.size) if levels else 1.0
    doses[:drugs] = np.eye(drugs)
    effects = rng.normal(0.3, 1, (nodes, drugs))
    y = 1.5 * (np.tanh(doses @ effects.T + 0.4) - np.tanh(0.4))
    y += rng.normal(0, 0.2, y.shape)
    y[rng.random(y.shape) < missing] = np.nan
    return doses, y


def made(rng, ranges=2.0, weighted=False, **options):
    doses, y = screen(rng, **options)
    design = Design.of(doses, y)
    nodes = Nodes(design(doses), y, rng.uniform(0.2, 5, y.shape) if weighted else None)
    nodes.ranges = ranges * nodes.largest
    return design, nodes


def settled(nodes, ranges, penalties):
    """Objectives at the optimum."""
    nodes.settle(ranges, penalties)
    return nodes.polish()


def test_far_from_saturation_it_is_ridge_regression():
    _, nodes = made(np.random.default_rng(0))
    m, p = len(nodes.outputs), nodes.columns.shape[1]
    penalties = np.exp(np.random.default_rng(1).normal(size=(m, p + 1)))
    penalties[:, -1] = 1e12  # no operating point
    settled(nodes, np.full(m, 1e5), penalties)
    for theta, y, where, penalty in zip(
        nodes.theta, nodes.outputs, nodes.measured, penalties, strict=True
    ):
        D = nodes.columns[where]
        wanted = np.linalg.solve(D.T @ D + np.diag(penalty[:-1]), D.T @ y[where])
        np.testing.assert_allclose(theta[:-1], wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("threshold", [np.inf, 0.15])
def test_the_optimum_is_that_of_the_stated_objective(threshold):
    rng = np.random.default_rng(2)
    _, nodes = made(rng)
    m, p = len(nodes.outputs), nodes.columns.shape[1]
    nodes.thresholds = np.full((m, 1), threshold)
    penalties = np.exp(rng.normal(-1, 0.5, (m, p + 1)))
    values = settled(nodes, nodes.ranges, penalties)
    for i in range(m):
        D, y = nodes.columns[nodes.measured[i]], nodes.outputs[i, nodes.measured[i]]
        A = nodes.ranges[i]

        def objective(theta, i=i, D=D, y=y, A=A):
            r = np.abs(y - A * (np.tanh(D @ theta[:-1] / A + theta[-1]) - np.tanh(theta[-1])))
            lost = np.where(
                r <= threshold, r**2, 2 * min(threshold, 1e9) * r - min(threshold, 1e9) ** 2
            )
            return lost.sum() + (penalties[i] * theta**2).sum()

        assert values[i] == pytest.approx(objective(nodes.theta[i]), rel=1e-12)
        found = minimize(objective, np.zeros(p + 1), method="L-BFGS-B", options={"maxfun": 10**5})
        assert values[i] <= found.fun * (1 + 1e-9)
        np.testing.assert_allclose(nodes.theta[i], found.x, atol=2e-3)


def test_conditions_left_out_in_closed_form_are_those_left_out():
    rng = np.random.default_rng(3)
    _, nodes = made(rng)
    m, p = len(nodes.outputs), nodes.columns.shape[1]
    penalties = np.exp(rng.normal(size=(m, p)))
    errors = left_out(nodes, penalties)
    for i, c in np.argwhere(nodes.measured):
        others = nodes.measured[i] & (np.arange(len(nodes.columns)) != c)
        D = nodes.columns[others]
        effects = np.linalg.solve(D.T @ D + np.diag(penalties[i]), D.T @ nodes.outputs[i, others])
        wanted = nodes.outputs[i, c] - nodes.columns[c] @ effects
        assert errors[i, c] == pytest.approx(wanted, rel=1e-8, abs=1e-10)
    assert (errors[~nodes.measured] == 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_leverage_is_that_of_the_linear_model(weighted):
    rng = np.random.default_rng(4)
    _, nodes = made(rng, weighted=weighted)
    m, p = len(nodes.outputs), nodes.columns.shape[1]
    penalties = np.column_stack([np.exp(rng.normal(size=(m, p))), np.full(m, 1e14)])
    settled(nodes, np.full(m, 1e5), penalties)
    at = nodes.normal(nodes.theta)
    errors = at.residual / (1 - at.leverage())
    np.testing.assert_allclose(errors, left_out(nodes, penalties[:, :-1]), rtol=1e-5, atol=1e-7)


def problem_of(doses, y, kinds=("protein", "protein", "phenotype", "protein", "protein")):
    drugs = doses.shape[1]
    n = len(kinds) + drugs
    structure = Structure.over(MODEL, [f"n{i}" for i in range(n)], [*kinds, *["drug"] * drugs])
    u, response = np.zeros((len(doses), n)), np.zeros((len(doses), 1, n))
    u[:, -drugs:] = doses
    response[:, 0, : len(kinds)] = np.nan_to_num(y)
    response[:, 0, -drugs:] = 0.7 * doses
    weight = np.ones_like(response)
    weight[:, 0, : len(kinds)] = ~np.isnan(y)
    labels = tuple(f"c{i}" for i in range(len(doses)))
    return Problem(structure, labels, u, response, weight, np.array([10.0]), True)


@pytest.mark.parametrize("levels", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_the_network_s_steady_states_are_the_predictions(alone, levels):
    rng = np.random.default_rng(5)
    doses, y = screen(rng, drugs=5, alone=alone, levels=levels)
    seen = doses.copy()
    seen[:, 4] = 0  # a drug never seen
    seen[:, 1] *= -1
    problem = problem_of(seen, y)
    assert not obstacle(problem)
    found = estimate_of(problem)
    model = saturating(MODEL, found.design)
    structure = dataclasses.replace(problem.structure, model=model)
    laid = dataclasses.replace(problem, structure=structure)
    start = initial_parameters(laid, Initialization(), np.random.default_rng(0))
    parameters = parameters_of(found, laid, start)
    new = rng.choice([0.0, 0.7, 1.5], (30, 5))
    new[:, 1] *= -1
    u = np.zeros((30, structure.n_nodes))
    u[:, structure.is_drug] = new
    states = NumpyBackend().solve(
        structure, SteadyState(tol=1e-13), parameters, u, np.array([10.0])
    ).states  # fmt: skip
    np.testing.assert_allclose(states[:, 0, :5], found.predict(new), rtol=0, atol=1e-8)


def test_the_unit_of_responses_does_not_matter():
    doses, y = screen(np.random.default_rng(6))
    one, other = estimate(doses, y), estimate(doses, 40 * y)
    assert one.strengths == pytest.approx(other.strengths)
    np.testing.assert_allclose(40 * one.predict(doses), other.predict(doses), rtol=1e-6, atol=1e-6)


def test_the_unit_of_doses_does_not_matter():
    doses, y = screen(np.random.default_rng(19))
    one, other = estimate(doses, y), estimate(1000 * doses, y)
    np.testing.assert_allclose(other.predict(1000 * doses), one.predict(doses), atol=1e-8)
    assert other.design.saturation == pytest.approx(one.design.saturation / 1000)


def test_what_drugs_have_in_common_stays_inside_their_class():
    rng = np.random.default_rng(20)
    doses, y = screen(rng, conditions=60, drugs=9, nodes=6, missing=0.0)
    classes = np.array(["ligand"] * 4 + ["inhibitor"] * 4 + ["other"])
    apart = np.where(classes == "ligand", 1.0, -1.0) * np.abs(rng.normal(1, 0.2, (6, 9)))
    doses[:, [3, 7]] = 0
    doses[(doses == 0).all(axis=1), 0] = 1
    y[:] = np.tanh(0.5 * doses @ apart.T) + rng.normal(0, 0.05, y.shape)
    found = estimate(doses, y, classes=classes)
    assert (found.predict(np.eye(9)[[3]]) > 0.05).all()
    assert (found.predict(np.eye(9)[[7]]) < -0.05).all()
    assert set(found.pooled) == {"ligand", "inhibitor", "other"}
    assert found.pooled["other"] == 0
    assert {"drugs of ligand", "shared of ligand", "drugs of other"} <= set(found.strengths)
    assert "shared of other" not in found.strengths


def test_the_sign_of_doses_does_not_matter():
    rng = np.random.default_rng(7)
    doses, y = screen(rng, drugs=5)
    doses[:, 4] = 0
    new = rng.choice([0.0, 1.0], (12, 5))
    wanted = estimate(doses, y).predict(new)
    flip = np.array([1, -1, 1, -1, 1])
    np.testing.assert_allclose(estimate(doses * flip, y).predict(new * flip), wanted, atol=1e-6)
    np.testing.assert_allclose(estimate(-doses, y).predict(-new), wanted, atol=1e-6)


def test_a_node_with_gaps_uses_the_conditions_it_has():
    rng = np.random.default_rng(8)
    doses, y = screen(rng, missing=0.0)
    design = Design.of(doses, y)
    y[::3, 0] = np.nan
    nodes, kept = Nodes(design(doses), y), np.arange(len(y)) % 3 != 0
    alone = Nodes(design(doses)[kept], y[kept, :1])
    penalties = np.ones((5, nodes.columns.shape[1] + 1))
    ranges = np.full(5, 2.0)
    settled(nodes, ranges, penalties)
    settled(alone, ranges[:1], penalties[:1])
    np.testing.assert_allclose(nodes.theta[0], alone.theta[0], rtol=1e-7, atol=1e-9)


def test_weights_are_numbers_of_equal_responses():
    rng = np.random.default_rng(14)
    doses, y = screen(rng, missing=0.0)
    twice = np.r_[np.arange(len(y)), 3, 5]
    weights = np.ones_like(y)
    weights[[3, 5]] = 2
    one = Nodes(Design.of(doses, y)(doses), y, 7 * weights)
    other = Nodes(one.columns[twice], y[twice])
    penalties = np.full((5, one.columns.shape[1] + 1), 0.7)
    ranges = np.full(5, 2.0)
    settled(one, ranges, penalties * len(y) / len(twice))
    settled(other, ranges, penalties)
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-7, atol=1e-9)


def test_an_uncertain_response_counts_less():
    rng = np.random.default_rng(15)
    doses, y = screen(rng, conditions=40, missing=0.0)
    spoilt = y.copy()
    spoilt[9] += rng.normal(0, 3, 5)
    weights = np.ones_like(y)
    weights[9] = 1e-3
    wanted = estimate(doses, y).predict(doses)
    heard = np.abs(estimate(doses, spoilt).predict(doses) - wanted).max()
    weighed = np.abs(estimate(doses, spoilt, weights).predict(doses) - wanted).max()
    assert weighed < 0.5 * heard


def test_phenotypes_are_read_from_the_states_of_other_nodes():
    rng = np.random.default_rng(16)
    doses, y = screen(rng, conditions=60, drugs=6, nodes=8, missing=0.0)
    read = np.arange(8) == 7
    truth = rng.normal(0, 1, 7)
    y[:, 7] = np.tanh(0.3 * y[:, :7] @ truth) + rng.normal(0, 0.05, 60)
    found = estimate(doses, y, read=read)
    assert (found.effects[7] == 0).all()
    assert (found.between[:7] == 0).all()
    assert found.between[7, 7] == 0
    new = rng.choice([0.0, 0.5, 2.0], (200, 6))
    x = found.predict(new)
    z = x[:, :7] @ found.between[7, :7] + found.common[7] * saturated(new, 0).any(axis=1)
    A, b = found.ranges[7], found.point[7]
    np.testing.assert_allclose(x[:, 7], A * (np.tanh(z / A + b) - np.tanh(b)), atol=1e-12)
    wanted = np.tanh(0.3 * x[:, :7] @ truth)
    assert np.corrcoef(x[:, 7], wanted)[0, 1] > 0.95
    others = estimate(doses, y[:, :7])
    np.testing.assert_array_equal(x[:, :7], others.predict(new))


def test_directions_hear_nodes_that_move_little():
    rng = np.random.default_rng(17)
    states = rng.normal(size=(30, 6)) * [1, 1, 1, 100, 1, 1]
    basis = directions(states)
    shares = states @ basis
    assert (shares**2).sum(axis=1).mean() == pytest.approx(1)
    assert np.std(np.log((basis**2).sum(axis=1)[:3])) < 0.2
    of_large = (states[:, [3]] * basis[3]) ** 2
    assert of_large.sum() / (shares**2).sum() < 0.4
    assert directions(np.zeros((5, 3))).shape == (3, 0)


@pytest.mark.parametrize("off", ["operating_point", "common", "shared", "robust", "saturation"])
def test_parts_that_are_left_out(off):
    doses, y = screen(np.random.default_rng(18))
    left = 0.5 if off == "saturation" else False
    found = estimate(doses, y, parts=dataclasses.replace(Parts(), **{off: left}))
    assert (found.point == 0).all() == (off == "operating_point")
    assert (found.common == 0).all() == (off == "common")
    assert (COMMON in found.strengths) == (off != "common")
    assert ("shared" in found.strengths) == (off != "shared")
    assert np.isinf(found.thresholds).all() == (off == "robust")
    if off == "saturation":
        assert found.design.saturation == 0.5


def test_an_outlier_moves_a_robust_node_less():
    rng = np.random.default_rng(9)
    doses, y = screen(rng, missing=0.0, conditions=40)
    spoilt = y.copy()
    spoilt[7, 0] += 8.0
    design = Design.of(doses, y)
    moved = []
    for robust in (True, False):
        thetas = []
        for outputs in (y, spoilt):
            nodes = Nodes(design(doses), outputs)
            penalties = np.full((5, nodes.columns.shape[1] + 1), 0.3)
            if robust:
                nodes.thresholds = thresholds(nodes, penalties[:, :-1])
            settled(nodes, np.full(5, 4.0), penalties)
            thetas.append(nodes.states(nodes.theta, nodes.columns)[0])
        moved.append(np.abs(thetas[0] - thetas[1]).max())
    assert moved[0] < 0.6 * moved[1]


def test_noisy_nodes_are_penalized_more():
    rng = np.random.default_rng(10)
    doses, y = screen(rng, conditions=60, drugs=12, missing=0.0)
    y[:, 0] = rng.normal(0, 1, 60)  # nothing but noise
    design = Design.of(doses, y)
    own = own_strengths(Nodes(design(doses), y), design.kinds, np.ones(60, dtype=bool))
    assert own[0] > own[1:].max() + 1


def test_drugs_alone_are_judged_by_evidence():
    rng = np.random.default_rng(11)
    assert by_leaving_out(screen(rng)[0])
    doses, y = screen(rng, alone=True)
    assert not by_leaving_out(doses)
    assert not estimate(doses, y).leaves_out
    once = np.zeros((6, 9))
    once[:, :3] = 1
    once[np.arange(6), 3 + np.arange(6)] = 1  # combinations, each with a drug of its own
    assert not by_leaving_out(once)


def test_an_unseen_drug_is_a_shrunken_typical_one():
    rng = np.random.default_rng(12)
    same = np.outer(rng.normal(size=6), np.ones(5))
    middle, pooled = typical(same)
    np.testing.assert_allclose(middle, same[:, 0])
    assert pooled == pytest.approx(1)
    apart = np.eye(5)[:, :4] - np.eye(5)[:, 1:]  # what the others have in common is nothing
    assert typical(apart)[1] == 0
    assert typical(same[:, :1])[1] == 0
    assert 0 < typical(same + rng.normal(0, 1, (6, 5)))[1] < 1
    spoilt = same.copy()
    spoilt[:, 2] += 50  # one drug that does a lot is not typical
    np.testing.assert_allclose(typical(spoilt)[0], middle)


@pytest.mark.parametrize(
    ("doses", "y"),
    [
        ([[1.0]], [[0.5]]),
        ([[1.0], [0.0]], [[0.5], [0.1]]),
        ([[1.0, 0.0], [0.0, -2.0], [0.0, 0.0]], [[0.0], [0.0], [0.0]]),
        ([[1.0, 1.0]] * 4, [[1.0, np.nan]] * 2 + [[np.nan, -1.0]] * 2),
    ],
    ids=["one condition", "one drug", "no response", "one combination"],
)
def test_little_data(doses, y):
    found = estimate(np.array(doses), np.array(y))
    assert np.isfinite(found.predict(np.array(doses))).all()
    assert np.isfinite(found.predict(10 * np.ones((1, len(doses[0]))))).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"envelope": "hill"}, "envelope='hill'"),
        ({"drugs": "clamped"}, "drugs='clamped'"),
        ({"dose_saturation": None}, "mapped doses"),
        ({"mask": np.eye(9, k=5)}, "mask"),
    ],
)
def test_what_stands_in_the_way(options, said):
    problem = problem_of(*screen(np.random.default_rng(13)))
    model = dataclasses.replace(MODEL, **options)
    s = problem.structure
    laid = dataclasses.replace(problem, structure=Structure.over(model, s.nodes, s.node_kind))
    assert said in obstacle(laid)
    assert not obstacle(problem)
    problem.perturbation[0, 0] = 1.0
    assert "no drugs are perturbed" in obstacle(problem)
    problem.perturbation[:] = 0.0
    assert "no condition has a dose" in obstacle(problem)
    problem.perturbation[0, -1] = 1.0
    problem.weight[:, :, [0, 1, 3, 4]] = 0
    assert "no node on which drugs act" in obstacle(problem)


def test_responses_count_by_the_inverse_square_of_their_standard_deviations():
    rng = np.random.default_rng(8)
    doses, y = screen(rng)
    problem = problem_of(doses, y)
    sigma = rng.uniform(0.5, 2, problem.weight.shape)
    found = estimate_of(dataclasses.replace(problem, weight=problem.weight / sigma))
    for criterion, where in ((found.acted, [0, 1, 3, 4]), (found.read, [2])):
        inverse = np.where(np.isnan(y), 0, 1 / sigma[:, 0, : y.shape[1]] ** 2).T[where]
        share = criterion.nodes.weights / np.maximum(inverse, 1e-300)
        for one, measured in zip(share, inverse > 0, strict=True):
            np.testing.assert_allclose(one[measured], one[measured][0])
