from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.sparse.csgraph
import xarray as xr

import pycellbox as pcb
from pycellbox import networks
from pycellbox.errors import ModelError, OptionError
from pycellbox.networks import BEELINE, beeline, demo_network, random_network
from tests.support.data import SHARED_DATA


@pytest.fixture
def network():
    return demo_network()


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
    with pytest.raises(OptionError, match=r"leave 0 protein"):
        random_network(4, 0.5, n_drugs=3, n_phenotypes=1, seed=0)


@pytest.mark.parametrize("density", [0.0, 1.5])
def test_random_network_density_is_checked(density):
    with pytest.raises(OptionError, match=f"density={density}"):
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


def test_network_refuses_a_self_interaction_unless_allowed(network):
    W = network.W.copy()
    W.loc["RAF", "RAF"] = 1.0
    with pytest.raises(ModelError, match=r"W\['RAF', 'RAF'\].*self_interaction=True allows"):
        dataclasses.replace(network, W=W)
    allowed = dataclasses.replace(network, W=W, self_interaction=True)
    assert allowed.mask.sel(target="RAF", source="RAF")
    assert not network.mask.sel(target="RAF", source="RAF")


def test_network_refuses_a_name_twice(network):
    twice = network.node_kind.assign_coords(node=["RAF", *network.nodes[:-1]])
    with pytest.raises(ModelError, match="names a node twice"):
        dataclasses.replace(network, node_kind=twice)


def test_shifts_left_out_are_zero_and_ask_for_no_option(network):
    assert not network.parameters[["b", "common"]].to_dataarray().any()
    assert network.model == pcb.CellBox()
    free = (network.node_kind != "drug") * 0.5
    for name, option in pcb.CellBox(operating_point=True, common_effect=True).shifts.items():
        shifted = dataclasses.replace(network, **{name: free})
        assert shifted.model == pcb.CellBox(**{option: True})
        assert f">{name}<" in shifted._repr_html_()
        assert f">{name}<" not in network._repr_html_()
        with pytest.raises(ModelError, match=f"{name} is not zero of every drug"):
            dataclasses.replace(network, **{name: free + 0.5})


def test_a_network_says_whether_drugs_act_on_phenotypes(network):
    kinds = network.node_kind.values
    W = network.W.copy(deep=True)
    W.values[np.ix_(kinds == "phenotype", kinds == "drug")] = 1.0
    with pytest.raises(ModelError, match="drugs_on_phenotypes=True allows it"):
        dataclasses.replace(network, W=W)
    allowed = dataclasses.replace(network, W=W, drugs_on_phenotypes=True)
    assert allowed.model == pcb.CellBox(drugs_on_phenotypes=True)


def test_rates_left_out_are_one(network):
    bare = networks.Network(W=network.W, node_kind=network.node_kind, alpha=2 * network.alpha)
    assert (bare.parameters["epsilon"] == 1).all()
    assert (bare.parameters["psi"] == 1).all()
    assert (bare.parameters["alpha"] == 2).all()


# ---- BEELINE

CURATED = ("mCAD", "VSC", "HSC", "GSD")
# Nodes, edges, edges from a node to itself.
SIZES = {
    "LI": (7, 8, 1),
    "CY": (6, 6, 0),
    "LL": (18, 19, 1),
    "BF": (7, 12, 2),
    "BFC": (10, 18, 3),
    "TF": (8, 20, 3),
    "mCAD": (5, 14, 1),
    "VSC": (8, 15, 0),
    "HSC": (11, 30, 4),
    "GSD": (19, 79, 3),
}


@pytest.mark.parametrize("name", BEELINE)
def test_beeline_is_the_published_network(name):
    file = SHARED_DATA / "beeline" / f"{'Curated' if name in CURATED else 'Synthetic'}_{name}.csv"
    if not file.is_file():
        pytest.skip(f"no {file}: the tables are in the repository jiweiqi/CellBox.jl on GitHub")
    table = pd.read_csv(file, index_col=0)
    if name == "GSD":  # DHH and DKK1 have swapped their names in these tables
        names = {"DHH": "DKK1", "DKK1": "DHH"}
        table = table.rename(index=names, columns=names)
    W = beeline(name).W.to_pandas()
    assert set(W.index) == set(table.index)
    pd.testing.assert_frame_equal(
        W.loc[table.index, table.columns], table.astype(float), check_names=False
    )


@pytest.mark.parametrize("name", BEELINE)
def test_beeline_sizes(name):
    network = beeline(name)
    W = network.W.values
    assert (len(W), np.count_nonzero(W), np.count_nonzero(np.diag(W))) == SIZES[name]
    assert network.self_interaction == (SIZES[name][2] > 0)


