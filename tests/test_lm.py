"""Levenberg–Marquardt: Jacobians forward in time, minima, and what is no sum of squares."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.objective import Loss
from pycellbox.problem import Problem, parameter_arrays, structure_of
from tests.support.equations import MODELS, TRUTH, courses, laid, measured, sir, treated
from tests.support.problems import dataset


@pytest.mark.parametrize("kind", ["plain", "treated"])
@pytest.mark.parametrize("solver", [pcb.RK4(0.25), pcb.Tsit5(), pcb.Euler(0.25), pcb.Heun(0.5)])
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_forward_in_time_are_those_of_the_way_back(name, solver, kind):
    model, data, labelled = laid(name)
    data = pcb.validate(data if kind == "plain" else treated(data, model))
    structure = structure_of(data, model)
    problem = Problem.from_dataset(data, structure, None)
    p = parameter_arrays(structure, labelled, np.float64)
    session = get_backend("numpy").session(problem, solver, Loss())
    residuals, jacobian = session.residuals_and_jacobian(p)
    others, rows = session._by_reverse(p, session._whole(p))
    np.testing.assert_array_equal(residuals, others)
    np.testing.assert_allclose(jacobian, rows, rtol=1e-9, atol=1e-9 * np.abs(rows).max())


def stage(iterations=40, **options):
    return pcb.Stage(iterations, optimizer=pcb.LM(**options))


def test_it_finds_the_parameters_of_its_data_in_few_iterations():
    fit = pcb.fit(
        measured().isel(condition=[0]), sir(), solver=pcb.RK4(0.5), schedule=stage(), progress=False
    )
    for name, value in TRUTH.items():
        assert float(fit.parameters[name]) == pytest.approx(value, rel=0.05)
    loss = fit.history["loss"].values
    assert (np.diff(loss) < 0).all()
    assert len(loss) < 40
    np.testing.assert_allclose(np.diff(fit.history["objective"] - loss), 0, atol=1e-9)


@pytest.mark.parametrize("loss", ["mse", pcb.Loss("huber", delta=0.05)])
@pytest.mark.parametrize("of", ["raw", "effective"])
def test_it_ends_where_the_gradient_of_the_objective_is_nothing(loss, of):
    network = pcb.networks.cyclic(3)
    data = pcb.simulate(network, 5, times=[0.5, 1.0, 2.0], noise=0.05, seed=0, backend="numpy")
    options = {
        "loss": loss,
        "penalty": pcb.Penalty(l2=0.05, of=of),
        "solver": pcb.RK4(0.25),
        "backend": "numpy",
        "progress": False,
    }
    fit = pcb.fit(data, pcb.CellBox(), schedule=stage(40), **options)
    lbfgs = pcb.Stage(1, optimizer=pcb.LBFGS())
    start = pcb.fit(data, pcb.CellBox(), schedule=lbfgs, initial=fit.parameters, **options)
    again = start.history["gradient_norm"].values[0]
    assert again < 1e-3 * fit.history["gradient_norm"].values[0]
    for name in ("objective", "loss"):
        mine, own = fit.history[name].values[-1], start.history[name].values[0]
        assert mine == pytest.approx(own, rel=1e-6)


def test_validation_conditions_are_not_fitted():
    data = measured().isel(condition=[0, 0]).assign_coords(condition=["a", "b"])
    spoiled = data.copy(deep=True)
    spoiled["response"][1] += 50
    options = {"validation": ["b"], "schedule": stage(6), "solver": pcb.RK4(0.5), "progress": False}
    with pytest.warns(pcb.DataWarning):
        one, other = (pcb.fit(each, sir(), **options) for each in (data, spoiled))
    np.testing.assert_array_equal(one.history["loss"], other.history["loss"])


def test_a_trial_that_blows_up_is_a_step_too_long():
    """Of dx/dt = k x², which is infinite at t = 1/k."""
    times = [0.5, 1.0, 1.5]
    data = courses(["a"], times)
    data["response"][0, :, 0] = 1 / (1 - 0.6 * np.array(times))
    model = pcb.ODE({"a": "k*a*a"}, parameters={"k": pcb.Parameter(-3.0)}, initial={"a": 1})
    fit = pcb.fit(data, model, schedule=stage(60), progress=False)
    assert float(fit.parameters["k"]) == pytest.approx(0.6, rel=1e-3)


def test_an_interrupted_fit_is_gone_on_with_to_the_same_bits(tmp_path):
    data, path = measured().isel(condition=[0]), tmp_path / "run.nc"
    schedule = [pcb.Stage(2, learning_rate=0.05), stage(5)]
    options = {"solver": pcb.RK4(0.5), "schedule": schedule, "progress": False}

    seen = []

    def stop(state):
        seen.append(state.stage)
        if seen.count(1) == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        pcb.fit(data, sir(), checkpoint=path, checkpoint_seconds=0, callbacks=stop, **options)
    whole = pcb.fit(data, sir(), **options)
    xr.testing.assert_equal(pcb.resume(path, progress=False).parameters, whole.parameters)
    assert pcb.Recipe.from_dict(whole.recipe.to_dict()) == whole.recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mae"}, "sums of squares: use loss='mse'"),
        ({"penalty": pcb.Penalty(l1=0.1)}, "use l2"),
        ({"schedule": pcb.Stage(2, penalty=pcb.Penalty(l1=1), optimizer=pcb.LM())}, "use l2"),
    ],
)
def test_what_is_no_sum_of_squares_is_refused(options, message):
    data = dataset(np.random.default_rng(0), 4, (0.5, 1.0))
    with pytest.raises(pcb.OptionError, match=message):
        pcb.fit(data, **{"schedule": stage(2), "progress": False} | options)


@pytest.mark.parametrize("option", ["batch_size", "prefix"])
def test_it_takes_all_of_the_data(option):
    with pytest.raises(pcb.OptionError, match="LM needs"):
        pcb.Stage(2, optimizer=pcb.LM(), **{option: 2})


def test_logarithms_go_no_further_than_a_factor_in_one_step(monkeypatch):
    """From where the data say next to nothing of a rate, Gauss and Newton's step is endless."""
    tried, solution = [], NumpySession.solution

    def watched(self, parameters):
        tried.append(float(parameters["k"]))
        return solution(self, parameters)

    monkeypatch.setattr(NumpySession, "solution", watched)
    times = [0.5, 1.0, 1.5]
    data = courses(["a"], times)
    data["response"][0, :, 0] = np.exp(-np.array(times))
    slow, idle = (pcb.Parameter(start, scale="log") for start in (1e-2, 1e8))
    model = pcb.ODE({"a": "-k*a"}, parameters={"k": slow, "idle": idle}, initial={"a": 1})
    fit = pcb.fit(data, model, schedule=stage(30), penalty=pcb.Penalty(), progress=False,
                  backend="numpy")  # fmt: skip
    assert float(fit.parameters["k"]) == pytest.approx(1, rel=1e-4)
    assert max(tried) < 10
