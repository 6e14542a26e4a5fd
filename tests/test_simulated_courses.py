"""Time courses simulated from equations of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text

import pycellbox as pcb
from pycellbox.simulation import courses, true_model, truth
from tests.support.equations import sir

TRUE = {"beta": 1.7, "gamma": 0.45, "rho": 0.9, "I0": 1.0}
DECAY = pcb.ODE(
    {"x": "u - k*x", "y": "k*x - y"}, parameters={"k": 1.0}, inputs={"u": "drug"}
)  # fmt: skip


def test_courses_are_those_of_solve_and_carry_their_truth():
    data = courses(sir(), TRUE, range(10), units="d")
    assert data["node"].values.tolist() == ["cases"]
    xr.testing.assert_equal(
        truth(data).drop_vars(["node", "node_kind"]), xr.Dataset({"N": 763.0, **TRUE})
    )
    model = true_model(data)
    assert model == sir() or model.to_dict() == sir().to_dict()
    again = pcb.solve(model, truth(data), data, solver=pcb.Tsit5(1e-9, 1e-9), times=range(10))
    np.testing.assert_allclose(
        again.sel(node="cases"), data["response"].sel(node="cases"), rtol=1e-6
    )
    assert data["time"].attrs["units"] == "d"
    xr.testing.assert_identical(pcb.validate(data), data)


def test_noise_gaps_and_what_is_measured_are_as_asked():
    asked = {"initial": {"x": [1.0, 2.0, 3.0]}, "measured": ["y"], "seed": 3}
    clean = courses(DECAY, {"k": 0.5}, np.arange(0.5, 40), **asked)
    assert clean["node_kind"].to_series().to_dict() == {"x": "hidden", "y": "protein"} | (
        {"drug": "drug"} if "drug" in clean["node"] else {}
    )
    assert clean["response"].sel(node="x").isnull().all()
    noisy = courses(DECAY, {"k": 0.5}, np.arange(0.5, 40), noise=0.1, missing=0.2, **asked)
    y, true = (each["response"].sel(node="y") for each in (noisy, clean))
    assert 0.1 < float(y.isnull().mean()) < 0.3
    assert 0.07 < float(((y - true) / true).std()) < 0.13
    xr.testing.assert_equal(noisy["true_response"].sel(node="y"), true.rename("true_response"))
    again = courses(DECAY, {"k": 0.5}, np.arange(0.5, 40), noise=0.1, missing=0.2, **asked)
    xr.testing.assert_identical(noisy, again)


def test_a_design_is_followed():
    doses = xr.Dataset(
        {"perturbation": (("condition", "node"), [[0.0], [2.0]])},
        {"condition": ["none", "high"], "node": ["drug"], "node_kind": ("node", ["drug"])},
    )
    data = courses(DECAY, {"k": 0.5}, [50.0], design=doses, initial={"y": 1.0})
    assert data["node_kind"].to_series()["drug"] == "drug"
    found = data["response"].isel(time=0).sel(node="x")
    np.testing.assert_allclose(found, [0, 4], atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": {}}, "lack 'k'"),
        ({"parameters": {"k": 1, "K2": 1}}, "'K2', which the model has not"),
        ({"parameters": {"k": [1, 2]}}, r"shape \(2,\)"),
        ({"initial": {"z": 1}}, "'z', which is no state"),
        ({"initial": {"x": [1, 2], "y": [1, 2, 3]}}, "each of the 3 conditions"),
        ({"initial": {"x": np.nan}}, "needs a number"),
        ({"measured": ["z"]}, "no state and no observable"),
        ({"measured": [np.zeros(2)]}, "no state and no observable"),
        ({"measured": []}, "at least one name"),
        ({"design": 0}, "design=0"),
        ({"missing": 2}, "missing=2"),
        ({"times": [1, 0]}, "increase"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    options = {"parameters": {"k": 0.5}, "times": [0, 1]} | given
    with pytest.raises(pcb.PycellboxError, match=message):
        courses(DECAY, options.pop("parameters"), options.pop("times"), **options)


def test_a_summary_gives_what_was_fitted_and_not_what_was_fixed():
    data = courses(sir(), TRUE, range(15), units="d")
    fit = pcb.fit(data, sir(), schedule=pcb.Stage(2, optimizer=pcb.LM()), progress=False)
    (line,) = [line for line in repr(fit).splitlines() if line.split()[0] == "fitted"]
    assert f"beta {float(fit.parameters['beta']):.4g}" in line
    assert "N" not in line.split()


def test_values_as_measured_are_not_called_log_ratios():
    data = courses(sir(), TRUE, range(15), units="d")
    written = [text.get_text() for text in pcb.plot.trajectories(data).findobj(Text)]
    assert "response, as measured" in written
    assert "time (d)" in written
    named = data.assign(response=data["response"].assign_attrs(long_name="boys, in bed"))
    assert pcb.validate(named)["response"].attrs["long_name"] == "boys, in bed"


def test_a_forecast_is_not_called_fitted():
    data = courses(sir(), TRUE, range(15), units="d")
    first, later = data.isel(time=slice(9)), data.isel(time=slice(9, None))
    fit = pcb.fit(first, sir(), schedule=pcb.Stage(2, optimizer=pcb.LM()), progress=False)
    forecast = fit.evaluate(later)
    assert forecast.by_condition["role"].values.tolist() == ["forecast"]
    assert "flatter" not in forecast.caption
    assert "flatter" in fit.evaluate(data).caption
    reasons = [note.split(": ")[1] for note in forecast.notes]
    assert len(set(reasons)) == len(reasons)  # each reason once
