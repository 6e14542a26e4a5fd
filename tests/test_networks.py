from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import pycellbox.simulate as simulating
from pycellbox.data import validate
from pycellbox.errors import DataError, ModelError
from pycellbox.models import CellBox
from pycellbox.networks import demo_network, random_network


@pytest.fixture
def network():
    return demo_network()


@pytest.fixture
def design(network):
    return simulating.perturbations(network.drugs, network.node_kind, doses=[-1.0])


@pytest.fixture
def half_dose(monkeypatch):
    """Replace the solver: every response is half the dose plus the time; calls are recorded."""
    calls = []

    def solve(model, parameters, perturbation, *, solver, horizon, times, backend):
        calls.append({"model": model, "parameters": parameters, "u": perturbation} | locals())
        if times is None:
            return perturbation / 2
        time = xr.DataArray(list(times), dims="time", coords={"time": list(times)})
        return (perturbation / 2 + time).transpose("condition", "time", "node")

    monkeypatch.setattr(simulating, "solve", solve)
    return calls


def assert_obeys_mask(network):
    W = network.W.values
    kinds = network.node_kind.values
    assert not np.diag(W).any()
    assert not W[kinds == "drug"].any()
    assert not W[:, kinds == "phenotype"].any()
    assert not W[np.ix_(kinds == "phenotype", kinds == "drug")].any()


def growth_at_rest(network):
    J = network.epsilon.values[:, None] * network.W.values - np.diag(network.alpha.values)
    return np.linalg.eigvals(J).real.max()


def test_demo_network_has_ten_readable_nodes(network):
    assert network.nodes == (
        *("RAF", "MEK", "ERK", "PI3K", "AKT", "mTOR", "viability"),
        *("aMEK", "aAKT", "amTOR"),
    )
    assert network.drugs == ("aMEK", "aAKT", "amTOR")


@pytest.mark.parametrize("seed", range(5))
def test_demo_network_obeys_mask_range_and_rest(seed):
    network = demo_network(seed)
    assert_obeys_mask(network)
    weights = np.abs(network.W.values[network.W.values != 0])
    assert ((weights >= 0.5) & (weights <= 2)).all()
    assert growth_at_rest(network) < -0.1


def test_demo_network_seed_changes_strengths_not_signs():
    a, b = demo_network(0), demo_network(1)
    xr.testing.assert_identical(a.W, demo_network(0).W)
    assert not a.W.equals(b.W)
    xr.testing.assert_identical(np.sign(a.W), np.sign(b.W))


@pytest.mark.parametrize("seed", range(5))
def test_random_network_obeys_mask_and_rests(seed):
    network = random_network(30, 0.5, n_drugs=5, n_phenotypes=3, seed=seed)
    assert_obeys_mask(network)
    assert growth_at_rest(network) <= -0.2 + 1e-9


def test_random_network_density():
    W = random_network(60, 0.1, n_drugs=0, n_phenotypes=0, seed=0).W.values
    assert (W != 0).sum() / (60 * 59) == pytest.approx(0.1, abs=0.02)


def test_random_network_gives_every_drug_a_target():
    network = random_network(12, 1e-6, n_drugs=6, n_phenotypes=1, seed=0)
    assert (network.W.sel(source=list(network.drugs)) != 0).any("target").all()


def test_random_network_needs_a_protein():
    with pytest.raises(ModelError, match=r"leave 0 protein"):
        random_network(4, 0.5, n_drugs=3, n_phenotypes=1, seed=0)


@pytest.mark.parametrize("density", [0.0, 1.5])
def test_random_network_density_is_checked(density):
    with pytest.raises(ModelError, match=f"density is {density}"):
        random_network(4, density, n_drugs=1, n_phenotypes=1, seed=0)


def test_network_refuses_a_forbidden_edge(network):
    W = network.W.copy()
    W.loc["viability", "aMEK"] = 1.0
    with pytest.raises(ModelError, match=r"W\['viability', 'aMEK'\] is not zero"):
        dataclasses.replace(network, W=W)


def test_network_refuses_labels_in_another_order(network):
    with pytest.raises(ModelError, match="alpha has dims"):
        dataclasses.replace(network, alpha=network.alpha[::-1])


def test_network_refuses_a_rate_of_zero(network):
    with pytest.raises(ModelError, match="epsilon needs to be positive"):
        dataclasses.replace(network, epsilon=0 * network.epsilon)


def test_network_prints_short(network):
    assert repr(network) == "Network(10 nodes: 3 drug, 1 phenotype, 6 protein; 13 edges)"


