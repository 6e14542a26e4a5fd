"""Equations of one's own: solved, fitted, kept in files, and refused where they cannot be."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

import pycellbox as pcb
from pycellbox.models import Structure
from pycellbox.models.model import model_from_dict, model_to_dict
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.parametrization import Parametrization
from tests.support.equations import MODELS, TRUTH, courses, laid, measured, parameters_of, sir


def test_states_and_observables_are_those_of_an_independent_solver():
    model, times = sir(), np.arange(1.0, 13)
    p = parameters_of(model, ["cases", "S", "I", "R"], TRUTH)
    u = courses(["cases"], times)["perturbation"]
    found = pcb.solve(model, p, u, solver=pcb.Tsit5(rtol=1e-9, atol=1e-9), times=times)
    N, beta, gamma, rho, i0 = TRUTH.values()

    def rate(t, x):
        new = beta * x[0] * x[1] / N
        return [-new, new - gamma * x[1], gamma * x[1]]

    exact = solve_ivp(rate, (0, 12), [N - i0, i0, 0], t_eval=times, rtol=1e-11, atol=1e-11).y
    np.testing.assert_allclose(found.sel(node=["S", "I", "R"])[0].T, exact, rtol=1e-6)
    np.testing.assert_allclose(found.sel(node="cases")[0], rho * exact[1], rtol=1e-6)


@pytest.mark.parametrize("treated", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("solver", [pcb.RK4(0.25), pcb.Tsit5(rtol=1e-4, atol=1e-6)])
def test_gradients_are_those_of_finite_differences(name, solver, treated):
    model, data, p = laid(name)
    if treated:  # where it begins is given for one state, and the model's own for the others
        begin = np.full(data["perturbation"].shape, np.nan)
        begin[1, data["node"].values.tolist().index(model.states[0])] = 0.6
        data["initial_state"] = (("condition", "node"), begin)
    given = {"solver": solver, "backend": "numpy"}
    value, exact = pcb.value_and_gradient(model, p, data, **given)
    plain, by_steps = pcb.value_and_gradient(model, p, data, gradient="finite-difference", **given)
    assert value == plain
    for name in model.parameters:
        scale = max(1.0, float(np.abs(by_steps[name]).max()))
        tolerance = 1e-6 if isinstance(solver, pcb.RK4) else 1e-4  # its steps change too
        np.testing.assert_allclose(exact[name], by_steps[name], atol=tolerance * scale)


@pytest.mark.parametrize("name", MODELS)
def test_a_field_has_the_jacobian_of_differences(name):
    model, data, p = laid(name)
    structure = Structure.over(model, data["node"].values, data["node_kind"].values)
    equations = equations_of(structure)
    field = equations.field(
        {n: p[n].values for n in model.parameters}, equations.drive(data["perturbation"].values)
    )
    x, h = np.random.default_rng(1).uniform(0.5, 1.5, (3, structure.n_nodes)), 1e-6
    J, v = field.jacobian(x), np.cos(x)
    for j in range(structure.n_nodes):
        step = h * (np.arange(structure.n_nodes) == j)
        slope = (field.value(x + step) - field.value(x - step)) / (2 * h)
        np.testing.assert_allclose(J[:, :, j], slope, atol=1e-7)
    np.testing.assert_allclose(field.transposed(x, v), np.einsum("ci,cij->cj", v, J), atol=1e-12)


FIT = {"schedule": pcb.Stage(12, learning_rate=0.05), "progress": False}


def test_a_fit_finds_the_parameters_of_its_data():
    data = measured().isel(condition=[0])
    stages = [pcb.Stage(60, learning_rate=0.1), pcb.Stage(40, optimizer=pcb.LBFGS())]
    fit = pcb.fit(data, sir(), solver=pcb.RK4(0.5), schedule=stages, progress=False)
    for name, value in TRUTH.items():
        assert float(fit.parameters[name]) == pytest.approx(value, rel=0.05)
    assert set(fit.predictions["node"].values) == {"cases", "S", "I", "R"}
    kinds = fit.data["node_kind"].to_series()
    assert kinds[["cases", "S", "I", "R"]].tolist() == ["protein", *["hidden"] * 3]
    assert "dS/dt = -beta*S*I/N" in repr(fit)
    assert "beta*S*I/N" in fit._repr_html_()
    assert "ODE" in str(fit.evaluate(data, baselines=False))
    np.testing.assert_array_equal(fit.predict(data), fit.predictions)


def test_another_process_predicts_the_same_bits_with_none_of_the_users_code(tmp_path):
    for name in MODELS:
        model, data, _ = laid(name)
        options = {"solver": pcb.RK4(0.25), "schedule": pcb.Stage(2), "progress": False}
        fit = pcb.fit(data.isel(condition=[0]), model, **options)
        fit.save(tmp_path / f"{name}.nc")
        np.save(tmp_path / f"{name}.npy", fit.predict(fit.data).values)
    code = (
        "import sys, numpy as np, pycellbox as pcb\n"
        "for name in sys.argv[2:]:\n"
        "    fit = pcb.load(f'{sys.argv[1]}/{name}.nc')\n"
        "    states = np.load(f'{sys.argv[1]}/{name}.npy')\n"
        "    assert np.array_equal(fit.predict(fit.data).values, states), name\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *MODELS], check=True)


def test_an_interrupted_fit_is_gone_on_with_to_the_same_bits(tmp_path):
    data, path = measured(), tmp_path / "run.nc"
    options = {"solver": pcb.RK4(0.5), **FIT}

    def stop(state):
        if state.iteration == 6:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        pcb.fit(data, sir(), checkpoint=path, checkpoint_seconds=0, callbacks=stop, **options)
    xr.testing.assert_equal(
        pcb.resume(path, progress=False).parameters, pcb.fit(data, sir(), **options).parameters
    )


@pytest.mark.parametrize("name", MODELS)
def test_files_keep_a_model_whole(name):
    model = MODELS[name]
    kept = json.loads(json.dumps(model_to_dict(model)))
    assert model_from_dict(kept) == model == pickle.loads(pickle.dumps(model))
    assert model_to_dict(model_from_dict(kept)) == model_to_dict(model)
    assert hash(model_from_dict(kept)) == hash(model)


@pytest.mark.parametrize("name", MODELS)
def test_no_damage_to_a_stored_model_ends_in_anything_but_an_error_of_ours(name):
    rng = np.random.default_rng(0)
    values = [None, -1, 10**9, "x", [], {}, [1.5], True, float("inf"), {"draw": "eval"}]

    def spoil(value, depth=0):
        if isinstance(value, dict | list) and value and (depth == 0 or rng.random() < 0.9):
            keys = list(value) if isinstance(value, dict) else range(len(value))
            key = keys[int(rng.integers(len(keys)))]
            value[key] = spoil(value[key], depth + 1)
            return value
        return values[int(rng.integers(len(values)))]

    for _ in range(150):
        kept = json.loads(json.dumps(model_to_dict(MODELS[name])))
        with contextlib.suppress(pcb.PycellboxError):
            model_from_dict(spoil(kept))


def test_draws_follow_the_seed_and_fixed_entries_stay():
    fixed = np.eye(2, dtype=bool)
    start = np.array([[-1.0, 0.2], [0.3, -2.0]])
    model = pcb.ODE(
        lambda x, p: p.M @ x + p.v,
        states=["a", "b"],
        parameters={
            "M": pcb.Parameter(start, fixed=fixed),
            "v": pcb.Parameter(shape=2, start=pcb.uniform(1, 2)),
        },
    )
    data = courses(["a", "b"], [1.0, 2.0])
    options = {"solver": pcb.RK4(0.5), "progress": False, "schedule": pcb.Stage(3)}
    one, again, other = (pcb.fit(data, model, seed=s, **options) for s in (0, 0, 1))
    xr.testing.assert_equal(one.parameters, again.parameters)
    assert not one.parameters["v"].equals(other.parameters["v"])
    found = one.parameters["M"].values
    np.testing.assert_array_equal(found[fixed], start[fixed])
    assert (found[~fixed] != start[~fixed]).all()
    assert one.parameters["v"].dims == ("v_entry",)
    assert list(one.parameters["M"]["M_row"].values) == ["a", "b"]


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        (pcb.Parameter(positive=True), [1e-3, 1.0, 50.0]),
        (pcb.Parameter(scale="log"), [1e-3, 1.0, 50.0]),
        (pcb.Parameter(lower=2, upper=8), [2.1, 5.0, 7.9]),
        (pcb.Parameter(lower=1e-3, upper=1e3, scale="log"), [2e-3, 1.0, 900.0]),
        (pcb.Parameter(lower=0, upper=3, scale="log"), [0.1, 1.5, 2.9]),
        (pcb.Parameter(upper=-1), [-5.0, -1.1]),
        (pcb.Parameter(lower=-3), [-2.9, 4.0]),
        (pcb.Parameter(), [-4.0, 0.0, 4.0]),
    ],
)
def test_bounds_and_scales_hold_and_have_the_right_slope(declared, values):
    model = pcb.ODE({"a": "-k*a"}, parameters={"k": declared})
    pair = Parametrization(Structure.over(model, ["a"], ["protein"]))
    low, high = declared.bounds
    for value in values:
        raw = pair.unconstrain({"k": np.array(value)})
        assert float(pair.constrain(raw)["k"]) == pytest.approx(value)
        up, down = (float(pair.constrain(raw + h)["k"]) for h in (1e-6, -1e-6))
        slope = float(pair.slope("k", raw)[0])
        assert slope == pytest.approx((up - down) / 2e-6, rel=1e-5)
    for raw in (-30.0, 30.0):
        assert low <= float(pair.constrain(np.array([raw]))["k"]) <= high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lower": 2, "upper": 1}, "not below"),
        ({"start": -1, "positive": True}, "within its bounds"),
        ({"start": 0, "scale": "log"}, "above 0"),
        ({"lower": -1, "positive": True}, "positive"),
        ({"fixed": True}, "needs a start"),
        ({"start": pcb.uniform(0, 1), "fixed": True}, "number as its start"),
        ({"start": pcb.uniform(-1, 1), "positive": True}, "within its bounds"),
        ({"start": pcb.normal(0, 1), "lower": 0}, "beyond the bounds"),
        ({"start": [1, 2], "shape": 3}, "shape"),
        ({"start": np.nan}, "start="),
        ({"start": "a"}, "start="),
        ({"shape": (2, 2, 2)}, "shape="),
        ({"shape": -1}, "shape="),
        ({"scale": "logarithmic"}, "scale="),
        ({"begin": 1}, "begin"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(options, message):
    with pytest.raises(pcb.OptionError, match=message):
        pcb.Parameter(**options)


LINE, RK4 = {"a": "-k*a"}, pcb.RK4(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": {"a": "-q*a"}, "parameters": {"k": 1}}, "did you mean|unknown"),
        ({"rates": "-k*a"}, "rates="),
        ({"rates": {}}, "states"),
        ({"rates": lambda x, p: x}, "states="),
        ({"rates": lambda x, p: x, "states": ["a", "a"]}, "twice"),
        ({"rates": lambda x, p: p.q * x, "states": ["a"], "parameters": {"k": 1}}, "no parameter"),
        ({"rates": lambda x, p: [x[0], 1], "states": ["a"]}, "2,|states"),
        ({"rates": LINE, "parameters": {"k": 1}, "states": ["b"]}, "each state needs one"),
        ({"rates": LINE, "parameters": {"k": "1"}}, "parameters"),
        ({"rates": LINE, "parameters": {"k": 1, "a": 2}}, "'a' is in states and in parameters"),
        ({"rates": LINE, "parameters": {"k": 1, "node": 2}}, "cannot have the name"),
        ({"rates": LINE, "parameters": {"k": 1, "a b": 2}}, "cannot have the name"),
        ({"rates": LINE, "parameters": {"k": [1, 2], "k_entry": 2}}, "dimension"),
        ({"rates": LINE, "parameters": {"k": [1.0, 2.0]}}, "one number"),
        ({"rates": LINE, "parameters": {"k": 1}, "initial": {"b": 1}}, "no state"),
        ({"rates": LINE, "parameters": {"k": 1}, "initial": {"a": "q"}}, "unknown"),
        ({"rates": LINE, "parameters": {"k": 1}, "initial": {"a": "a"}}, "unknown"),
        ({"rates": LINE, "parameters": {"k": 1}, "initial": {"a": None}}, "needs a number"),
        ({"rates": LINE, "parameters": {"k": 1}, "initial": {"a": np.nan}}, "needs a number"),
        (
            {"rates": LINE, "parameters": {"k": 1, "a_0": 1}, "initial": {"a": pcb.Parameter()}},
            "a_0",
        ),
        ({"rates": LINE, "parameters": {"k": 1}, "observe": {"y": "b"}}, "unknown"),
        ({"rates": LINE, "parameters": {"k": 1}, "observe": {"a": "a"}}, "'a' is in states"),
        ({"rates": LINE, "parameters": {"k": 1}, "inputs": ["a"]}, "u_a"),
        ({"rates": LINE, "parameters": {"k": 1}, "inputs": 3}, "inputs="),
        ({"rates": LINE, "parameters": {"k": 1}, "states": "a", "observe": 1}, "ODE: "),
    ],
)
def test_models_that_cannot_be_are_refused(options, message):
    with pytest.raises(pcb.PycellboxError, match=message):
        pcb.ODE(**options)


@pytest.mark.parametrize(
    ("nodes", "message"), [(["A"], "did you mean 'a'"), (["a", "other"], "'other'")]
)
def test_data_of_other_nodes_are_refused(nodes, message):
    model = pcb.ODE(LINE, parameters={"k": 1})
    with pytest.raises(pcb.ModelError, match=message):
        pcb.fit(courses(nodes, [1.0, 2.0]), model, progress=False)


def test_a_dose_that_no_equation_names_is_warned_of():
    data = courses(["a"], [1.0, 2.0])
    data["perturbation"][...] = 1.0
    model = pcb.ODE(LINE, parameters={"k": 1}, initial={"a": 1})
    with pytest.warns(pcb.DataWarning, match="inputs="):
        pcb.fit(data, model, schedule=pcb.Stage(1), progress=False)


@pytest.mark.parametrize(
    ("rates", "initial", "solver", "words"),
    [
        ({"a": "-1", "b": "log(a)"}, {"a": 1.0}, RK4, "equation of b has no value at a ="),
        ({"a": "-1", "b": "log(a)"}, {"a": 1.0}, pcb.Tsit5(), "equation of b has no value at a ="),
        ({"a": "-1", "b": "a**k"}, {"a": 1.0}, RK4, "equation of b has no value at a = -"),
        ({"a": "0", "b": "a/a"}, {}, RK4, "equation of b has no value at a = 0"),
        (
            {"a": "0", "b": "k*sqrt(a)"},
            {},
            pcb.RK4(0.1),
            "equation of b has no derivative at a = 0",
        ),
        ({"a": "0", "b": "a**0.5"}, {}, RK4, "equation of b has no derivative at a = 0"),
    ],
)
def test_what_has_no_value_names_equation_state_condition_and_time(rates, initial, solver, words):
    model = pcb.ODE(rates, parameters={"k": 1.5}, initial=initial)
    data = courses(["a", "b"], [0.5, 1.0, 2.0])
    p = parameters_of(model, ["a", "b"], {"k": 1.5})
    with pytest.raises(pcb.DivergenceError, match=words) as caught:
        pcb.value_and_gradient(model, p, data, solver=solver)
    assert "t = " in str(caught.value)
    assert "condition 'c0'" in str(caught.value)


def test_pictures_of_courses_are_drawn():
    fit = pcb.fit(measured(), sir(), solver=pcb.RK4(0.5), **FIT)
    for draw in (pcb.plot.trajectories, pcb.plot.loss_history, pcb.plot.observed_against_predicted):
        draw(fit)
