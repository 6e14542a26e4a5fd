"""Langevin dynamics: exact variances, densities with their bounds and priors, and what is drawn."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.posterior import Setting
from pycellbox.sampling.density import Density
from pycellbox.sampling.langevin import Langevin
from tests.support.equations import courses

TIMES = np.array([0.0, 1.0, 2.0, 3.0])
OPTIONS = {"solver": pcb.Heun(1.0), "schedule": pcb.Stage(50, optimizer=pcb.LM()),
           "progress": False, "backend": "numpy"}  # fmt: skip
BRIEF = {"draws": 10, "chains": 2, "thin": 1, "burn_in": 10, "backend": "numpy"}


def line(sigma=0.3, **parameters):
    """Fit x(t) = x_0 + b t, which is linear, or with other parameters in place of b."""
    model = pcb.ODE({"x": "*".join(parameters) or "b"}, parameters=parameters or {"b": 0.5},
                    initial={"x": pcb.Parameter(1.0)})  # fmt: skip
    data = courses(["x"], TIMES, c=3)
    data["response"][..., 0] = 1 + 0.5 * TIMES
    data["response"] += 0.3 * np.random.default_rng(0).normal(size=data["response"].shape)
    if sigma:
        data["sigma"] = sigma * xr.ones_like(data["response"])
    return pcb.fit(data, model, **OPTIONS)


def density(fit):
    return Density(Setting.of(fit, "numpy", "sample").posterior())


@pytest.mark.parametrize("step", [0.2, 0.5])
def test_the_noise_of_a_step_has_the_variance_of_step_times_preconditioner(step):
    """Of normals with precision A the variance of Euler's steps is A⁻¹/(1 − step·G·A/4)."""
    precision, mean = np.array([4.0, 1.0, 1 / 9]), np.array([0.0, 3.0, -2.0])
    chain = Langevin(draws=20_000, thin=1, burn_in=1000, step=step)
    draws, G, refused = chain.walk(
        lambda x: -precision * (x - mean), mean + 1, np.random.default_rng(0)
    )
    assert refused == 0
    # The mean square of the gradient is the precision; G goes with its root.
    np.testing.assert_allclose(G, precision**-0.5, rtol=0.5)
    pull = step * G * precision / 2
    exact = 1 / precision / (1 - pull / 2)
    worth = len(draws) * pull / 2  # independent draws, about
    np.testing.assert_allclose(draws.var(axis=0) / exact, 1, atol=5 * np.sqrt(2 / worth.min()))
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / np.sqrt(exact / worth), 0, atol=4)
    # With noise of variance step, as where the preconditioner is forgotten, it would be off by G.
    forgotten = exact / G
    assert (np.abs(forgotten / exact - 1) > 5 * np.sqrt(2 / worth.min()))[[0, 2]].all()


def test_steps_to_where_there_is_no_density_are_drawn_again():
    def gradient(x):
        return None if (x < 0).any() else -np.ones(1)

    chain = Langevin(draws=500, thin=1, burn_in=100, step=0.5)
    draws, _, refused = chain.walk(gradient, np.ones(1), np.random.default_rng(0))
    assert (draws >= 0).all()
    assert refused > 10
    with pytest.raises(pcb.DivergenceError, match="begins where"):
        chain.walk(gradient, -np.ones(1), np.random.default_rng(0))


def test_of_a_linear_model_coordinates_are_those_of_a_standard_normal():
    found = density(line())
    for x in np.random.default_rng(0).normal(size=(3, 2)):
        np.testing.assert_allclose(found.gradient(x), -x, atol=0.1)  # but for the faint prior
    t = np.tile(TIMES, 3)
    X = np.stack([t, np.ones(12)], axis=1)
    exact = 0.09 * np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(found.scale @ found.scale.T, exact, rtol=0.05)
    assert found.open == []


