"""Steady states as fixed points: the right ones, exactly, or a word that there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.backends.numpy.steady import find
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.errors import BackendError, OptionError, SolverError
from pycellbox.inputs import inputs_of_data
from pycellbox.models import ENVELOPES, FORMS, CellBox
from pycellbox.numerics.differences import FiniteDifferenceSession
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.objective import Loss
from pycellbox.solvers import RK4, SteadyState, Tsit5, solver_from_dict, solver_to_dict
from pycellbox.verification import settling_time, verify
from tests.support.problems import (
    OSCILLATOR,
    dataset,
    labelled,
    random_parameters,
    random_problem,
    small_network,
    structure,
)

LONG = 200.0
EXACT = Tsit5(1e-12, 1e-14)


def long_run(problem, parameters, time=LONG):
    """States after a long, accurate integration."""
    return (
        NumpyBackend()
        .solve(problem.structure, EXACT, parameters, problem.perturbation, np.array([time]))
        .states[:, 0]
    )


def steady(problem, parameters, solver=None, horizon=LONG):
    return NumpyBackend().solve(
        problem.structure,
        solver or SteadyState(),
        parameters,
        problem.perturbation,
        np.array([horizon]),
    )


def assert_same_gradient(a, b, tolerance):
    for name in b:
        scale = np.abs(b[name]).max()
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=tolerance * scale)


SWITCH = [[2.0, -1.5], [-1.5, 2.0]]


@pytest.mark.slow
@pytest.mark.parametrize("drugs", ["input", "clamped"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_agrees_with_a_long_integration(envelope, form, drugs):
    rng = np.random.default_rng(1)
    model = CellBox(envelope=envelope, form=form, drugs=drugs, degree=2 if form == 1 else 1)
    problem = random_problem(model, rng, times=(LONG,), conditions=6)
    parameters = random_parameters(model, rng, scale=0.25)
    found = steady(problem, parameters)
    assert found.settled.all()
    assert found.residual.max() < 1e-9
    np.testing.assert_allclose(found.final, long_run(problem, parameters), atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("form", [0, 2, "ji-code"])
def test_gradient_agrees_with_finite_differences_and_with_integration(envelope, form):
    rng = np.random.default_rng(2)
    model = CellBox(envelope=envelope, form=form)
    problem = random_problem(model, rng, times=(60.0,), conditions=4)
    parameters = random_parameters(model, rng, scale=0.25)
    session = NumpySteadySession(problem, SteadyState(tol=1e-12), Loss())
    value, gradient = session.loss_and_gradient(parameters)
    wanted, differences = FiniteDifferenceSession(session).loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=1e-10)
    assert_same_gradient(gradient, differences, 1e-6)
    value_, integrated = NumpySession(problem, Tsit5(1e-9, 1e-11), Loss()).loss_and_gradient(
        parameters
    )
    assert value == pytest.approx(value_, rel=1e-7)
    assert_same_gradient(gradient, integrated, 1e-6)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_missing_entries_rows_and_losses(loss):
    rng = np.random.default_rng(3)
    problem = random_problem(CellBox(), rng, times=(60.0,), conditions=6, missing=0.4)
    parameters = random_parameters(CellBox(), rng, scale=0.25)
    session = NumpySteadySession(problem, SteadyState(), Loss(loss))
    integrated = NumpySession(problem, Tsit5(1e-9, 1e-11), Loss(loss))
    for rows in (None, [4, 0, 4]):
        value, gradient = session.loss_and_gradient(parameters, rows)
        wanted, slope = integrated.loss_and_gradient(parameters, rows)
        assert value == pytest.approx(wanted, rel=1e-6)
        assert session.loss(parameters, rows) == pytest.approx(value, rel=1e-12)
        assert_same_gradient(gradient, slope, 1e-6)


def test_a_switch_goes_where_its_trajectory_goes():
    """Two stable states, and conditions on both sides of what divides them."""
    problem, parameters = small_network(SWITCH, 60, spread=0.4, seed=4)
    found = steady(problem, parameters)
    wanted = long_run(problem, parameters)
    assert (wanted[:, 0] > 0.5).sum() > 10
    assert (wanted[:, 0] < -0.5).sum() > 10
    assert found.settled.mean() > 0.9
    np.testing.assert_allclose(found.final[found.settled], wanted[found.settled], atol=1e-8)


def test_a_switch_on_the_divide_is_not_called_settled():
    """Without a push it stays where it is, in an unstable state, for ever."""
    problem, parameters = small_network(SWITCH, 3, spread=0.0)
    found = steady(problem, parameters)
    assert not found.settled.any()
    np.testing.assert_array_equal(found.final, 0)


def test_what_oscillates_is_integrated():
    problem, parameters = small_network(OSCILLATOR, 4, spread=0.1, seed=5)
    found = steady(problem, parameters, horizon=20.0)
    assert not found.settled.any()
    assert found.residual.min() > 1e-3
    accurate = SteadyState(integrator=Tsit5(1e-9, 1e-11))
    np.testing.assert_allclose(
        steady(problem, parameters, accurate, horizon=20.0).final,
        long_run(problem, parameters, 20.0),
        atol=1e-6,
    )
    session = NumpySteadySession(problem, accurate, Loss())
    value, gradient = session.loss_and_gradient(parameters)
    assert not session.settled.any()
    wanted, slope = NumpySession(problem, Tsit5(1e-9, 1e-11), Loss()).loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=1e-10)
    assert_same_gradient(gradient, slope, 1e-10)


@pytest.mark.slow
def test_settled_and_oscillating_conditions_side_by_side():
    """A strong push saturates the oscillator, and it comes to rest."""
    problem, parameters = small_network(OSCILLATOR, 12, spread=4.0, seed=6)
    problem = dataclasses.replace(problem, times=np.array([60.0]))
    solver = SteadyState(integrator=Tsit5(1e-9, 1e-11))
    found = steady(problem, parameters, solver, horizon=60.0)
    assert 0 < found.settled.sum() < 12
    session = NumpySteadySession(problem, solver, Loss())
    value, gradient = session.loss_and_gradient(parameters)
    wanted, slope = NumpySession(problem, Tsit5(1e-9, 1e-11), Loss()).loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=1e-6)
    assert_same_gradient(gradient, slope, 1e-4)


def test_a_node_without_decay_never_settles():
    problem, parameters = small_network([[0.0, 0.3], [0.3, 0.0]], 3)
    parameters["alpha"] = np.array([1.0, 0.0])
    found = steady(problem, parameters, horizon=5.0)
    assert not found.settled.any()
    np.testing.assert_allclose(found.final, long_run(problem, parameters, 5.0), atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_a_network_called_contracting_has_one_steady_state(seed):
    rng = np.random.default_rng(seed)
    W = rng.normal(0, 1, (6, 6))
    problem, parameters = small_network(W, 3, seed=seed)
    parameters["epsilon"] = rng.uniform(0.3, 2.0, 6)
    structure = problem.structure
    lowering = Lowering(structure)
    drive = lowering.drive(problem.perturbation)

    def contracting(scale):
        field = lowering.field(parameters | {"W": scale * W}, drive)
        return SteadyEquations(SteadyState(), field)

    scales = np.linspace(0.02, 2, 60)
    proven = [contracting(s).proofs.contracting() for s in scales]
    assert proven[0]
    assert not proven[-1]
    equations = contracting(scales[np.flatnonzero(proven)[-1]])
    ends = [equations.roots(rng.normal(0, 3, drive.initial.shape))[0] for _ in range(10)]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=1e-7)


def test_what_an_evaluation_found_does_not_change_the_next():
    rng = np.random.default_rng(9)
    problem = random_problem(CellBox(), rng, times=(20.0,), conditions=6)
    session = NumpySteadySession(problem, SteadyState(), Loss())
    for _ in range(3):
        session.loss_and_gradient(random_parameters(CellBox(), rng, scale=0.3))
    parameters = random_parameters(CellBox(), rng, scale=0.3)
    value, gradient = session.loss_and_gradient(parameters)
    fresh = NumpySteadySession(problem, SteadyState(), Loss())
    wanted, slope = fresh.loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=1e-9)
    assert_same_gradient(gradient, slope, 1e-8)


def test_slow_convergence_is_left_to_newton():
    problem, parameters = small_network([[0.97, 0.0], [0.5, 0.9]], 5, spread=0.05)
    found = steady(problem, parameters, SteadyState(max_iterations=2))
    assert found.settled.all()
    np.testing.assert_allclose(found.final, long_run(problem, parameters, 2000.0), atol=1e-8)


def test_float32():
    rng = np.random.default_rng(10)
    problem = random_problem(CellBox(), rng, times=(20.0,), conditions=4, dtype="float32")
    parameters = random_parameters(CellBox(), rng, scale=0.25, dtype="float32")
    found = steady(problem, parameters)
    assert found.final.dtype == np.float32
    assert found.settled.all()
    value, gradient = NumpySteadySession(problem, SteadyState(), Loss()).loss_and_gradient(
        parameters
    )
    assert gradient["W"].dtype == np.float32
    assert np.isfinite(value)


def test_labelled_solve_says_residual_and_settled():
    rng = np.random.default_rng(11)
    data = dataset(rng)
    fit = pcb.fit(
        data, solver=SteadyState(), schedule=pcb.Stage(3), backend="numpy", progress=False
    )
    x = pcb.solve(
        fit.model, fit.parameters, data["perturbation"], solver=SteadyState(), horizon=10.0,
        backend="numpy",
    )  # fmt: skip
    assert x.dims == ("condition", "node")
    assert bool(x["settled"].all())
    assert float(x["residual"].max()) < 1e-9
    xr.testing.assert_allclose(x, fit.predictions.drop_vars("role"))
    problem, parameters = small_network(OSCILLATOR, 3, spread=0.1)
    names = list(problem.structure.nodes)
    parameters = xr.Dataset(
        {
            "W": (("target", "source"), parameters["W"]),
            "alpha": ("node", parameters["alpha"]),
            "epsilon": ("node", parameters["epsilon"]),
        },
        coords={"target": names, "source": names, "node": names},
    )
    u = xr.DataArray(
        problem.perturbation, dims=("condition", "node"),
        coords={"condition": ["a", "b", "c"], "node": names},
    )  # fmt: skip
    network = (problem.structure.model, parameters)
    options = {"solver": SteadyState(), "horizon": 7.0, "backend": "numpy"}
    said = r"3 condition\(s\) do not settle in a stable steady state \('a', 'b', 'c'\).*to t = 7"
    with pytest.warns(pcb.NumericsWarning, match=said) as caught:
        x = pcb.solve(*network, u, **options)
    assert len(caught) == 1
    assert not x["settled"].any()
    data = xr.Dataset({"perturbation": u, "response": x.drop_vars("node_kind") * 0.9})
    data = data.assign_coords(node_kind=("node", ["protein"] * len(names)))
    for gradient in ("implicit", "finite-difference"):
        with pytest.warns(pcb.NumericsWarning, match=said) as caught:
            pcb.value_and_gradient(*network, data, gradient=gradient, **options)
        assert len(caught) == 1


def test_a_fit_says_how_its_steady_states_were_checked(tmp_path):
    data = dataset(np.random.default_rng(12))
    fit = pcb.fit(
        data, solver=SteadyState(), schedule=pcb.Stage(20), backend="numpy", progress=False
    )
    check = fit.provenance["steady_state"]
    assert check["unsettled"] == []
    assert check["residual"] < 1e-8
    assert check["distance_to_integration"] < 1e-4
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    assert again.solver == fit.solver
    xr.testing.assert_identical(again.predict(data, backend="numpy"), fit.predict(data))


@pytest.mark.parametrize("drugs", ["input", "clamped"])
@pytest.mark.parametrize("form", FORMS)
def test_a_check_waits_for_the_decay_that_the_equation_has(form, drugs):
    """Rates from 0.01 to 100: α is no decay in form "ji-code", and clamped drugs have none."""
    model = CellBox(form=form, drugs=drugs)
    data = dataset(np.random.default_rng(18))
    names = structure(model).nodes
    for scale in (0.01, 1.0, 100.0):
        p = random_parameters(model, np.random.default_rng(19), scale=0.0)
        p = {name: array * scale for name, array in p.items()}
        decay = Lowering(structure(model)).coefficients(p).c
        moving = decay[decay > 0]
        long = settling_time(structure(model), p, data["perturbation"].values)
        assert long == pytest.approx(40 / moving.min())
        assert (moving == 1).all() == (form == "ji-code")
    assert len(names) - moving.size == (2 if drugs == "clamped" else 0)


@pytest.mark.parametrize("form", ["ji-code", 0])
def test_settled_states_are_not_called_distant(form):
    """Of a network whose α is twenty times faster, or slower, than its decay."""
    model = CellBox(form=form, drugs="clamped")
    data = dataset(np.random.default_rng(20))
    for alpha in (0.05, 20.0):
        p = random_parameters(model, np.random.default_rng(21), scale=0.2)
        p["alpha"][:] = alpha
        if form == 0:
            p["epsilon"][:] = alpha
        else:
            p["W"] /= max(alpha, 1.0)  # what acts is αW
        network = (model, labelled(structure(model), p), data["perturbation"])
        states = pcb.solve(*network, solver=SteadyState(), horizon=10.0, backend="numpy")
        assert states["settled"].all()
        inputs, by = inputs_of_data(data, structure(model), "float64"), NumpyBackend()
        told = verify(
            states, structure(model), p, inputs, np.array([10.0]), solver=SteadyState(), backend=by
        )["steady_state"]
        assert told["distance_to_integration"] < 1e-5


def test_clamped_drugs_set_no_pace():
    """In hours or in seconds, the same time is integrated first, in units of the decay."""
    model = CellBox(drugs="clamped")
    drive = Lowering(structure(model)).drive(np.ones((2, len(structure(model).nodes))))
    leads = []
    for scale in (1e-3, 1.0, 1e3):
        p = random_parameters(model, np.random.default_rng(22))
        for rate in model.rates:
            p[rate] *= scale
        field = Lowering(structure(model)).field(p, drive)
        equations = SteadyEquations(SteadyState(), field)
        leads.append([time * scale for time in equations.lead_times(np.inf)])
    np.testing.assert_allclose(leads, leads[:1] * 3, rtol=1e-12)


def test_a_check_that_fails_is_said_and_the_fit_kept():
    data = dataset(np.random.default_rng(23))
    brief = SteadyState(integrator=Tsit5(1e-6, 1e-8, max_steps=5))
    options = {"schedule": pcb.Stage(2), "backend": "numpy", "progress": False}
    with pytest.warns(pcb.NumericsWarning, match="could not be held to an integration"):
        fit = pcb.fit(data, solver=brief, **options)
    assert fit.provenance["steady_state"]["distance_to_integration"] is None


def test_a_fit_follows_that_through_the_integration():
    data = dataset(np.random.default_rng(13))
    options = {
        "schedule": pcb.Stage(30, learning_rate=0.004),
        "backend": "numpy",
        "progress": False,
    }
    by_root = pcb.fit(data, solver=SteadyState(), **options)
    by_time = pcb.fit(data, solver=RK4(0.5), horizon=60.0, **options)
    np.testing.assert_allclose(by_root.history["loss"], by_time.history["loss"], rtol=1e-6)


def test_time_courses_are_refused():
    rng = np.random.default_rng(14)
    data = dataset(rng, times=(1.0, 2.0))
    with pytest.raises(SolverError, match="SteadyState gives steady states only"):
        pcb.fit(data, solver=SteadyState(), progress=False)
    model = CellBox()
    parameters = pcb.fit(
        dataset(rng), model, schedule=pcb.Stage(1), backend="numpy", progress=False
    ).parameters
    with pytest.raises(SolverError, match="use Tsit5, RK4 or Heun"):
        pcb.solve(
            model, parameters, data["perturbation"], solver=SteadyState(), times=[1.0],
            backend="numpy",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tol": 0}, "tol=0"),
        ({"lead": -1.0}, "lead=-1.0"),
        ({"max_iterations": 0}, "max_iterations=0"),
        ({"max_iterations": 1.5}, "max_iterations=1.5"),
        ({"integrator": "Tsit5"}, "integrator='Tsit5'"),
        ({"integrator": SteadyState()}, "needs one of Euler"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(OptionError, match=match):
        SteadyState(**options)


def test_unknown_gradient():
    problem = random_problem(CellBox(), np.random.default_rng(15))
    with pytest.raises(BackendError, match="SteadyState has no gradient 'adjoint'"):
        NumpyBackend().session(problem, SteadyState(), Loss(), "adjoint")


def test_goes_to_a_file_and_back():
    solver = SteadyState(tol=1e-8, integrator=RK4(0.1))
    assert solver_from_dict(solver_to_dict(solver)) == solver


def test_find_keeps_the_order_of_conditions():
    problem, parameters = small_network(SWITCH, 9, spread=0.4, seed=16)
    lowering = Lowering(problem.structure)
    equations = SteadyEquations(
        SteadyState(), lowering.field(parameters, lowering.drive(problem.perturbation))
    )
    whole = find(equations, 50.0)
    one_by_one = [find(equations.rows(np.array([i])), 50.0).states[0] for i in range(9)]
    np.testing.assert_allclose(whole.states, one_by_one, atol=1e-6)
