"""What of Julia can be written down and gone on from, and its gradients of the inputs.

Skipped where Julia is not ready: `pycellbox julia install`, or PYTHON_JULIACALL_EXE and
PYTHON_JULIACALL_PROJECT for a prepared environment.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.julia.project import readiness
from pycellbox.backends.protocol import Batch, TrainingPlan
from pycellbox.models import Structure
from pycellbox.numerics.parametrization import NetworkParametrization
from pycellbox.objective import EDGE_GROUPS, Loss
from tests.support.compartments import Compartments
from tests.support.problems import assert_same_gradient, random_parameters, random_problem

STATE = readiness()
pytestmark = pytest.mark.skipif(
    not STATE.ready, reason=f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
)
INPUTS = ("perturbation", "initial_state")
SOLVERS = [pcb.Heun(0.1), pcb.Tsit5(), pcb.SteadyState(tol=1e-12)]
KEYS = {"raw", "mean", "square", "previous", "best_raw"}
NUMBERS = {"best", "since", "count", "shrink", "retried"}


@pytest.fixture(scope="module")
def julia():
    return get_backend("julia")


@pytest.fixture(params=[1, 2])
def threads(request, julia):
    import juliacall

    if int(juliacall.Main.seval("Threads.nthreads()")) < request.param:
        pytest.skip("Julia was started with one thread")
    most = juliacall.Main.seval("n -> (PycellboxCore.MOST_THREADS[] = n)")
    most(request.param)
    yield request.param
    most(request.param)


def plan(problem, rng, rate=0.02, validation=()):
    dtype, c = problem.perturbation.dtype, len(problem.conditions)
    pair = NetworkParametrization(problem.structure, np.ones(problem.structure.n_nodes))
    raw = rng.normal(0.05, 0.1, pair.layout.size).astype(dtype)
    penalty = pair.layout.spread(dict.fromkeys(EDGE_GROUPS, 1e-3)).astype(dtype)
    return TrainingPlan(
        parametrization=pair, raw=raw, learning_rates=np.full_like(raw, rate), l1=penalty,
        l2=penalty, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01, clip_norm=math.inf,
        train=np.setdiff1d(np.arange(c), validation), validation=np.array(validation, np.int64),
        patience=0, full_batch=True,
    )  # fmt: skip


CASES = {
    "steady states": (pcb.SteadyState(), (60.0,), {}),
    "Tsit5": (pcb.Tsit5(), (0.5, 1.5), {}),
    "single precision": (pcb.SteadyState(), (60.0,), {"dtype": "float32"}),
    "validation": (pcb.SteadyState(), (60.0,), {"validation": (3, 5, 8)}),
    "a step that was retried": (pcb.Heun(0.5), (400.0,), {"envelope": "linear", "rate": 1.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_to_the_same_bits(julia, threads, case):
    solver, times, options = CASES[case]
    model = pcb.CellBox(envelope=options.get("envelope", "tanh"))
    c, dtype = (300 if solver != pcb.Heun(0.5) else 12), options.get("dtype", "float64")
    problem = random_problem(model, np.random.default_rng(1), times, c, dtype=dtype)

    def run():
        session = julia.session(problem, solver, Loss())
        kept = {k: options[k] for k in ("rate", "validation") if k in options}
        made = plan(problem, np.random.default_rng(2), **kept)
        return session, session.training_run(made), made

    def advance(run, made, count):
        return run.advance([Batch(made.train, True, 1.0)] * count)

    session, whole, made = run()
    first = advance(whole, made, 12)
    assert not first.failure
    state, warm = whole.state(), session.warm()
    assert set(state) == KEYS | NUMBERS
    assert all(state[k].shape == made.raw.shape and state[k].dtype == np.float64 for k in KEYS)
    assert state["count"] == 12
    wanted = advance(whole, made, 10)
    whole.finish()

    session, again, _ = run()
    advance(again, made, 3)  # what stands in it does not matter
    session.warm_up(warm)
    again.restore(state)
    assert {k: v.tobytes() for k, v in again.state().items()} == {
        k: v.tobytes() for k, v in state.items()
    }
    found = advance(again, made, 10)
    again.finish()
    seen = [np.array([[*vars(i).values()] for i in a.iterations]) for a in (found, wanted)]
    np.testing.assert_array_equal(*seen)
    assert again.retried == whole.retried
    assert (whole.retried > 0) == (case == "a step that was retried")
    ends = [{k: v.tobytes() for k, v in r.state().items()} for r in (whole, again)]
    assert ends[0] == ends[1]
    np.testing.assert_array_equal(whole.best_raw, again.best_raw)


def test_the_state_is_in_the_order_of_the_layout(julia):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(1))
    made = plan(problem, np.random.default_rng(2))
    run = julia.session(problem, pcb.Heun(0.1), Loss()).training_run(made)
    np.testing.assert_array_equal(run.state()["raw"], made.raw)


def test_a_steady_session_goes_on_to_the_same_bits(julia, threads):
    """States, adjoints and the correction are where the next evaluation starts."""
    model = pcb.CellBox()
    problem = random_problem(model, np.random.default_rng(1), (60.0,), 300)
    parameters = [
        random_parameters(model, np.random.default_rng(3), scale=s) for s in (0.2, 0.21, 0.22)
    ]
    session = julia.session(problem, pcb.SteadyState(), Loss())
    cold = session.warm()
    assert "correction" not in cold
    for p in parameters[:2]:
        session.loss_and_gradient(p)
    warm = session.warm()
    wanted = session.loss_and_gradient(parameters[2])
    other = julia.session(problem, pcb.SteadyState(), Loss())
    other.loss_and_gradient(random_parameters(model, np.random.default_rng(9), scale=0.1))
    other.warm_up(warm)
    found = other.loss_and_gradient(parameters[2])
    assert found[0] == wanted[0]
    for name in wanted[1]:
        np.testing.assert_array_equal(found[1][name], wanted[1][name])
    # And from nothing.
    other.warm_up(cold)
    fresh = julia.session(problem, pcb.SteadyState(), Loss()).loss_and_gradient(parameters[0])
    again = other.loss_and_gradient(parameters[0])
    np.testing.assert_array_equal(again[1]["W"], fresh[1]["W"])


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize(("form", "drugs"), [(0, "input"), (2, "clamped"), ("ji-code", "input")])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_of_the_inputs_are_those_of_numpy(julia, solver, form, drugs, dtype):
    model = pcb.CellBox(form=form, drugs=drugs)
    problem = random_problem(
        model, np.random.default_rng(1), (60.0,) if solver.steady else (0.0, 0.5, 1.5), dtype=dtype
    )
    parameters = random_parameters(model, np.random.default_rng(2), scale=0.3, dtype=dtype)
    ours, theirs = (
        backend.session(problem, solver, Loss()) for backend in (julia, get_backend("numpy"))
    )
    for rows in ([3, 1], None):
        value, gradient = ours.loss_and_gradient(parameters, rows, inputs=True)
        wanted, slopes = theirs.loss_and_gradient(parameters, rows, inputs=True)
        assert value == pytest.approx(wanted, rel=1e-9 if dtype == "float64" else 1e-4)
        assert set(gradient) == set(slopes) == {*parameters, *INPUTS}
        assert_same_gradient(gradient, slopes, 1e-8 if dtype == "float64" else 1e-3)
        for name in INPUTS:
            assert gradient[name].dtype == dtype
            assert gradient[name].shape == (len(rows or problem.conditions), 7)
        assert set(ours.loss_and_gradient(parameters, rows)[1]) == set(parameters)


@pytest.mark.parametrize("gradient", ["gauss", "interpolating"])
def test_adjoints_have_gradients_of_the_inputs(julia, gradient):
    model, tight = pcb.CellBox(drugs="clamped"), pcb.Tsit5(1e-9, 1e-11)
    problem = random_problem(model, np.random.default_rng(1), (0.0, 0.5, 1.5))
    parameters = random_parameters(model, np.random.default_rng(2), scale=0.3)
    adjoint, exact = (julia.session(problem, tight, Loss(), g) for g in (gradient, "discrete"))
    found, wanted = (s.loss_and_gradient(parameters, inputs=True)[1] for s in (adjoint, exact))
    assert_same_gradient(found, wanted, 1e-6)


def test_a_solution_says_which_conditions_diverged(julia):
    problem = random_problem(pcb.CellBox(envelope="linear"), np.random.default_rng(0), (90.0,))
    problem.perturbation[1:3] = 0.0
    parameters = random_parameters(problem.structure.model, np.random.default_rng(1), scale=30.0)
    given = (problem.structure, pcb.Heun(0.01), parameters, problem.perturbation, problem.times)
    ours, theirs = julia.solve(*given), get_backend("numpy").solve(*given)
    np.testing.assert_array_equal(ours.outcome, theirs.outcome)
    assert list(ours.diverged) == [True, False, False, True]


@pytest.mark.parametrize(
    ("solver", "gradient", "words"),
    [
        (pcb.Heun(0.1), None, ""),
        (pcb.Tsit5(), "adjoint", ""),
        (pcb.SteadyState(), "implicit", ""),
        (pcb.Tsit5(), "forward", "'adjoint' has"),
    ],
    ids=str,
)
def test_what_is_supported_of_the_inputs_is_said(julia, solver, gradient, words):
    assert words in julia.supports(solver, gradient, inputs=True)
    assert bool(julia.supports(solver, gradient, inputs=True)) == bool(words)


def test_another_model_than_cellbox_is_refused(julia):
    structure = Structure.over(Compartments(), ("a", "b", "c"), ("protein",) * 3)
    parameters = {"kappa": np.array(0.3), "delta": np.ones(3), "gain": np.ones(3)}
    with pytest.raises(pcb.BackendError, match="the equations of CellBox"):
        julia.solve(structure, pcb.Heun(0.1), parameters, np.ones((2, 3)), np.array([1.0]))