KINDS = {
    "any": pcb.Parameter(0.5),
    "normal": pcb.Parameter(0.5, prior=pcb.normal(0.3, 0.2)),
    "positive": pcb.Parameter(0.5, positive=True),
    "lognormal": pcb.Parameter(0.5, positive=True, prior=pcb.lognormal(0.4, 0.5)),
    "log": pcb.Parameter(0.5, scale="log"),
    "from": pcb.Parameter(0.5, lower=0.2),
    "until": pcb.Parameter(0.5, upper=1.0),
    "between": pcb.Parameter(0.5, lower=0.1, upper=1.0),
    "loguniform": pcb.Parameter(0.5, scale="log", prior=pcb.loguniform(0.1, 1.0)),
    "between, by factors": pcb.Parameter(0.5, scale="log", lower=0.1, upper=1.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_is_one_of_values_or_of_logarithms(kind):
    """Of b alone, at some values, beside what it has to be; and its gradient beside differences."""
    model = pcb.ODE({"x": "b"}, parameters={"b": KINDS[kind]}, initial={"x": 1.0})
    data = courses(["x"], TIMES)
    data["response"][0, :, 0] = 1 + 0.5 * TIMES
    data["sigma"] = 0.5 * xr.ones_like(data["response"])
    found = density(pcb.fit(data, model, **OPTIONS))
    xs = np.array([[-0.7], [0.1], [0.6]])
    b = np.array([float(found.posterior.effective(found.raw(x))["b"]) for x in xs])
    wanted = -0.5 * (((b[:, None] - 0.5) * TIMES / 0.5) ** 2).sum(axis=1)
    if kind == "normal":
        wanted -= 0.5 * ((b - 0.3) / 0.2) ** 2
    if kind == "lognormal":
        wanted -= 0.5 * (np.log(b / 0.4) / 0.5) ** 2
    # Per unit of x: of b, or of its logarithm.
    by_factors = "log" in kind or "factors" in kind
    h = 1e-4
    ends = [[float(found.posterior.effective(found.raw(x + d))["b"]) for x in xs] for d in (h, -h)]
    change = np.log(ends) if by_factors else np.array(ends)
    wanted += np.log(np.abs(change[0] - change[1]) / (2 * h))
    logs = np.array([found.log(x) for x in xs])
    np.testing.assert_allclose(np.diff(logs), np.diff(wanted), atol=1e-5)
    for x in xs:
        slope = (found.log(x + h) - found.log(x - h)) / (2 * h)
        np.testing.assert_allclose(found.gradient(x), slope, rtol=1e-4, atol=1e-5)


def test_batches_of_conditions_say_the_same_on_average():
    found = density(line())
    x = np.array([0.5, -1.0])
    each = [found.gradient(x, np.array([row])) for row in range(3)]
    np.testing.assert_allclose(np.mean(each, axis=0), found.gradient(x), rtol=1e-6)


def test_chains_are_of_their_seed_whatever_carries_them_out():
    fit = line(sigma=None)
    with ThreadPoolExecutor(2) as executor:
        one = fit.sample(**BRIEF, executor=executor)
    other = fit.sample(**BRIEF)
    xr.testing.assert_identical(one.parameters, other.parameters)
    assert one.parameters["b"].dims == ("chain", "draw")
    assert one.parameters.sizes == {"chain": 2, "draw": 10}
    assert not np.array_equal(one.parameters["b"][0], one.parameters["b"][1])
    batches = fit.sample(**BRIEF, batch_size=1, seed=1)
    assert np.isfinite(batches.parameters["b"]).all()
    assert "b, x_0" in repr(one)
    assert one.log_density.shape == (2, 10)
    assert (one.refused == 0).all()


def test_predictions_have_the_noise_of_a_measurement():
    fit = line()
    samples = fit.sample(**BRIEF)
    found = samples.predict(fit.data, times=[1.0, 3.0], interval=0.8, draws=20)
    b, x_0 = (samples.parameters[n].values.ravel() for n in ("b", "x_0"))
    states = x_0[:, None] + b[:, None] * [1.0, 3.0]
    np.testing.assert_allclose(found["response"][0, :, 0], states.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["sd_state"][0, :, 0], states.std(axis=0, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(found["sd"], np.hypot(found["sd_state"], 0.3), rtol=1e-6)
    width = (found["upper"] - found["lower"]) / found["sd"]
    np.testing.assert_allclose(width, 2 * 1.2816, rtol=0.15)


def test_what_is_left_open_is_said():
    with pytest.warns(pcb.DataWarning, match="leave open: a, b; draws"):
        line(a=pcb.Parameter(1.0), b=pcb.Parameter(0.5)).sample(**BRIEF | {"chains": 1})


def test_what_is_at_a_bound_is_not_open():
    found = density(line(b=pcb.Parameter(0.3, lower=0, upper=0.4)))
    assert found.open == []


def test_without_arviz_the_extra_is_named(monkeypatch):
    samples = line().sample(**BRIEF)
    monkeypatch.setitem(sys.modules, "arviz", None)
    for call in (samples.to_arviz, samples.summary):
        with pytest.raises(pcb.PycellboxError, match=r"pip install \"pycellbox\[bayes\]\""):
            call()


@pytest.mark.skipif(importlib.util.find_spec("arviz") is None, reason="arviz is not installed")
@pytest.mark.filterwarnings("ignore")
def test_arviz_has_the_draws_and_says_what_they_are_worth():
    samples = line().sample(**BRIEF | {"draws": 100})
    given = samples.to_arviz()
    xr.testing.assert_equal(given.posterior["b"], samples.parameters["b"])
    np.testing.assert_array_equal(given.sample_stats["lp"], samples.log_density)
    table = samples.summary()
    assert set(table.index) == {"b", "x_0"}
    assert float(table.loc["b", "mean"]) == pytest.approx(float(samples.parameters["b"].mean()))
    assert (table["ess_bulk"] > 3).all()
    assert (table["r_hat"] > 0.9).all()
