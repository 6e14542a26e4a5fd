from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import scipy.integrate
import xarray as xr

import pycellbox as pcb
from pycellbox.data import validate
from pycellbox.errors import DataError, ModelError, OptionError
from pycellbox.ji import JI_MODEL, ji_experiment
from pycellbox.models import CellBox
from pycellbox.networks import beeline, demo_network, oscillating
from pycellbox.simulation import (
    experiment,
    perturbations,
    simulate,
    true_model,
    truth,
)


@pytest.fixture
def network():
    return demo_network()


@pytest.fixture
def design(network):
    return perturbations(network.drugs, network.node_kind, doses=[-1.0])


@pytest.fixture
def half_dose(monkeypatch):
    """Replace the solver: every response is half the dose plus the time; calls are recorded."""
    calls = []

    def solve(model, parameters, design, *, solver, horizon, times, backend):
        perturbation = design["perturbation"]
        calls.append({"model": model, "parameters": parameters, "u": perturbation} | locals())
        if times is None:
            return perturbation / 2
        time = xr.DataArray(list(times), dims="time", coords={"time": list(times)})
        return (perturbation / 2 + time).transpose("condition", "time", "node")

    monkeypatch.setattr(experiment, "solve", solve)
    return calls


# ---- designs laid out


def test_perturbations_are_all_singles_and_pairs(network):
    design = perturbations(network.drugs, network.node_kind, doses=[-1.0, -0.5])
    perturbed = (design != 0).sum("node").values
    assert list(perturbed) == [1] * 6 + [2] * 12
    assert design.sel(condition="aMEK=-1+amTOR=-0.5", node="amTOR") == -0.5
    xr.testing.assert_equal(
        design.node_kind, network.node_kind.assign_coords(node_kind=design.node_kind)
    )


def test_perturbations_of_plain_names_without_pairs():
    design = perturbations(["b"], ["a", "b"], doses=[1, 2], combinations=False)
    np.testing.assert_array_equal(design, [[0, 1], [0, 2]])


@pytest.mark.parametrize("drugs", [[], ["a", "a"], ["x"], "a"])
def test_perturbations_check_drugs(drugs):
    with pytest.raises(OptionError, match="different nodes of a, b"):
        perturbations(drugs, ["a", "b"], doses=[1.0])


@pytest.mark.parametrize("doses", [[], [1.0, 1.0], [0.0], [np.nan]])
def test_perturbations_check_doses(doses):
    with pytest.raises(OptionError, match="doses="):
        perturbations(["a"], ["a", "b"], doses=doses)


# ---- designs drawn


def drawn(network, n=30, **options):
    return simulate(network, n, **options)["perturbation"]


def test_a_latin_hypercube_gives_every_node_every_level_once(half_dose):
    u = drawn(beeline("HSC"), 20, max_perturbed="all", sign="positive", scale=2.0).values
    assert u.shape == (20, 11)
    for column in u.T:
        np.testing.assert_allclose(np.sort(column), np.arange(1, 21) / 10)
    assert len({tuple(np.argsort(column)) for column in u.T}) == 11


def test_normal_doses_have_the_given_scale(half_dose):
    u = drawn(beeline("GSD"), 300, perturb="normal", max_perturbed="all", scale=0.5).values
    assert u.std() == pytest.approx(0.5, rel=0.05)
    assert u.mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("perturb", ["latin-hypercube", "normal"])
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_nodes_than_wanted_are_perturbed(half_dose, perturb, limit):
    u = drawn(beeline("GSD"), 200, perturb=perturb, max_perturbed=limit).values
    assert ((u != 0).sum(axis=1) == limit).all()
    # All nodes have the same chance: of 200·limit doses each gets its share.
    share = (u != 0).sum(axis=0) / (200 * limit / 19)
    assert 0.2 < share.min() < share.max() < 2


@pytest.mark.parametrize(("sign", "positive"), [("positive", 1), ("negative", 0), ("both", 0.5)])
def test_drawn_doses_have_the_sign_wanted(half_dose, sign, positive):
    u = drawn(beeline("GSD"), 200, sign=sign).values
    assert (u[u != 0] > 0).mean() == pytest.approx(positive, abs=0.1 if sign == "both" else 0)


