"""Equations that are no network, on the JAX backend.

Skipped where JAX or diffrax is missing: pip install "pycellbox[jax]".
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.models import Model, Parameter, Structure
from pycellbox.numerics.equations import Equations
from pycellbox.objective import Loss
from pycellbox.problem import Problem
from tests.support.compartments import Compartments, Dose, RingEquations
from tests.support.problems import assert_same_gradient

pytest.importorskip("jax", reason='needs JAX: pip install "pycellbox[jax]"')
pytest.importorskip("diffrax", reason='needs diffrax: pip install "pycellbox[jax]"')

from pycellbox.backends import jax as ours
from pycellbox.backends.jax import programs

pytestmark = pytest.mark.slow  # most of the time JAX compiles
TIMES = (0.0, 0.4, 1.0, 2.0)
SETTLING = (0.0, 1.0, 40.0, 80.0)
NODES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def backend():
    return get_backend("jax")


def problem_of(model: Model, seed: int = 0, dtype: str = "float64", times=TIMES) -> Problem:
    rng = np.random.default_rng(seed)
    shape = (5, len(times), 4)
    weight = rng.random(shape) > 0.2
    return Problem(
        structure=Structure.over(model, NODES, ["protein"] * 4),
        conditions=tuple("vwxyz"),
        perturbation=rng.normal(size=(5, 4)).astype(dtype),
        response=(rng.normal(size=shape) * weight).astype(dtype),
        weight=weight.astype(dtype),
        times=np.array(times),
        steady=False,
    )


def ring(dtype: str = "float64") -> dict[str, Any]:
    values = {"kappa": 0.8, "delta": [0.5, 1.0, 1.5, 2.0], "gain": [1.0, 0.5, -0.3, 2.0]}
    return {name: np.array(value, dtype) for name, value in values.items()}


class Levels(NamedTuple):
    """A drive with more than arrays of floats."""

    initial: Any
    doses: dict[str, Any]
    order: Any
    power: int

    def rows(self, index):
        doses = {name: np.ascontiguousarray(dose[index]) for name, dose in self.doses.items()}
        return self._replace(initial=self.initial[index], doses=doses)


@dataclasses.dataclass(frozen=True)
class Mixed(Model):
    """dx/dt = tanh(K x + u^power) − x, with the inputs in another order."""

    power: int = 2
    settings: Any = None

    equation = "dx/dt = tanh(Kx + u^power) − x"

    def declare(self, nodes, node_kind):
        return (Parameter("K", ("node", "source"), (len(nodes),) * 2, start=0.1),)

    def equations(self, structure):
        return MixedEquations(structure)


class MixedEquations(Equations):
    def drive(self, perturbation):
        order = np.arange(perturbation.shape[1])[::-1].copy()
        doses = {"u": perturbation[:, order]}
        return Levels(0 * perturbation, doses, order, self.structure.model.power)

    def rate(self, space, x, drive, parameters):
        z = x @ parameters["K"].T + drive.doses["u"][:, drive.order] ** drive.power
        return space.tanh(z) - x

    def field(self, parameters, drive):
        raise AssertionError("fixed steps need none")


def test_solutions_and_gradients_agree_with_numpy(backend):
    """With rows, a prefix, and the derivative by the inputs; x(0) depends on them."""
    problem, solver = problem_of(Compartments(0.2)), pcb.Heun(0.2)
    asked = problem.structure, solver, ring(), problem.perturbation, problem.times
    found, wanted = (b.solve(*asked) for b in (backend, NumpyBackend()))
    np.testing.assert_allclose(found.states, wanted.states, atol=1e-13)
    np.testing.assert_array_equal(found.steps, wanted.steps)
    sessions = [b.session(problem, solver, Loss()) for b in (backend, NumpyBackend())]
    for rows, prefix in [([2, 0], 2), ([1, 3], 1), ([4, 3], None)]:
        (value, gradient), (loss, slope) = (
            s.loss_and_gradient(ring(), rows, prefix, inputs=True) for s in sessions
        )
        assert value == pytest.approx(loss, rel=1e-12)
        assert sessions[0].loss(ring(), rows, prefix) == pytest.approx(value, rel=1e-14)
        assert gradient.keys() == slope.keys()
        assert_same_gradient(gradient, slope, 1e-10)
        gradient["delta"] += 1  # the caller's own


def test_residuals_have_the_jacobian_of_numpy(backend):
    problem = problem_of(Compartments(0.2))
    (r, J), (residuals, jacobian) = (
        b.session(problem, pcb.Heun(0.2), Loss()).residuals_and_jacobian(ring())
        for b in (backend, NumpyBackend())
    )
    np.testing.assert_allclose(r, residuals, atol=1e-13)
    np.testing.assert_allclose(J, jacobian, atol=1e-12)


@pytest.mark.parametrize("tolerances", [(1e-9, 1e-11), (1e-2, 1e-4)])
def test_adaptive_steps_stay_stable(backend, tolerances):
    """Once all has settled the error is nil at any step: a local bound keeps them short."""
    problem = problem_of(Compartments(), times=SETTLING)
    session = backend.session(problem, pcb.Tsit5(*tolerances), Loss())
    exact = NumpyBackend().session(problem, pcb.RK4(0.01), Loss())
    (value, gradient), (wanted, slope) = (s.loss_and_gradient(ring()) for s in (session, exact))
    assert value == pytest.approx(wanted, rel=tolerances[0])
    assert_same_gradient(gradient, slope, 0.5 * tolerances[0])


def test_float32_stays_float32(backend):
    problem = problem_of(Compartments(0.2), dtype="float32")
    value, gradient = backend.session(problem, pcb.Heun(0.2), Loss()).loss_and_gradient(
        ring("float32"), [0, 1], 3
    )
    wanted, slope = (
        NumpyBackend()
        .session(problem, pcb.Heun(0.2), Loss())
        .loss_and_gradient(ring("float32"), [0, 1], 3)
    )
    assert value == pytest.approx(wanted, rel=1e-5)
    assert_same_gradient(gradient, slope, 1e-4)
    assert {g.dtype.name for g in gradient.values()} == {"float32"}


def test_a_drive_of_any_make_in_segments(backend, monkeypatch):
    """Named tuples, mappings, index arrays, numbers; parameters that are matrices."""
    problem = problem_of(Mixed())
    parameters = {"K": np.random.default_rng(1).normal(size=(4, 4))}
    slow = backend.session(problem, pcb.Heun(0.1), Loss(), "finite-difference")
    value, differences = slow.loss_and_gradient(parameters, [3, 1])
    monkeypatch.setattr(ours.plan, "_TAPE_BYTES", 7 * problem.perturbation.nbytes)
    session = backend.session(problem, pcb.Heun(0.1), Loss())
    again, gradient = session.loss_and_gradient(parameters, [3, 1], inputs=True)
    assert again == pytest.approx(value, rel=1e-13)
    assert_same_gradient({"K": gradient["K"]}, differences, 1e-7)
    h, step = 1e-6, np.zeros_like(problem.perturbation)
    step[3, 2] = h
    up, down = (
        backend.session(
            dataclasses.replace(problem, perturbation=problem.perturbation + s),
            pcb.Heun(0.1),
            Loss(),
        ).loss(parameters, [3, 1])
        for s in (step, -step)
    )
    assert gradient["perturbation"][0, 2] == pytest.approx((up - down) / (2 * h), abs=1e-8)


def test_one_compilation_for_equal_structures(backend):
    def evaluate(model, seed, rows):
        session = backend.session(problem_of(model, seed), pcb.Heun(0.5), Loss())
        return session.loss_and_gradient({"K": np.full((4, 4), 0.1 * seed)}, rows)[0]

    evaluate(Mixed(settings={"a": [1, 2]}), 1, [0, 1])
    compiled = programs.value_and_gradient._cache_size()
    evaluate(Mixed(settings={"a": [1, 2]}), 2, [3, 2])
    assert programs.value_and_gradient._cache_size() == compiled
    # Another power is another program, and not the one before.
    values = [evaluate(Mixed(power, {"a": [1, 2]}), 1, [0, 1]) for power in (2, 3)]
    assert programs.value_and_gradient._cache_size() == compiled + 1
    assert values[0] != values[1]


class Unwritten(RingEquations):
    rate = Equations.rate


class Branching(RingEquations):
    def rate(self, space, x, drive, parameters):
        return super().rate(space, x if x[0, 0] < 9 else 0 * x, drive, parameters)


class NumpyAlone(RingEquations):
    def rate(self, space, x, drive, parameters):
        return np.tanh(x)


class Misshapen(RingEquations):
    def rate(self, space, x, drive, parameters):
        return super().rate(space, x, drive, parameters).sum(axis=0)


class Looked(RingEquations):
    """JAX computes it, and cannot differentiate its drive."""

    def drive(self, perturbation):
        u = np.ascontiguousarray(perturbation)
        return Dose(u, 0 * u)


@pytest.mark.parametrize(
    ("equations", "wanted"),
    [
        (Unwritten, r"Compartments.*`rate`.*not written"),
        (Branching, r"`rate` of the equations of Compartments does not work on arrays of JAX"),
        (NumpyAlone, r"`rate` of the equations of Compartments does not work on arrays of JAX"),
        (Misshapen, r"gives \(4,\) for states \(5, 4\)"),
        (Looked, r"`drive` of the equations of Compartments does not work on arrays of JAX"),
    ],
)
def test_what_jax_cannot_take_is_said_before_any_work(backend, monkeypatch, equations, wanted):
    monkeypatch.setattr(Compartments, "equations", lambda self, structure: equations(structure))
    problem, solver = problem_of(Compartments()), pcb.Heun(0.2)
    if equations is Looked:
        session = backend.session(problem, solver, Loss())
        with pytest.raises(BackendError, match=wanted):
            session.loss_and_gradient(ring(), inputs=True)
        return
    with pytest.raises(BackendError, match=wanted):
        backend.session(problem, solver, Loss())
    with pytest.raises(BackendError, match=wanted):
        backend.solve(problem.structure, solver, ring(), problem.perturbation, problem.times)


def test_divergence_is_said(backend):
    problem = problem_of(Compartments(), times=(0.0, 100.0, 200.0, 400.0))
    wild = ring() | {"delta": np.full(4, -5.0)}
    for solver in (pcb.Heun(0.5), pcb.Tsit5()):
        session = backend.session(problem, solver, Loss())
        with pytest.raises(DivergenceError, match=r"not finite|gave up"):
            session.loss_and_gradient(wild)
