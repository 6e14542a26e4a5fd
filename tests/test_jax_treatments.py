"""Phases, held nodes, initial states and pre-treatments on the JAX backend, held to NumPy's.

Skipped where JAX or diffrax is missing: pip install "pycellbox[jax]".
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.errors import BackendError
from pycellbox.models import CellBox
from pycellbox.numerics.equations import START
from pycellbox.objective import Loss
from pycellbox.problem import Problem
from pycellbox.solvers import Solver
from tests.support.compartments import Compartments, RingEquations
from tests.support.problems import OSCILLATOR, assert_same_gradient, random_parameters

pytest.importorskip("jax", reason='needs JAX: pip install "pycellbox[jax]"')
pytest.importorskip("diffrax", reason='needs diffrax: pip install "pycellbox[jax]"')
pytest.importorskip("autograd", reason='needs autograd: pip install "pycellbox[test]"')

from pycellbox.backends import jax as ours
from pycellbox.backends.jax import programs
from tests.support.treatments import treated_problem

pytestmark = pytest.mark.slow  # most of the time JAX compiles

TIMES = (0.0, 0.4, 1.0, 2.2)  # 0.4 is a break
KINDS = {
    "held": {"held": True},
    "held and given": {"held": True, "initial": True},
    "pre-treated": {"held": True, "pretreated": True},
    "all": {"waiting": True, "held": True, "initial": True, "pretreated": True},
}
HEUN = pcb.Heun(0.1)
CLAMPED = CellBox(drugs="clamped", dose_saturation=0.5)
SHIFTED = dataclasses.replace(CLAMPED, operating_point=True, common_effect=True)
ROWS = (([3, 0], 2), ([1, 3], 1), ([2, 0], None), ([2, 2], 3))


@pytest.fixture(scope="module")
def backend():
    return get_backend("jax")


def parameters_of(model, seed=1, scale=0.2, dtype="float64"):
    return random_parameters(model, np.random.default_rng(seed), scale, dtype)


def compare(backend, problem: Problem, p: Any, solver: Solver, asked: Any, tolerance=1e-10):
    found, wanted = (b.session(problem, solver, Loss()) for b in (backend, NumpyBackend()))
    for rows, prefix in asked:
        value, gradient = found.loss_and_gradient(p, rows, prefix, inputs=True)
        loss, slope = wanted.loss_and_gradient(p, rows, prefix, inputs=True)
        assert value == pytest.approx(loss, rel=tolerance)
        assert gradient.keys() == slope.keys()
        for name, array in slope.items():
            assert (gradient[name].shape, gradient[name].dtype) == (array.shape, array.dtype), name
        assert_same_gradient(gradient, slope, tolerance)
    return found


def test_losses_and_gradients_agree_with_numpy(backend):
    """With rows, among them no pre-treated one, and prefixes before and behind breaks."""
    cases = [*((CLAMPED, kind) for kind in KINDS.values()), (SHIFTED, KINDS["all"])]
    for seed, (model, kind) in enumerate(cases):
        problem = treated_problem(model, np.random.default_rng(seed), TIMES, **kind)
        compare(backend, problem, parameters_of(model), HEUN, ROWS)


def test_what_is_not_there_is_left_out_of_programs(backend):
    """No mask where nothing is held; one program for all values, rows and prefixes."""
    model = CellBox()
    problem = treated_problem(model, np.random.default_rng(0), TIMES, initial=True)
    session = compare(backend, problem, parameters_of(model), pcb.Euler(0.1), ROWS[:1])
    assert session._plan.arrays.jump is session._plan.arrays.inputs.moves is None
    compiled = programs.value_and_gradient._cache_size()
    other = treated_problem(model, np.random.default_rng(1), TIMES, pretreated=True)
    compare(backend, other, parameters_of(model, 2), pcb.Euler(0.1), ROWS)
    assert programs.value_and_gradient._cache_size() == compiled


def test_gradients_agree_with_finite_differences(backend):
    """And states given with the parameters count; solve gives the states of the session."""
    problem = treated_problem(CLAMPED, np.random.default_rng(3), TIMES, **KINDS["all"])
    p, rows = parameters_of(CLAMPED), [0, 1]
    session, slow = (
        backend.session(problem, HEUN, Loss(), gradient) for gradient in (None, "finite-difference")
    )
    _, gradient = session.loss_and_gradient(p, rows, inputs=True)
    _, wanted = slow.loss_and_gradient(p, rows)
    assert_same_gradient(gradient, wanted, 1e-8)
    given = problem.treatment.initial + 0.1
    moved = dataclasses.replace(problem.treatment, initial=given)
    same = NumpyBackend().session(dataclasses.replace(problem, treatment=moved), HEUN, Loss())
    assert session.loss(p | {START: given}, rows) == pytest.approx(same.loss(p, rows), rel=1e-12)
    arguments = problem.structure, HEUN, p, problem.perturbation, problem.times
    found, wanted = (b.solve(*arguments, problem.treatment) for b in (backend, NumpyBackend()))
    np.testing.assert_allclose(found.states, wanted.states, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(found.states, session.solution(p).states)
    np.testing.assert_array_equal(found.rested, wanted.rested)
    np.testing.assert_array_equal(found.steps, wanted.steps)


def test_tsit5_begins_anew_at_breaks(backend):
    """Through a pulse much shorter than its steps, too."""
    model = CellBox(form=2, drugs="clamped")
    problem = treated_problem(model, np.random.default_rng(4), TIMES, **KINDS["all"])
    starts, u = np.array([-0.7, 0.4, 0.4001]), problem.treatment.perturbation.copy()
    u[:, 1] = 3e3
    pulse = dataclasses.replace(problem.treatment, starts=starts, perturbation=u)
    problem = dataclasses.replace(problem, treatment=pulse)
    p = parameters_of(model)
    compare(backend, problem, p, pcb.Tsit5(1e-9, 1e-11), [(None, None)], 1e-6)


def ring() -> dict[str, Any]:
    values = {"kappa": 0.8, "delta": [0.5, 1, 1.5, 2, 1, 1, 2], "gain": [1, 0.5, -0.3, 2, 1, 1, 1]}
    return {name: np.array(value, float) for name, value in values.items()}


def of_compartments(seed: int, **kind: bool) -> Problem:
    """Their x(0) depends on the inputs."""
    problem = treated_problem(CellBox(), np.random.default_rng(seed), TIMES, **kind)
    s = problem.structure
    own = pcb.models.Structure.over(Compartments(0.2), s.nodes, s.node_kind)
    return dataclasses.replace(problem, structure=own)


def test_other_equations_agree_with_numpy(backend):
    for seed, kind in enumerate(("held", "all")):
        compare(backend, of_compartments(seed, **KINDS[kind]), ring(), HEUN, ROWS)


def test_residuals_have_their_jacobian(backend):
    problem = treated_problem(SHIFTED, np.random.default_rng(3), TIMES, **KINDS["all"])
    p, layout = parameters_of(SHIFTED), problem.structure.layout
    residuals, jacobian = backend.session(problem, HEUN, Loss()).residuals_and_jacobian(p)
    _, gradient = NumpyBackend().session(problem, HEUN, Loss()).loss_and_gradient(p)
    mean = 2 * residuals @ jacobian / len(residuals)
    np.testing.assert_allclose(mean, layout.join(gradient)[layout.free], atol=1e-13)


@pytest.mark.parametrize("kind", ["network", "equation"])
def test_what_does_not_settle_before_is_integrated(backend, kind):
    if kind == "network":
        # Of the two pre-treated conditions one has a node of the oscillator held.
        rng = np.random.default_rng(6)
        problem = treated_problem(CLAMPED, rng, TIMES, **KINDS["pre-treated"])
        W = np.zeros((7, 7))
        W[:2, :2] = 3 * np.array(OSCILLATOR)
        p = {"W": W, "alpha": np.full(7, 4.0), "epsilon": np.full(7, 4.0)}
    else:
        problem = of_compartments(6, **KINDS["pre-treated"])
        p = ring() | {"delta": np.full(7, -0.002)}  # it grows, slowly
    session = compare(backend, problem, p, HEUN, [([0, 2], None), ([2, 2], 2), ([1, 2], 3)])
    found = session._plan._at_rest(p, problem.treatment, problem.treatment.initial, None)
    assert not found.rest.settled.all()


class Counting(RingEquations):
    """What its drive holds beside arrays depends on the perturbation."""

    def drive(self, perturbation):
        drive = super().drive(perturbation)
        object.__setattr__(drive, "largest", float(np.max(perturbation)))
        return drive


def test_phases_whose_drives_are_not_alike_are_refused(backend, monkeypatch):
    monkeypatch.setattr(Compartments, "equations", lambda self, structure: Counting(structure))
    with pytest.raises(BackendError, match=r"Compartments .* phases differ .* backend='numpy'"):
        backend.session(of_compartments(0), HEUN, Loss())


def test_treatments_in_parts_and_in_float32(backend, monkeypatch):
    monkeypatch.setattr(ours.plan, "_TAPE_BYTES", 2000)
    model = CellBox(form=2, envelope="hill")
    problem = treated_problem(model, np.random.default_rng(3), TIMES, **KINDS["all"])

    def narrow(of, *names):
        return {name: getattr(of, name).astype("float32") for name in names}

    arrays = narrow(problem.treatment, "perturbation", "initial", "pretreatment")
    problem = dataclasses.replace(
        problem,
        treatment=dataclasses.replace(problem.treatment, **arrays),
        **narrow(problem, "perturbation", "response", "weight"),
    )
    p = parameters_of(model, dtype="float32")
    session = compare(backend, problem, p, pcb.Midpoint(0.1), [([3, 0], 3)], 1e-4)
    assert session._plan.evaluation(p, session._plan.arrays, None, 4, False).method.parts > 3