def test_perturbations_are_all_singles_and_pairs(network):
    design = simulating.perturbations(network.drugs, network.node_kind, doses=[-1.0, -0.5])
    perturbed = (design != 0).sum("node").values
    assert list(perturbed) == [1] * 6 + [2] * 12
    assert design.sel(condition="aMEK=-1+amTOR=-0.5", node="amTOR") == -0.5
    xr.testing.assert_equal(
        design.node_kind, network.node_kind.assign_coords(node_kind=design.node_kind)
    )


def test_perturbations_of_plain_names_without_pairs():
    design = simulating.perturbations(["b"], ["a", "b"], doses=[1, 2], combinations=False)
    np.testing.assert_array_equal(design, [[0, 1], [0, 2]])


@pytest.mark.parametrize("drugs", [[], ["a", "a"], ["x"], "a"])
def test_perturbations_check_drugs(drugs):
    with pytest.raises(DataError, match="different nodes of a, b"):
        simulating.perturbations(drugs, ["a", "b"], doses=[1.0])


@pytest.mark.parametrize("doses", [[], [1.0, 1.0], [0.0], [np.nan]])
def test_perturbations_check_doses(doses):
    with pytest.raises(DataError, match="doses="):
        simulating.perturbations(["a"], ["a", "b"], doses=doses)


def test_simulate_without_noise_is_the_clean_response(network, design, half_dose):
    made = simulating.simulate(network, design)
    xr.testing.assert_identical(made.data.response.rename(None), made.clean_response.rename(None))
    xr.testing.assert_equal(made.data.perturbation, design)
    assert half_dose[0]["horizon"] == 20.0


def test_simulate_returns_the_truth(network, design, half_dose):
    made = simulating.simulate(network, design)
    xr.testing.assert_identical(made.truth_parameters, network.parameters)


def test_simulate_matches_nodes_by_label(network, design, half_dose):
    made = simulating.simulate(network, design[:, ::-1])
    assert tuple(made.data.node.values) == network.nodes
    assert list(made.data.node_kind.values) == list(network.node_kind.values)


def test_simulate_noise_has_the_given_deviation(network, half_dose):
    design = simulating.perturbations(network.drugs, network.node_kind, doses=np.arange(1, 9))
    made = simulating.simulate(network, design, noise=0.1)
    error = made.data.response - made.clean_response
    assert float(error.std()) == pytest.approx(0.1, rel=0.05)


def test_simulate_gaps_leave_the_noise_alone(network, design, half_dose):
    full = simulating.simulate(network, design, noise=0.1, seed=3).data.response
    gappy = simulating.simulate(network, design, noise=0.1, seed=3, missing=0.4).data.response
    assert 0.2 < float(gappy.isnull().mean()) < 0.6
    assert ((gappy == full) | gappy.isnull()).all()


def test_simulate_measures_every_node_at_least_once(network, design, half_dose):
    made = simulating.simulate(network, design, missing=0.999)
    assert (made.data.response.notnull().sum("condition") >= 1).all()


def test_simulate_a_time_course(network, design, half_dose):
    made = simulating.simulate(network, design, times=[1.0, 2.0], noise=0.1)
    assert made.data.response.dims == ("condition", "time", "node")
    assert made.data.time.attrs["units"]
    assert half_dose[0]["horizon"] is None


def test_simulate_refuses_other_nodes(network, design):
    with pytest.raises(DataError, match="'RAF' is in only one"):
        simulating.simulate(network, design.drop_sel(node="RAF"))


def test_simulate_refuses_a_model_the_network_cannot_fill(network, design):
    with pytest.raises(ModelError, match="the model has psi"):
        simulating.simulate(network, design, model=CellBox(form=2))


@pytest.mark.parametrize(("name", "value"), [("noise", -1.0), ("missing", 1.0)])
def test_simulate_checks_noise_and_missing(network, design, name, value):
    with pytest.raises(DataError, match=f"{name} is {value}"):
        simulating.simulate(network, design, **{name: value})


def test_inhibitors_inhibit_and_feedback_resists(network, design):
    response = simulating.simulate(network, design).clean_response
    alone = response.sel(condition="aMEK=-1")
    assert alone.sel(node="ERK") < 0 < alone.sel(node="RAF")
    both = response.sel(condition="aMEK=-1+amTOR=-1", node="viability")
    assert both < alone.sel(node="viability") < 0


def test_simulated_steady_state_solves_the_equation(network, design):
    plain = CellBox(dose_saturation=None)
    made = simulating.simulate(network, design, model=plain, horizon=60.0)
    x, u, W = (a.values for a in (made.clean_response, made.data.perturbation, network.W))
    np.testing.assert_allclose(np.tanh(x @ W.T + u), x, atol=1e-6)


def test_simulated_data_is_a_valid_dataset(network, design):
    made = simulating.simulate(network, design, noise=0.05, missing=0.1, times=[1.0, 5.0])
    validate(made.data)
