"""The two ways of taking fixed steps, and the blocks in which both are reversed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import pycellbox.backends.numpy  # noqa: F401
from pycellbox.backends.numpy import NumpyBackend, folded, tape
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.models import FORMS, CellBox
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.objective import Loss
from pycellbox.solvers import RK4, Euler, Heun, Midpoint, Tsit5
from tests.support.problems import random_parameters, random_problem, structure

# The package exports a function of the same name as this module.
integrate = sys.modules["pycellbox.backends.numpy.integrate"]
TIMES = (0.0, 1.0, 1.7, 5.0)
MODELS = [
    *(CellBox(form=form, degree=2, dose_saturation=None) for form in FORMS),
    *(CellBox(form=form, drugs="clamped", dose_saturation=0.3) for form in FORMS),
    *(CellBox(form=form, dose_saturation=0.3) for form in FORMS),
    *(CellBox(envelope=envelope) for envelope in ("linear", "clip", "sigmoid")),
]


def evaluate(model, solver, rows=None):
    rng = np.random.default_rng(0)
    problem = random_problem(model, rng, conditions=4, times=TIMES)
    parameters = random_parameters(model, rng)
    session = NumpySession(problem, solver, Loss())
    session.loss_and_gradient(parameters, [1, 2])  # the tape is used again in another size
    value, gradient = session.loss_and_gradient(parameters, rows)
    assert session.loss(parameters, rows) == value
    return value, gradient


def assert_same(first, second, tolerance=1e-12):
    assert first[0] == pytest.approx(second[0], rel=tolerance)
    for name, wanted in second[1].items():
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(first[1][name], wanted, rtol=0, atol=tolerance * scale)


@pytest.fixture
def always(monkeypatch):
    def choose(fold: bool) -> None:
        monkeypatch.setattr(integrate, "pays", lambda *_: fold)

    return choose


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("method", [Euler, Midpoint, Heun, RK4])
def test_folded_steps_are_the_plain_ones(model, method, always):
    always(True)
    as_matrices = evaluate(model, method(0.1), [3, 0, 1])
    always(False)
    assert_same(as_matrices, evaluate(model, method(0.1), [3, 0, 1]))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_blocks_of_any_length_give_the_same(fold, steps, always, monkeypatch):
    always(fold)
    model = CellBox(form=2)
    whole = evaluate(model, RK4(0.1))
    n = len(structure(model).nodes)
    state = 4 * n * 8  # of four conditions
    monkeypatch.setattr(tape, "_BLOCK_BYTES", steps * 4 * state)
    monkeypatch.setattr(folded, "_BLOCK_BYTES", steps * 5 * state)
    assert_same(evaluate(model, RK4(0.1)), whole)


@pytest.mark.parametrize("steps", [1, 3])
def test_blocks_of_adaptive_steps(steps, monkeypatch):
    model = CellBox(envelope="hill", order=2)
    whole = evaluate(model, Tsit5(1e-6, 1e-8))
    n = len(structure(model).nodes)
    monkeypatch.setattr(tape, "_BLOCK_BYTES", steps * 6 * 4 * n * 8)
    assert_same(evaluate(model, Tsit5(1e-6, 1e-8)), whole)


def test_float32_stays_float32(always):
    always(True)
    model = CellBox(form=2)
    rng = np.random.default_rng(1)
    problem = random_problem(model, rng, dtype="float32")
    parameters = random_parameters(model, rng, dtype="float32")
    _, gradient = NumpySession(problem, Heun(0.1), Loss()).loss_and_gradient(parameters)
    assert {array.dtype for array in gradient.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("fold", [True, False])
def test_parameters_of_another_precision_than_the_perturbation(fold, always):
    always(fold)
    model = CellBox(form=2)
    rng = np.random.default_rng(3)
    parameters, u = random_parameters(model, rng), rng.normal(size=(3, 7)).astype("float32")
    states = (
        NumpyBackend().solve(structure(model), Heun(0.1), parameters, u, np.array([2.0])).states
    )
    assert states.dtype == np.float32
    exact = (
        NumpyBackend()
        .solve(structure(model), Heun(0.1), parameters, u.astype(float), np.array([2.0]))
        .states
    )
    np.testing.assert_allclose(states, exact, atol=1e-5)


def test_folded_only_where_it_pays():
    tanh = envelope_kernel(CellBox())
    hill = envelope_kernel(CellBox(envelope="hill", order=2))
    assert folded.pays(tanh, 20, 5, [100])
    assert not folded.pays(tanh, 89, 99, [100])  # matrices full of zeros
    assert not folded.pays(tanh, 20, 5, [2] * 50)  # a new pair of matrices every other step
    assert not folded.pays(hill, 20, 5, [100])  # its slope needs z, which is not kept


def test_clamped_nodes_do_not_drift(always):
    always(True)
    model = CellBox(drugs="clamped", dose_saturation=None)
    s, rng = structure(model), np.random.default_rng(2)
    u = rng.normal(size=(3, s.n_nodes))
    states = (
        NumpyBackend()
        .solve(s, Heun(0.1), random_parameters(model, rng), u, np.array([3.0, 50.0]))
        .states
    )
    dose = np.broadcast_to(u[:, None, s.is_drug], states[:, :, s.is_drug].shape)
    np.testing.assert_array_equal(states[:, :, s.is_drug], dose)