def test_gsd_follows_the_rules_of_its_boolean_model():
    W = beeline("GSD").W

    def regulators(target):
        row = W.sel(target=target)
        return {str(s): int(w) for s, w in zip(row.source.values, row.values, strict=True) if w}

    assert regulators("DKK1") == {"SRY": 1, "SOX9": 1}
    assert regulators("DHH") == {"SOX9": 1}
    assert regulators("RSPO1") == {"WNT4": 1, "CTNNB1": 1, "DKK1": -1}


def test_beeline_names_are_found_in_any_case():
    xr.testing.assert_identical(beeline("MCAD").W, beeline("mCAD").W)


@pytest.mark.parametrize(
    ("name", "match"), [("GDS", "did you mean 'GSD'.*'LI', 'CY'"), (3, "'LI', 'CY'")]
)
def test_an_unknown_name_lists_the_known_ones(name, match):
    with pytest.raises(OptionError, match=match):
        beeline(name)


@pytest.mark.parametrize("weights", ["uniform", "normal"])
def test_drawn_weights_keep_signs_and_gap(weights):
    unit = beeline("GSD").W
    drawn = beeline("GSD", weights=weights, scale=2.0, gap=0.5, seed=1).W
    xr.testing.assert_identical(np.sign(drawn), unit)
    size = np.abs(drawn.values[drawn.values != 0])
    assert size.min() >= 0.5
    assert len(np.unique(size)) == 79
    assert (size.max() <= 2) == (weights == "uniform")
    other = beeline("GSD", weights=weights, scale=2.0, gap=0.5, seed=2).W
    assert not other.equals(drawn)


