"""Equations of one's own on the JAX backend, held to NumPy's.

Skipped where JAX or diffrax is missing: pip install "pycellbox[jax]".
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.graph import derivatives as derived
from pycellbox.graph import symbol, trace
from pycellbox.numerics.programs import Program
from pycellbox.numerics.replay import replay
from pycellbox.objective import Loss
from pycellbox.problem import Problem, parameter_arrays, structure_of
from tests.support.equations import courses, laid, measured, parameters_of, sir, treated
from tests.support.expressions import CASES, B, W, X, numbers
from tests.support.problems import assert_same_gradient

pytest.importorskip("jax", reason='needs JAX: pip install "pycellbox[jax]"')
pytest.importorskip("diffrax", reason='needs diffrax: pip install "pycellbox[jax]"')

import jax

from pycellbox.backends.jax import programs

pytestmark = pytest.mark.slow  # most of the time JAX compiles
EULER = pcb.Euler(0.1)
EXPRESSIONS = [trace(lambda x, W, b, f=f: f(np, x, W, b), X, W, B) for f in CASES.values()]


def repressilator():
    """Three genes, each of which represses another; what is not selected has no derivative."""
    genes = {"a": "c", "b": "a", "c": "b"}
    rates = {f"m{g}": f"k/(1 + p{r}**n) - m{g}" for g, r in genes.items()}
    rates |= {f"p{g}": f"s*where(p{g} > -1, m{g} - p{g}, log(p{g}))" for g in genes}
    parameters = {"k": pcb.Parameter(4.0), "n": pcb.Parameter(2.0), "s": pcb.Parameter(0.6)}
    return pcb.ODE(rates, parameters=parameters, initial={"pa": "k/2", "pb": 0.1})


def lynx_hare():
    entries = pcb.Parameter(pcb.normal(0, 0.5), shape=(2, 2)), pcb.Parameter(0.1, shape=2)
    return pcb.ODE(
        lambda x, p: pcb.tanh(p.S @ x - p.b),
        states=["Hare", "Lynx"],
        parameters=dict(zip("Sb", entries, strict=True)),
        initial={"Hare": pcb.Parameter(0.3), "Lynx": 0.5},
    )


@pytest.fixture(scope="module")
def backends():
    return get_backend("jax"), get_backend("numpy")


def of(model, **changes):
    """Problem and parameters of a model of the tests, by its name, or of another."""
    if isinstance(model, str):
        model, data, p = laid(model)
    else:
        data = courses(model.own_nodes, [0.0, 0.5, 1.0, 2.0], c=3)
        rng = np.random.default_rng(2)
        values = {n: 1.1 * one.middle + 0.1 * rng.random(one.shape) if not one.held.all()
                  else one.middle for n, one in model.parameters.items()}  # fmt: skip
        p = parameters_of(model, model.own_nodes, values)
    data = pcb.validate(treated(data, model) if changes.pop("treated", False) else data)
    structure = structure_of(data, model)
    problem = Problem.from_dataset(data, structure, None)
    return dataclasses.replace(problem, **changes), parameter_arrays(structure, p, np.float64)


def test_expressions_have_the_same_values_in_every_library():
    """With numbers by condition, their sums, and products with adjoints and tangents."""
    x, w, b = numbers()
    V, DX = symbol("v", X.shape), symbol("dx", X.shape)
    values = {"x": x, "W": w, "b": b, "v": np.cos(x), "dx": np.sin(x)}
    moving, given = ("x", "v", "dx"), {"W": w, "b": b}
    back = derived.reverse(EXPRESSIONS, [V] * len(EXPRESSIONS), [X, W, B])
    along = derived.forward(EXPRESSIONS, {X: DX})
    summed = [False] * (2 * len(EXPRESSIONS) + 1) + [True, True]
    program = Program([*EXPRESSIONS, *along, *back], moving, summed)
    plan = program.plan(len(x), float, given, moving)
    wanted = plan.run(**{name: values[name] for name in moving})
    with programs.float64():
        quick = {"xla_backend_optimization_level": 0}
        run = jax.jit(lambda v: replay(program, jax.numpy, v, v["x"]), compiler_options=quick)
        compiled = run(values)
    for found in (replay(program, np, values, x), compiled):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "treated", "solver"),
    [
        (sir(), False, EULER),
        (lynx_hare(), False, pcb.Tsit5()),
        (repressilator(), False, EULER),
        ("traced", True, EULER),
        ("neural", False, EULER),
    ],
)
def test_losses_gradients_and_jacobians_are_those_of_numpy(backends, model, treated, solver):
    problem, p = of(model, treated=treated)
    ours, numpys = (b.session(problem, solver, Loss()) for b in backends)
    if solver is not EULER:  # whose programs take long to compile: its steps alone
        states = [session.solution(p).states for session in (ours, numpys)]
        np.testing.assert_allclose(*states, rtol=1e-10, atol=1e-10)
        return
    for one, other in zip(*(s.residuals_and_jacobian(p) for s in (ours, numpys)), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)
    value, gradient = ours.loss_and_gradient(p, inputs=treated)
    wanted, slope = numpys.loss_and_gradient(p, inputs=treated)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert gradient.keys() == slope.keys()
    assert_same_gradient(gradient, slope, 1e-10)


def test_a_cellbox_of_ones_own_has_the_gradient_of_the_kernel(backends):
    rng = np.random.default_rng(0)
    network, n = pcb.CellBox(), 4
    arrays = {"W": rng.normal(size=(n, n)) * (1 - np.eye(n)), "alpha": rng.random(n) + 0.5,
              "epsilon": rng.random(n) + 0.5}  # fmt: skip
    nodes = list("abcd")
    own = pcb.ODE(
        lambda x, p, u: p.epsilon * pcb.tanh(p.W @ x + u) - p.alpha * x,
        states=nodes,
        parameters={name: pcb.Parameter(array) for name, array in arrays.items()},
        inputs={f"u_{node}": node for node in nodes},
    )
    data = courses(nodes, [0.5, 1.0, 2.0], c=3)
    data["perturbation"][...] = rng.normal(size=(3, n))
    (one, of_own), (other, of_kernel) = (
        pcb.value_and_gradient(
            model, parameters_of(model, nodes, arrays), data, solver=EULER, backend="jax"
        )
        for model in (own, network)
    )
    assert one == pytest.approx(other, rel=1e-12)
    for name in arrays:
        mine, wanted = of_own[name].values, of_kernel[name].values
        mine = np.where(np.eye(n), 0, mine) if name == "W" else mine
        np.testing.assert_allclose(mine, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("rate", "initial", "words"),
    [
        ("log(a)", 1.0, "'c0' is not finite by t = 2: the equation of b has no value at a = -"),
        ("k*sqrt(0.5 - a)", 0.5, "not finite at t = 0: the equation of b has no derivative at a ="),
    ],
)
def test_what_has_no_value_names_equation_state_condition_and_time(rate, initial, words):
    model = pcb.ODE({"a": "-1", "b": rate}, parameters={"k": 1.5}, initial={"a": initial})
    data = courses(["a", "b"], [0.5, 1.0, 2.0])
    p = parameters_of(model, ["a", "b"], {"k": 1.5})
    with pytest.raises(pcb.DivergenceError, match=words):
        pcb.value_and_gradient(model, p, data, solver=EULER, backend="jax")


@pytest.mark.parametrize(
    ("rate", "initial", "words"),
    [
        ("log(k - u)", 1.0, "equation of a has no value"),
        ("sqrt(k - u)", 1.0, "equation of a has no derivative"),
        ("-a", "sqrt(k - u)", "start of a has no derivative"),
    ],
)
def test_the_condition_that_breaks_is_named_by_its_label(rate, initial, words):
    model = pcb.ODE({"a": rate}, parameters={"k": 1.0}, initial={"a": initial}, inputs=["u"])
    data = courses(["a", "u"], [1.0, 2.0], c=3)
    data["perturbation"].loc[{"condition": "c1", "node": "u"}] = 1.0
    p = parameters_of(model, ["a", "u"], {"k": 1.0})
    problem = Problem.from_dataset(data, structure_of(data, model), None, np.float64)
    session = get_backend("jax").session(problem, EULER, Loss("mse"))
    arrays = {"k": p["k"].values}
    for work in (session.loss_and_gradient, session.residuals_and_jacobian):
        with pytest.raises(pcb.DivergenceError, match=f"condition 'c1' .*{words}"):
            work(arrays)
    with pytest.raises(pcb.DivergenceError, match=f"condition 'c1' .*{words}"):
        session.loss_and_gradient(arrays, [1, 2])


@pytest.mark.filterwarnings("ignore:the steps of Euler.*leave")
def test_a_second_fit_of_an_equal_equation_compiles_nothing(tmp_path):
    """Wherever its parameters start; and files, predictions and resumed fits are the same."""
    data, path, begun = measured(), tmp_path / "fit.nc", tmp_path / "begun.nc"
    schedule = [pcb.Stage(2, optimizer=pcb.LM()), pcb.Stage(2)]
    options = {"solver": EULER, "schedule": schedule, "backend": "jax", "progress": False}

    def stop(state):
        if state.stage == 1 and state.iteration == 1:
            raise RuntimeError

    fit = pcb.fit(data, sir(), **options)
    compiled = [p._cache_size() for p in (programs.tangents, programs.solution, programs.value)]
    parameters = dict(sir().parameters) | {"beta": pcb.Parameter(1.2, positive=True)}
    other = pcb.fit(data, sir(parameters=parameters), **options)
    again = [p._cache_size() for p in (programs.tangents, programs.solution, programs.value)]
    assert compiled == again
    assert float(other.history["loss"][0]) != float(fit.history["loss"][0])
    fit.save(path)
    np.testing.assert_array_equal(pcb.load(path).predict(data), fit.predictions)
    with pytest.raises(RuntimeError):
        pcb.fit(data, sir(), checkpoint=begun, checkpoint_seconds=0, callbacks=stop, **options)
    xr.testing.assert_equal(pcb.resume(begun, progress=False).parameters, fit.parameters)
    numpys = pcb.fit(data, sir(), **options | {"backend": "numpy"})
    xr.testing.assert_allclose(fit.parameters, numpys.parameters, rtol=1e-6)
