"""Intervals of trained fits: closed forms, derivatives elsewhere, what is open, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import stdtrit

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.intervals.laplace import Laplace
from tests.support.equations import courses
from tests.support.screens import dataset, screen

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from harness import drawn

LM = pcb.Stage(30, optimizer=pcb.LM())
TIMES = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0])


def line(sigma=None, seed=0, **options):
    """A course with a constant slope, which is a regression through the origin."""
    rng = np.random.default_rng(seed)
    data = courses(["x"], TIMES)
    data["response"][...] = (0.7 * TIMES + rng.normal(0, 0.1, TIMES.size))[None, :, None]
    if sigma is not None:
        data["sigma"] = xr.zeros_like(data["response"]) + sigma[None, :, None]
    slope = options.pop("slope", pcb.Parameter(1.0))
    model = pcb.ODE({"x": "a"}, parameters={"a": slope}, initial={"x": 0.0})
    told = {"schedule": LM, "solver": pcb.RK4(0.5), "progress": False, "backend": "numpy"}
    return pcb.fit(data, model, **told | options)


@pytest.mark.parametrize("loss", ["mse", "huber"])
@pytest.mark.parametrize("sigma", [None, np.array([0.1, 0.1, 0.1, 0.2, 0.2, 0.4])])
def test_a_line_has_the_intervals_of_a_regression(sigma, loss):
    fit = line(sigma, loss=pcb.Loss(loss, delta=100.0))
    w = np.ones(TIMES.size) if sigma is None else 1 / sigma
    y = fit.data["response"].values[0, :, 0]
    information = ((w * TIMES) ** 2).sum()
    slope = (w**2 * TIMES * y).sum() / information
    square = ((w * (y - slope * TIMES)) ** 2).sum() / (TIMES.size - 1)
    found = fit.predict(fit.data["perturbation"], times=[2.0, 6.0], interval=0.9).squeeze()
    state = np.sqrt(square / information) * np.array([2.0, 6.0])
    np.testing.assert_allclose(found["response"], slope * np.array([2.0, 6.0]), rtol=1e-6)
    np.testing.assert_allclose(found["sd_state"], state, rtol=1e-6)
    sd = np.sqrt(state**2 + square / np.mean(w**2))
    np.testing.assert_allclose(found["sd"], sd, rtol=1e-6)
    reach = stdtrit(TIMES.size - 1, 0.95)
    np.testing.assert_allclose(found["upper"] - found["response"], reach * sd, rtol=1e-6)
    np.testing.assert_allclose(found["response"] - found["lower"], reach * sd, rtol=1e-6)


@pytest.mark.parametrize("kind", ["l2", "l1", "normal", "lognormal", "mean"])
def test_what_is_known_before_counts(kind):
    """A penalty is relative to the noise, and a prior is absolute."""
    lam, options, m = 3.0, {}, TIMES.size
    sigma = np.full(m, 0.1)
    if kind in ("l2", "l1", "mean"):
        name = "l2" if kind == "mean" else kind
        strength = lam / m if kind == "mean" else lam
        options["penalty"] = pcb.Penalty(
            **{name: {"a": strength}}, scale="mean" if kind == "mean" else "sum"
        )
        if kind == "l1":
            options["schedule"] = pcb.Stage(200, optimizer=pcb.LBFGS())
    else:
        prior = pcb.normal(0.6, 0.05) if kind == "normal" else pcb.lognormal(0.6, 0.05)
        options["slope"] = pcb.Parameter(1.0, positive=kind != "normal", prior=prior)
    fit = line(sigma, **options)
    slope = float(fit.parameters["a"])
    y = fit.data["response"].values[0, :, 0]
    J = ((TIMES / sigma) ** 2).sum()
    squares = ((y - slope * TIMES) / sigma) ** 2
    first, second = {"normal": (0.0, 0.05**-2), "lognormal": (0.0, (0.05 * slope) ** -2)}.get(
        kind, (lam, 0.0)
    )
    if kind == "l1":  # the variance of Laplace's distribution
        first = lam**2 / (8 * squares.mean())
    A = J + first + second
    square = squares.sum() / (m - J / A)
    wanted = np.sqrt(square * (J + first) + second) / A
    found = fit.predict(fit.data, interval=0.5)["sd_state"].values[0, :, 0]
    np.testing.assert_allclose(found, wanted * TIMES, rtol=1e-5)


def test_errors_of_what_is_left_out_are_those_of_leaving_it_out():
    rng = np.random.default_rng(0)
    J, groups, nodes = rng.normal(size=(24, 3)), np.repeat(np.arange(8), 3), np.tile([0, 1, 1], 8)
    y = J @ [1.0, -1.0, 0.5] + rng.normal(0, 0.3, 24)
    P = np.diag([0.5, 0.0, 2.0])
    theta = np.linalg.solve(J.T @ J + P, J.T @ y)
    found = Laplace(J, J @ theta - y, np.ones(24), nodes, np.ones(2), np.ones(3), P, 0 * P)
    errors = found.left_out(groups)
    for group in range(8):
        kept, out = groups != group, groups == group
        inverse = np.linalg.inv(J[kept].T @ J[kept] + P)
        off = J[out] @ (inverse @ J[kept].T @ y[kept]) - y[out]
        sd = np.sqrt(
            found.noise[nodes[out]] * (1 + np.einsum("kp,pq,kq->k", J[out], inverse, J[out]))
        )
        np.testing.assert_allclose(errors[out], off / sd, rtol=1e-6)


def test_intervals_of_a_linear_model_hold_as_many_as_they_say():
    """Two nodes with noise of their own, few degrees of freedom, a parameter with a penalty."""
    rng, m, shares = np.random.default_rng(1), 14, (0.5, 0.8, 0.9)
    nodes, sd = np.arange(m) % 2, np.array([0.4, 0.8])
    J, new = rng.normal(size=(m, 4)), rng.normal(size=(20, 4))
    P = np.diag([0, 0, 0, 1.0])
    A = J.T @ J + P
    held = []
    for _ in range(500):
        theta = np.array([1.0, -1.0, 0.5, rng.normal(0, np.sqrt(np.mean(sd[nodes] ** 2)))])
        y = J @ theta + rng.normal(size=m) * sd[nodes]
        at = np.linalg.solve(A, J.T @ y)
        found = Laplace(J, J @ at - y, np.ones(m), nodes, sd**2, np.ones(4), P, 0 * P)
        variance, _ = found.variance(new)
        off = new @ (at - theta)
        reach = stdtrit(found.freedom[1], (1 + np.array(shares)) / 2)
        error = off + rng.normal(size=20) * sd[1]
        ends = reach[:, None] * np.sqrt(variance + found.noise[1])
        held.append((np.abs(error) <= ends).mean(axis=1))
    np.testing.assert_allclose(np.mean(held, axis=0), shares, atol=0.03)


def test_conditions_that_were_not_fitted_have_derivatives_of_their_own():
    """Beside central differences of all solutions, for a network's courses."""
    truth = pcb.networks.cyclic(3)
    data = pcb.simulate(truth, 9, times=[0.5, 1.0, 2.0], noise=0.02, seed=0, backend="numpy")
    rows, new, solver = data.isel(condition=slice(7)), data.isel(condition=[7, 8]), pcb.RK4(0.1)
    model = pcb.CellBox(mask=truth.parameters["W"] != 0)
    fit = pcb.fit(rows, model, schedule=LM, solver=solver, penalty=pcb.Penalty(),
                  initial=truth.parameters, progress=False, backend="numpy")  # fmt: skip
    found = fit.predict(new, times=[1.0, 3.0], interval=0.9)
    assert "Student" in found.attrs["calibrated_by"]

    def slopes(u, times):
        columns = []
        for name in ("W", "alpha", "epsilon"):
            for at in np.argwhere(truth.parameters[name].values != 0):
                ends = []
                for step in (1e-4, -1e-4):
                    p = fit.parameters
                    p[name].values[tuple(at)] += step
                    ends.append(pcb.solve(model, p, u, solver=solver, times=times, backend="numpy"))
                columns.append(((ends[0] - ends[1]) / 2e-4).values)
        return np.stack(columns, axis=-1)

    J = slopes(rows["perturbation"], rows["time"].values)
    noise = (found["sd"] ** 2 - found["sd_state"] ** 2).values[0, 0]  # of each node
    half = J.reshape(-1, J.shape[-1])
    inverse = np.linalg.inv(half.T @ half)
    weighted = (J * np.sqrt(noise)[:, None]).reshape(half.shape)
    covariance = inverse @ weighted.T @ weighted @ inverse
    G = slopes(new["perturbation"], [1.0, 3.0])
    wanted = np.sqrt(np.einsum("...p,pq,...q->...", G, covariance, G))
    np.testing.assert_allclose(found["sd_state"], wanted, rtol=1e-3)