def test_drugs_are_what_is_perturbed_if_there_are_any(network, half_dose):
    u = drawn(network)
    assert set(u["node"].values[(u != 0).any("condition")]) == set(network.drugs)
    assert u.sizes["condition"] == 30


def test_only_the_nodes_named_are_perturbed(network, half_dose):
    u = drawn(network, perturbed_nodes=["ERK", "RAF"])
    assert set(u["node"].values[(u != 0).any("condition")]) == {"RAF", "ERK"}
    assert ((u != 0).sum("node") == 2).all()


def test_conditions_are_named_after_few_nodes_and_else_numbered(network, half_dose):
    u = drawn(beeline("CY"), 2, sign="positive", max_perturbed=1)
    assert all(
        f"{'+'.join(u['node'].values[row.values != 0])}=" in str(label)
        for row, label in zip(u, u["condition"].values, strict=True)
    )
    assert list(drawn(beeline("CY"), 2, max_perturbed=4)["condition"].values) == ["c1", "c2"]


@pytest.mark.parametrize(
    ("design", "options", "match"),
    [
        (0, {}, "design=0; it needs a number"),
        ("all", {}, "design='all'; it needs a number"),
        (3, {"perturb": "even"}, "perturb='even'; it needs one of"),
        (3, {"sign": "up"}, "sign='up'; it needs one of"),
        (3, {"max_perturbed": 0}, "max_perturbed=0"),
        (3, {"scale": -1.0}, "scale=-1.0"),
        (3, {"perturbed_nodes": ["RAF", "X"]}, "has no node 'X'"),
        (3, {"perturbed_nodes": ["RAF", "RAF"]}, "different nodes"),
        (3, {"perturbed_nodes": []}, "different nodes"),
    ],
)
def test_options_of_a_drawn_design_are_checked(network, half_dose, design, options, match):
    with pytest.raises(OptionError, match=match):
        simulate(network, design, **options)
    assert not half_dose


def test_options_of_a_drawn_design_need_one(network, design):
    with pytest.raises(DataError, match="scale, sign given, but the design is not drawn"):
        simulate(network, design, scale=2.0, sign="both")


# ---- noise, outliers, gaps


def test_without_noise_the_response_is_the_true_one(network, design, half_dose):
    data = simulate(network, design)
    np.testing.assert_array_equal(data["response"], data["true_response"])
    xr.testing.assert_equal(data["perturbation"], design)
    assert half_dose[0]["horizon"] == 20.0


def test_nodes_are_matched_by_label(network, design, half_dose):
    data = simulate(network, design[:, ::-1])
    assert tuple(data.node.values) == network.nodes
    assert list(data.node_kind.values) == list(network.node_kind.values)


def test_absolute_noise_has_the_given_deviation(half_dose):
    data = simulate(beeline("GSD"), 100, noise=0.1)
    error = data["response"] - data["true_response"]
    assert float(error.std()) == pytest.approx(0.1, rel=0.05)
    assert float(error.where(data["true_response"] == 0).std()) == pytest.approx(0.1, rel=0.05)


def test_relative_noise_goes_with_the_response(half_dose):
    data = simulate(beeline("GSD"), 100, noise=0.1, noise_kind="relative", max_perturbed="all")
    ratio = data["response"] / data["true_response"] - 1
    assert float(ratio.std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float(np.abs(data["true_response"]).max())) > 0.4


def test_outliers_have_their_share_and_size(half_dose):
    data = simulate(beeline("GSD"), 100, outliers=0.1, outlier_size=3.0)
    error = (data["response"] - data["true_response"]).values
    np.testing.assert_allclose(np.abs(error[np.abs(error) > 1e-12]), 3.0)
    assert (error > 1).mean() == pytest.approx(0.05, abs=0.02)
    assert (error < -1).mean() == pytest.approx(0.05, abs=0.02)