def test_alpha_is_one_number_or_drawn_from_an_interval():
    assert (beeline("GSD", alpha=0.2).alpha == 0.2).all()
    drawn = beeline("GSD", alpha=(0.5, 1.5)).alpha.values
    assert 0.5 <= drawn.min() < 0.8 < 1.2 < drawn.max() <= 1.5
    # Rates have a stream of their own.
    again = beeline("GSD", alpha=(0.5, 1.5), weights="normal").alpha.values
    np.testing.assert_array_equal(again, drawn)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weights": "even"}, "weights='even'; it needs one of"),
        ({"weights": "normal", "gap": 2.0}, "gap=2.0; it needs a finite number ≥ 0 and ≤ 1"),
        ({"alpha": 0.0}, "alpha=0.0; it needs a number > 0"),
        ({"alpha": (1.5, 0.5)}, r"alpha=\(1.5, 0.5\)"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_options_of_a_network_are_checked(options, match):
    with pytest.raises(OptionError, match=match):
        beeline("LI", **options)


# ---- random networks

GENERATORS = {
    "erdos_renyi": (0.2,),
    "acyclic": (0.2,),
    "cyclic": (0.1,),
    "symmetric": (0.2,),
    "bifurcating": (),
    "oscillating": (0.1,),
}


def generate(name, n_nodes, **options):
    return getattr(networks, name)(n_nodes, *GENERATORS[name], **options)


@pytest.mark.parametrize("name", GENERATORS)
def test_random_networks_repeat_with_their_seed(name):
    a, b, c = (generate(name, 12, seed=seed, alpha=(0.5, 1.5)) for seed in (3, 3, 4))
    xr.testing.assert_identical(a.parameters, b.parameters)
    assert not a.W.equals(c.W)


@pytest.mark.parametrize("name", GENERATORS)
def test_random_networks_keep_a_gap_and_draw_edges_apart_from_weights(name):
    uniform = generate(name, 40, gap=0.3)
    normal = generate(name, 40, gap=0.3, weights="normal")
    xr.testing.assert_identical(uniform.W != 0, normal.W != 0)
    for network in (uniform, normal):
        assert np.abs(network.W.values[network.W.values != 0]).min() >= 0.3
        assert 0.2 < (network.W.values[network.W.values != 0] > 0).mean() < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_random_networks_of_two_thousand_nodes(name):
    assert len(generate(name, 2000, weights="normal").nodes) == 2000


@pytest.mark.parametrize("name", GENERATORS)
def test_sizes_of_random_networks_are_checked(name):
    with pytest.raises(OptionError, match=r"n_nodes=0; it needs an integer from \d to 10000"):
        generate(name, 0)


def test_erdos_renyi_has_its_density():
    W = networks.erdos_renyi(100, 0.1).W.values
    assert not np.diag(W).any()
    assert np.count_nonzero(W) / (100 * 99) == pytest.approx(0.1, abs=0.01)
    looped = networks.erdos_renyi(100, 0.1, self_loops=True)
    assert 0 < np.count_nonzero(np.diag(looped.W)) < 30
    assert looped.self_interaction
    assert not networks.erdos_renyi(5, 0.0).W.any()


@pytest.mark.parametrize("density", [-0.1, 1.1, np.nan, True])
def test_density_of_random_networks_is_checked(density):
    with pytest.raises(OptionError, match="density="):
        networks.erdos_renyi(5, density)


def test_acyclic_network_has_no_loop():
    W = networks.acyclic(30, 0.3).W.values
    assert np.count_nonzero(W) == pytest.approx(0.3 * 30 * 29 / 2, rel=0.2)
    n_parts, _ = scipy.sparse.csgraph.connected_components(W != 0, connection="strong")
    assert n_parts == 30


def test_cyclic_network_leads_from_every_node_to_every_other():
    ring = networks.cyclic(30).W.values
    assert np.count_nonzero(ring) == 30
    for W in (ring, networks.cyclic(30, 0.1).W.values):
        n_parts, _ = scipy.sparse.csgraph.connected_components(W != 0, connection="strong")
        assert n_parts == 1


def test_symmetric_network_is_symmetric():
    W = networks.symmetric(30, 0.3).W.values
    np.testing.assert_array_equal(W, W.T)
    assert np.count_nonzero(W) == pytest.approx(0.3 * 30 * 29, rel=0.2)


def course(network, doses, times):
    model = pcb.CellBox(self_interaction=network.self_interaction)
    u = xr.zeros_like(network.alpha).expand_dims(condition=["c"]).copy()
    for node, dose in doses.items():
        u.loc["c", node] = dose
    x = pcb.solve(model, network.parameters, u, solver=pcb.Tsit5(1e-8, 1e-10), times=times)
    return x.sel(condition="c")


@pytest.mark.parametrize("seed", range(4))
def test_bifurcating_network_takes_one_of_two_states(seed):
    network = networks.bifurcating(11, alpha=(0.5, 1.5), weights="normal", seed=seed)
    a, b = "g4", "g5"  # after a third of the nine others
    core = network.W.sel(target=[a, b], source=[a, b]).values
    np.testing.assert_array_equal(np.sign(core), [[1, -1], [-1, 1]])
    up, down = (course(network, {a: dose}, [200.0])[0] for dose in (0.01, -0.01))
    assert float(up.sel(node=a)) > 0.2 > -0.2 > float(up.sel(node=b))
    assert float(down.sel(node=b)) > 0.2 > -0.2 > float(down.sel(node=a))
    # Upstream nodes are undecided; all others follow the switch.
    assert not up.values[:3].any()
    assert (np.sign(up.values[3:]) == -np.sign(down.values[3:])).all()


def test_upstream_nodes_reach_both_nodes_of_a_switch():
    network = networks.bifurcating(12, n_upstream=5, seed=1)
    W = network.W.values
    np.testing.assert_array_equal(W[5, :5], W[6, :5])
    paths = scipy.sparse.csgraph.shortest_path((W != 0).T, unweighted=True)
    assert np.isfinite(paths[:5, 5:7]).all()
    assert np.isfinite(paths[5:7, 7:]).any(axis=0).all()
    assert not W[:5, 5:].any()


def test_number_of_upstream_nodes_is_checked():
    with pytest.raises(OptionError, match="n_upstream=4; it needs an integer from 0 to 3"):
        networks.bifurcating(5, n_upstream=4)


@pytest.mark.slow
@pytest.mark.parametrize("n_ring", [3, 4, 6])
@pytest.mark.parametrize("alpha", [1.0, (0.5, 1.5)])
def test_oscillating_network_oscillates_for_good(n_ring, alpha):
    network = networks.oscillating(8, 0.2, n_ring=n_ring, alpha=alpha, seed=n_ring)
    x = course(network, {"g1": 0.1}, np.linspace(80, 140, 601))
    early, late = (x.isel(time=half) for half in (slice(0, 301), slice(301, None)))
    swing = [part.max("time") - part.min("time") for part in (early, late)]
    assert (swing[1][:n_ring] > 0.5).all()
    assert (swing[1] > 0.02).all()  # also downstream, where weights are smaller
    np.testing.assert_allclose(swing[0], swing[1], rtol=0.05)
    crossings = np.count_nonzero(np.diff(np.sign((late - late.mean("time")).values[:, 0])))
    assert crossings >= 4


@pytest.mark.parametrize("n_ring", [2, 9, 3.0])
def test_size_of_the_ring_is_checked(n_ring):
    with pytest.raises(OptionError, match=r"n_ring=.*integer"):
        networks.oscillating(8, n_ring=n_ring)
