"""Equations written with SymPy."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.models.model import model_from_dict, model_to_dict
from tests.support.equations import SIR, courses, parameters_of, sir

sympy = pytest.importorskip("sympy")

PAIRS = {
    "-x/(1 + x**2)": lambda x, k: -x / (1 + x**2),
    "k*exp(-x) + log(2 + x**2)": lambda x, k: k * sympy.exp(-x) + sympy.log(2 + x**2),
    "tanh(k*x)*sin(x) - cos(x)/k": lambda x, k: sympy.tanh(k * x) * sympy.sin(x) - sympy.cos(x) / k,
    "sqrt(1 + x**2)*abs(x) + sign(x)": lambda x, k: sympy.sqrt(1 + x**2) * abs(x) + sympy.sign(x),
    "max(x, k, 0.2) - min(x, k)" : lambda x, k: sympy.Max(x, k, 0.2) - sympy.Min(x, k),
    "where(x > k, x, where(x <= 0, 1, k*x))":
        lambda x, k: sympy.Piecewise((x, x > k), (1, x <= 0), (k * x, True)),
    "pi*x**1.5/3 + k**x": lambda x, k: sympy.pi * x ** sympy.Float(1.5) / 3 + k**x,
    "arctan(x)*sinh(k) + cosh(x)/tan(k)":
        lambda x, k: sympy.atan(x) * sympy.sinh(k) + sympy.cosh(x) / sympy.tan(k),
    "2.5": lambda x, k: sympy.Float(2.5),
}  # fmt: skip


@pytest.mark.parametrize("text", PAIRS)
def test_an_expression_is_what_its_text_is(text):
    x, k = sympy.symbols("x k")
    options = {"solver": pcb.Euler(0.5), "times": [0.5], "backend": "numpy"}
    for start in (0.3, 1.7):
        given = {"parameters": {"k": 0.7}, "initial": {"x": start}}
        ours = pcb.ODE({x: PAIRS[text](x, k)}, **given)
        theirs = pcb.ODE({"x": text.replace("max(x, k, 0.2)", "max(max(x, k), 0.2)")}, **given)
        p = parameters_of(ours, ["x"], {"k": 0.7})
        u = courses(["x"], [0.5])["perturbation"]
        found, same = (pcb.solve(m, p, u, **options) for m in (ours, theirs))
        np.testing.assert_allclose(found, same, rtol=1e-14)


def test_the_whole_model_in_symbols_and_functions_of_time():
    S, I, R, N, beta, gamma, rho, I0, cases, t = sympy.symbols(  # noqa: E741
        "S I R N beta gamma rho I0 cases t"
    )
    parameters = sir().parameters
    symbols = {N: parameters["N"], beta: parameters["beta"], gamma: parameters["gamma"],
               rho: parameters["rho"], I0: parameters["I0"]}  # fmt: skip
    new = beta * S * I / N
    model = pcb.ODE(
        {S: -new, I: new - gamma * I, R: gamma * I}, parameters=symbols,
        observe={cases: rho * I}, initial={S: N - I0, I: I0, R: sympy.Integer(0)},
    )  # fmt: skip
    assert model.states == tuple(SIR)
    assert "dS/dt = -I*S*beta/N" in repr(model)
    assert model_from_dict(model_to_dict(model)) == model
    times = np.arange(1.0, 6)
    truth = {"beta": 1.7, "gamma": 0.45, "rho": 0.95, "I0": 1.0}
    found, same = (pcb.simulation.courses(m, truth, times) for m in (model, sir()))
    np.testing.assert_allclose(found["response"], same["response"], rtol=1e-12)
    x, y = sympy.Function("x")(t), sympy.Function("y")(t)
    moving = pcb.ODE({x: y, y: -x}, initial={x: 1}, inputs=[sympy.Symbol("dose")])
    assert moving.states == ("x", "y")
    assert dict(moving.inputs) == {"dose": "dose"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: sympy.gamma(x), "the equation of x.*has gamma.*known"),
        (lambda x: sympy.asinh(x) + x, "has asinh.*did you mean 'sinh'"),
        (lambda x: x * sympy.Symbol("y"), "names 'y', which is unknown"),
        (lambda x: x * sympy.Symbol("t"), "time does not enter equations"),
        (lambda x: sympy.I * x, "has 'I', which is no finite number"),
        (lambda x: x + sympy.oo, "no finite number"),
        (lambda x: sympy.Piecewise((x, x > 0)), "last piece"),
        (lambda x: sympy.Derivative(sympy.Function("f")(x), x), "has Derivative"),
        (lambda x: sympy.Eq(x, 1), "has Equality"),
    ],
)
def test_what_is_no_equation_is_refused_with_what_is_near(make, said):
    x = sympy.Symbol("x")
    with pytest.raises(pcb.ModelError, match=said):
        pcb.ODE({x: make(x)})