def test_gaps_leave_noise_doses_rates_and_outliers_alone(half_dose):
    options = {"noise": 0.1, "outliers": 0.1, "alpha": (0.5, 1.5), "seed": 3}
    full = simulate(beeline("GSD"), 30, **options)
    gappy = simulate(beeline("GSD"), 30, missing=0.4, **options)
    response = gappy["response"]
    assert 0.35 < float(response.isnull().mean()) < 0.45
    assert ((response == full["response"]) | response.isnull()).all()
    for name in ("perturbation", "true_response", "true_alpha"):
        xr.testing.assert_equal(full[name], gappy[name])


def test_noise_leaves_doses_and_rates_alone_and_the_seed_does_not(half_dose):
    def made(**options):
        return simulate(beeline("GSD"), 30, alpha=(0.5, 1.5), **options)

    plain, noisy, other = made(), made(noise=0.1), made(seed=1)
    for name in ("perturbation", "true_alpha"):
        xr.testing.assert_equal(plain[name], noisy[name])
        assert not np.array_equal(plain[name], other[name])
    again = made(noise=0.1)
    xr.testing.assert_identical(again, noisy)


def test_noise_is_the_same_however_doses_and_rates_came_about(half_dose):
    network = beeline("GSD")
    given = perturbations(network.nodes, network.nodes, doses=[1.0], combinations=False)
    made = (
        simulate(network, 19, noise=0.1),
        simulate(network, 19, noise=0.1, alpha=(0.5, 1.5)),
        simulate(network, given, noise=0.1),
    )
    xr.testing.assert_equal(made[0]["perturbation"], made[1]["perturbation"])
    first, *others = ((data["response"] - data["true_response"]).values for data in made)
    for error in others:
        np.testing.assert_allclose(error, first, atol=1e-12)


@pytest.mark.parametrize("times", [None, [1.0, 2.0]])
def test_every_node_and_condition_is_measured_at_least_once(network, design, times, half_dose):
    data = simulate(network, design, missing=0.999, times=times)
    measured = data["response"].notnull()
    for dim in ("node", "condition"):
        assert measured.any([d for d in measured.dims if d != dim]).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise", -1.0),
        ("noise", np.nan),
        ("missing", 1.0),
        ("outliers", 1.0),
        ("outlier_size", -2.0),
    ],
)
def test_sizes_of_errors_are_checked(network, design, name, value):
    with pytest.raises(OptionError, match=f"{name}={value}"):
        simulate(network, design, **{name: value})


def test_kind_of_noise_is_checked(network, design):
    with pytest.raises(OptionError, match="noise_kind='percent'; it needs one of"):
        simulate(network, design, noise_kind="percent")


# ---- equation and rates


def test_a_time_course_has_times(network, design, half_dose):
    data = simulate(network, design, times=[1.0, 2.0], noise=0.1)
    assert data.response.dims == ("condition", "time", "node")
    assert data.true_response.dims == ("condition", "time", "node")
    assert data.time.attrs["units"]
    assert half_dose[0]["horizon"] is None


def test_horizon_and_times_exclude_each_other(network, design):
    with pytest.raises(OptionError, match="both were given"):
        simulate(network, design, times=[1.0], horizon=2.0)


def test_other_nodes_than_the_networks_are_refused(network, design):
    with pytest.raises(DataError, match="'RAF' is in only one"):
        simulate(network, design.drop_sel(node="RAF"))


@pytest.mark.parametrize("form", [0, 1, 2, "ji", "ji-code"])
@pytest.mark.parametrize("envelope", ["tanh", "sigmoid"])
def test_every_form_can_be_simulated(form, envelope):
    model = CellBox(form=form, envelope=envelope, self_interaction=True)
    data = simulate(beeline("BF"), 4, model=model, horizon=2.0)
    assert {f"true_{rate}" for rate in model.rates} <= set(data)
    assert "true_psi" not in data or form == 2
    x = pcb.solve(
        true_model(data), truth(data), data["perturbation"], solver=pcb.RK4(0.01), horizon=2.0
    )
    np.testing.assert_allclose(x, data["true_response"], atol=1e-7)