def test_what_is_not_determined_is_open_where_it_matters_and_named():
    """Of a product of two parameters one alone is asked for."""
    positive = {n: pcb.Parameter(v, positive=True) for n, v in (("a", 1.3), ("b", 0.7), ("c", 0.6))}
    model = pcb.ODE({"x": "a*b - c*x", "y": "a - y"}, parameters=positive,
                    initial={"x": 1.0, "y": 0.0})  # fmt: skip
    data = pcb.simulation.courses(
        model, {"a": 1.1, "b": 0.8, "c": 0.5}, TIMES, measured=["x"], noise=0.02, backend="numpy"
    )
    fit = pcb.fit(data, model, schedule=LM, progress=False, backend="numpy")
    with pytest.warns(pcb.DataWarning, match=r"a and b only as the product a\*b") as caught:
        found = fit.predict(data, interval=0.9)
    assert len(caught) == 1
    assert bool(np.isinf(found["sd_state"].sel(node="y")).all())
    assert bool((found["sd"].sel(node="x") < 1).all())


def test_levels_that_were_fitted_are_uncertain_like_parameters():
    rates, k = {"x": "a - c*x"}, {"a": pcb.Parameter(1.0), "c": pcb.Parameter(0.5, positive=True)}
    model = pcb.ODE(rates, parameters=k, initial={"x": 1.0})
    data = pcb.simulation.courses(
        model, {"a": 1.3, "c": 0.6}, TIMES, initial={"x": [0.2, 2.0]}, noise=0.05, backend="numpy"
    )
    own = pcb.ODE(rates, parameters=k | {"x0": pcb.Parameter(1.0, dims="condition")},
                  initial={"x": "x0"})  # fmt: skip
    plain = data.drop_vars("initial_state")
    wanted = pcb.fit(plain, own, schedule=LM, progress=False, backend="numpy")
    free = data.assign(initial_fitted=(("condition", "node"), np.ones((2, 1), bool)))
    fit = pcb.fit(free, model, schedule=pcb.Stage(300, optimizer=pcb.LBFGS()), progress=False,
                  backend="numpy")  # fmt: skip
    for rows in ([0, 1], [1]):
        found, other = (
            one.predict(each.isel(condition=rows), interval=0.9, times=[0.0, 1.0, 5.0])
            for one, each in ((fit, free), (wanted, plain))
        )
        np.testing.assert_allclose(found["sd_state"], other["sd_state"], rtol=1e-3)


