"""Phases, held nodes, initial states and pre-treatments in the numerics of the NumPy backend."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.errors import OptionError
from pycellbox.models import CellBox, Structure
from pycellbox.numerics import rest
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START
from pycellbox.numerics.losses import loss_and_seeds
from pycellbox.numerics.segments import pieces
from pycellbox.numerics.steps import fixed_steps
from pycellbox.objective import Loss
from pycellbox.solvers import RK4, Euler, Heun, Midpoint, SteadyState, Tsit5
from tests.support.compartments import Compartments
from tests.support.problems import KINDS as NODE_KINDS
from tests.support.problems import (
    NODES,
    assert_same_gradient,
    random_parameters,
    random_problem,
)

pytest.importorskip("autograd", reason='needs autograd: pip install "pycellbox[test]"')
from autograd import grad

from tests.support.treatments import (
    KINDS,
    MODELS,
    STARTS,
    STEADY,
    by_newton,
    by_steps,
    exactly,
    settled,
    through,
    treated_problem,
)

TIMES = (0.0, 0.4, 1.0, 2.2)
BACKEND = NumpyBackend()


def parameters_of(model, rng):
    # Small enough to settle whatever the form.
    return random_parameters(model, rng, scale=0.2)


def made(model, kind, seed=0, times=TIMES):
    rng = np.random.default_rng(seed)
    return treated_problem(model, rng, times, **KINDS[kind]), parameters_of(model, rng)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_states_are_those_of_the_equation(model, kind):
    problem, p = made(model, kind)
    session = BACKEND.session(problem, Tsit5(1e-11, 1e-12), Loss())
    wanted = through(model, p, problem, exactly, settled).transpose(1, 0, 2)
    np.testing.assert_allclose(session.solution(p).states, wanted, rtol=0, atol=2e-9)


def by_autodiff(model, problem, method, dt, p):
    """Loss and gradient with respect to parameters, u, what was before, and x₀."""
    t = problem.treatment
    x0 = np.where(np.isnan(t.initial), 0, t.initial)
    before = np.zeros_like(x0) if t.pretreatment is None else t.pretreatment
    measured = problem.weight > 0

    def loss(p, inputs, before, x0):
        states = through(
            model, p, problem, by_steps(method, dt), by_newton, x0, inputs, before
        ).transpose((1, 0, 2))
        residual = (states - problem.response) * problem.weight
        return (residual**2).sum() / measured.sum()

    # autograd warns of what a loss does not depend on.
    wanted = (True, True, t.pretreatment is not None, not np.isnan(t.initial).all())
    given = (p, t.perturbation, before, x0)
    parts = [grad(loss, i)(*given) if wanted[i] else 0 * x0 for i in range(4)]
    mask = problem.structure.mask
    parts[0]["W"] = np.where(mask, parts[0]["W"], 0)
    return loss(p, t.perturbation, before, x0), parts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [MODELS[0], MODELS[5], MODELS[6]], ids=repr)
def test_gradients_agree_with_automatic_differentiation(model, kind):
    problem, p = made(model, kind)
    session = BACKEND.session(problem, Heun(0.1), Loss())
    value, gradient = session.loss_and_gradient(p, inputs=True)
    wanted, (of_p, of_u, before, at_start) = by_autodiff(model, problem, "Heun", 0.1, p)
    assert value == pytest.approx(wanted, rel=1e-9)
    t = problem.treatment
    given = ~np.isnan(t.initial)
    assert_same_gradient({k: gradient[k] for k in p}, of_p, 1e-8)
    np.testing.assert_allclose(gradient[INPUT], of_u, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(gradient[START][given], at_start[given], rtol=1e-7, atol=1e-9)
    if t.pretreatment is not None:
        np.testing.assert_allclose(gradient[PRETREATMENT], before, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "solver", [Euler(0.1), Midpoint(0.1), Heun(0.1), RK4(0.1), Tsit5(1e-6, 1e-8)], ids=repr
)
@pytest.mark.parametrize("rows", [None, [3, 0]])
def test_gradients_agree_with_finite_differences(solver, rows):
    model = CellBox(drugs="clamped")
    problem, p = made(model, "all")
    session = BACKEND.session(problem, solver, Loss("huber", 0.5))
    differences = BACKEND.session(problem, solver, Loss("huber", 0.5), "finite-difference")
    for prefix in (None, 2):
        _, gradient = session.loss_and_gradient(p, rows, prefix)
        _, wanted = differences.loss_and_gradient(p, rows, prefix)
        assert_same_gradient(gradient, wanted, 1e-6 if isinstance(solver, Tsit5) else 1e-8)


@pytest.mark.parametrize("kind", ["phases", "all"])
@pytest.mark.parametrize(
    ("kind_of_solver", "order"), [(Euler, 1), (Midpoint, 2), (Heun, 2), (RK4, 4)]
)
def test_breaks_keep_the_order_of_convergence(kind_of_solver, order, kind):
    # The breaks are no multiples of the steps, which have to end there.
    problem, p = made(MODELS[0], kind)
    exact = BACKEND.session(problem, Tsit5(1e-12, 1e-13), Loss()).solution(p).states

    def error(dt):
        found = BACKEND.session(problem, kind_of_solver(dt), Loss()).solution(p).states
        return np.abs(found - exact).max()

    assert np.log2(error(0.05) / error(0.025)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("solver", [Heun(0.5), Tsit5(1e-3, 1e-6)], ids=repr)
def test_no_pulse_is_skipped(solver):
    # Much shorter than a step: a tenth of a second in half an hour.
    problem, p = made(MODELS[0], "phases")
    starts = np.array([0.0, 0.3, 0.3001])
    u = np.zeros_like(problem.treatment.perturbation)
    u[:, 1] = 3e3
    treated = dataclasses.replace(problem.treatment, starts=starts, perturbation=u)
    model = CellBox(form=2)
    problem = dataclasses.replace(
        random_problem(model, np.random.default_rng(0), TIMES), treatment=treated
    )
    p = parameters_of(model, np.random.default_rng(1))
    found = BACKEND.session(problem, solver, Loss()).solution(p).states
    assert (np.abs(found[:, 2, :5]) > 0.05).all()


@pytest.mark.parametrize("solver", [Heun(0.1), Tsit5()], ids=repr)
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_a_treatment_that_changes_nothing_has_the_bits_of_none(model, solver):
    rng = np.random.default_rng(3)
    plain = random_problem(model, rng, TIMES)
    problem = treated_problem(model, rng, TIMES, starts=(0.0,))
    u = plain.perturbation[:, None].copy()
    treated = dataclasses.replace(
        plain, treatment=dataclasses.replace(problem.treatment, perturbation=u)
    )
    p = parameters_of(model, rng)
    one, other = (
        BACKEND.session(each, solver, Loss()).loss_and_gradient(p, inputs=True)
        for each in (plain, treated)
    )
    assert one[0] == other[0]
    for name in (*p, START):
        np.testing.assert_array_equal(one[1][name], other[1][name])
    np.testing.assert_array_equal(one[1][INPUT], other[1][INPUT][:, 0])


def test_times_near_a_break_are_at_it():
    starts, times = np.array([0.0, 0.1 + 0.2, 1.0]), np.array([0.0, 0.3, 0.5, 1.0 - 1e-12])
    found = pieces(starts, times)
    for piece, wanted in zip(found, ([0, 0.3], [0, 0.2, 0.7], [0]), strict=True):
        assert piece.times[0] == 0
        np.testing.assert_allclose(piece.times, wanted, rtol=1e-12)
    assert [piece.asked for piece in found] == [slice(0, 1), slice(1, 3), slice(3, 4)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "held alone"])
@pytest.mark.parametrize(
    "solver", [RK4(0.1), pytest.param(Tsit5(1e-8, 1e-10), marks=pytest.mark.slow)], ids=repr
)
def test_any_equation_is_treated(solver, kind):
    # Compartments that begin at a share of the input, with parameters of their own.
    rng = np.random.default_rng(4)
    structure = Structure.over(Compartments(0.3), NODES, NODE_KINDS)
    plain = treated_problem(CellBox(), rng, TIMES, **KINDS[kind])
    problem = dataclasses.replace(plain, structure=structure)
    n = len(NODES)
    p = {
        "kappa": np.array(0.3),
        "delta": rng.uniform(0.5, 1.5, n),
        "gain": rng.uniform(0.3, 0.8, n),
    }
    session = BACKEND.session(problem, solver, Loss())
    _, gradient = session.loss_and_gradient(p, inputs=True)
    _, wanted = BACKEND.session(problem, solver, Loss(), "finite-difference").loss_and_gradient(p)
    assert_same_gradient({name: gradient[name] for name in p}, wanted, 1e-8)
    treated = problem.treatment
    for key in (INPUT, PRETREATMENT, "initial"):
        array = getattr(treated, key)
        if array is None:
            continue
        for at in ((0,) * array.ndim, (2, *(0,) * (array.ndim - 2), 3)):
            if np.isnan(array[at]):
                continue
            step = np.zeros_like(array)
            step[at] = 1e-5

            def loss(moved, key=key):
                other = dataclasses.replace(treated, **{key: moved})
                moved_problem = dataclasses.replace(problem, treatment=other)
                return BACKEND.session(moved_problem, solver, Loss()).loss(p)

            slope = (loss(array + step) - loss(array - step)) / 2e-5
            found = gradient[START if key == "initial" else key][at]
            assert found == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_equal_pretreatments_are_looked_for_once(monkeypatch):
    rng = np.random.default_rng(6)
    problem = treated_problem(CellBox(), rng, TIMES, pretreated=True)
    before = np.repeat(problem.treatment.pretreatment[:1], 4, axis=0)
    begin = np.full_like(before, np.nan)
    shared = dataclasses.replace(
        problem.treatment, pretreatment=before, pretreated=np.ones(4, dtype=bool), initial=begin
    )
    problem = dataclasses.replace(problem, treatment=shared)
    p = parameters_of(CellBox(), rng)
    counts = []
    find = rest.find
    monkeypatch.setattr(
        rest, "find", lambda k, *given: counts.append(len(k.drive.initial)) or find(k, *given)
    )
    session = BACKEND.session(problem, Heun(0.1), Loss())
    _, gradient = session.loss_and_gradient(p, inputs=True)
    assert counts == [1]
    for i in range(4):  # beside the same condition alone
        alone = BACKEND.session(problem.rows(np.array([i])), Heun(0.1), Loss())
        np.testing.assert_allclose(
            session.solution(p).states[i], alone.solution(p).states[0], rtol=0, atol=1e-12
        )
        _, own = alone.loss_and_gradient(p, inputs=True)
        share = (problem.weight[i] > 0).sum() / (problem.weight > 0).sum()
        np.testing.assert_allclose(
            gradient[PRETREATMENT][i], share * own[PRETREATMENT][0], rtol=1e-9, atol=1e-12
        )


def test_a_pretreatment_that_does_not_settle_is_named():
    # Two nodes that chase each other round a cycle.
    nodes = ["A", "B"]
    W = xr.DataArray(
        [[2.0, 4.0], [-4.0, 2.0]], {"target": nodes, "source": nodes}, ("target", "source")
    )
    rates = {name: ("node", np.ones(2)) for name in ("alpha", "epsilon")}
    parameters = xr.Dataset({"W": W, **rates}, {"node": nodes})
    u = xr.DataArray(
        np.full((1, 2, 2), 0.3),
        {"condition": ["c"], "node": nodes, "phase_start": ("phase", [-np.inf, 0.0])},
        ("condition", "phase", "node"),
    )
    model = pcb.CellBox(self_interaction=True)
    with pytest.warns(pcb.NumericsWarning, match="pre-treatment of 1 condition.*'c'"):
        pcb.solve(model, parameters, u, solver=Tsit5(), times=[0, 1.0], backend="numpy")


def test_a_pretreatment_that_settles_slowly_is_proven():
    # A ring that swings forty times longer than its nodes decay: -0.025 ± 1.7i at rest.
    nodes = ["A", "B", "C"]
    W = xr.DataArray(
        1.95 * np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]]),
        {"target": nodes, "source": nodes}, ("target", "source"),
    )  # fmt: skip
    rates = {name: ("node", np.ones(3)) for name in ("alpha", "epsilon")}
    parameters = xr.Dataset({"W": W, **rates}, {"node": nodes})
    doses = xr.DataArray([[0.3, 0, 0]], {"condition": ["c"], "node": nodes}, ("condition", "node"))
    data = pcb.regimen(doses, pcb.pretreat("A"))
    found = pcb.solve(
        pcb.CellBox(), parameters, data, solver=Tsit5(1e-9, 1e-11), times=[0, 1.0], backend="numpy"
    )
    np.testing.assert_allclose(found[0, 1], found[0, 0], rtol=0, atol=1e-10)


# ---- steady states


@pytest.mark.parametrize("scale", [0.2, pytest.param(1.2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", STEADY)
@pytest.mark.parametrize("model", [MODELS[2], MODELS[6]], ids=repr)
def test_steady_states_of_the_last_segment(model, kind, scale):
    # Weak interactions contract, so that the past is forgotten; strong ones have to be followed.
    rng = np.random.default_rng(5)
    problem = treated_problem(model, rng, (150.0,), **STEADY[kind])
    p = random_parameters(model, rng, scale=scale)
    through_time = Tsit5(1e-9, 1e-11)
    solver = SteadyState(tol=1e-13, integrator=through_time)
    session, integrated = (
        BACKEND.session(problem, each, Loss()) for each in (solver, through_time)
    )
    wanted = integrated.solution(p).states
    np.testing.assert_allclose(session.solution(p).states, wanted, rtol=0, atol=1e-6)
    value, gradient = session.loss_and_gradient(p, inputs=True)
    same, slope = integrated.loss_and_gradient(p, inputs=True)
    assert value == pytest.approx(same, rel=1e-5)
    held = problem.treatment.held
    for each in (gradient, slope):  # a steady state has forgotten where it began
        each[START] = np.where(held, each[START], 0)
    assert_same_gradient(gradient, slope, 1e-4)
    if scale < 1:
        differences = BACKEND.session(problem, solver, Loss(), "finite-difference")
        _, slope = differences.loss_and_gradient(p)
        assert_same_gradient({k: gradient[k] for k in p}, slope, 1e-7)


def test_a_horizon_before_the_last_phase_is_refused():
    problem = treated_problem(MODELS[0], np.random.default_rng(5), (1.0,))
    with pytest.raises(OptionError, match=r"phase starts at 1\.3: give a later"):
        BACKEND.session(problem, SteadyState(), Loss())


@pytest.mark.parametrize("kind", KINDS)
def test_solve_and_session_agree(kind):
    problem, p = made(MODELS[0], kind)
    found = BACKEND.solve(
        problem.structure, Heun(0.1), p, problem.perturbation, problem.times, problem.treatment
    )
    session = BACKEND.session(problem, Heun(0.1), Loss())
    np.testing.assert_array_equal(found.states, session.solution(p).states)
    cut = pieces(problem.treatment.starts, problem.times)
    steps = sum(count for piece in cut for count, _ in fixed_steps(Heun(0.1), piece.times))
    assert (found.steps == steps).all()
    value, _ = loss_and_seeds(Loss(), found.states, problem.response, problem.weight)
    assert session.loss(p) == value


def test_starts_given_with_the_parameters_count():
    problem, p = made(MODELS[0], "initial")
    session = BACKEND.session(problem, Heun(0.1), Loss())
    moved = problem.treatment.initial + 0.1
    value = session.loss(p | {START: moved})
    other = dataclasses.replace(
        problem, treatment=dataclasses.replace(problem.treatment, initial=moved)
    )
    assert value == BACKEND.session(other, Heun(0.1), Loss()).loss(p)
    assert value != session.loss(p)
    assert STARTS[0] < 0


@pytest.mark.parametrize("solver", [Heun(0.1), SteadyState(tol=1e-13)], ids=repr)
@pytest.mark.parametrize("treated", [False, True])
@pytest.mark.parametrize("rows", [[3, 0, 2, 1], [2, 2, 0, 1]])
def test_as_many_rows_as_conditions_in_another_order(solver, treated, rows):
    rng = np.random.default_rng(8)
    problem = treated_problem(MODELS[0], rng, (40.0,), **STEADY["held"])
    if not treated:
        problem = dataclasses.replace(problem, treatment=None)
    p = parameters_of(MODELS[0], rng)
    index = np.array(rows)
    session = BACKEND.session(problem, solver, Loss())
    value, gradient = session.loss_and_gradient(p, rows, inputs=True)
    picked = problem.rows(index)
    wanted, slope = BACKEND.session(picked, solver, Loss()).loss_and_gradient(p, inputs=True)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert_same_gradient(gradient, slope, 1e-10)
