"""Operating points and common effects: the equation, its derivatives, its doors."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.errors import ModelError
from pycellbox.models import FORMS, CellBox
from pycellbox.objective import Loss
from pycellbox.solvers import RK4, Heun, SteadyState, Tsit5
from tests.support.problems import (
    assert_same_gradient,
    dataset,
    labelled,
    random_parameters,
    random_problem,
    shifted_models,
)
from tests.support.treatments import KINDS, treated_problem

MODELS = [CellBox(operating_point=True, common_effect=True), *shifted_models()[-4:]]
integrate = sys.modules["pycellbox.backends.numpy.integrate"]


def assert_slope(session, p, gradient, rng):
    """Hold a gradient to central differences in a direction."""
    layout = session.problem.structure.layout
    vector = np.where(layout.fixed, 0, 1e-5 * rng.normal(size=layout.size))
    ahead, behind = (
        session.loss({n: p[n] + sign * s for n, s in layout.split(vector).items()})
        for sign in (1, -1)
    )
    along = float(layout.join(gradient) @ vector)
    assert along == pytest.approx((ahead - behind) / 2, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("model", shifted_models(), ids=repr)
def test_gradients_of_steady_states(model):
    rng = np.random.default_rng(0)
    problem = random_problem(model, rng, times=(60.0,))
    p = random_parameters(model, rng, scale=0.2)
    session = NumpySteadySession(problem, SteadyState(tol=1e-13), Loss())
    value, gradient = session.loss_and_gradient(p)
    assert_slope(session, p, gradient, rng)
    other, integrated = NumpySession(problem, Tsit5(1e-9, 1e-11), Loss()).loss_and_gradient(p)
    assert value == pytest.approx(other, rel=1e-7)
    assert_same_gradient(gradient, integrated, 1e-6)


@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("solver", [SteadyState(tol=1e-13), RK4(0.1)], ids=repr)
def test_jacobians_agree_with_the_gradient(model, solver):
    rng = np.random.default_rng(1)
    problem = random_problem(model, rng, times=(20.0,))
    p = random_parameters(model, rng, scale=0.2)
    session = NumpyBackend().session(problem, solver, Loss())
    residuals, J = session.residuals_and_jacobian(p)
    layout = problem.structure.layout
    gradient = layout.join(session.loss_and_gradient(p)[1])[layout.free]
    found = 2 / residuals.size * J.T @ residuals
    np.testing.assert_allclose(found, gradient, rtol=0, atol=2e-5 * np.abs(gradient).max())


@pytest.mark.parametrize(
    ("model", "kind"), [(MODELS[0], "phases"), *((model, "all") for model in MODELS)], ids=repr
)
def test_gradients_and_jacobians_through_treatments(model, kind):
    rng = np.random.default_rng(2)
    problem = treated_problem(model, rng, (0.4, 2.2), **KINDS[kind])
    p = random_parameters(model, rng, scale=0.2)
    session = NumpyBackend().session(problem, RK4(0.05), Loss())
    _, gradient = session.loss_and_gradient(p)
    assert_slope(session, p, gradient, rng)
    residuals, J = session.residuals_and_jacobian(p)
    layout = problem.structure.layout
    wanted = layout.join(gradient)[layout.free]
    found = 2 / residuals.size * J.T @ residuals
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_folded_steps_are_the_plain_ones(model, monkeypatch):
    found = []
    for fold in (True, False):
        monkeypatch.setattr(integrate, "pays", lambda *_, fold=fold: fold)
        rng = np.random.default_rng(3)
        problem = random_problem(model, rng, times=(1.0, 1.7))
        session = NumpySession(problem, Heun(0.1), Loss())
        found.append(session.loss_and_gradient(random_parameters(model, rng)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert_same_gradient(found[0][1], found[1][1], 1e-12)


@pytest.mark.parametrize("envelope", pcb.models.ENVELOPES)
def test_at_the_operating_point_nothing_moves(envelope):
    """Without an input the network rests, whatever b is; a common effect needs an input."""
    rng = np.random.default_rng(4)
    model = CellBox(envelope=envelope, operating_point=True, common_effect=True)
    problem = random_problem(model, rng, times=(3.0,))
    problem.perturbation[...] = 0
    states = NumpySession(problem, Heun(0.1), Loss()).solution(random_parameters(model, rng)).states
    np.testing.assert_allclose(states, 0, atol=1e-15)


@pytest.mark.parametrize("option", ["operating_point", "common_effect"])
@pytest.mark.parametrize("form", [form for form in FORMS if form != 0])
def test_other_forms_refuse(form, option):
    with pytest.raises(ModelError, match=f"{option}=True.*form 0.*form=0"):
        CellBox(form=form, **{option: True})


@pytest.mark.parametrize("courses", [False, True])
def test_fits_learn_them_and_files_keep_them(courses, tmp_path):
    rng = np.random.default_rng(5)
    times = (0.5, 2.0) if courses else None
    data = dataset(rng, times=times)
    model = CellBox(operating_point=True, common_effect=True, drugs_on_phenotypes=True)
    stage = pcb.Stage(iterations=20, learning_rate=0.02)
    fit = pcb.fit(data, model, schedule=stage, progress=False)
    for name in ("b", "common"):
        values = fit.parameters[name]
        drug = data["node_kind"].values == "drug"
        assert (values.values[drug] == 0).all()
        assert (values.values[~drug] != 0).all()
    assert "φ(b)" in model.equation
    assert (fit.parameters["W"].sel(target="P", source=["x", "y"]) != 0).all()
    fit.save(tmp_path / "fit.nc")
    again = pcb.load(tmp_path / "fit.nc")
    assert again.model == model
    given = data["perturbation"]
    np.testing.assert_array_equal(again.predict(given).values, fit.predict(given).values)


@pytest.mark.parametrize("option", ["operating_point", "common_effect"])
def test_penalties_and_learning_rates_know_them(option):
    data = dataset(np.random.default_rng(6))
    model = CellBox(operating_point=True, common_effect=True)
    name = {group: name for name, group in model.shifts.items()}[option]

    def fitted(rate=0.05, **options):
        rates = {"drug_to_node": 0.05, "rates": 0.05, option: rate}
        stage = pcb.Stage(iterations=15, learning_rate=rates)
        fit = pcb.fit(data, model, schedule=stage, progress=False, **options)
        return np.abs(fit.parameters[name].values).max()

    assert fitted(0.0, penalty=pcb.Penalty()) == 0
    free = fitted(penalty=pcb.Penalty())
    for kind in ("l1", "l2"):
        assert fitted(penalty=pcb.Penalty(**{kind: {option: 10.0}})) < 0.2 * free


def test_solve_has_the_equation():
    model = CellBox(operating_point=True, common_effect=True, dose_saturation=None)
    rng = np.random.default_rng(7)
    problem = random_problem(model, rng)
    s, p = problem.structure, random_parameters(model, rng, scale=0.2)
    u = problem.perturbation
    given = pcb.solve(model, labelled(s, p), inputs(s, u), solver=SteadyState(), horizon=50.0)
    x = given.values
    treated = (u != 0).any(axis=1)[:, None]
    z = x @ p["W"].T + u + p["b"] + treated * p["common"]
    rate = p["epsilon"] * (np.tanh(z) - np.tanh(p["b"])) - p["alpha"] * x
    np.testing.assert_allclose(rate, 0, atol=1e-7)


def inputs(s, u):
    import xarray as xr

    return xr.DataArray(
        u,
        dims=("condition", "node"),
        coords={
            "condition": [f"c{i}" for i in range(len(u))],
            "node": list(s.nodes),
            "node_kind": ("node", list(s.node_kind)),
        },
    )
