"""Profile likelihood: exact where the model is linear, and what refits find where it is not."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.stats import chi2, f, norm, t

import pycellbox as pcb
from pycellbox import plot
from pycellbox.simulation import truth
from tests.support import screens
from tests.support.equations import courses, measured, sir

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import profiles

LM = pcb.Stage(50, optimizer=pcb.LM())
TIMES = np.linspace(0, 3, 13)
OPTIONS = {"solver": pcb.RK4(0.25), "schedule": LM, "progress": False, "backend": "numpy"}


def line(sigma=None, noise=0.3, seed=0, nodes=("x",), scale=1.0, **parameter):
    """Fit x(t) = x_0 + b t, which is linear; a second node is a scaled copy with other noise."""
    rng = np.random.default_rng(seed)
    observe = {node: f"{scale}*x" for node in nodes[1:]}
    model = pcb.ODE(
        {"x": "b"}, parameters={"b": pcb.Parameter(0.3, **parameter)},
        initial={"x": pcb.Parameter(1.0)}, observe=observe,
    )  # fmt: skip
    data = courses(nodes, TIMES)
    for i, size in enumerate([1.0, scale][: len(nodes)]):
        data["response"][0, :, i] = size * (1 + 0.5 * TIMES) + noise * size**2 * rng.normal(size=13)
    if sigma is not None:
        data["sigma"] = sigma * xr.ones_like(data["response"])
    return pcb.fit(data, model, **OPTIONS)


def least_squares(y, sigma=None):
    """Slope of a line, its standard error, and degrees of freedom."""
    X = np.stack([np.ones_like(TIMES), TIMES], axis=1)
    at, (rest,) = np.linalg.lstsq(X, y, rcond=None)[:2]
    variance = rest / 11 if sigma is None else sigma**2
    return at[1], np.sqrt(variance * np.linalg.inv(X.T @ X)[1, 1])


@pytest.mark.parametrize(("sigma", "level"), [(None, 0.95), (0.3, 0.5)])
def test_of_a_linear_model_curve_and_interval_are_exact(sigma, level):
    fit = line(sigma)
    found = fit.profile("b", level=level)
    b, error = least_squares(fit.data["response"].values[0, :, 0], sigma)
    half = error * (t.ppf((1 + level) / 2, 11) if sigma is None else norm.ppf((1 + level) / 2))
    row = found.intervals.loc["b"]
    np.testing.assert_allclose(row[["estimate", "lower", "upper"]].astype(float),
                               [b, b - half, b + half], rtol=1e-5)  # fmt: skip
    curve = found.curve("b")
    parabola = ((curve["value"] - b) / error) ** 2
    np.testing.assert_allclose(curve["rise"], parabola, rtol=1e-4, atol=1e-6)
    assert curve["converged"].all()
    assert curve["rise"].values[[0, -1]].min() > found.curves.attrs["threshold"] * 0.999
    quantile = chi2.ppf(level, 1) if sigma else f.ppf(level, 1, 11)
    assert found.curves.attrs["threshold"] == pytest.approx(quantile)
    # The other parameter along a line: the slope of the start by b is that of least squares.
    other = curve["others"].sel(parameter="x_0")
    np.testing.assert_allclose(np.diff(other) / np.diff(curve["value"]), -TIMES.mean(), rtol=1e-3)


def test_each_node_has_its_own_noise():
    """Two nodes say the same with different noise: both count by their own."""
    fit = line(nodes=("x", "y"), scale=10.0)
    found = fit.profile("b")
    y = fit.data["response"].values[0]
    each = [least_squares(y[:, 0]), [v / 10 for v in least_squares(y[:, 1])]]
    weights = np.array([1 / error**2 for _, error in each])
    both = (weights @ [b for b, _ in each] / weights.sum(), weights.sum() ** -0.5)
    row = found.intervals.loc["b"]
    assert row["estimate"] == pytest.approx(both[0], abs=0.1 * both[1])
    assert row["upper"] - row["lower"] == pytest.approx(2 * t.ppf(0.975, 24) * both[1], rel=0.1)
    assert found.curves.attrs["noise"] == "the residuals of each node"


def noisy(sigma=True):
    data = measured().isel(condition=[0])
    noise = 10.0
    data["response"] += noise * np.random.default_rng(1).normal(size=data["response"].shape)
    return data.assign(sigma=noise * xr.ones_like(data["response"])) if sigma else data


def test_it_is_what_refits_with_a_parameter_fixed_find():
    data = noisy()
    free = {"beta": pcb.Parameter(1.5, positive=True), "gamma": pcb.Parameter(0.4, scale="log"),
            "rho": pcb.Parameter(0.9, lower=0, upper=1.5, prior=pcb.normal(0.9, 0.1))}  # fmt: skip
    fixed = {"N": pcb.Parameter(763, fixed=True), "I0": pcb.Parameter(1, fixed=True)}
    options = OPTIONS | {"solver": pcb.RK4(0.5)}
    fit = pcb.fit(data, sir(parameters=free | fixed), **options)
    found = fit.profile("gamma", level=0.5)
    curve = found.curve("gamma")
    for i in (1, -2):
        held = free | {"gamma": pcb.Parameter(float(curve["value"][i]), fixed=True)}
        again = pcb.fit(data, sir(parameters=held | fixed), **options)
        rise = data["response"].size * float(again.history["loss"][-1] - fit.history["loss"][-1])
        off = [(float(p["rho"]) - 0.9) / 0.1 for p in (again.parameters, fit.parameters)]
        assert curve["rise"][i] == pytest.approx(rise + off[0] ** 2 - off[1] ** 2, abs=0.01)
        others = curve["others"].isel(point=i)
        for name in ("beta", "rho"):
            own = float(again.parameters[name])
            assert float(others.sel(parameter=name)) == pytest.approx(own, rel=1e-2)


def test_what_is_at_a_bound_comes_back_when_others_move():
    """At a bound a parameter has no slope, and would stay there for good."""
    bounded = {"rho": pcb.Parameter(0.8, lower=0, upper=1), "k": pcb.Parameter(0.5, positive=True)}
    model = pcb.ODE({"x": "k"}, parameters=bounded, initial={"x": 1.0}, observe={"y": "rho*x"})
    data = courses(["y"], TIMES)
    data["response"][0, :, 0] = 1.1 + 0.5 * TIMES
    data["sigma"] = 0.5 * xr.ones_like(data["response"])
    fit = pcb.fit(data, model, **OPTIONS)
    assert float(fit.parameters["rho"]) == pytest.approx(1, abs=1e-4)
    curve = fit.profile("k").curve("k")
    rho = curve["others"].sel(parameter="rho").values
    # The best ρ at each k is that of a regression, as far as it may go.
    X = 1 + curve["value"].values[:, None] * TIMES
    best = np.minimum((X * data["response"].values[0, :, 0]).sum(axis=1) / (X**2).sum(axis=1), 1)
    np.testing.assert_allclose(rho, best, atol=5e-3)
    assert rho.min() < 0.9


def test_what_is_known_only_as_a_product_is_said_in_words():
    parameters = {n: pcb.Parameter(s, positive=True) for n, s in {"a": 1.3, "b": 0.7}.items()}
    model = pcb.ODE({"x": "a*b - c*x"}, parameters=parameters | {"c": 0.6}, initial={"x": 1.0})
    data = pcb.simulation.courses(model, {"a": 1.1, "b": 0.6, "c": 0.5}, TIMES, noise=0.02)
    fit = pcb.fit(data, model, penalty=pcb.Penalty(), **OPTIONS)
    found = fit.profile(["a", "c"], level=0.5)
    row = found.intervals.loc["a"]
    assert row["upper"] == np.inf
    assert "not bounded" in row["said"]
    assert "above: the data do not determine it" in row["said"]
    assert row["said"] in repr(found)
    curve = found.curve("a")
    assert curve["rise"].max() < 0.01
    assert curve["value"].max() > 1e3 * row["estimate"]
    # ... because the other makes up for it.
    product = curve["value"] * curve["others"].sel(parameter="b")
    np.testing.assert_allclose(product, product[0], rtol=0.01)
    assert row["lower"] == 0
    c = found.intervals.loc["c"]
    assert c["said"] == ""
    assert c["lower"] < c["estimate"] < c["upper"]


def test_an_interval_ends_at_the_bound_of_its_parameter():
    found = line(sigma=0.3, upper=0.45).profile("b")
    row = found.intervals.loc["b"]
    assert row["upper"] == 0.45
    assert "not bounded above by the data, only by its bound 0.45" in row["said"]
    assert row["lower"] < row["estimate"]


def test_a_prior_bounds_what_the_data_do_not():
    model = pcb.ODE(
        {"x": "a*b"}, initial={"x": 0.0},
        parameters={"a": pcb.Parameter(1.0, positive=True, prior=pcb.lognormal(1, 0.5)),
                    "b": pcb.Parameter(0.5, positive=True)},
    )  # fmt: skip
    data = courses(["x"], TIMES)
    data["response"][0, :, 0] = 0.5 * TIMES
    data["sigma"] = 0.1 * xr.ones_like(data["response"])
    row = pcb.fit(data, model, **OPTIONS).profile("a").intervals.loc["a"]
    np.testing.assert_allclose(np.log([row["lower"], row["upper"]]),
                               [-norm.ppf(0.975) / 2, norm.ppf(0.975) / 2], rtol=1e-3)  # fmt: skip


def test_a_better_optimum_on_the_way_is_said():
    rough = pcb.Stage(1, learning_rate=0.01)
    data = noisy()
    options = OPTIONS | {"solver": pcb.RK4(0.5)}
    fit = pcb.fit(data, sir(), **options | {"schedule": rough})
    with pytest.warns(pcb.NumericsWarning, match=r"was not at its optimum.*initial=profile\.best"):
        found = fit.profile("rho", level=0.2)
    good = pcb.fit(data, sir(), **options)
    assert float(found.best["rho"]) == pytest.approx(float(good.parameters["rho"]), rel=1e-3)
    assert found.curve("rho")["gain"] > 1


def test_another_optimum_on_the_way_is_said():
    """Of x = (k² − 1)² + 0.3 k, with two minima, the fit begins in the worse one."""
    model = pcb.ODE({"x": "(k*k - 1)**2 + 0.3*k"}, parameters={"k": 0.9, "m": 1.0},
                    initial={"x": "0*m"})  # fmt: skip
    data = courses(["x"], TIMES)
    data["response"][0, :, 0] = -1.0 * TIMES
    data["sigma"] = 1.5 * xr.ones_like(data["response"])
    fit = pcb.fit(data, model, penalty=pcb.Penalty(), **OPTIONS)
    assert float(fit.parameters["k"]) > 0
    with pytest.warns(pcb.NumericsWarning, match=r"along k optima were found that are better"):
        found = fit.profile("k", level=0.9)
    assert float(found.best["k"]) < 0
    assert found.intervals.loc["k", "estimate"] < 0
    assert (found.curve("k")["rise"] > -0.05).all()


def networks(**options):
    network = pcb.networks.random_network(4, 0.4, n_drugs=2, n_phenotypes=0, seed=1)
    data = pcb.simulate(network, 6, times=[0.5, 1.0], noise=0.02, seed=0, backend="numpy")
    data = data.assign(sigma=0.02 * xr.ones_like(data["response"]))
    given = {"penalty": pcb.Penalty(l2=1e-2), "solver": pcb.RK4(0.05), "initial": truth(data)}
    return pcb.fit(data, pcb.CellBox(**options), **OPTIONS | given)


@pytest.mark.filterwarnings("ignore:the fit was not at its optimum")
def test_edges_of_networks_are_held_where_the_curve_says():
    """An effect of a drug is what drugs have in common and a deviation: both are free."""
    fit = networks(drug_columns="shared")
    kinds = dict(zip(fit.data["node"].values, fit.data["node_kind"].values, strict=True))
    target = next(n for n, kind in kinds.items() if kind == "protein")
    drug = next(n for n, kind in kinds.items() if kind == "drug")
    name = f"W[{target},{drug}]"
    found = fit.profile(name, level=0.5)
    (own,) = found.curves["profile"].values
    assert own == f"W[{target}, {drug}]"
    curve = found.curve(name)
    np.testing.assert_allclose(curve["others"].sel(parameter=own), curve["value"], rtol=1e-9)
    row = found.intervals.loc[own]
    assert row["lower"] < float(fit.parameters["W"].sel(target=target, source=drug)) < row["upper"]
    assert np.ptp(curve["others"].sel(parameter=f"alpha[{target}]").values) > 0


def test_an_executor_gives_the_same_bits():
    fit = line(sigma=0.3)
    with ThreadPoolExecutor(2) as executor:
        other = fit.profile(executor=executor)
    xr.testing.assert_identical(fit.profile().curves, other.curves)
    assert other.curves["profile"].values.tolist() == ["b", "x_0"]


def test_what_cannot_be_profiled_is_refused():
    fit = line(sigma=0.3)
    with pytest.raises(pcb.OptionError, match="'slope' is none; what is fitted: b, x_0"):
        fit.profile("slope")
    with pytest.raises(pcb.OptionError, match="needs a name"):
        fit.profile(3)
    with pytest.raises(pcb.OptionError, match="was not profiled"):
        fit.profile("b").curve("x_0")
    exact = courses(["x"], TIMES)
    exact["response"][0, :, 0] = 0.7 * TIMES
    model = pcb.ODE({"x": "b"}, parameters={"b": 0.5}, initial={"x": 0.0})
    with pytest.raises(pcb.DataError, match=r"node 'x' are nothing.*give the data a sigma"):
        pcb.fit(exact, model, **OPTIONS).profile()
    few = pcb.fit(noisy(False).isel(time=slice(0, 3)), sir(), **OPTIONS)
    with pytest.raises(pcb.DataError, match="4 parameters, and its 3 measurements"):
        few.profile("beta")
    mae = pcb.fit(exact, model, **OPTIONS | {"loss": "mae", "schedule": pcb.Stage(1)})
    with pytest.raises(pcb.OptionError, match="loss='mae' has no likelihood"):
        mae.profile()
    doses = screens.screen(np.random.default_rng(0), 12, 3, 3)
    screen = pcb.fit(screens.dataset(*doses), progress=False)
    with pytest.raises(pcb.ModelError, match="nodes of this fit were estimated"):
        screen.profile()


def test_the_picture_shows_curve_threshold_and_what_is_not_bounded(tmp_path):
    found = line(sigma=0.3, upper=0.4).profile(level=0.5)
    figure = plot.profile(found)
    assert len(figure.axes) == 2
    of_b = figure.axes[0]
    assert of_b.get_xlabel() == "b"
    assert any("not bounded above" in text.get_text() for text in of_b.texts)
    assert of_b.get_lines()[0].get_ydata() == pytest.approx(found.curve("b")["rise"].values)
    assert not any("not bounded" in text.get_text() for text in figure.axes[1].texts)
    assert len(plot.profile(found, parameters="x_0").axes) == 1
    with pytest.raises(pcb.OptionError, match="was not profiled"):
        plot.profile(found, parameters=["slope"])
    plot.save_figure(figure, tmp_path / "profile.png")


def test_intervals_hold_the_truth_as_often_as_they_say():
    table = profiles.coverage("decay", 10, True, levels=(0.2, 0.8))
    held = (10 * table["profile"]).tolist()
    assert held[0] <= 7  # all but a thousandth of what is drawn
    assert held[1] >= 4
    assert held[0] < held[1]
