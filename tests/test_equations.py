"""The seam for other equations: a second model, fitted, kept and predicted like a network."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.errors import BackendError, ModelError, OptionError
from pycellbox.models import ENVELOPES, FORMS, Structure, model_from_dict
from pycellbox.numerics.equations import INPUT, START, Field
from pycellbox.numerics.lowering import Lowering, equations_of
from pycellbox.objective import Loss
from pycellbox.problem import Problem, parameter_arrays, structure_of
from tests.support.compartments import Compartments
from tests.support.problems import random_parameters, random_problem

NODES = ["a", "b", "c", "d"]
TIMES = [0.5, 1.0, 2.0, 4.0]
LBFGS = pcb.Stage(iterations=60, optimizer=pcb.LBFGS())


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    rates = {"delta": ("node", [0.5, 1.0, 1.5, 2.0]), "gain": ("node", [1.0, 0.5, -0.3, 2.0])}
    return xr.Dataset({"kappa": 0.8, **rates}, coords={"node": NODES})


@pytest.fixture(scope="module")
def courses(truth: xr.Dataset) -> xr.Dataset:
    u = xr.DataArray(
        np.random.default_rng(0).normal(size=(6, 4)),
        {"condition": [f"k{i}" for i in range(6)], "node": NODES},
        ("condition", "node"),
    )
    x = pcb.solve(Compartments(0.2), truth, u, solver=pcb.RK4(0.05), times=TIMES, backend="numpy")
    x["time"].attrs["units"] = "1"
    kinds = ("node", ["protein"] * 4)
    return xr.Dataset({"perturbation": u, "response": x}).assign_coords(node_kind=kinds)


def problem_of(data: xr.Dataset, model: Compartments) -> Problem:
    return Problem.from_dataset(data, structure_of(data, model), None)


needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason='needs JAX: "pycellbox[jax]"')


@pytest.mark.parametrize("backend", ["numpy", pytest.param("jax", marks=needs_jax)])
def test_it_is_fitted_saved_loaded_and_predicted(courses, truth, tmp_path, backend):
    fit = pcb.fit(
        courses, Compartments(0.2), solver=pcb.RK4(0.05), schedule=LBFGS, penalty=pcb.Penalty(),
        backend=backend,
    )  # fmt: skip
    assert fit.backend == backend
    for name in truth:
        np.testing.assert_allclose(fit.parameters[name], truth[name], atol=2e-3)
    assert "κSx" in repr(fit)
    assert "kappa" in repr(fit)
    assert fit._repr_html_()
    fit.save(tmp_path / "ring.nc")
    again = pcb.load(tmp_path / "ring.nc")
    assert again.model == Compartments(0.2)
    predicted = again.predict(courses, backend=backend)
    np.testing.assert_array_equal(predicted, fit.predictions)
    assert again.evaluate(courses).table.loc["Compartments"].notna().all()


def test_adaptive_steps_take_a_local_bound(courses, truth):
    asked = (Compartments(0.2), truth, courses["perturbation"])
    tight = pcb.solve(*asked, solver=pcb.Tsit5(1e-9, 1e-11), times=TIMES, backend="numpy")
    fine = pcb.solve(*asked, solver=pcb.RK4(0.005), times=TIMES, backend="numpy")
    np.testing.assert_allclose(tight, fine, atol=1e-8)


def test_steady_states_are_found(courses, truth):
    asked = {"solver": pcb.SteadyState(), "horizon": 60.0, "backend": "numpy"}
    x = pcb.solve(Compartments(), truth, courses["perturbation"], **asked)
    J = 0.8 * np.roll(np.eye(4), 1, axis=0) - 0.8 * np.eye(4) - np.diag(truth["delta"].values)
    wanted = -np.linalg.solve(J, (truth["gain"].values * courses["perturbation"].values).T).T
    np.testing.assert_allclose(x, wanted, atol=1e-12)
    assert x["settled"].all()


@pytest.mark.parametrize("solver", [pcb.Heun(0.1), pcb.Tsit5(1e-8, 1e-10)], ids=repr)
def test_its_gradient_agrees_with_finite_differences(courses, truth, solver):
    problem = problem_of(courses.assign(response=1.3 * courses["response"]), Compartments(0.2))
    parameters = parameter_arrays(problem.structure, truth, np.float64)
    numpy = get_backend("numpy")
    value, exact = numpy.session(problem, solver, Loss()).loss_and_gradient(parameters)
    slow = numpy.session(problem, solver, Loss(), "finite-difference")
    again, differences = slow.loss_and_gradient(parameters)
    assert value == again
    for name in exact:
        np.testing.assert_allclose(exact[name], differences[name], atol=2e-7)
    assert_inputs_agree(problem, parameters, solver)


def assert_inputs_agree(problem: Problem, parameters, solver, tolerance: float = 2e-6) -> None:
    """∂L/∂u and ∂L/∂x(0) against central differences of the loss."""
    numpy = get_backend("numpy")
    _, gradient = numpy.session(problem, solver, Loss()).loss_and_gradient(parameters, inputs=True)
    scale = max(np.abs(gradient[INPUT]).max(), 1e-8)

    def loss(u: np.ndarray, start: np.ndarray | None = None) -> float:
        session = numpy.session(dataclasses.replace(problem, perturbation=u), solver, Loss())
        if start is not None:
            drive = session.drive
            session.drive = dataclasses.replace(drive, initial=drive.initial + start)
        return session.loss(parameters)

    u, h = problem.perturbation, 1e-6
    rng = np.random.default_rng(0)
    for _ in range(6):
        at = tuple(rng.integers(0, s) for s in u.shape)
        step = np.zeros_like(u)
        step[at] = h
        wanted = (loss(u + step) - loss(u - step)) / (2 * h)
        assert gradient[INPUT][at] == pytest.approx(wanted, abs=tolerance * scale), at
        if not solver.steady:
            wanted = (loss(u, step) - loss(u, -step)) / (2 * h)
            assert gradient[START][at] == pytest.approx(wanted, abs=tolerance * scale), at


@pytest.mark.parametrize(
    "solver", [pcb.Heun(0.2), pcb.Tsit5(1e-9, 1e-11), pcb.SteadyState(tol=1e-13)], ids=repr
)
@pytest.mark.parametrize("drugs", ["input", "clamped"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("saturation", [None, 0.5])
def test_networks_have_gradients_of_their_inputs(solver, drugs, form, saturation):
    model = pcb.CellBox(form=form, drugs=drugs, dose_saturation=saturation)
    rng = np.random.default_rng(3)
    problem = random_problem(model, rng, times=(6.0,), conditions=4)
    assert_inputs_agree(problem, random_parameters(model, rng, scale=0.3), solver)


def test_small_networks_have_gradients_of_their_inputs():
    """The folded path."""
    model = pcb.CellBox(drugs="clamped")
    rng = np.random.default_rng(4)
    problem = random_problem(model, rng, times=(0.0, 3.0, 6.0), conditions=3)
    assert_inputs_agree(problem, random_parameters(model, rng, scale=0.3), pcb.RK4(0.1))


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("form", FORMS)
def test_a_networks_field_has_the_derivatives_it_says(envelope, form):
    model = pcb.CellBox(form=form, envelope=envelope, drugs="clamped", degree=2)
    rng = np.random.default_rng(5)
    problem = random_problem(model, rng, conditions=3)
    parameters = random_parameters(model, rng, scale=0.4)
    equations = equations_of(problem.structure)
    assert isinstance(equations, Lowering)
    x = 0.3 * rng.normal(size=problem.perturbation.shape) + 0.05
    field = equations.field(parameters, equations.drive(problem.perturbation))
    np.testing.assert_allclose(field.jacobian(x), Field.jacobian(field, x), atol=1e-12)
    h, step = 1e-6, rng.normal(size=x.shape)
    wanted = (field.value(x + h * step) - field.value(x - h * step)) / (2 * h)
    np.testing.assert_allclose(
        np.einsum("cij,cj->ci", field.jacobian(x), step), wanted, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize(
    "solver",
    [pcb.Heun(0.05), pcb.Tsit5(1e-8, 1e-10), pcb.SteadyState(tol=1e-13)],
    ids=["Heun", "Tsit5", "SteadyState"],
)
def test_residuals_have_a_jacobian_in_both_coordinates(solver, degree):
    from pycellbox.fitting.objective import Objective
    from pycellbox.numerics.priors import Priors

    model = pcb.CellBox(degree=degree)  # drugs share a column
    rng = np.random.default_rng(6)
    problem = random_problem(
        model, rng, times=(8.0,) if solver.steady else (2.0, 8.0), conditions=4
    )
    parameters = random_parameters(model, rng, scale=0.3)
    session = get_backend("numpy").session(problem, solver, Loss())
    pair = equations_of(problem.structure).parametrization(parameters, problem)
    nothing = Priors(problem.structure.layout)
    objective = Objective(session, pair, pcb.Penalty(), 1, nothing, 0.0)
    raw = pair.unconstrain(parameters)
    residuals, jacobian = objective.residuals_and_jacobian(raw)
    assert residuals.size == np.count_nonzero(problem.weight)
    assert jacobian.shape == (residuals.size, pair.layout.free.size)
    # 2 rᵀJ/m is the gradient of the mean square, which is exact.
    _, loss, gradient = objective.value_and_gradient(raw)
    assert loss == pytest.approx(np.mean(residuals**2), rel=1e-6)
    slope = 2 * residuals @ jacobian / residuals.size
    # That of fixed steps is the derivative of the steps, not of the equation.
    tolerance = (2e-3 if isinstance(solver, pcb.Heun) else 1e-5) * np.abs(gradient).max()
    np.testing.assert_allclose(slope, gradient[pair.layout.free], atol=tolerance)
    layout = problem.structure.layout
    _, effective = session.residuals_and_jacobian(parameters)
    _, exact = session.loss_and_gradient(parameters)
    slope = 2 * residuals @ effective / residuals.size
    np.testing.assert_allclose(slope, layout.join(exact)[layout.free], atol=2 * tolerance)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("jax", marks=needs_jax)])
def test_its_gradient_has_the_dims_of_its_parameters(courses, truth, backend):
    asked = {"solver": pcb.Heun(0.2), "backend": backend}
    _, gradient = pcb.value_and_gradient(Compartments(), truth, courses, **asked)
    assert {n: g.dims for n, g in gradient.items()} == {n: p.dims for n, p in truth.items()}
    with pytest.raises(ModelError, match=r"^parameter kappa is -1; it must be ≥ 0"):
        pcb.value_and_gradient(Compartments(), truth.assign(kappa=-1.0), courses, **asked)


def test_residuals_of_another_equation_have_a_jacobian(courses, truth):
    problem = problem_of(courses.assign(response=1.3 * courses["response"]), Compartments(0.2))
    parameters = parameter_arrays(problem.structure, truth, np.float64)
    session = get_backend("numpy").session(problem, pcb.RK4(0.1), Loss())
    residuals, jacobian = session.residuals_and_jacobian(parameters)
    _, gradient = session.loss_and_gradient(parameters)
    layout = problem.structure.layout
    np.testing.assert_allclose(
        2 * residuals @ jacobian / residuals.size, layout.join(gradient), atol=1e-12
    )


def test_residuals_at_time_zero_have_a_jacobian_of_zeros(courses, truth):
    problem = problem_of(courses, Compartments(0.2))
    start = dataclasses.replace(
        problem, times=np.zeros(1), response=problem.response[:, :1], weight=problem.weight[:, :1]
    )
    parameters = parameter_arrays(problem.structure, truth, np.float64)
    session = get_backend("numpy").session(start, pcb.RK4(0.1), Loss())
    _, jacobian = session.residuals_and_jacobian(parameters)
    np.testing.assert_array_equal(jacobian, 0)


def test_an_unknown_model_says_what_to_import():
    with pytest.raises(OptionError, match=r"'Rings' is unknown.*Compartments.*Import"):
        model_from_dict({"name": "Rings"})


def test_what_a_network_alone_can_do_is_refused_to_others(courses):
    fit = pcb.fit(
        courses, Compartments(), solver=pcb.RK4(0.2), schedule=pcb.Stage(iterations=2),
        backend="numpy",
    )  # fmt: skip
    with pytest.raises(ModelError, match="network"):
        pcb.refine(fit)
    with pytest.raises(ModelError, match="network"):
        pcb.prune(fit, edges=[2], folds=2)
    assert get_backend("numpy").supports(pcb.Adaptive("Rodas5P"))
    with pytest.raises(BackendError, match="no solver Adaptive"):
        pcb.fit(courses, Compartments(), solver=pcb.Adaptive("Rodas5P"), backend="numpy")


def test_a_model_without_a_free_parameter_is_refused():
    model = Compartments()
    structure = Structure.over(model, NODES, ["protein"] * 4)
    fixed = tuple(
        dataclasses.replace(p, fixed=np.ones(p.shape, dtype=bool))
        for p in structure.layout.parameters
    )
    nothing = dataclasses.replace(structure, layout=type(structure.layout)(fixed))
    with pytest.raises(ModelError, match="nothing to fit"):
        nothing.check()


def test_auto_takes_a_backend_that_has_the_equation(monkeypatch):
    from pycellbox.backends import registry

    monkeypatch.setattr(registry, "_choose", lambda process: "the one for networks")
    assert registry.get_backend(model=pcb.CellBox()) == "the one for networks"
    assert registry.get_backend(model=Compartments()).name == "numpy"