def test_self_interaction_is_taken_from_the_network_but_not_forced_on_a_model():
    assert true_model(simulate(beeline("BF"), 3)).self_interaction
    assert not true_model(simulate(beeline("CY"), 3)).self_interaction
    with pytest.raises(ModelError, match="self_interaction=True allows it"):
        simulate(beeline("BF"), 3, model=CellBox())


def test_alpha_is_the_networks_or_given_or_drawn():
    network = beeline("CY", alpha=0.7)
    by_node = network.alpha * np.arange(1, 7)
    assert (simulate(network, 3)["true_alpha"] == 0.7).all()
    assert (simulate(network, 3, alpha=2.0)["true_alpha"] == 2.0).all()
    given = simulate(network, 3, alpha=by_node[::-1])
    np.testing.assert_array_equal(given["true_alpha"], by_node)
    alpha = simulate(network, 3, alpha=(0.5, 1.5))["true_alpha"]
    assert 0.5 < alpha.min() < alpha.max() < 1.5
    with pytest.raises(ModelError, match="alpha needs the dim 'node'"):
        simulate(network, 3, alpha=by_node[:3])
    with pytest.raises(OptionError, match="alpha=-1"):
        simulate(network, 3, alpha=-1)


@pytest.mark.parametrize("name", ["TF", "oscillating"])
def test_the_truth_is_exact_to_ten_digits(name):
    network = oscillating(8, 0.3) if name == "oscillating" else beeline(name)
    data = simulate(network, 3, times=[5.0, 20.0], perturb="normal")
    W, alpha = network.W.values, network.alpha.values
    for u, x in zip(data["perturbation"].values, data["true_response"].values, strict=True):
        exact = scipy.integrate.solve_ivp(
            lambda t, x, u=u: np.tanh(W @ x + u) - alpha * x,
            (0, 20),
            np.zeros(len(W)),
            t_eval=[5.0, 20.0],
            method="DOP853",
            rtol=1e-13,
            atol=1e-15,
        )
        np.testing.assert_allclose(x, exact.y.T, atol=1e-10)


def test_inhibitors_inhibit_and_feedback_resists(network, design):
    response = simulate(network, design)["true_response"]
    alone = response.sel(condition="aMEK=-1")
    assert alone.sel(node="ERK") < 0 < alone.sel(node="RAF")
    both = response.sel(condition="aMEK=-1+amTOR=-1", node="viability")
    assert both < alone.sel(node="viability") < 0


def test_a_steady_state_solves_the_equation(network, design):
    data = simulate(network, design, model=CellBox(dose_saturation=None), horizon=60.0)
    x, u, W = (a.values for a in (data.true_response, data.perturbation, network.W))
    np.testing.assert_allclose(np.tanh(x @ W.T + u), x, atol=1e-9)


def test_a_network_with_shifts_is_simulated_with_them(network, design):
    free = network.node_kind != "drug"
    b, common = 0.6 * free, -0.3 * free
    shifted = dataclasses.replace(network, b=b, common=common)
    data = simulate(shifted, design, horizon=60.0)
    assert true_model(data) == CellBox(operating_point=True, common_effect=True)
    xr.testing.assert_equal(truth(data)[["b", "common"]], shifted.parameters[["b", "common"]])
    x, u, W = (a.values for a in (data.true_response, data.perturbation, network.W))
    treated = (u != 0).any(axis=1)[:, None]
    z = x @ W.T + u + b.values + treated * common.values
    wanted = np.tanh(z) - np.tanh(b.values)
    np.testing.assert_allclose(wanted[:, free], x[:, free], atol=1e-8)


# ---- the truth in the dataset


@pytest.fixture(scope="module")
def course():
    return simulate(beeline("HSC"), 12, times=[1.0, 4.0], noise=0.05, missing=0.1, alpha=(0.5, 1.5))


def test_the_truth_is_what_was_simulated(network, design):
    data = simulate(network, design, noise=0.1)
    expected = network.parameters[["W", "alpha", "epsilon"]]
    xr.testing.assert_equal(truth(data), expected)
    xr.testing.assert_equal(truth(data.isel(condition=[0, 2])), expected)