def test_ends_go_back_to_the_scale_of_the_measurement():
    model = pcb.ODE({"x": "-k"}, parameters={"k": pcb.Parameter(0.5)}, initial={"x": 1.0})
    logs = courses(["x"], TIMES)
    logs["response"][...] = (1 - 0.4 * TIMES + 0.1 * np.sin(9 * TIMES))[None, :, None]
    data = pcb.data.transformed(logs.assign(response=np.exp(logs["response"])), "log-center")
    fit = pcb.fit(data, model, schedule=LM, progress=False, backend="numpy")
    fitted, back = (fit.predict(data, interval=0.8, scale=s) for s in ("fitted", "measured"))
    center = data["transform_center"].item()
    for name in ("response", "lower", "upper"):
        np.testing.assert_allclose(np.log(back[name]) - center, fitted[name], atol=1e-12)
    draws = np.random.default_rng(0).normal(size=400_000) * float(fitted["sd"][0, 0, 0])
    around = np.exp(draws) * float(back["response"][0, 0, 0])
    assert float(back["sd"][0, 0, 0]) == pytest.approx(around.std(), rel=0.02)
    xr.testing.assert_equal(fit.predict(data, scale="measured"), back["response"])


def trained(**options):
    doses, y = screen(np.random.default_rng(2), conditions=14, drugs=2, nodes=2)
    told = {"schedule": pcb.Stage(1, learning_rate=0.01), "progress": False, "backend": "numpy"}
    return pcb.fit(dataset(doses, y), **told | options)


def test_a_trained_screen_is_calibrated_by_conditions_left_out(tmp_path):
    fit = trained()
    found = fit.predict(fit.data, interval=0.9)
    assert found["lower"].dims == ("condition", "node")
    assert "left out" in found.attrs["calibrated_by"]
    seen = fit.data["response"].notnull()
    assert bool((found["sd"] > found["sd_state"]).where(seen, True).all())
    assert found["sd"].where(~seen.any("condition"), drop=True).isnull().all()
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    xr.testing.assert_identical(again.predict(fit.data, interval=0.9), found)
    xr.testing.assert_identical(found["response"], fit.predict(fit.data))


def test_steady_states_do_not_tell_how_fast():
    fit = trained()
    with pytest.warns(pcb.DataWarning, match="not determined by the data"):
        found = fit.predict(fit.data, times=[0.5, 5.0], interval=0.9)
    early = found["sd_state"].sel(time=0.5, node="p0")
    assert bool(np.isinf(early).any())


