"""Steady states of equations of one's own: which one a trajectory reaches, and its derivative."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from tests.support.equations import courses, parameters_of
from tests.support.settling import DRIVEN, SETTLING, UNSETTLED, begun, laid, of

HORIZON = 400.0


def solved(model, data, p, solver, horizon=HORIZON):
    u = data["perturbation"]
    return pcb.solve(model, p, u, solver=solver, horizon=horizon, backend="numpy")


@pytest.mark.parametrize("name", SETTLING)
def test_a_settled_state_is_where_the_trajectory_goes(name):
    model, values = SETTLING[name]
    data, p = laid(model, values)
    solver = pcb.SteadyState()
    if name == "fast and slow":
        solver = pcb.SteadyState(integrator=pcb.Adaptive("KenCarp4", rtol=1e-6, atol=1e-9))
    found = solved(model, data, p, solver)
    assert found["settled"].all()
    size = float(np.abs(found).max())
    assert float(found["residual"].max()) <= 2e-10 * max(size, 2.0 * (name == "to zero"))
    integrator = pcb.Adaptive("Kvaerno5", rtol=1e-8, atol=1e-10 * (size or 1))
    long = solved(model, data, p, integrator, 200.0)
    np.testing.assert_allclose(found, long, rtol=1e-6, atol=1e-6 * (size or 1))
    asked = {"solver": solver, "horizon": HORIZON, "backend": "numpy"}
    _, gradient = pcb.value_and_gradient(model, p, data, **asked)
    for parameter in gradient.data_vars:
        if model.parameters[parameter].held.any():
            continue
        h, ends = 1e-5 * p[parameter], []
        for sign in (1, -1):
            there = p.assign({parameter: p[parameter] + sign * h})
            ends.append(pcb.value_and_gradient(model, there, data, **asked)[0])
        slope = (ends[0] - ends[1]) / float(2 * h)
        assert float(gradient[parameter]) == pytest.approx(slope, rel=1e-4, abs=1e-12 / float(h))


@pytest.mark.parametrize("name", UNSETTLED)
def test_what_does_not_settle_is_named_and_integrated(name):
    model, values = UNSETTLED[name]
    data, p = laid(model, values)
    solver, horizon = pcb.SteadyState(), 30.0
    with pytest.warns(pcb.NumericsWarning, match="'c0'.*integrated to t = 30"):
        found = solved(model, data, p, solver, horizon)
    assert not found["settled"].any()
    plain = solved(model, data, p, solver.integrator, horizon)
    np.testing.assert_array_equal(found, plain)
    with pytest.warns(pcb.NumericsWarning, match="'c0'"):
        _, gradient = pcb.value_and_gradient(model, p, data, solver=solver, horizon=horizon)
    asked = {"solver": solver.integrator, "horizon": horizon, "backend": "numpy"}
    exact = pcb.value_and_gradient(model, p, data, **asked)[1]
    for parameter in gradient.data_vars:
        np.testing.assert_allclose(gradient[parameter], exact[parameter], rtol=1e-12)


def test_conditions_end_each_in_its_own_way():
    model, values = DRIVEN
    data, p = laid(model, values, c=3)
    data["perturbation"].loc[{"node": "u"}] = [-2.9, 7.0, -2.5]
    with pytest.warns(pcb.NumericsWarning, match=r"1 condition.*\('c1'\)"):
        found = solved(model, data, p, pcb.SteadyState(), 60.0)
    assert found["settled"].values.tolist() == [True, False, True]
    problem = Problem.from_dataset(data, structure_of(data, model), 60.0, np.float64)
    session = get_backend("numpy").session(problem, pcb.SteadyState(), Loss("mse"))
    arrays = {name: p[name].values for name in model.parameters}
    value, gradient = session.loss_and_gradient(arrays)
    r, J = session.residuals_and_jacobian(arrays)
    assert value == pytest.approx(float(np.mean(r**2)))
    slopes = dict(zip(session.problem.structure.layout.places, 2 * r @ J / r.size, strict=True))
    for name in model.parameters:
        assert float(gradient[name]) == pytest.approx(slopes[name])


def test_phases_decide_which_state_is_reached():
    """A pulse switches the toggle, which stays where it was pushed."""
    rates = {"u": "a/(1 + v**n) - u + d", "v": "a/(1 + u**n) - v"}
    model, values = of(rates, {"a": 4.0, "n": 2.5}, {"u": 0.1, "v": 1.0}, inputs=["d"])
    data, p = laid(model, values, c=2)
    u = data["perturbation"].expand_dims(phase=2, axis=1).copy()
    u.loc[{"node": "d"}] = [[0.0, 0.0], [6.0, 0.0]]
    starts = ("phase", [0.0, 8.0], {"units": "h"})
    data = data.drop_vars("perturbation").assign(perturbation=u).assign_coords(phase_start=starts)
    found = pcb.solve(
        model, p, data[["perturbation"]], solver=pcb.SteadyState(), horizon=100.0, backend="numpy"
    )
    assert found["settled"].all()
    assert found.sel(node="u").values == pytest.approx([0.122769, 3.978986], rel=1e-5)
    asked = {"solver": pcb.SteadyState(), "horizon": 100.0, "backend": "numpy"}
    exact = pcb.value_and_gradient(model, p, data, **asked)[1]
    by_steps = pcb.value_and_gradient(model, p, data, gradient="finite-difference", **asked)[1]
    for name in exact.data_vars:
        np.testing.assert_allclose(exact[name], by_steps[name], rtol=1e-5)


def test_a_fit_of_steady_states_finds_its_parameters(tmp_path):
    model, values = DRIVEN
    data, _ = laid(model, values, c=4)
    data["perturbation"].loc[{"node": "u"}] = [-2.9, -2.5, -2.0, -1.5]
    truth = parameters_of(model, [*model.own_nodes, "u"], values | {"a": 3.3, "n": 3.0})
    data["response"][...] = solved(model, data, truth, pcb.SteadyState()).values
    fit = pcb.fit(
        data, model, solver=pcb.SteadyState(), horizon=HORIZON, progress=False,
        schedule=pcb.Stage(20, optimizer=pcb.LM()),
    )  # fmt: skip
    assert float(fit.parameters["a"]) == pytest.approx(3.3, rel=1e-4)
    assert float(fit.parameters["n"]) == pytest.approx(3.0, rel=1e-4)
    assert fit.predictions["settled"].all() if "settled" in fit.predictions.coords else True
    fit.save(tmp_path / "fit.nc")
    again = pcb.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.predict(again.data), fit.predictions)


def test_conditions_start_where_the_equation_says_though_others_hold_nodes():
    model, values = begun(False)
    data, p = laid(model, values, c=2)
    held = data["perturbation"] * np.nan
    held[1, 0] = 3.0
    given = data[["perturbation"]].assign(held=held)
    asked = {"solver": pcb.SteadyState(), "horizon": HORIZON, "backend": "numpy"}
    found, alone = pcb.solve(model, p, given, **asked), solved(model, data, p, pcb.SteadyState())
    assert found["settled"].all()
    np.testing.assert_allclose(found[0], alone[0], rtol=1e-9)
    assert float(found[1, 0]) == 3.0
    data = data.assign(held=held)
    exact = pcb.value_and_gradient(model, p, data, **asked)[1]
    by_steps = pcb.value_and_gradient(model, p, data, gradient="finite-difference", **asked)[1]
    for name in exact.data_vars:
        np.testing.assert_allclose(exact[name], by_steps[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("u", "v"), [(0.1, 1.0), (1.0, 0.1)])
def test_conditions_begin_in_the_steady_state_without_inputs(u, v):
    model, values = begun(True, u, v)
    data = courses(["u", "v", "d"], [0.0, 0.5, 2.0], c=2)
    data["perturbation"].loc[{"node": "d"}] = [0.0, 3.0]
    p = parameters_of(model, ["u", "v", "d"], values)
    plain = begun(False, u, v)[0]
    rest = solved(plain, laid(plain, values)[0], p, pcb.SteadyState()).values[0]
    times, solver = data["time"].values, pcb.Tsit5(1e-8, 1e-10)
    u = data["perturbation"]
    found = pcb.solve(model, p, u, solver=solver, times=times, backend="numpy").values
    np.testing.assert_allclose(found[:, 0, :2], [rest[:2]] * 2, rtol=1e-8)
    np.testing.assert_allclose(found[0, :, :2], [rest[:2]] * 3, rtol=1e-6)
    assert (np.abs(found[1, 2] - found[1, 0]) > 0.01).any()
    phases = u.expand_dims(phase=2, axis=1).copy()  # the same, said by data
    phases[:, 0] = 0.0
    phases = phases.assign_coords(phase_start=("phase", [-np.inf, 0.0], {"units": "d"}))
    by_data = pcb.solve(plain, p, phases, solver=solver, times=times, backend="numpy")
    np.testing.assert_array_equal(found, by_data)
    asked = {"solver": solver, "backend": "numpy"}
    exact = pcb.value_and_gradient(model, p, data, **asked)[1]
    by_steps = pcb.value_and_gradient(model, p, data, gradient="finite-difference", **asked)[1]
    for name in exact.data_vars:
        np.testing.assert_allclose(exact[name], by_steps[name], rtol=1e-4, atol=1e-6)
    problem = Problem.from_dataset(data, structure_of(data, model), None, np.float64)
    session = get_backend("numpy").session(problem, solver, Loss("mse"))
    arrays = {name: p[name].values for name in model.parameters}
    forward = session.residuals_and_jacobian(arrays)[1]
    back = session._by_reverse(arrays, session._whole(arrays))[1]
    np.testing.assert_allclose(forward, back, atol=1e-9)


def test_fits_that_begin_at_rest_are_kept_in_files(tmp_path):
    model, values = begun(True)
    assert pcb.ODE.from_dict(model.to_dict()) == model
    assert pcb.ODE.from_dict({k: v for k, v in model.to_dict().items() if k != "at_rest"}) != model
    data = courses(["u", "v", "d"], [0.0, 0.5, 2.0], c=2)
    data["perturbation"].loc[{"node": "d"}] = [1.0, 3.0]
    truth = parameters_of(model, ["u", "v", "d"], values | {"a": 3.5})
    times = data["time"].values
    x = pcb.solve(model, truth, data["perturbation"], solver=pcb.Tsit5(1e-7, 1e-9), times=times)
    data["response"][...] = x.values
    schedule = pcb.Stage(10, optimizer=pcb.LM())
    fit = pcb.fit(data, model, solver=pcb.Tsit5(1e-7, 1e-9), schedule=schedule, progress=False)
    assert float(fit.parameters["a"]) == pytest.approx(3.5, rel=1e-3)
    fit.save(tmp_path / "fit.nc")
    again = pcb.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.predict(again.data), fit.predictions)
