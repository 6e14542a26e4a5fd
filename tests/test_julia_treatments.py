"""Phases, held nodes, initial states and pre-treatments in the Julia backend, held to NumPy's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.julia.project import readiness
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.errors import BackendError, SolverError
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START
from pycellbox.objective import Loss
from tests.support.problems import assert_same_gradient, random_parameters

pytest.importorskip("autograd", reason='needs autograd: pip install "pycellbox[test]"')

from tests.support.levels import experiment
from tests.support.treatments import treated_problem

STATE = readiness()
pytestmark = pytest.mark.skipif(
    not STATE.ready, reason=f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
)
TIMES = (0.0, 0.4, 1.0, 2.2)
KINDS = {
    "phases": {},
    "waiting": {"waiting": True},
    "held": {"held": True},
    "held alone": {"held": True, "starts": (0.0,)},
    "initial": {"initial": True},
    "pretreated": {"pretreated": True},
    "all": {"waiting": True, "held": True, "initial": True, "pretreated": True},
}
ALL = KINDS["all"]
MODELS = [
    pcb.CellBox(),
    pcb.CellBox(drugs="clamped"),
    pcb.CellBox(form=2, drugs="clamped", dose_saturation=0.5, degree=2),
    pcb.CellBox(form=1, envelope="hill", order=3),
    pcb.CellBox(form="ji"),
    pcb.CellBox(operating_point=True, common_effect=True, drugs="clamped"),
]


@pytest.fixture(scope="module")
def julia():
    return get_backend("julia")


def made(model, kind, times=TIMES, scale=0.2):
    rng = np.random.default_rng(0)
    problem = treated_problem(model, rng, times, **kind)
    return problem, random_parameters(model, rng, scale=scale)


def compare(julia, problem, p, solver, tolerance, gradient=None, exact=None):
    numpy, exact = NumpyBackend(), exact or solver
    found, theirs = (
        backend.solve(
            problem.structure, each, p, problem.perturbation, problem.times, problem.treatment
        )
        for backend, each in ((julia, solver), (numpy, exact))
    )
    states, wanted = found.states, theirs.states
    assert (found.rested is None) == (theirs.rested is None)
    if found.rested is not None:
        np.testing.assert_array_equal(found.rested, theirs.rested)
    np.testing.assert_allclose(states, wanted, rtol=tolerance, atol=tolerance)
    session, theirs = julia.session(problem, solver, Loss(), gradient), numpy.session(
        problem, exact, Loss()
    )  # fmt: skip
    for rows in (None, [3, 0]):
        value, slope = session.loss_and_gradient(p, rows, inputs=True)
        value_, slope_ = theirs.loss_and_gradient(p, rows, inputs=True)
        assert value == pytest.approx(value_, rel=tolerance)
        assert session.loss(p, rows) == pytest.approx(value, rel=1e-12)
        assert set(slope) == set(slope_)
        assert_same_gradient({k: slope[k] for k in p}, {k: slope_[k] for k in p}, tolerance)
        for name in {INPUT, START, PRETREATMENT} & set(slope):
            assert slope[name].shape == slope_[name].shape
            ours, wanted = slope[name], slope_[name]
            if name == START:  # where it is given
                given = ~np.isnan(problem.treatment.initial[slice(None) if rows is None else rows])
                ours, wanted = ours[given], wanted[given]
            size = np.abs(wanted).max(initial=0)
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerance * (1 + size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_fixed_steps_agree_with_numpy(julia, model, kind):
    compare(julia, *made(model, KINDS[kind]), pcb.Heun(0.1), 1e-10)


@pytest.mark.parametrize("solver", [pcb.Euler(0.1), pcb.Midpoint(0.1), pcb.RK4(0.3)], ids=repr)
def test_every_fixed_step_agrees_with_numpy(julia, solver):
    compare(julia, *made(MODELS[1], ALL), solver, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [*MODELS[:2], MODELS[-1]], ids=repr)
def test_tsit5_takes_the_steps_of_numpy(julia, model, kind):
    compare(julia, *made(model, KINDS[kind]), pcb.Tsit5(1e-5, 1e-7), 1e-10)


TIGHT = pcb.Tsit5(1e-10, 1e-12)


@pytest.mark.parametrize("kind", ["phases", "held alone", "all"])
@pytest.mark.parametrize(
    ("solver", "gradient"),
    [
        (TIGHT, "adjoint"),
        (TIGHT, "interpolating"),
        (TIGHT, "quadrature"),
        (pcb.Adaptive("Vern7", 1e-10, 1e-12), None),
        (pcb.Adaptive("Rodas5P", 1e-9, 1e-11), None),
    ],
    ids=repr,
)
def test_adjoints_of_sciml_are_those_of_the_exact_solution(julia, solver, gradient, kind):
    problem, p = made(MODELS[-1] if kind == "all" else MODELS[1], KINDS[kind])
    try:
        compare(julia, problem, p, solver, 1e-6, gradient, pcb.Tsit5(1e-11, 1e-13))
    except pcb.PycellboxError as error:
        if "precompile" not in str(error) and "not installed" not in str(error):
            raise
        pytest.skip(f"a Julia package does not load, update the project: {error}")


@pytest.mark.parametrize("scale", [0.2, 1.2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [MODELS[1], MODELS[-1]], ids=repr)
def test_steady_states_of_the_last_segment_agree_with_numpy(julia, model, kind, scale):
    # Weak interactions contract; of strong ones the past has to be followed.
    problem, p = made(model, KINDS[kind], times=(40.0,), scale=scale)
    solver = pcb.SteadyState(tol=1e-13, integrator=pcb.RK4(0.1))
    compare(julia, problem, p, solver, 1e-10)
    session, theirs = (b.session(problem, solver, Loss()) for b in (julia, NumpyBackend()))
    session.loss(p), theirs.loss(p)
    np.testing.assert_array_equal(session.settled, theirs.settled)


def oscillating(times):
    """Three conditions of an oscillator, one of which a held node brings to rest."""
    problem, p = made(pcb.CellBox(dose_saturation=None, self_interaction=True), ALL, times)
    W = np.zeros_like(p["W"])
    W[0, 0] = W[1, 1] = 1.5
    W[1, 0], W[0, 1] = 3.0, -3.0
    W[2, 0] = W[3, 1] = 0.3
    ones = np.ones(len(W))
    u = 0.2 * problem.treatment.perturbation
    treatment = dataclasses.replace(
        problem.treatment, perturbation=u, pretreatment=0.2 * problem.treatment.pretreatment
    )
    problem = dataclasses.replace(problem, treatment=treatment, perturbation=u[:, -1].copy())
    return problem, {"W": W, "alpha": ones, "epsilon": ones}


@pytest.mark.parametrize("steady", [False, True])
def test_what_does_not_settle_is_integrated(julia, steady):
    problem, p = oscillating((4.0,))
    step = pcb.RK4(0.1)
    solver = pcb.SteadyState(tol=1e-13, integrator=step) if steady else step
    compare(julia, problem, p, solver, 1e-8)
    if steady:
        session = julia.session(problem, solver, Loss())
        session.loss(p)
        assert not session.settled.all()


def test_a_horizon_before_the_last_phase_is_refused(julia):
    problem, _ = made(MODELS[0], ALL, times=(1.0,))
    with pytest.raises(SolverError, match=r"last phase starts at 1\.3 .*later horizon"):
        julia.session(problem, pcb.SteadyState(), Loss())


@pytest.mark.parametrize("solver", [pcb.Heun(0.1), pcb.SteadyState(tol=1e-13)], ids=repr)
def test_starts_given_with_the_parameters_count_once(julia, solver):
    problem, p = made(MODELS[1], ALL, times=(40.0,) if solver.steady else TIMES)
    session, theirs = (b.session(problem, solver, Loss()) for b in (julia, NumpyBackend()))
    before, moved = session.loss(p), p | {START: problem.treatment.initial + 0.1}
    wanted, slope = theirs.loss_and_gradient(moved)
    value, found = session.loss_and_gradient(moved)
    assert value == pytest.approx(wanted, rel=1e-10)
    assert value != before
    assert_same_gradient(found, {k: slope[k] for k in p}, 1e-10)
    np.testing.assert_allclose(
        session.solution(moved).states, theirs.solution(moved).states, atol=1e-10
    )
    assert session.loss(p) == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("steady", [False, True])
def test_fits_follow_numpy(julia, fitted, steady):
    # Without levels to fit, Julia trains by itself.
    data = experiment(told=-0.3, steady=steady)
    if not fitted:
        data = data.drop_vars(["held_fitted", "initial_fitted"], errors="ignore")
    solver = pcb.SteadyState(tol=1e-13) if steady else pcb.RK4(0.1)
    ours, theirs = (
        pcb.fit(
            data, backend=name, progress=False, seed=1, solver=solver,
            schedule=pcb.Stage(40, learning_rate=0.02),
        )
        for name in ("julia", "numpy")
    )  # fmt: skip
    assert ours.backend == "julia"
    for name in ("loss", "gradient_norm"):
        a, b = (fit.history[name].values for fit in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-8)
    for name in theirs.parameters:
        if theirs.parameters[name].dtype.kind == "f":
            np.testing.assert_allclose(ours.parameters[name], theirs.parameters[name], atol=1e-8)


def test_residuals_and_their_jacobian(julia):
    problem, p = made(MODELS[-1], ALL)
    session = julia.session(problem, pcb.Heun(0.1), Loss())
    jacobian = session.residuals_and_jacobian(p)[1]
    wanted = NumpyBackend().session(problem, pcb.Heun(0.1), Loss()).residuals_and_jacobian(p)[1]
    np.testing.assert_allclose(jacobian, wanted, atol=1e-5)


def test_single_precision(julia):
    problem, p = made(MODELS[1], ALL)
    t = problem.treatment
    narrow = {
        k: getattr(t, k).astype("float32") for k in ("perturbation", "initial", "pretreatment")
    }
    of = {k: getattr(problem, k).astype("float32") for k in ("perturbation", "response", "weight")}
    single = dataclasses.replace(problem, treatment=dataclasses.replace(t, **narrow), **of)
    p32 = {k: v.astype("float32") for k, v in p.items()}
    value, slope = julia.session(single, pcb.Heun(0.1), Loss()).loss_and_gradient(p32)
    wanted, slope_ = julia.session(problem, pcb.Heun(0.1), Loss()).loss_and_gradient(p)
    assert value == pytest.approx(wanted, rel=1e-5)
    assert_same_gradient(slope, slope_, 1e-3)


def test_forward_sensitivities_are_refused(julia):
    problem, _ = made(MODELS[0], ALL)
    solver = pcb.Tsit5()
    why = julia.supports(solver, "forward", treated=True)
    assert "phases, held nodes" in why
    with pytest.raises(BackendError, match="forward"):
        julia.session(problem, solver, Loss(), "forward")
