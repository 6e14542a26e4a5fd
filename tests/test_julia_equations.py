"""Equations of one's own on the Julia backend, held to the NumPy backend's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pycellbox as pcb
from pycellbox.backends import get_backend, registry
from pycellbox.backends.julia.project import readiness
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.models import Structure
from pycellbox.models.declared import starts_of
from pycellbox.numerics import checks
from pycellbox.numerics.rest import EquationRest
from pycellbox.numerics.shares import Shares
from pycellbox.objective import Loss
from pycellbox.problem import Problem
from pycellbox.treatment import Treatment
from tests.support.compartments import Compartments
from tests.support.equations import MODELS, courses, differing, measured, parameters_of, sir
from tests.support.problems import assert_same_gradient

STATE = readiness()
pytestmark = pytest.mark.skipif(
    not STATE.ready, reason=f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
)
TIMES = np.array([0.0, 0.4, 1.0, 2.2])
STARTS = np.array([-0.5, 0.4, 1.6])
RING = {"a": "z", "b": "x", "c": "y"}
rng_ = np.random.default_rng(0)


def wide(n=25):
    return pcb.ODE(
        lambda x, p: pcb.tanh(p.A @ x + p.b) - p.d * x,
        states=[f"s{i}" for i in range(n)],
        parameters={
            "A": pcb.Parameter(rng_.normal(0, 0.3, (n, n))),
            "b": pcb.Parameter(rng_.normal(0, 1, n)),
            "d": 0.8,
        },
        observe={"all": lambda x, p: p.d * (x * x).sum()},
    )


ALL = MODELS | {
    "repressilator": pcb.ODE(
        {m: f"alpha/(1 + {p}**n) + leak - {m}" for m, p in RING.items()}
        | {p: f"-beta*({p} - {m})" for m, p in zip("abc", "xyz", strict=True)},
        parameters={"alpha": 20.0, "leak": 0.2, "n": 2.0, "beta": 5.0},
        initial={"a": 1.0, "b": 2.0, "x": pcb.Parameter(3.0), "y": "leak*2", "z": 1.0},
    ),
    "lynx": pcb.ODE(
        lambda x, p: pcb.tanh(p.S @ x - p.b),
        states=["hare", "lynx"],
        parameters={"S": pcb.Parameter([[0.1, -0.8], [0.9, 0.1]]), "b": [0.1, -0.2]},
        initial={"hare": 0.6, "lynx": -0.4},
    ),
    "wide": wide(),
}


@pytest.fixture(scope="module")
def julia():
    return get_backend("julia")


def made(name, *, treated="", dtype=np.float64):
    """A random problem of a model, and parameters."""
    model, c = ALL[name], 4
    nodes = [*model.own_nodes, *model.inputs.values()]
    structure = Structure.over(model, nodes, ["protein"] * len(nodes))
    rng, n, t = np.random.default_rng(1), len(nodes), TIMES.size
    u = rng.uniform(0, 1, (c, n)).astype(dtype)
    y, w = rng.normal(size=(2, c, t, n)).astype(dtype)
    w = np.where(rng.random(w.shape) < 0.7, np.abs(w), 0)
    p = {k: (starts_of(one) * rng.uniform(0.9, 1.1)).astype(dtype)
         for k, one in model.parameters.items()}  # fmt: skip
    found = None
    if treated:
        begin = np.full((c, n), np.nan, dtype)
        begin[1, nodes.index(model.states[0])] = 0.7
        moves, held = np.ones((c, STARTS.size, n), bool), np.zeros((c, n), bool)
        held[2, nodes.index(model.states[-1])] = True
        begin[held] = 0.4
        moves[2] = ~held[2]
        moves[3, 0] = False  # begins late
        before = np.array([True, False, True, False]) & (treated == "pretreated")
        found = Treatment(
            STARTS,
            rng.uniform(0, 1, (c, STARTS.size, n)).astype(dtype),
            moves,
            begin,
            rng.uniform(0.2, 1, (c, n)).astype(dtype) if before.any() else None,
            before,
            held,
            np.full((c, n), -1),
        )
        u = found.perturbation[:, -1].copy()
    labels = tuple(f"c{i}" for i in range(c))
    return Problem(structure, labels, u, y, w, TIMES, False, found), p


def compare(julia, problem, p, solver, tolerance):
    numpy, prefix = NumpyBackend(), 3
    given = (problem.structure, solver, p, problem.perturbation, problem.times, problem.treatment)
    found, theirs = julia.solve(*given), numpy.solve(*given)
    np.testing.assert_allclose(found.states, theirs.states, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found.steps, theirs.steps)
    assert (found.rested is None) == (theirs.rested is None)
    ours, others = (b.session(problem, solver, Loss("huber")) for b in (julia, numpy))
    for rows, first in ((None, None), ([3, 0], None), ([1], prefix)):
        value, slope = ours.loss_and_gradient(p, rows, first, inputs=True)
        value_, slope_ = others.loss_and_gradient(p, rows, first, inputs=True)
        assert value == pytest.approx(value_, rel=tolerance)
        assert ours.loss(p, rows, first) == value
        assert_same_gradient({k: slope[k] for k in p}, {k: slope_[k] for k in p}, tolerance)
        assert set(slope) == set(slope_)
        for name in set(slope) - set(p):
            assert slope[name].shape == slope_[name].shape
            size = np.abs(slope_[name]).max(initial=0)
            np.testing.assert_allclose(slope[name], slope_[name], atol=tolerance * (1 + size))
    r, J = ours.residuals_and_jacobian(p)
    r_, J_ = others.residuals_and_jacobian(p)
    np.testing.assert_allclose(r, r_, atol=tolerance * (1 + np.abs(r_).max()))
    np.testing.assert_allclose(J, J_, atol=tolerance * (1 + np.abs(J_).max()))


@pytest.mark.parametrize("treated", ["", "treated"])
@pytest.mark.parametrize("solver", [pcb.Tsit5(1e-5, 1e-7), pcb.RK4(0.1), pcb.Heun(0.05)], ids=repr)
@pytest.mark.parametrize("name", ALL)
def test_all_that_is_asked_of_a_session_agrees_with_numpy(julia, name, solver, treated):
    problem, p = made(name, treated=treated)
    compare(julia, problem, p, solver, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["traced", "powers", "wide"])
def test_conditions_begin_in_the_steady_state_of_a_pretreatment(julia, name):
    problem, p = made(name, treated="pretreated")
    compare(julia, problem, p, pcb.Tsit5(1e-6, 1e-8), 1e-7)


@pytest.mark.parametrize("name", ["traced", "lynx", "wide"])
def test_float32_is_float64_to_its_precision(julia, name):
    single, p = made(name, dtype=np.float32)
    double, q = made(name)
    value, slope = julia.session(single, pcb.RK4(0.1), Loss()).loss_and_gradient(p)
    wanted, slopes = julia.session(double, pcb.RK4(0.1), Loss()).loss_and_gradient(q)
    assert value == pytest.approx(wanted, rel=1e-4)
    assert all(slope[k].dtype == np.float32 for k in slope)
    assert_same_gradient(slope, slopes, 2e-3)


def test_cellbox_as_an_expression_has_the_gradients_of_the_kernel(julia):
    nodes, rng = list("abcde"), np.random.default_rng(2)
    written = pcb.ODE(
        lambda x, p, u: p.epsilon * pcb.tanh(p.W @ x + u) - p.alpha * x,
        states=nodes,
        parameters={"W": pcb.Parameter(shape=(5, 5)), "alpha": np.ones(5), "epsilon": np.ones(5)},
        inputs={f"u_{node}": node for node in nodes},
    )
    kinds = ["protein"] * 5
    ours, theirs = (Structure.over(m, nodes, kinds) for m in (written, pcb.CellBox()))
    p = {"W": rng.normal(0, 0.7, (5, 5)), "alpha": rng.uniform(0.5, 2, 5)}
    p["epsilon"] = rng.uniform(0.5, 2, 5)
    p["W"][~theirs.mask] = 0
    y, w = rng.normal(size=(2, 3, TIMES.size, 5))
    given = tuple("xyz"), rng.normal(size=(3, 5)), y, np.abs(w), TIMES, False
    found, wanted = (
        julia.session(Problem(s, *given), pcb.RK4(0.1), Loss()).loss_and_gradient(p, inputs=True)
        for s in (ours, theirs)
    )
    assert found[0] == pytest.approx(wanted[0], rel=1e-12)
    of_W = np.where(theirs.mask, found[1]["W"], 0)
    assert_same_gradient(found[1] | {"W": of_W}, wanted[1], 1e-12)


@pytest.mark.parametrize("dims", ["condition", "subject"])
@pytest.mark.parametrize("name", ["traced", "neural"])
def test_parameters_may_differ_by_condition_and_subject(julia, name, dims):
    model, _, data, p, _ = differing(name, dims)
    value, slope = pcb.value_and_gradient(model, p, data, solver=pcb.RK4(0.25), backend="julia")
    value_, slope_ = pcb.value_and_gradient(model, p, data, solver=pcb.RK4(0.25), backend="numpy")
    assert value == pytest.approx(value_, rel=1e-12)
    for k in model.parameters:
        np.testing.assert_allclose(slope[k], slope_[k], atol=1e-12)
    given = {"schedule": pcb.Stage(3, optimizer=pcb.LM()), "solver": pcb.RK4(0.25)}
    ours, theirs = (
        pcb.fit(data, model, backend=b, progress=False, **given) for b in ("julia", "numpy")
    )
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-6)


NASTY = ['x"); run(`true`) #', "$(exit(3))", "αβ γ"]


def test_names_of_users_are_not_what_julia_compiles(julia):
    model = pcb.ODE(
        lambda x, p, u: -p.k * x + u[0],
        states=NASTY,
        parameters={"k": 0.5},
        inputs={"\n@eval exit(4)": "$(run(`false`))"},
        observe={"end": lambda x, p, u: x.sum()},
        initial=dict.fromkeys(NASTY, 1.0),
    )
    nodes = [*model.own_nodes, *model.inputs.values()]
    p = parameters_of(model, nodes, {"k": 0.5})
    data = courses(nodes, [1.0, 2.0])
    found = pcb.solve(model, p, data["perturbation"], times=[1.0, 2.0], solver=pcb.RK4(0.01),
                      backend="julia")  # fmt: skip
    np.testing.assert_allclose(found.sel(node="end")[0], 3 * np.exp([-0.5, -1]), rtol=1e-8)


@pytest.mark.parametrize("optimizer", [pcb.AdamW(), pcb.LBFGS(), pcb.LM()], ids=repr)
def test_fits_are_those_of_numpy(julia, optimizer):
    data = measured().isel(condition=[0])
    given = {
        "schedule": [
            pcb.Grow(optimizer, windows=2, iterations=4, learning_rate=0.02),
            pcb.Stage(4, optimizer=optimizer, learning_rate=0.02),
        ],
        "solver": pcb.RK4(0.25),
        "progress": False,
    }
    ours, theirs = (pcb.fit(data, sir(), backend=b, **given) for b in ("julia", "numpy"))
    assert ours.backend.startswith("julia")
    for name in ("beta", "gamma", "rho", "I0"):
        np.testing.assert_allclose(ours.parameters[name], theirs.parameters[name], rtol=1e-5)
    again = ours.predict(data["perturbation"])
    np.testing.assert_allclose(again, ours.predictions, rtol=1e-12)
    np.testing.assert_allclose(
        ours.evaluate(data).table["mse"], theirs.evaluate(data).table["mse"], rtol=1e-3, atol=1e-6
    )


def test_auto_takes_julia_for_equations_and_numpy_for_classes_of_ones_own(julia, monkeypatch):
    monkeypatch.setattr(registry, "_AUTO", ("julia",))
    registry._choose.cache_clear()
    try:
        for model in (sir(), pcb.NeuralODE(["a"])):
            assert get_backend("auto", model=model).name == "julia"
        assert get_backend("auto", model=Compartments()).name == "numpy"
    finally:
        registry._choose.cache_clear()


@pytest.mark.parametrize(
    ("rates", "initial", "words"),
    [
        ({"a": "-1", "b": "log(a)"}, {"a": 1.0}, "equation of b has no value at a = -"),
        ({"a": "-1", "b": "a**k"}, {"a": 1.0}, "equation of b has no value at a = -"),
        ({"a": "0", "b": "a/a"}, {}, "equation of b has no value at a = 0"),
        ({"a": "0", "b": "k*sqrt(a)"}, {}, "equation of b has no derivative at a = 0"),
    ],
)
@pytest.mark.parametrize("solver", [pcb.RK4(0.1), pcb.Tsit5()], ids=repr)
def test_what_has_no_value_is_named(julia, rates, initial, words, solver):
    model = pcb.ODE(rates, parameters={"k": 1.5}, initial=initial)
    p = parameters_of(model, ["a", "b"], {"k": 1.5})
    data = courses(["a", "b"], [0.5, 1.0, 2.0])
    with pytest.raises(pcb.DivergenceError, match=words) as caught:
        pcb.value_and_gradient(model, p, data, solver=solver, backend="julia")
    assert "t = " in str(caught.value)
    assert "condition 'c0'" in str(caught.value)


def evaluations(session):
    return {
        "loss": session.loss,
        "gradient": session.loss_and_gradient,
        "jacobian": lambda p, rows: session.residuals_and_jacobian(p),
    }


@pytest.mark.parametrize("asked", ["loss", "gradient", "jacobian"])
@pytest.mark.parametrize("rows", [[2], [1, 2]], ids=str)
def test_a_pretreatment_that_diverges_is_told_from_the_evaluation_before(julia, rows, asked):
    model = pcb.ODE(
        {"a": "k - g*a + dose*log(a)"},
        parameters={"k": 1.0, "g": 1.0},
        inputs=["dose"],
        initial={"a": 1.0},
    )
    structure = Structure.over(model, ["a", "dose"], ["protein"] * 2)
    before, c = np.array([False, False, True, False]), 4
    begin = np.full((c, 2), np.nan)
    begin[3, 0] = -1.0  # has no logarithm
    u = np.zeros((c, 1, 2))
    u[3, 0, 1] = 1.0
    treatment = Treatment(
        np.zeros(1), u, np.ones(u.shape, bool), begin, np.zeros((c, 2)), before,
        np.zeros((c, 2), bool), np.full((c, 2), -1),
    )  # fmt: skip
    shape, times = (c, 1, 2), np.array([0.5])
    problem = Problem(structure, tuple("wxyz"), u[:, 0], np.zeros(shape), np.ones(shape), times,
                      False, treatment)  # fmt: skip
    session = julia.session(problem, pcb.RK4(0.1), Loss())
    p = {"k": np.array(1.0), "g": np.array(1.0)}
    with pytest.raises(pcb.DivergenceError, match=r"condition 'z'.*equation of a has no value"):
        session.loss(p)
    with pytest.raises(pcb.DivergenceError, match="condition 'y' is not finite by") as caught:
        evaluations(session)[asked](p | {"g": np.array(-50.0)}, rows)
    assert "equation of a" not in str(caught.value)


def test_a_step_that_was_rejected_is_not_what_went_wrong(julia):
    # The first step tries the root of what is negative; later b leaves the finite numbers.
    model = pcb.ODE({"a": "0.01 - sqrt(a)", "b": "b*b"}, initial={"a": 4.0, "b": 0.1})
    p = parameters_of(model, ["a", "b"], {})
    data = courses(["a", "b"], [20.0])
    with pytest.raises(pcb.DivergenceError, match=r"step vanished at t = (9|10)") as caught:
        pcb.value_and_gradient(model, p, data, solver=pcb.Tsit5(0.1, 0.1), backend="julia")
    assert "equation of a" not in str(caught.value)


@pytest.mark.parametrize("asked", ["loss", "gradient", "jacobian"])
def test_an_evaluation_settles_once_and_knows_who_shares_what(julia, asked, monkeypatch):
    problem, p = made("traced", treated="pretreated")
    session = julia.session(problem, pcb.RK4(0.1), Loss())
    evaluations(session)[asked](p, [0, 2])
    calls = []
    for owner, name in ((EquationRest, "__init__"), (Shares, "index")):
        old = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, f=old, n=name: (calls.append(n), f(*a))[1])
    evaluations(session)[asked](p, [0, 2])
    assert calls.count("__init__") == 1
    assert "index" not in calls


def test_long_records_are_refused_without_naming_this_backend(julia, monkeypatch):
    problem, _ = made("traced")
    monkeypatch.setattr(checks, "_memory", lambda: 1e4)
    with pytest.raises(pcb.SolverError, match="Tsit5, or the jax backend") as caught:
        julia.session(problem, pcb.RK4(0.01), Loss())
    assert "julia" not in str(caught.value)


TIGHT = pcb.Tsit5(1e-9, 1e-11)


def of_sciml(test):
    """Skip where the packages of SciML are not there."""
    try:
        return test()
    except pcb.PycellboxError as error:
        if "precompile" not in str(error) and "not installed" not in str(error):
            raise
        return pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "solver", "gradient", "treated"),
    [
        ("traced", TIGHT, "adjoint", "treated"),
        ("traced", TIGHT, "interpolating", ""),
        ("lynx", TIGHT, "quadrature", "treated"),
        ("repressilator", TIGHT, "forward", ""),
        ("traced", pcb.Adaptive("Rodas5P", 1e-9, 1e-11), None, "treated"),
        ("traced", pcb.Adaptive("Rodas5P", 1e-9, 1e-11), "forward", ""),
        ("powers", pcb.Adaptive("KenCarp4", 1e-9, 1e-11), None, ""),
        ("wide", pcb.Adaptive("Vern7", 1e-9, 1e-11), None, "treated"),
    ],
)
def test_solvers_of_sciml_have_our_products(julia, name, solver, gradient, treated):
    problem, p = made(name, treated=treated)
    exact = NumpyBackend().session(problem, pcb.Tsit5(1e-10, 1e-12), Loss())
    session = julia.session(problem, solver, Loss(), gradient)
    inputs = gradient != "forward"
    value, slope = of_sciml(lambda: session.loss_and_gradient(p, [2, 0], inputs=inputs))
    value_, slope_ = exact.loss_and_gradient(p, [2, 0], inputs=inputs)
    assert value == pytest.approx(value_, rel=1e-6)
    assert session.loss(p, [2, 0]) == pytest.approx(value, rel=1e-7)
    assert_same_gradient(slope, slope_, 1e-5)
    if gradient == "forward":
        J, J_ = (s.residuals_and_jacobian(p)[1] for s in (session, exact))
        np.testing.assert_allclose(J, J_, atol=1e-5 * (1 + np.abs(J_).max()))


@pytest.mark.slow
def test_a_stiff_system_is_that_of_scipy(julia):
    robertson = pcb.ODE(
        {
            "a": "-k1*a + k3*b*c",
            "b": "k1*a - k3*b*c - k2*b**2",
            "c": "k2*b**2",
        },
        parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
        initial={"a": 1.0},
    )
    times = np.array([0.4, 40.0, 4e4])
    p = parameters_of(robertson, ["a", "b", "c"], {"k1": 0.04, "k2": 3e7, "k3": 1e4})
    data = courses(["a", "b", "c"], times)
    solver = pcb.Adaptive("Rodas5P", 1e-8, 1e-12)
    given = {"solver": solver, "backend": "julia"}
    found = of_sciml(lambda: pcb.solve(robertson, p, data["perturbation"], times=times, **given))

    def rate(t, x):
        first, second = -0.04 * x[0] + 1e4 * x[1] * x[2], 3e7 * x[1] ** 2
        return [first, -first - second, second]

    exact = solve_ivp(rate, (0, 4e4), [1, 0, 0], "Radau", times, rtol=1e-10, atol=1e-14).y
    np.testing.assert_allclose(found[0].T, exact, rtol=1e-5)
    slope = pcb.value_and_gradient(robertson, p, data, **given)[1]
    h = 1e-4
    for name in ("k1", "k3"):
        at = p[name].item()
        above, below = (
            pcb.value_and_gradient(robertson, p.assign({name: at * f}), data, **given)[0]
            for f in (1 + h, 1 - h)
        )
        assert slope[name].item() * at == pytest.approx((above - below) / (2 * h), rel=1e-3)
