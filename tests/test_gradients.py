"""The exact discrete gradient against finite differences and against automatic differentiation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pycellbox.backends.numpy import NumpyBackend
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.models import ENVELOPES, FORMS, CellBox
from pycellbox.numerics.differences import FiniteDifferenceSession
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.solvers import RK4, Euler, Heun, Midpoint, Tsit5
from tests.support.problems import (
    assert_same_gradient,
    models,
    random_parameters,
    random_problem,
    shifted_models,
)

autograd = pytest.importorskip("autograd", reason='needs autograd: pip install "pycellbox[test]"')
from tests.support import reference  # noqa: E402

FIXED = (Euler(0.1), Midpoint(0.1), Heun(0.1), RK4(0.1))


def by_autodiff(session: NumpySession, parameters, loss: str = "mse"):
    """Differentiate the steps that the session took, with an independent implementation."""
    problem, s = session.problem, session.problem.structure
    value, gradient = session.loss_and_gradient(parameters)
    tape = session._kept
    ends = np.cumsum(tape.sizes)
    outputs = [0 if t == 0 else int(np.argmin(np.abs(ends - t))) + 1 for t in problem.times]
    tableau = TABLEAUX[type(session.solver)]
    name = type(session.solver).__name__
    method = reference.RK.get(name, ([list(r) for r in tableau.A], list(tableau.b)))
    wanted = reference.loss_and_gradient(
        s.model, parameters, problem.perturbation, s.is_drug, s.mask, method, list(tape.sizes),
        outputs, problem.response, problem.weight, loss,
    )  # fmt: skip
    return (value, gradient), wanted


@pytest.mark.parametrize("model", [*models(), *shifted_models()], ids=repr)
def test_every_model_agrees_with_autodiff(model):
    rng = np.random.default_rng(1)
    problem = random_problem(model, rng)
    session = NumpySession(problem, Heun(0.1), Loss())
    (value, gradient), (wanted, slope) = by_autodiff(session, random_parameters(model, rng))
    assert value == pytest.approx(wanted, rel=1e-12)
    assert_same_gradient(gradient, slope, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [*FIXED, Tsit5(), Tsit5(1e-7, 1e-9)], ids=repr)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_every_solver_and_loss_agrees_with_autodiff(solver, form, loss):
    rng = np.random.default_rng(2)
    model = CellBox(form=form, degree=2, dose_saturation=None)
    problem = random_problem(model, rng, times=(0.0, 0.35, 1.0, 2.2))
    session = NumpySession(problem, solver, Loss(loss))
    (value, gradient), (wanted, slope) = by_autodiff(session, random_parameters(model, rng), loss)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert_same_gradient(gradient, slope, 1e-8)


@pytest.mark.parametrize("solver", FIXED, ids=repr)
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_agrees_with_finite_differences(solver, envelope):
    rng = np.random.default_rng(3)
    model = CellBox(envelope=envelope, form=2, dose_saturation=0.2)
    problem = random_problem(model, rng, times=(0.5, 1.5))
    session = NumpySession(problem, solver, Loss())
    parameters = random_parameters(model, rng, scale=0.4)
    value, exact = session.loss_and_gradient(parameters)
    again, differences = FiniteDifferenceSession(session).loss_and_gradient(parameters)
    assert value == again
    assert_same_gradient(exact, differences, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("tolerances", [(1e-2, 1e-4), (1e-3, 1e-6), (1e-6, 1e-8)])
@pytest.mark.parametrize("decay", [1.0, 30.0])
def test_settled_conditions_under_loose_tsit5(tolerances, decay):
    """Once all has settled the error is nil at any step; the derivative must not explode."""
    rng = np.random.default_rng(4)
    model = CellBox(dose_saturation=None)
    problem = random_problem(model, rng, times=(40.0,), missing=0.0)
    parameters = random_parameters(model, rng, scale=0.3)
    parameters["alpha"][1] *= decay
    session = NumpySession(problem, Tsit5(*tolerances), Loss())
    (_, gradient), (_, of_the_steps) = by_autodiff(session, parameters)
    assert_same_gradient(gradient, of_the_steps, 1e-8)
    # And it is the derivative of the settled state, not only of these steps.
    _, converged = NumpySession(problem, Tsit5(1e-11, 1e-13), Loss()).loss_and_gradient(parameters)
    assert_same_gradient(gradient, converged, 30 * tolerances[0])


def test_one_settled_condition_beside_moving_ones():
    rng = np.random.default_rng(5)
    model = CellBox(dose_saturation=None)
    problem = random_problem(model, rng, times=(1.0, 60.0), missing=0.0)
    problem.perturbation[0] = 0.0  # never moves at all
    parameters = random_parameters(model, rng, scale=0.3)
    _, loose = NumpySession(problem, Tsit5(1e-3, 1e-6), Loss()).loss_and_gradient(parameters)
    _, tight = NumpySession(problem, Tsit5(1e-11, 1e-13), Loss()).loss_and_gradient(parameters)
    assert_same_gradient(loose, tight, 1e-2)


def test_rows_add_up_to_the_whole():
    rng = np.random.default_rng(6)
    model = CellBox()
    problem = random_problem(model, rng, conditions=5)
    session = NumpySession(problem, RK4(0.2), Loss())
    parameters = random_parameters(model, rng)
    value, gradient = session.loss_and_gradient(parameters)
    count = np.count_nonzero(problem.weight, axis=(1, 2))
    parts = [session.loss_and_gradient(parameters, [r]) for r in range(5)]
    share = count / count.sum()
    assert value == pytest.approx(sum(w * v for w, (v, _) in zip(share, parts, strict=True)))
    for name, whole in gradient.items():
        added = sum(w * g[name] for w, (_, g) in zip(share, parts, strict=True))
        np.testing.assert_allclose(added, whole, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("solver", [RK4(0.2), Tsit5(1e-6, 1e-8)])
def test_the_first_times_alone(solver):
    rng = np.random.default_rng(8)
    model = CellBox()
    whole = random_problem(model, rng, times=(0.5, 1.0, 2.5))
    session, parameters = NumpySession(whole, solver, Loss()), random_parameters(model, rng)
    for k in (1, 2, 3):
        cut = dataclasses.replace(
            whole,
            times=whole.times[:k],
            response=whole.response[:, :k],
            weight=whole.weight[:, :k],
        )
        value, gradient = session.loss_and_gradient(parameters, [2, 0], prefix=k)
        wanted, slope = NumpySession(cut, solver, Loss()).loss_and_gradient(parameters, [2, 0])
        assert value == wanted
        assert_same_gradient(gradient, slope, 1e-15)


def test_gradient_is_zero_where_the_mask_forbids():
    rng = np.random.default_rng(7)
    model = CellBox(degree=2)
    problem = random_problem(model, rng)
    _, gradient = NumpySession(problem, Heun(0.1), Loss()).loss_and_gradient(
        random_parameters(model, rng)
    )
    assert (gradient["W"][~problem.structure.mask] == 0).all()
    assert (gradient["W"][problem.structure.mask] != 0).any()


@pytest.mark.parametrize("solver", [*FIXED, Tsit5()], ids=repr)
def test_float32_is_close_to_float64(solver):
    model = CellBox(form=2)
    results = {}
    for dtype in ("float64", "float32"):
        rng = np.random.default_rng(8)
        problem = random_problem(model, rng, times=(0.5, 2.0), dtype=dtype)
        parameters = random_parameters(model, rng, dtype=dtype)
        session = NumpySession(problem, solver, Loss())
        results[dtype] = session.loss_and_gradient(parameters)
        assert all(g.dtype == dtype for g in results[dtype][1].values())
    tolerance = 1e-2 if isinstance(solver, Tsit5) else 1e-4  # other steps may be accepted
    assert results["float32"][0] == pytest.approx(results["float64"][0], rel=tolerance)
    assert_same_gradient(results["float32"][1], results["float64"][1], tolerance)


def test_the_same_call_gives_the_same_bits():
    rng = np.random.default_rng(9)
    model = CellBox()
    problem = random_problem(model, rng)
    session = NumpySession(problem, Tsit5(), Loss())
    parameters = random_parameters(model, rng)
    first = session.loss_and_gradient(parameters)
    session.loss_and_gradient(parameters, [0, 2])  # buffers of another size in between
    second = session.loss_and_gradient(parameters)
    assert first[0] == second[0]
    for name in first[1]:
        np.testing.assert_array_equal(first[1][name], second[1][name])


def test_an_unstable_network_is_said_to_diverge():
    rng = np.random.default_rng(10)
    model = CellBox(envelope="linear")
    problem = random_problem(model, rng, times=(2000.0,))
    parameters = random_parameters(model, rng, scale=5.0)
    for solver in (Heun(0.1), Tsit5()):
        with pytest.raises(DivergenceError, match=r"not finite|vanishes|gave up"):
            NumpySession(problem, solver, Loss()).loss_and_gradient(parameters)


def test_unknown_gradient_of_the_backend():
    problem = random_problem(CellBox(), np.random.default_rng(0))
    with pytest.raises(BackendError, match=r"no gradient 'adjoint'.*discrete"):
        NumpyBackend().session(problem, Heun(0.1), Loss(), "adjoint")
