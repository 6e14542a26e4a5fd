"""What has no value or no derivative: the message names what, where, the condition and the time."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from tests.support.equations import courses, parameters_of

# The second of three conditions, "c1", is the one that breaks.
VALUES = {
    "logarithm": ({"a": "-u", "b": "k*log(a)"}, {"a": 1.0}, {}, r"equation of b .* a = -"),
    "power": ({"a": "-u", "b": "a**k"}, {"a": 1.0}, {}, r"equation of b .* a = -"),
    "division": ({"a": "0", "b": "k*(1 - u)/(1 - u)"}, {}, {}, "equation of b .* a = 0"),
    "infinite": ({"a": "0", "b": "k/(1 - u)"}, {}, {}, "equation of b .* a = 0"),
    "observable": ({"a": "-u"}, {"a": 1.0}, {"y": "log(a) + k"}, "observable of y .* a = -"),
    "start": ({"a": "-a"}, {"a": "sqrt(k - u)"}, {}, "start of a .* k = 0.5"),
}
DERIVATIVES = {
    "root": ({"a": "0", "b": "k*sqrt(a)"}, {"a": "1 - u"}, {}, "equation of b .* a = 0"),
    "power": ({"a": "0", "b": "(a + k)**k"}, {"a": "u*(-0.5)"}, {}, "equation of b .* a = -0.5"),
    "observable": ({"a": "0"}, {"a": "1 - u"}, {"y": "k*sqrt(a)"}, "observable of y .* a = 0"),
    "start": ({"a": "-a"}, {"a": "sqrt(k - u/2)"}, {}, "start of a .* k = 0.5"),
}
SOLVERS = {
    "fixed": pcb.RK4(0.1),
    "adaptive": pcb.Tsit5(),
    "implicit": pcb.Adaptive("KenCarp4", rtol=1e-3, atol=1e-6),
}


def laid(rates, initial, observe, *, steady=False, treated=False):
    model = pcb.ODE(rates, parameters={"k": 0.5}, initial=initial, observe=observe, inputs=["u"])
    nodes = [*model.own_nodes, "u"]
    data = courses(nodes, [0.0, 0.5, 1.0, 2.5], c=3)
    u = data["perturbation"]
    u.loc[{"node": "u"}] = [0.0, 1.0, 0.0]
    if treated:
        u = u.expand_dims(phase=2, axis=1).copy()
        starts = ("phase", [0.0, 0.25], {"units": "d"})
        data = data.drop_vars("perturbation").assign(perturbation=u)
        data = data.assign_coords(phase_start=starts)
    if steady:
        data = data.isel(time=0, drop=True)
    return model, data, parameters_of(model, nodes, {"k": 0.5})


def session_of(model, data, solver):
    horizon = 2.5 if "time" not in data.dims else None
    problem = Problem.from_dataset(data, structure_of(data, model), horizon, np.float64)
    return get_backend("numpy").session(problem, solver, Loss("mse"))


def solved(model, data, p, solver, backend="numpy"):
    when = {"horizon": 2.5} if "time" not in data.dims else {"times": data["time"].values}
    given = data[["perturbation"]].assign_coords(
        {n: c for n, c in data.coords.items() if n == "phase_start"}
    )
    pcb.solve(model, p, given, solver=solver, backend=backend, **when)


def gradient(model, data, p, solver):
    session_of(model, data, solver).loss_and_gradient({"k": p["k"].values})


def of_some(model, data, p, solver):
    session_of(model, data, solver).loss_and_gradient({"k": p["k"].values}, rows=[2, 1])


def jacobian(model, data, p, solver):
    session_of(model, data, solver).residuals_and_jacobian({"k": p["k"].values})


def assert_named(work, case, solver, words, **options):
    model, data, p = laid(*case, **options)
    with pytest.raises(pcb.DivergenceError) as caught:
        work(model, data, p, solver)
    message = str(caught.value)
    assert re.search(words, message), message
    assert "'c1'" in message
    assert re.search(r"t = \d|at its end", message)


WORKS = [
    (solved, False), (gradient, False), (of_some, False), (jacobian, False), (solved, True),
    (gradient, True), (jacobian, True),
]  # fmt: skip


@pytest.mark.parametrize(("work", "treated"), WORKS)
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("name", VALUES)
def test_what_has_no_value_is_named(name, solver, work, treated):
    *case, words = VALUES[name]
    assert_named(work, case, solver, words, treated=treated)


@pytest.mark.parametrize(("work", "treated"), [one for one in WORKS if one[0] is not solved])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_what_has_no_derivative_is_named(name, solver, work, treated):
    *case, words = DERIVATIVES[name]
    assert_named(work, case, solver, words, treated=treated)


@pytest.mark.parametrize("work", [solved, gradient, of_some, jacobian])
@pytest.mark.parametrize("name", VALUES)
def test_steady_states_name_what_has_no_value(name, work):
    *case, words = VALUES[name]
    assert_named(work, case, pcb.SteadyState(), words, steady=True)


@pytest.mark.parametrize("work", [gradient, jacobian])
def test_steady_states_name_what_has_no_derivative(work):
    case = ({"a": "1 - u - a"}, {"a": 0.5}, {"y": "k*sqrt(a)"})
    assert_named(work, case, pcb.SteadyState(), "observable of y .* a = 0", steady=True)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_trajectory_that_grows_beyond_numbers_is_named(solver):
    case = ({"a": "u*a**2"}, {"a": 1.0}, {})
    assert_named(solved, case, solver, "trajectory", treated=False)


def test_time_counts_from_the_first_phase():
    case = ({"a": "-u", "b": "k*log(a)"}, {"a": 1.0}, {})
    model, data, p = laid(*case, treated=True)
    with pytest.raises(pcb.DivergenceError, match=r"t = (0.9|1.0|1)") as caught:
        gradient(model, data, p, pcb.Tsit5())
    assert "equation of b" in str(caught.value)


def pretreated_second(rates, inputs, initial):
    """Three conditions, of which the second alone begins in a steady state."""
    model = pcb.ODE(rates, parameters={"k": 0.5}, initial=initial, inputs=["u"])
    nodes = [*model.own_nodes, "u"]
    data = courses(nodes, [0.5, 1.0, 2.5], c=3)
    u = data["perturbation"].expand_dims(phase=2, axis=1).copy()
    u.loc[{"node": "u", "condition": "c1"}] = inputs
    starts = [[0.0, 1.0], [-np.inf, 0.0], [0.0, 1.0]]
    data = data.drop_vars("perturbation").assign(perturbation=u)
    data = data.assign_coords(phase_start=(("condition", "phase"), starts, {"units": "d"}))
    return model, data, parameters_of(model, nodes, {"k": 0.5})


def test_a_pretreatment_without_a_derivative_names_its_condition():
    case = ({"a": "-a", "b": "k*sqrt(a + 1 - u) - b"}, [1.0, 0.0], {"a": 0.0})
    with pytest.raises(pcb.DivergenceError, match="equation of b has no derivative") as caught:
        gradient(*pretreated_second(*case), pcb.Euler(0.5))
    assert "'c1'" in str(caught.value)


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_a_pretreatment_without_a_value_names_its_condition(backend):
    if backend == "jax":
        pytest.importorskip("jax", reason='needs JAX: pip install "pycellbox[jax]"')
    case = ({"a": "-a", "b": "log(k - u) - b"}, [1.0, 0.0], {"a": 0.0})
    with pytest.raises(pcb.DivergenceError, match="'c1'"):
        solved(*pretreated_second(*case), pcb.Euler(0.5), backend)


def growing(times, *, treated=False):
    """Two nodes of a network without bounds, of which that of the second condition grows."""
    model = pcb.CellBox(envelope="linear", self_interaction=True, dose_saturation=None)
    data = courses(["a", "b"], times, c=3)
    data["perturbation"][1, 0] = 1.0
    if treated:
        u = data["perturbation"].expand_dims(phase=2, axis=1).copy()
        u[:, 0] = 0.0
        data = data.drop_vars("perturbation").assign(perturbation=u)
        data = data.assign_coords(phase_start=("phase", [0.0, 5.0], {"units": "d"}))
    values = {"W": np.diag([60.0, 0.0]), "alpha": np.ones(2), "epsilon": np.ones(2)}
    return model, data, values


@pytest.mark.parametrize("treated", [False, True])
@pytest.mark.parametrize("work", ["solution", "residuals_and_jacobian"])
def test_a_step_of_a_network_that_vanishes_names_its_condition(work, treated):
    model, data, p = growing([1.0, 20.0], treated=treated)
    session, time = session_of(model, data, pcb.Tsit5()), 17 if treated else 12
    words = rf"condition 'c1' has a step .* vanishes at t = {time}\."
    with pytest.raises(pcb.DivergenceError, match=words):
        getattr(session, work)(p)


def test_a_network_that_gives_up_counts_from_the_first_phase():
    model, data, p = growing([1.0, 7.0], treated=True)
    session = session_of(model, data, pcb.Tsit5(1e-10, 1e-12, max_steps=200))
    with pytest.raises(pcb.DivergenceError, match=r"gave up at t = 5\.\d"):
        session.loss(p)
