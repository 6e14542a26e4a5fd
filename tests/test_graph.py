"""Expressions: their derivatives, what is shared, what files keep of them, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import elementwise_grad, jacobian

import pycellbox as pcb
from pycellbox.graph import Named, constant, from_lists, parse, symbol, to_lists, trace
from pycellbox.graph import derivatives as derived
from pycellbox.graph.nodes import OPERATIONS, in_order
from pycellbox.graph.parsing import FUNCTIONS
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.programs import Program
from tests.support.expressions import CASES, B, C, N, W, X, numbers
from tests.support.problems import dataset


def evaluate(outputs, moving=("x",), summed=False, **values):
    given = {name: value for name, value in values.items() if name not in moving}
    program = Program(outputs, {"x", "v"}, summed)
    found = program.plan(C, float, given, moving).run(**{name: values[name] for name in moving})
    return [np.array(value) for value in found]


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_automatic_differentiation(case):
    f, (x, w, b) = CASES[case], numbers()
    traced = trace(lambda x, W, b: f(np, x, W, b), X, W, B)
    V = symbol("v", (N,))
    back = derived.reverse([traced], [V], [X, W, B])
    (along,) = derived.forward([traced], {X: V, W: W, B: B})
    values = {"x": x, "W": w, "b": b, "v": np.cos(x)}
    (value,) = evaluate([traced], x=x, W=w, b=b)
    of_x, of_W, of_b = evaluate(back, ("x", "v"), [False, True, True], **values)
    (J,) = evaluate([derived.jacobian(traced, [X])], x=x, W=w, b=b)
    (tangent,) = evaluate([along], ("x", "v"), **values)

    def one(x, W, b):  # autograd warns of what does not depend on its argument
        return f(anp, x, W, b) + 0 * (x[0] + W[0, 0] + b[0])

    expected = [np.zeros((C, N)), np.zeros((N, N)), np.zeros(N)]
    for c in range(C):
        slopes = [jacobian(one, k)(x[c], w, b) for k in range(3)]
        np.testing.assert_allclose(value[c], one(x[c], w, b), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(J[c], slopes[0], rtol=1e-8, atol=1e-8)
        v = values["v"][c]
        expected[0][c] = v @ slopes[0]
        expected[1] += np.tensordot(v, slopes[1], 1)
        expected[2] += v @ slopes[2]
        moved = slopes[0] @ v + np.tensordot(slopes[1], w, 2) + slopes[2] @ b
        np.testing.assert_allclose(tangent[c], moved, rtol=1e-8, atol=1e-8)
    for found, wanted in zip((of_x, of_W, of_b), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)


def test_derivatives_of_every_operation_are_known():
    rules = set(derived._ENTRIES) | set(derived._LINEAR) | {"matmul", "outer", "join"}
    assert rules == set(OPERATIONS) - {"symbol", "constant"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_texts_have_derivatives(name):
    count, _ = FUNCTIONS[name]
    text = f"{name}({', '.join(['0.7*s', 's + 0.1', '2*s'][:count])})"
    s = symbol("x")
    at, h = np.linspace(0.2, 0.9, C), 1e-6
    f = parse(text, {"s": s}, "it")
    (slope,) = derived.reverse([f], [constant(1.0)], [s])
    (found,), (up,), (down,) = (
        evaluate([slope], x=at),
        evaluate([f], x=at + h),
        evaluate([f], x=at - h),
    )
    np.testing.assert_allclose(found, (up - down) / (2 * h), rtol=1e-8, atol=1e-8)


def test_a_cellbox_as_an_expression_has_the_gradient_of_the_kernel():
    rng = np.random.default_rng(1)
    data = dataset(rng)
    structure = pcb.models.Structure.over(
        pcb.CellBox(), data["node"].values, ["protein"] * data.sizes["node"]
    )
    n, c = structure.n_nodes, data.sizes["condition"]
    equations = equations_of(structure)
    p = {
        "W": np.where(structure.mask, rng.normal(size=(n, n)), 0),
        "alpha": rng.random(n) + 0.5,
        "epsilon": rng.random(n) + 0.5,
    }
    u = data["perturbation"].values
    kernel = equations.field(p, equations.drive(u))
    x, adjoint = rng.normal(size=(2, c, n))
    names = {"W": symbol("W", (n, n)), "alpha": symbol("alpha", (n,))}
    names["epsilon"] = symbol("epsilon", (n,))
    X, U, V = symbol("x", (n,)), symbol("u", (n,)), symbol("v", (n,))
    f = trace(lambda x, p, u: p.epsilon * pcb.tanh(p.W @ x + u) - p.alpha * x, X, Named(names), U)
    outputs = [f, *derived.reverse([f], [V], [X, U, *names.values()])]
    program = Program(outputs, {"x", "u", "v"}, [False] * 3 + [True] * 3)
    found = program.plan(c, float, {**p, "u": u}, ("x", "v")).run(x=x, v=adjoint)
    gradient = {name: np.zeros(value.shape) for name, value in p.items()}
    gradient["perturbation"] = np.zeros((c, n))
    of_x = kernel.pull_back(x, adjoint, gradient)
    wanted = [kernel.value(x), of_x, gradient["perturbation"], *(gradient[name] for name in names)]
    for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if k == 3:
            one = np.where(structure.mask, one, 0)
            other = np.where(structure.mask, other, 0)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_what_is_said_twice_is_one_node():
    one = trace(lambda x: np.tanh(x * x) + np.tanh(x * x), X)
    assert len(in_order([one])) == 4
    assert one is trace(lambda x: np.tanh(x**2) + np.tanh(x * x), X)
    assert parse("a*b + 0", {"a": X, "b": B}, "it") is parse("(a * b)", {"a": X, "b": B}, "it")


@pytest.mark.parametrize("case", CASES)
def test_files_keep_the_very_same_expression(case):
    node = trace(lambda x, W, b: CASES[case](np, x, W, b), X, W, B)
    gradient = derived.reverse([node], [constant(np.ones(N))], [W])
    kept = json.loads(json.dumps(to_lists([node, *gradient])))
    assert from_lists(kept) == (node, *gradient)
    assert pickle.loads(pickle.dumps(node)) is node
    assert copy.deepcopy(node) is node


GOOD = {"nodes": [["symbol", [], ["x", [2]]], ["take", [0], [[1], []]]], "outputs": [1]}


def spoiled(*path, value):
    kept = copy.deepcopy(GOOD)
    place = kept
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return kept


@pytest.mark.parametrize(
    "kept",
    [
        None, [], {}, {"nodes": []}, {**GOOD, "code": "1"}, {**GOOD, "nodes": "ab"},
        {**GOOD, "outputs": 1}, spoiled("outputs", value=[2]), spoiled("outputs", value=[-1]),
        spoiled("outputs", value=[True]), spoiled("outputs", value=["0"]),
        spoiled("nodes", 0, value="x"), spoiled("nodes", 0, 0, value="eval"),
        spoiled("nodes", 0, 0, value=["symbol"]), spoiled("nodes", 0, 2, value=[["x"], [2]]),
        spoiled("nodes", 0, 2, value=["x", [2, 2, 2]]), spoiled("nodes", 0, 2, value=["x", [-2]]),
        spoiled("nodes", 0, 2, value=["x", [10**9]]), spoiled("nodes", 0, 2, value=["x", [1.5]]),
        spoiled("nodes", 0, 2, value=["x" * 10**4, [2]]), spoiled("nodes", 0, 2, value=["x"]),
        spoiled("nodes", 1, 1, value=[1]), spoiled("nodes", 1, 1, value=[0, 0]),
        spoiled("nodes", 1, 1, value=0), spoiled("nodes", 1, 2, value=[[2], []]),
        spoiled("nodes", 1, 2, value=[[-1], []]), spoiled("nodes", 1, 2, value=[[0, 1], []]),
        spoiled("nodes", 1, 2, value=None), spoiled("nodes", 1, value=["tanh", [0], "x"]),
        spoiled("nodes", 1, value=["tanh", [], None]),
        spoiled("nodes", 1, value=["join", [], None]),
        spoiled("nodes", 1, value=["sum", [0], [1]]), spoiled("nodes", 1, value=["sum", [0], []]),
        spoiled("nodes", 1, value=["sum", [0], [0, 0]]),
        spoiled("nodes", 1, value=["matmul", [0, 0], None]),
        spoiled("nodes", 1, value=["reshape", [0], [3]]),
        spoiled("nodes", 1, value=["broadcast", [0], [3, 5]]),
        spoiled("nodes", 1, value=["scatter", [0], [[0, 5], [3]]]),
        spoiled("nodes", 1, value=["constant", [], [[1.0], [2]]]),
        spoiled("nodes", 1, value=["constant", [], [["1"], [1]]]),
        spoiled("nodes", 1, value=["constant", [], [[float("nan")], [1]]]),
        spoiled("nodes", 1, value=["constant", [], [[10**400], [1]]]),
        {"nodes": [["symbol", [], ["x", [1000]]], ["outer", [0, 0], None]]
         + [["exp", [k], None] for k in range(1, 12)], "outputs": [0]},
    ],
)  # fmt: skip
def test_what_is_no_stored_expression_is_refused(kept):
    with pytest.raises(pcb.ModelError):
        from_lists(kept)


def test_long_chains_need_no_deep_stack():
    def chain(x):
        for _ in range(3000):
            x = np.tanh(x)
        return x

    node = trace(chain, X)
    (slope,) = derived.reverse([node], [constant(np.ones(N))], [X])
    assert from_lists(to_lists([slope])) == (slope,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bta*S", "did you mean 'beta'"),
        ("S^2", r"written \*\*"),
        ("__import__('os').system('true')", "unknown"),
        ("exec('1')", "unknown"),
        ("(lambda: 1)()", "unknown"),
        ("S.real", "no part of an equation"),
        ("[S for S in S]", "no part"),
        ("S if I else 1", "no part"),
        ("S and I", "no part"),
        ("S == I", "no part"),
        ("S < I < 1", "no part"),
        ("S := 1", "no expression"),
        ("lambda*S", "words of Python"),
        ("S; I", "no expression"),
        ("S(I)", r"product is written with \*"),
        ("exp(S, I)", "takes 1"),
        ("exp(x=S)", "takes 1"),
        ("exp(*S)", "no part"),
        ("tanhh(S)", "did you mean 'tanh'"),
        ("'S'", "no number"),
        ("True", "no number"),
        ("1j*S", "no number"),
        ("1e999", "too large"),
        ("9" * 400, "too large"),
        ("9" * 5000, "cannot be read|no expression"),
        ("t*S", "time does not enter"),
        ("S[0]", "indexed"),
        ("v[7]", "indexed"),
        ("v[I]", "indices are numbers"),
        ("v @ S", "scalar"),
        ("S\0", "null|cannot be read|no expression"),
        ("-" * 5000 + "S", "too deep"),
        ("1" + "+1" * 40000, "too deep"),
        ("(" * 300 + "S" + ")" * 300, "no expression|too deep"),
        ("S" * 200_000, "characters"),
        ("", "no expression"),
        (None, "needs a text"),
        (1, "needs a text"),
    ],
)
def test_texts_that_are_no_equations_are_refused(text, message):
    names = {name: symbol(name) for name in ("S", "I", "beta")} | {"v": symbol("v", (3,))}
    with pytest.raises(pcb.ModelError, match=message):
        parse(text, names, "the equation of S")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x if x[0] > 0 else -x, "branch"),
        (lambda x: max(x[0], x[1]), "branch"),
        (lambda x: x * float(x[0]), "number"),
        (lambda x: np.eye(3)[int(x[0])] * x, "number"),
        (lambda x: [1, 2, 3][x[0]] * x, "number"),
        (lambda x: np.array([x[0], x[1], x[2]]) * x, "np.stack"),
        (lambda x: np.linalg.inv(x), "np.inv"),
        (lambda x: np.gamma(x), "AttributeError"),
        (lambda x: np.floor(x), "np.floor"),
        (lambda x: x == 1, "np.equal"),
        (lambda x: x[5], "indexed"),
        (lambda x: x["S"], "indexed"),
        (lambda x: x + np.ones(4), "do not go together"),
        (lambda x: x * np.nan, "finite"),
        (lambda x: x * 1j, "finite"),
        (lambda x: x * "a", "constants|compute"),
        (lambda x: None, "constants|compute"),
        (lambda x: x.nothing, "AttributeError"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda: 1, "TypeError"),
        (lambda x: x.__setitem__(0, 1), "written"),
        (lambda x: np.sum(x, axis=3), "axis"),
        (lambda x: np.random.default_rng(0).poisson(x), "array"),
        (lambda x: [x, 1], "vector"),
        (lambda x: x[:, None, None], "two axes"),
    ],
)
def test_callables_that_cannot_be_traced_are_refused(function, message):
    with pytest.raises(pcb.ModelError, match=message):
        trace(function, X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x[0], x[1] * 2, 1.0],
        lambda x: np.stack([one**2 for one in x]),
        lambda x: pcb.expit(x) + pcb.softplus(x) + pcb.where(x > 0, x, 0.5) + pcb.exp(-x),
        lambda x: pcb.sqrt(pcb.maximum(x, 0.1)) * pcb.log(3 + pcb.minimum(x, 1.0)) * pcb.tanh(x),
        lambda x: np.float64(2.0) * x + np.arange(3) - np.array([[1, 2, 3]])[0] + 2**x,
        lambda x: np.diag(np.diag(x)) + x.dot(x) + x.sum() + np.clip(x, -1, 1) + x.mean(),
        lambda x: (x >= 0) * x + (x <= 0.5) * x**2,
    ],
)
def test_a_traced_callable_is_the_callable(function):
    x = numbers()[0]
    (found,) = evaluate([trace(function, X)], x=x)
    np.testing.assert_allclose(found, [function(row) for row in x], rtol=1e-14)


def test_what_is_not_chosen_does_not_spoil_the_derivative():
    x = np.tile([0.0, -1.0, 4.0], (C, 1))
    for function, slope in (
        (lambda x: np.where(x > 0, np.log(x), 0 * x), [0, 0, 0.25]),
        (lambda x: np.where(x > 0, 1 / x, 1.0), [0, 0, -1 / 16]),
        (lambda x: np.sqrt(np.maximum(x, 0)) * np.where(x > 0, 1.0, 0.0), [0, 0, 0.25]),
    ):
        (back,) = derived.reverse([trace(function, X)], [constant(np.ones(N))], [X])
        np.testing.assert_allclose(evaluate([back], x=x)[0][0], slope)


def test_the_derivative_of_a_power_by_its_exponent_is_finite_at_zero():
    k = symbol("k")
    (slope,) = derived.reverse(
        [parse("x**k", {"x": symbol("x"), "k": k}, "it")], [constant(1)], [k]
    )
    (found,) = evaluate([slope], x=np.array([0.0, 1.0, 2.0, 3.0]), k=np.array(1.5))
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(found, [0, *(x**1.5 * np.log(x))])


def test_single_precision_stays_single():
    x, w, b = numbers()
    node = trace(CASES["network"].__get__(np), X, W, B)
    program = Program([node, *derived.reverse([node], [X], [W])], {"x"}, [False, True])
    found = program.plan(C, np.float32, {"W": w, "b": b}, {"x"}).run(x=x)
    assert {value.dtype for value in found} == {np.dtype(np.float32)}


def test_elementwise_slopes_agree_with_autograd_for_random_compositions():
    rng = np.random.default_rng(1)
    unary = ["exp", "tanh", "sin", "cos", "arctan", "sqrt", "log1p"]
    for _ in range(5):
        names = rng.choice(unary, size=4)

        def f(x, np, names=names):
            for name in names:
                x = getattr(np, name)(0.3 * x + 1.1)
            return x

        x = rng.random((C, N))
        (back,) = derived.reverse([trace(lambda x, f=f: f(x, np), X)], [constant(np.ones(N))], [X])
        slope = elementwise_grad(lambda x, f=f: f(x, anp))(x)
        np.testing.assert_allclose(evaluate([back], x=x)[0], slope, rtol=1e-10)
