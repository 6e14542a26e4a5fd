"""What data do not determine: directions, and the words for them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.combinations import in_words
from tests.support.equations import courses, parameters_of

TIMES = np.linspace(0, 3, 13)
LM = pcb.Stage(30, optimizer=pcb.LM())


def fitted(rates, parameters, node="x", noise=0.01, sigma=False, initial=None, **options):
    """Fit equations to their own trajectory at 0.8 of the starts, with noise."""
    model = pcb.ODE(rates, parameters=parameters, initial=initial or {"x": 1.0}, **options)
    truth = {name: 0.8 * one.middle if not one.held.any() else one.middle
             for name, one in model.parameters.items()}  # fmt: skip
    p = parameters_of(model, model.own_nodes, truth)
    u = courses(model.own_nodes, TIMES)["perturbation"]
    x = pcb.solve(model, p, u, solver=pcb.RK4(0.25), times=TIMES).sel(node=[node]).values
    data = courses([node], TIMES)
    data["response"][...] = x + noise * np.random.default_rng(0).normal(size=x.shape)
    if sigma:
        data["sigma"] = noise * xr.ones_like(data["response"])
    return pcb.fit(data, model, schedule=LM, solver=pcb.RK4(0.25), penalty=pcb.Penalty(),
                   progress=False, backend="numpy")  # fmt: skip


def positive(**starts):
    return {name: pcb.Parameter(start, positive=True) for name, start in starts.items()}


SEEN = {"node": "y", "observe": {"y": "s*x"}}


@pytest.mark.parametrize(
    ("rates", "parameters", "options", "said"),
    [
        ("a*b - c*x", positive(a=1.3, b=0.7, c=0.6), {}, "a and b only as the product a*b"),
        ("a*b - c*x", {"a": 1.3, "b": 0.7, "c": 0.6}, {}, "a and b only as the product a*b"),
        ("a/b - c*x", positive(a=1.3, b=0.7, c=0.6), {}, "a and b only as the ratio a/b"),
        ("a*b**2 - c*x", positive(a=1.3, b=0.7, c=0.6), {}, "only as the product a*b**2"),
        ("a*b*d - c*x", positive(a=1.3, b=0.7, c=0.6, d=2.0), {},
         "a, b and d only as the product a*b*d"),
        ("a*b/d - c*x", positive(a=1.3, b=0.7, c=0.6, d=2.0), {}, "a, b and d only as a*b/d"),
        ("a - (k + m)*x", positive(a=1.3, k=0.7, m=0.3), {}, "k and m only as the sum k + m"),
        ("a - b - c*x", {"a": 1.3, "b": 0.3, "c": 0.6}, {}, "a and b only as the difference a - b"),
        ("a - c*x", positive(a=1.3, c=0.6, d=1.0), {}, "d has no effect"),
        ("a - c*x", {**positive(a=1.3, c=0.6), "d": 0.0}, {}, "d has no effect"),
        ("a - c*x", positive(a=1.3, c=0.6, s=1.5),
         {**SEEN, "initial": {"x": pcb.Parameter(1.0)}},
         "a, s and x_0 only up to a factor f, as in a*f, s/f, x_0*f"),
        ("0*x", positive(s=1.5), {**SEEN, "initial": {"x": pcb.Parameter(1.0)}},
         "s and x_0 only as the product s*x_0"),
    ],
)  # fmt: skip
def test_what_is_open_is_said_in_words(rates, parameters, options, said):
    found = fitted({"x": rates}, parameters, **options).identifiability()
    assert any(said in text for text in found.undetermined), found
    assert len(found.undetermined) == 1
    assert said in repr(found)


def test_what_is_determined_is_said_too():
    fit = fitted({"x": "a - c*x"}, positive(a=1.3, c=0.6, s=1.5), **SEEN)
    found = fit.identifiability()
    assert found.undetermined == ()
    assert "all 3 directions are determined" in repr(found)
    table = found.directions
    assert table.sizes == {"direction": 3, "parameter": 3}
    W = table["weight"].values
    np.testing.assert_allclose(W @ W.T, np.eye(3), atol=1e-12)
    assert (np.diff(table["singular_value"]) <= 0).all()


def test_entries_that_are_fixed_or_equal_are_no_directions():
    free = pcb.Parameter([1.3, 0.7], fixed=[False, True])
    fit = fitted({"x": "k[0]*k[1] - c*x"}, {"k": free, "c": 0.6})
    assert fit.identifiability().directions["parameter"].values.tolist() == ["k[0]", "c"]
    assert fit.identifiability().undetermined == ()


def test_hidden_states_leave_four_of_fifteen_open():
    """A hidden state may be scaled, shifted, and mixed with both that are seen."""
    rng, n = np.random.default_rng(1), 3
    S = rng.normal(0, 0.5, (n, n)) - np.eye(n) + 1.5 * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    names = ["Hare", "Lynx", "hidden"]
    model = pcb.ODE(
        lambda x, p: p.S @ x - p.b,
        states=names,
        parameters={"S": S, "b": rng.normal(size=n)},
        initial={
            name: pcb.Parameter(value) for name, value in zip(names, (1, -1, 0.5), strict=True)
        },
    )
    times = np.linspace(0, 8, 33)
    truth = {name: one.middle for name, one in model.parameters.items()}
    u = courses(names, times)["perturbation"]
    x = pcb.solve(model, parameters_of(model, names, truth), u, solver=pcb.RK4(0.25), times=times)
    data = courses(names[:2], times)
    data["response"][...] = x.values[..., :2] + 0.001 * rng.normal(size=(1, 33, 2))
    fit = pcb.fit(data, model, schedule=pcb.Stage(2, optimizer=pcb.LM()), solver=pcb.RK4(0.25),
                  penalty=pcb.Penalty(), progress=False, backend="numpy")  # fmt: skip
    found = fit.identifiability()
    determined = found.directions["determined"].values
    assert determined.size == 15
    assert (~determined).sum() == 4
    values = found.directions["singular_value"].values
    assert values[10] > 1e3 * values[11]  # not by where a line was drawn
    assert "4 of 15 directions are not determined" in repr(found)


def test_the_noise_decides_what_is_determined():
    """Decay is hardly seen where noise is as large as all that it changes."""
    quiet, loud = (
        fitted({"x": "a - c*x"}, positive(a=0.5, c=0.3), noise=noise, sigma=True)
        for noise in (1e-2, 0.4)
    )
    assert quiet.identifiability().noise == 1
    assert quiet.identifiability().undetermined == ()
    assert len(loud.identifiability().undetermined) > 0


@pytest.mark.parametrize("options", [{}, {"response_range": "held"}])
def test_networks_have_directions_too(options):
    network = pcb.networks.cyclic(3)
    data = pcb.simulate(network, 3, times=[0.5, 1.0], noise=0.01, seed=0, backend="numpy")
    fit = pcb.fit(data, pcb.CellBox(**options), schedule=pcb.Stage(1), solver=pcb.RK4(0.1),
                  progress=False, backend="numpy")  # fmt: skip
    found = fit.identifiability(backend="numpy")
    names = found.directions["parameter"].values.tolist()
    nodes = data["node"].values.tolist()
    assert f"alpha[{nodes[0]}]" in names
    held = options.get("response_range") == "held"
    assert any(name.startswith("epsilon") for name in names) != held
    assert sum(name.startswith("W[") for name in names) == 6


@pytest.mark.parametrize("seed", range(3))
def test_words_do_not_depend_on_the_basis(seed):
    rng = np.random.default_rng(seed)
    product, nothing = np.array([1, -1, 0, 0.0]) / np.sqrt(2), np.array([0, 0, 0, 1.0])
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    directions = turn @ np.stack([product, nothing])
    ones = np.ones(4)
    said = in_words(directions, ["a", "b", "c", "d"], ones > 0, ones, ones)
    assert said[0] == "a and b only as the product a*b"
    assert said[1].startswith("d has no effect")