@pytest.mark.parametrize(
    ("make", "asked", "said"),
    [
        (lambda: trained(loss="mae"), {}, "loss='mae'"),
        (lambda: pcb.fit(dataset(*screen(np.random.default_rng(0))), progress=False),
         {"times": [1.0]}, "nothing of rates"),
        (lambda: few(), {}, "degrees of freedom"),
    ],
)  # fmt: skip
def test_what_cannot_have_intervals_says_so(make, asked, said):
    fit = make()
    with pytest.raises(pcb.ModelError, match=said):
        fit.predict(fit.data, interval=0.9, **asked)


def few():
    """As many parameters as measurements."""
    data = courses(["x"], TIMES[:2])
    data["response"][...] = np.array([0.3, 0.5])[None, :, None]
    k = {"a": pcb.Parameter(1.0), "c": pcb.Parameter(0.5)}
    model = pcb.ODE({"x": "a - c*x"}, parameters=k, initial={"x": 0.0})
    return pcb.fit(data, model, schedule=LM, progress=False, backend="numpy")


def test_more_parameters_than_can_be_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("pycellbox.intervals.trained.MOST_FREE", 3)
    fit = trained()
    monkeypatch.setattr("pycellbox.predictor.Predictor.solved", None)
    with pytest.raises(pcb.ModelError, match=r"free parameters.*pcb\.ensemble"):
        fit.predict(fit.data, interval=0.9)


@pytest.mark.parametrize("ending", ["csv", "nc"])
def test_the_command_line_writes_intervals(ending, tmp_path, capsys):
    fit = line()
    saved, out = fit.save(tmp_path / "fit.nc"), tmp_path / f"out.{ending}"
    data = pcb.save_data(fit.data, tmp_path / "data.nc")
    words = ["predict", str(saved), "--data", str(data), "--out", str(out), "--times", "1,2"]
    assert main([*words, "--interval", "0.8"]) == 0
    wanted = fit.predict(fit.data, times=[1.0, 2.0], interval=0.8)
    names = ["response", "lower", "upper", "sd", "sd_state"]
    if ending == "csv":
        table = pd.read_csv(out)
        assert table.columns.tolist() == ["condition", "time", "node", *names]
        found = {name: table[name].to_numpy() for name in names}
    else:
        with xr.open_dataset(out, engine="h5netcdf") as stored:
            found = {name: stored[name].values.ravel() for name in names}
            assert stored.attrs["interval"] == 0.8
    for name in names:
        np.testing.assert_allclose(found[name], wanted[name].values.ravel(), rtol=1e-12)
    capsys.readouterr()
    assert main([*words, "--interval", "90"]) != 0
    assert "--interval=90" in capsys.readouterr().err


def test_draws_from_a_model_are_held_as_often_as_they_should_be(tmp_path):
    """A few of the draws of benchmarks/intervals.py --simulate."""
    shares = (0.5, 0.9)
    text = drawn.run(tmp_path, 4, 50, ["trained courses"], shares)
    rows = [json.loads(row) for row in (tmp_path / "simulated.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [50, 51, 52, 53]
    for share in shares:
        for what, most in (("new", 0.1), ("state", 0.2)):
            assert abs(np.mean([row[f"{what} {share:.0%}"] for row in rows]) - share) < most
    assert drawn.run(tmp_path, 4, 50, ["trained courses"], shares) == text  # nothing is left to do
    assert "trained courses" in text


def test_parameters_that_went_to_nothing_or_have_no_effect_disturb_nobody():
    """Derivatives by rates of 1e-189 are beyond squares; some are of rounding alone."""
    rng = np.random.default_rng(0)
    J, new = rng.normal(size=(20, 2)), rng.normal(size=(5, 2))
    r, ones, none = rng.normal(size=20), np.ones(20), np.zeros((2, 2))
    where = np.zeros(20, int)
    alone = Laplace(J, r, ones, where, np.ones(1), np.ones(2), none, none)
    sizes = np.array([1.0, 1.0, 1e-189, 0.0, 1.0])
    dead = [1e177, 3.0, 1e-13]
    none = np.zeros((5, 5))
    found = Laplace(
        np.c_[J, rng.normal(size=(20, 3)) * dead], r, ones, where, np.ones(1), sizes, none, none
    )
    variance, _ = found.variance(np.c_[new, rng.normal(size=(5, 3)) * dead])
    np.testing.assert_allclose(variance, alone.variance(new)[0], rtol=0.02)
    variance, off = found.variance(np.c_[new, np.zeros((5, 2)), np.ones(5)])
    assert np.isinf(variance).all()
    directions = found.open_directions(off)
    np.testing.assert_allclose(np.abs(directions), [[0, 0, 0, 0, 1]], atol=1e-4)
