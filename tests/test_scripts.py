"""Expressions and steps on floats: the numbers of NumPy, which is asked where floats raise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends.numpy import bulk, generic
from pycellbox.graph import symbol
from pycellbox.graph.building import join
from pycellbox.graph.nodes import ELEMENTWISE, OPERATIONS, constant, make
from pycellbox.numerics.expressed import ExpressedField
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.programs import Program
from pycellbox.numerics.scripts import FAULTS, Script
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from tests.support.equations import MODELS, courses, laid, parameters_of

x, matrix, k = symbol("x", (4,)), symbol(".not a name", (3, 4)), symbol(".k", (4,))
GIVEN = {".not a name": np.arange(12.0).reshape(3, 4) / 7, ".k": np.array([2.0, -1.0, 0.5, 3.0])}
SHAPED = {
    "matmul": make("matmul", (matrix, x)),
    "matrices": make("matmul", (matrix, make("outer", (x, k)))),
    "outer": make("outer", (x, k)),
    "transpose": make("transpose", (make("outer", (x, k)),)),
    "sum": make("sum", (make("outer", (x, k)),), (0,)),
    "sums": make("sum", (make("outer", (x, k)),), (0, 1)),
    "take": make("take", (x,), ((2, 0), (2,))),
    "scatter": make("scatter", (x,), ((1, 1, 0, 4), (6,))),
    "reshape": make("reshape", (x,), (2, 2)),
    "broadcast": make("broadcast", (x,), (2, 4)),
    "join": join([x, make("mul", (constant(-0.5), matrix)), k]),
}


def both(node, values):
    """By floats, NaN where they raise, and by NumPy."""
    plan = Program([node], ["x"]).plan(1, float, GIVEN, ["x"])
    expected = np.ravel(plan.run(x=values[None])[0])
    try:
        return Script(node, x).bind(GIVEN)(*values.tolist()), expected
    except FAULTS:
        return None, expected


def test_every_operation_is_written():
    assert {node.op for node in SHAPED.values()} | ELEMENTWISE == OPERATIONS.keys() - {
        "symbol", "constant",
    }  # fmt: skip


@pytest.mark.parametrize("op", sorted(ELEMENTWISE))
def test_entries_have_the_values_of_numpy(op):
    arity = OPERATIONS[op].arity
    special = [0.0, -0.0, 1.0, -1.0, 2.5, -0.3, 1e-9, 800.0, -800.0, np.inf, -np.inf, np.nan]
    for args in itertools.product([x, k, constant(0.7)], repeat=arity):
        if x not in args:
            continue
        node = make(op, args)
        for values in [np.array([0.3, 1.0, 2.0, 0.5]), *(np.full(4, one) for one in special)]:
            found, expected = both(node, values)
            if found is None:  # there is something that floats do not have
                assert not np.isfinite(expected).all()
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("name", SHAPED)
def test_shapes_have_the_values_of_numpy(name):
    found, expected = both(SHAPED[name], np.array([0.3, 1.0, 2.0, 0.5]))
    np.testing.assert_allclose(found, expected, rtol=1e-15)


SOLVERS = [pcb.RK4(0.25), pcb.Tsit5(rtol=1e-4, atol=1e-6)]


@pytest.mark.parametrize("solver", SOLVERS, ids=["fixed", "adaptive"])
@pytest.mark.parametrize("name", MODELS)
def test_steps_on_floats_have_the_numbers_of_steps_in_numpy(name, solver, monkeypatch):
    model, data, p = laid(name)
    problem = Problem.from_dataset(pcb.validate(data), structure_of(data, model), None, np.float64)
    parameters = {n: p[n].values for n in model.parameters}

    def results():
        session = pcb.backends.get_backend("numpy").session(problem, solver, Loss("mse"))
        value, gradient = session.loss_and_gradient(parameters)
        return value, *gradient.values(), *session.residuals_and_jacobian(parameters)

    taken, floats = [], ExpressedField.scripts
    monkeypatch.setattr(ExpressedField, "scripts", lambda s: taken.append(floats(s)) or taken[-1])
    quick = results()
    assert taken
    assert None not in taken
    monkeypatch.setattr(ExpressedField, "scripts", lambda s: None)
    at_once = results()
    monkeypatch.setattr(generic.bulk, "MOST_NODES", 0)
    by_stages = results()
    for one, two, three in zip(quick, at_once, by_stages, strict=True):
        scale = max(1.0, float(np.abs(three).max()))
        np.testing.assert_allclose(one, three, rtol=1e-11, atol=1e-12 * scale)
        np.testing.assert_allclose(two, three, rtol=1e-11, atol=1e-12 * scale)


@pytest.mark.parametrize("entries", [1, 2**20])
def test_derivatives_of_steps_are_the_same_in_small_portions(entries, monkeypatch):
    monkeypatch.setattr(bulk, "_ENTRIES", entries)
    model, data, p = laid("traced")
    gradient = pcb.value_and_gradient(model, p, data, solver=SOLVERS[1])[1]
    plain = pcb.value_and_gradient(model, p, data, solver=SOLVERS[1], gradient="finite-difference")[
        1
    ]
    for name in gradient.data_vars:
        np.testing.assert_allclose(gradient[name], plain[name], atol=1e-4)


@pytest.mark.parametrize("solver", [pcb.RK4(0.1), pcb.Tsit5()], ids=["fixed", "adaptive"])
def test_where_floats_raise_numpy_goes_on(solver):
    """1/a at a = 0 is not taken by `where`, and is infinite on the way."""
    model = pcb.ODE(
        {"a": "0", "b": "where(a > 0, 1/a, 1)", "c": "-c"}, initial={"c": 1.0}, parameters={"k": 1}
    )
    times = [0.5, 1.0]
    data, p = courses("abc", times), parameters_of(model, list("abc"), {"k": 1.0})
    found = pcb.solve(model, p, data["perturbation"], solver=solver, times=times)
    np.testing.assert_allclose(found[0, :, 1], times, rtol=1e-12)
    np.testing.assert_allclose(found[0, :, 2], np.exp(-np.array(times)), rtol=1e-3)


def test_large_systems_and_many_conditions_are_left_to_numpy():
    def on_floats(model, c):
        equations = equations_of(structure_of(courses(model.own_nodes, [1.0]), model))
        arrays = {name: np.ones(one.shape) for name, one in model.parameters.items()}
        u = np.zeros((c, len(model.own_nodes)))
        return equations.field(arrays, equations.drive(u)).scripts() is not None

    assert on_floats(MODELS["texts"], 1)
    assert not on_floats(MODELS["texts"], 500)
    assert not on_floats(pcb.NeuralODE([f"s{i}" for i in range(40)], hidden=40), 1)