def test_data_without_a_truth_say_so(course):
    plain = course.drop_vars("true_W")
    with pytest.raises(DataError, match="no variable 'true_W'"):
        truth(plain)
    plain.attrs.clear()
    with pytest.raises(DataError, match="no attribute 'true_model'"):
        true_model(plain)


def test_simulated_data_is_valid_and_says_how_it_was_made(course):
    xr.testing.assert_identical(validate(course), course)
    assert course.attrs["noise"] == 0.05
    assert course.attrs["noise_kind"] == "absolute"
    assert json.loads(course.attrs["true_model"])["form"] == 0


def test_the_truth_survives_a_file(course, tmp_path):
    pcb.save_data(course, tmp_path / "data.nc")
    read = pcb.open_data(tmp_path / "data.nc")
    xr.testing.assert_identical(read, course)
    xr.testing.assert_identical(truth(read), truth(course))


def test_the_truth_survives_splits_and_fits(course, tmp_path):
    train, validation, test = pcb.splits.random(course, seed=0).apply(course)
    fit = pcb.fit(
        train,
        CellBox(self_interaction=True),
        validation=validation,
        schedule=pcb.Stage(2, 0.01),
        solver=pcb.Heun(0.05),
        progress=False,
    )
    fit.save(tmp_path / "fit.nc")
    for data in (test, fit.data, pcb.load(tmp_path / "fit.nc").data):
        xr.testing.assert_equal(truth(data), truth(course))
    score = pcb.metrics.recovery(fit.parameters["W"], truth(fit.data)["W"])
    assert -1 <= score["pearson"] <= 1


# ---- Ji et al.


def test_ji_experiment_is_as_published():
    parts = ji_experiment("bf")
    assert [part.sizes["condition"] for part in parts] == [50, 5, 5]
    whole = xr.concat([part["perturbation"] for part in parts], "condition").values
    assert ((whole > 0).sum(axis=1) == 2).all()
    assert (whole >= 0).all()
    levels = whole[whole > 0] * 60
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-9)
    for part in parts:
        assert list(part["time"].values) == [4, 8, 12, 16, 20]
        xr.testing.assert_equal(truth(part)["W"], beeline("BF").W)
        xr.testing.assert_equal(truth(part), truth(parts[0]))
        assert true_model(part) == JI_MODEL
        error = part["response"] - part["true_response"]
        assert float(error.std()) == pytest.approx(0.001, rel=0.1)
    alpha = truth(parts[0])["alpha"].values
    assert 0.5 < alpha.min() < alpha.max() < 1.5
    labels = np.concatenate([part["condition"].values for part in parts])
    assert len(set(labels)) == 60


def test_ji_experiment_solves_the_equation_of_the_code():
    train, _, _ = ji_experiment("TF", n_conditions=(2, 1, 1), seed=5)
    p, u = truth(train), train["perturbation"].values[1]
    W, alpha = p["W"].values, p["alpha"].values
    exact = scipy.integrate.solve_ivp(
        lambda t, x: alpha * np.tanh(W @ x - u) - x,
        (0, 20),
        np.zeros(8),
        t_eval=train["time"].values,
        rtol=1e-10,
        atol=1e-12,
    )
    np.testing.assert_allclose(train["true_response"].values[1], exact.y.T, atol=1e-8)


@pytest.mark.parametrize(("name", "alpha"), [("CY", 1.0), ("mCAD", 0.2)])
def test_ji_experiment_with_the_published_alpha(name, alpha):
    train, _, _ = ji_experiment(name, n_conditions=(3, 1, 1), alpha="published")
    assert (train["true_alpha"] == alpha).all()


@pytest.mark.parametrize("counts", [20, (20, 5), (20, 0, 5), (2.0, 1, 1)])
def test_numbers_of_conditions_of_a_ji_experiment_are_checked(counts):
    with pytest.raises(OptionError, match=r"n_conditions=.*three integers"):
        ji_experiment("LI", n_conditions=counts)
