"""The Julia backend against the NumPy backend, and the manners of the bridge.

Skipped where Julia is not ready: `pycellbox julia install`, or PYTHON_JULIACALL_EXE and
PYTHON_JULIACALL_PROJECT for a prepared environment.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.julia.project import readiness
from pycellbox.backends.julia.runtime import OPTIONS
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.models import FORMS
from pycellbox.numerics.differences import FiniteDifferenceSession
from pycellbox.objective import Loss
from tests.support.problems import (
    NODES,
    OSCILLATOR,
    assert_same_gradient,
    dataset,
    labelled,
    models,
    random_parameters,
    random_problem,
    shifted_models,
    small_network,
    structure,
)
from tests.support.processes import need_diffeqpy, output, python

STATE = readiness()
pytestmark = pytest.mark.skipif(
    not STATE.ready, reason=f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
)
ROOT = Path(__file__).parents[1]
FIXED = (pcb.Euler(0.1), pcb.Midpoint(0.1), pcb.Heun(0.1), pcb.RK4(0.1))
SHIFTED = pcb.CellBox(operating_point=True, common_effect=True)


@pytest.fixture(scope="module")
def julia():
    return get_backend("julia")


@pytest.mark.parametrize("model", [*models(), *shifted_models()], ids=repr)
def test_every_model_agrees_with_numpy(julia, model):
    rng = np.random.default_rng(1)
    problem, parameters = random_problem(model, rng), random_parameters(model, rng)
    compare(julia, problem, parameters, pcb.Heun(0.1), Loss(), 1e-10)


@pytest.mark.parametrize("solver", FIXED, ids=repr)
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_fixed_step_agrees_with_numpy(julia, solver, loss, dtype):
    rng = np.random.default_rng(2)
    model = pcb.CellBox(form=2, degree=2)
    times = (0.0, 0.35, 1.0, 2.2)
    problem = random_problem(model, rng, times=times, dtype=dtype)
    parameters = random_parameters(model, rng, dtype=dtype)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    compare(julia, problem, parameters, solver, Loss(loss), tolerance)


@pytest.mark.parametrize("model", [*models()[::3], *shifted_models()[::3]], ids=repr)
def test_tsit5_takes_the_steps_of_numpy(julia, model):
    rng = np.random.default_rng(2)
    problem = random_problem(model, rng, times=(0.0, 0.35, 1.0, 7.0))
    parameters = random_parameters(model, rng)
    # Where φ has a kink, rounding in one step's error shows in the sizes of the next ones.
    smooth = model.envelope in ("tanh", "sigmoid", "linear")
    compare(julia, problem, parameters, pcb.Tsit5(), Loss(), 1e-10 if smooth else 1e-5)
    sizes = []
    for backend in (julia, NumpyBackend()):
        session = backend.session(problem, pcb.Tsit5(), Loss())
        session.loss_and_gradient(parameters)
        taken = session._session.session.run.sizes if backend is julia else session._kept.sizes
        sizes.append(np.asarray(taken))
    np.testing.assert_allclose(*sizes, rtol=1e-4)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tsit5_agrees_with_numpy_for_every_loss(julia, loss, dtype):
    rng = np.random.default_rng(12)
    model = pcb.CellBox(form=2, degree=2)
    problem = random_problem(model, rng, times=(0.35, 2.2), dtype=dtype)
    parameters = random_parameters(model, rng, dtype=dtype)
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    compare(julia, problem, parameters, pcb.Tsit5(), Loss(loss), tolerance)


def compare(julia, problem, parameters, solver, loss, tolerance):
    states = julia.solve(
        problem.structure, solver, parameters, problem.perturbation, problem.times
    ).states
    wanted = (
        NumpyBackend()
        .solve(problem.structure, solver, parameters, problem.perturbation, problem.times)
        .states
    )
    np.testing.assert_allclose(states, wanted, rtol=tolerance, atol=tolerance)
    session = julia.session(problem, solver, loss)
    theirs = NumpySession(problem, solver, loss)
    for rows in (None, [2, 0]):
        value, gradient = session.loss_and_gradient(parameters, rows)
        value_, gradient_ = theirs.loss_and_gradient(parameters, rows)
        assert value == pytest.approx(value_, rel=tolerance)
        assert session.loss(parameters, rows) == pytest.approx(value_, rel=tolerance)
        assert_same_gradient(gradient, gradient_, tolerance)


@pytest.mark.parametrize("gradient", ["adjoint", "interpolating", "quadrature", "forward"])
@pytest.mark.parametrize("model", [pcb.CellBox(), pcb.CellBox(form=2), SHIFTED], ids=repr)
def test_tsit5_gradient_is_that_of_the_exact_solution(julia, gradient, model):
    rng = np.random.default_rng(3)
    problem = random_problem(model, rng, times=(0.5, 2.0), conditions=3)
    parameters = random_parameters(model, rng)
    session = julia.session(problem, pcb.Tsit5(1e-10, 1e-12), Loss(), gradient)
    value, slope = session.loss_and_gradient(parameters)
    exact = NumpySession(problem, pcb.Tsit5(1e-10, 1e-12), Loss())
    wanted, differences = FiniteDifferenceSession(exact).loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=1e-8)
    assert_same_gradient(slope, differences, 1e-6)


@pytest.mark.parametrize("name", ["DP5", "Vern7", "Rodas5P", "TRBDF2"])
def test_every_named_algorithm(julia, name):
    rng = np.random.default_rng(3)
    model = SHIFTED
    problem = random_problem(model, rng, times=(0.5, 2.0), conditions=3)
    parameters = random_parameters(model, rng)
    tolerance = 1e-6 if name == "TRBDF2" else 1e-9  # of order two
    try:
        session = julia.session(problem, pcb.Adaptive(name, tolerance, tolerance / 100), Loss())
    except pcb.PycellboxError as error:
        if "precompile" not in str(error) and "not installed" not in str(error):
            raise
        pytest.skip(f"the Julia package of {name} does not load, update the project: {error}")
    value, slope = session.loss_and_gradient(parameters)
    exact = NumpySession(problem, pcb.Tsit5(1e-11, 1e-13), Loss())
    wanted, gradient = exact.loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=100 * tolerance)
    assert_same_gradient(slope, gradient, 1000 * tolerance)


def test_algorithm_objects_and_ode_problems(julia):
    """What diffeqpy hands over, and what it takes: Julia objects."""
    import juliacall

    rng = np.random.default_rng(4)
    model, n = SHIFTED, len(NODES)
    s = structure(model)
    p = labelled(s, random_parameters(model, rng))
    u = xr.DataArray(
        rng.normal(size=(3, n)), {"condition": list("abc"), "node": list(NODES)},
        ("condition", "node"),
    )  # fmt: skip
    u[1] = 0
    juliacall.Main.seval("using OrdinaryDiffEqTsit5")
    algorithm = juliacall.Main.seval("OrdinaryDiffEqTsit5.Tsit5()")
    solution = pcb.solve(model, p, u, solver=algorithm, horizon=2.0, backend="julia")
    wanted = pcb.solve(model, p, u, solver=pcb.Tsit5(1e-10, 1e-12), horizon=2.0, backend="numpy")
    np.testing.assert_allclose(solution, wanted, atol=1e-3)
    problem = pcb.to_ode_problem(model, p, u, horizon=2.0)
    solve = juliacall.Main.seval(
        "(p, a) -> OrdinaryDiffEqTsit5.solve(p, a; reltol=1e-10, abstol=1e-12)"
    )
    final = np.asarray(solve(problem, algorithm).u[-1]).T
    np.testing.assert_allclose(final, wanted, atol=1e-8)
    fit = pcb.fit(
        dataset(rng), schedule=pcb.Stage(2), solver=algorithm, backend="julia", progress=False
    )
    assert fit.solver.algorithm is algorithm or fit.solver.algorithm == "Tsit5"


def test_diffeqpy(julia):
    """Its algorithms as solver=, and its solve on our problem: the same Julia, the same objects."""
    need_diffeqpy()
    from diffeqpy import de

    rng = np.random.default_rng(4)
    model, n = pcb.CellBox(), len(NODES)
    s = structure(model)
    p = labelled(s, random_parameters(model, rng))
    u = xr.DataArray(
        rng.normal(size=(3, n)), {"condition": list("abc"), "node": list(NODES)},
        ("condition", "node"),
    )  # fmt: skip
    wanted = pcb.solve(model, p, u, solver=pcb.Tsit5(1e-10, 1e-12), horizon=2.0, backend="numpy")
    by_algorithm = pcb.solve(model, p, u, solver=de.Tsit5(), horizon=2.0, backend="julia")
    np.testing.assert_allclose(by_algorithm, wanted, atol=1e-3)
    problem = pcb.to_ode_problem(model, p, u, horizon=2.0)
    solution = de.solve(problem, de.Tsit5(), reltol=1e-10, abstol=1e-12)
    np.testing.assert_allclose(np.asarray(solution.u[-1]).T, wanted, atol=1e-8)


def test_melanoma_gives_the_model_of_numpy(julia, melanoma_dir):
    data = pcb.read_csv(
        melanoma_dir / "pert.csv", melanoma_dir / "expr.csv", nodes=melanoma_dir / "node_Index.csv",
        node_kind={"protein": 82, "phenotype": 5, "drug": 12},
    )  # fmt: skip
    a, b = (pcb.fit(data, backend=name, progress=False) for name in ("numpy", "julia"))
    np.testing.assert_allclose(b.history["loss"], a.history["loss"], rtol=1e-10)
    np.testing.assert_allclose(b.parameters["W"], a.parameters["W"], atol=1e-10)
    np.testing.assert_allclose(b.predictions, a.predictions, atol=1e-10)


@pytest.mark.parametrize("gradient", ["discrete", "gauss"])
def test_gradient_of_settled_conditions_at_loose_tolerances(julia, gradient):
    rng = np.random.default_rng(4)
    model = pcb.CellBox(dose_saturation=None)
    problem = random_problem(model, rng, times=(40.0,), missing=0.0)
    parameters = random_parameters(model, rng, scale=0.3)
    session = julia.session(problem, pcb.Tsit5(1e-3, 1e-6), Loss(), gradient)
    _, loose = session.loss_and_gradient(parameters)
    tight = NumpySession(problem, pcb.Tsit5(1e-11, 1e-13), Loss())
    exact = tight.loss_and_gradient(parameters)[1]
    assert_same_gradient(loose, exact, 1e-6 if gradient == "discrete" else 0.02)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": pcb.CellBox(drug_columns="free"), "loss": "mae"},
        {"model": pcb.CellBox(response_range="held")},
        {"model": pcb.CellBox(form=2, degree=2)},
        {"stage": {"batch_size": 5}},
        {"stage": {"prefix": 1, "batch_size": 5}, "times": (0.3, 0.8, 1.5)},
        {"stage": {"optimizer": pcb.AdamW(clip_norm=0.05, weight_decay=0.1)}},
        {"stage": {"patience": 8}, "validation": 0.4},
        {"penalty": pcb.Penalty(l1={"drug_to_node": 0.01}, l2=0.02, scale="sum")},
        {
            "model": dataclasses.replace(SHIFTED, drugs_on_phenotypes=True),
            "penalty": pcb.Penalty(l1={"common_effect": 0.01}, l2={"operating_point": 0.02}),
            "stage": {"optimizer": pcb.AdamW(weight_decay=0.1)},
            # b's derivative is a difference of nearly equal sums, whose rounding Adam scales up.
            "rtol": 1e-6,
        },
    ],
    ids=repr,
)
def test_training_follows_numpy(julia, options):
    options = dict(options)
    stage = {"learning_rate": 0.02, "decay": "cosine", "warmup": 5} | options.pop("stage", {})
    times, rtol = options.pop("times", None), options.pop("rtol", 1e-9)
    data = dataset(np.random.default_rng(5), conditions=14, times=times)
    # Steps that both take alike; those of a steady state end at a tolerance.
    options["solver"] = pcb.Heun(0.1) if times is None else pcb.RK4(0.1)
    fits = [
        pcb.fit(
            data, options.get("model", pcb.CellBox()), schedule=pcb.Stage(200, **stage),
            backend=backend, progress=False, seed=1,
            **{k: v for k, v in options.items() if k != "model"},
        )
        for backend in ("numpy", "julia")
    ]  # fmt: skip
    assert fits[1].backend == "julia"
    assert fits[0].history.sizes == fits[1].history.sizes
    for name in ("objective", "loss", "validation_loss", "gradient_norm"):
        a, b = (f.history[name].values for f in fits)
        np.testing.assert_allclose(a, b, rtol=rtol, err_msg=name)
    for name in ("W", *fits[0].model.rates, *fits[0].model.shifts):
        np.testing.assert_allclose(
            fits[0].parameters[name], fits[1].parameters[name], atol=10 * rtol
        )


def test_lbfgs_in_python_over_julia_gradients(julia):
    data = dataset(np.random.default_rng(6))
    stage = pcb.Stage(20, optimizer=pcb.LBFGS())
    a, b = (
        pcb.fit(data, schedule=stage, backend=name, progress=False, penalty=pcb.Penalty(l2=1e-3))
        for name in ("numpy", "julia")
    )
    np.testing.assert_allclose(a.history["loss"][:10], b.history["loss"][:10], rtol=1e-6)


def test_arrays_are_shared_not_copied(julia):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(7))
    session = julia.session(problem, pcb.Heun(0.1), Loss())
    import juliacall

    at = juliacall.Main.seval("array -> Int(pointer(array))")
    inner = session._session.session
    assert at(inner.perturbation) == problem.perturbation.ctypes.data
    assert at(inner.response) == problem.response.ctypes.data
    assert at(inner.weight) == problem.weight.ctypes.data
    parent = juliacall.Main.seval("array -> Int(pointer(parent(array)))")
    assert parent(session._session.parameters.W) == session._parameters["W"].ctypes.data
    assert parent(session._session.gradient.W) == session._gradient["W"].ctypes.data


def test_the_lock_is_released_during_a_call(julia):
    rng = np.random.default_rng(8)
    model = pcb.CellBox()
    problem = random_problem(model, rng, times=(3000.0,), conditions=40)
    session = julia.session(problem, pcb.Heun(0.01), Loss())
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks[0]
    began = time.perf_counter()
    session.loss(random_parameters(model, rng, scale=0.1))
    seconds = time.perf_counter() - began
    during = ticks[0] - before
    stop.set()
    thread.join()
    assert seconds > 0.05, "too short to tell"
    assert during > 5


@pytest.mark.parametrize("method", [pcb.Euler, pcb.Midpoint, pcb.Heun, pcb.RK4])
def test_steps_too_long_for_a_decay_are_said(julia, method):
    rng = np.random.default_rng(10)
    problem = random_problem(pcb.CellBox(), rng)
    parameters = random_parameters(pcb.CellBox(), rng)
    parameters["alpha"][1] = 20.0
    julia.session(problem, method(0.99 * method.reach / 20), Loss()).loss(parameters)
    session = julia.session(problem, method(1.2 * method.reach / 20), Loss())
    with pytest.raises(DivergenceError, match=r"decays at the rate 20.*dt ≤ 0\.1"):
        session.loss_and_gradient(parameters)


def test_a_session_survives_an_error(julia):
    rng = np.random.default_rng(9)
    model = pcb.CellBox(envelope="linear")
    problem = random_problem(model, rng, times=(2000.0,))
    session = julia.session(problem, pcb.Heun(0.1), Loss())
    wild = random_parameters(model, rng, scale=5.0)
    with pytest.raises(DivergenceError, match="not finite"):
        session.loss_and_gradient(wild)
    calm = random_parameters(model, rng, scale=0.05)
    value, _ = session.loss_and_gradient(calm)
    assert value == pytest.approx(NumpySession(problem, pcb.Heun(0.1), Loss()).loss(calm))


def test_a_blow_up_in_training_is_averted_the_same_way(julia):
    data = dataset(np.random.default_rng(13))
    model = pcb.CellBox(envelope="linear", dose_saturation=None, drug_columns="free")
    a, b = (
        pcb.fit(
            data, model, solver=pcb.Heun(0.5), horizon=400.0, penalty=pcb.Penalty(),
            schedule=pcb.Stage(40, learning_rate=1.0), backend=name, progress=False,
            initial=pcb.Initialization(weight_scale=0.01),
        )
        for name in ("numpy", "julia")
    )  # fmt: skip
    assert a.provenance["steps_retried"] == b.provenance["steps_retried"] > 0


@pytest.mark.parametrize("envelope", ["tanh", "hill", "sigmoid"])
@pytest.mark.parametrize("model", [*(pcb.CellBox(form=form) for form in FORMS), SHIFTED], ids=repr)
def test_steady_states_agree_with_numpy(julia, model, envelope):
    rng = np.random.default_rng(20)
    drugs = "clamped" if model.form == 1 else "input"
    model = dataclasses.replace(model, envelope=envelope, drugs=drugs)
    problem = random_problem(model, rng, times=(60.0,), conditions=6)
    parameters = random_parameters(model, rng, scale=0.3)
    solver = pcb.SteadyState(tol=1e-12)
    here, there = (
        b.solve(problem.structure, solver, parameters, problem.perturbation, problem.times)
        for b in (julia, NumpyBackend())
    )
    assert here.settled.all()
    assert here.residual.max() < 1e-10
    np.testing.assert_allclose(here.states, there.states, atol=1e-10)
    ours, theirs = (b.session(problem, solver, Loss()) for b in (julia, NumpyBackend()))
    for rows in (None, [3, 0]):
        value, gradient = ours.loss_and_gradient(parameters, rows)
        wanted, slope = theirs.loss_and_gradient(parameters, rows)
        assert value == pytest.approx(wanted, rel=1e-10)
        assert ours.loss(parameters, rows) == pytest.approx(wanted, rel=1e-10)
        for name in slope:
            np.testing.assert_allclose(gradient[name], slope[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("integrator", [pcb.Tsit5(1e-9, 1e-11), pcb.RK4(0.05)])
def test_what_does_not_settle_is_integrated(julia, integrator):
    """An oscillator that a strong push brings to rest."""
    problem, parameters = small_network(OSCILLATOR, 12, spread=4.0, seed=6)
    problem = dataclasses.replace(problem, times=np.array([60.0]))
    solver = pcb.SteadyState(integrator=integrator)
    session = julia.session(problem, solver, Loss())
    value, gradient = session.loss_and_gradient(parameters)
    reference = NumpyBackend().session(problem, solver, Loss())
    wanted, slope = reference.loss_and_gradient(parameters)
    assert value == pytest.approx(wanted, rel=1e-8)
    assert_same_gradient(gradient, slope, 1e-6)
    np.testing.assert_array_equal(session.settled, reference.settled)
    assert 0 < session.settled.sum() < 12


def test_a_fit_of_steady_states_follows_numpy(julia):
    data = dataset(np.random.default_rng(21), conditions=14)
    fits = [
        pcb.fit(
            data, solver=pcb.SteadyState(), schedule=pcb.Stage(100, learning_rate=0.004),
            backend=backend, progress=False,
        )
        for backend in ("numpy", "julia")
    ]  # fmt: skip
    np.testing.assert_allclose(*(f.history["loss"].values for f in fits), rtol=1e-9)
    assert fits[1].provenance["steady_state"]["unsettled"] == []


def test_steady_states_have_one_gradient(julia):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(10))
    with pytest.raises(BackendError, match="no gradient 'adjoint' for SteadyState"):
        julia.session(problem, pcb.SteadyState(), Loss(), "adjoint")


def test_unknown_gradients_are_said(julia):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(10))
    with pytest.raises(BackendError, match="no gradient 'adjoint' for fixed steps"):
        julia.session(problem, pcb.Heun(0.1), Loss(), "adjoint")
    with pytest.raises(BackendError, match="no gradient 'discrete' for Adaptive"):
        julia.session(problem, pcb.Adaptive(), Loss(), "discrete")
    with pytest.raises(BackendError, match="no gradient 'finite-difference' for Tsit5"):
        julia.session(problem, pcb.Tsit5(), Loss(), "finite-difference")


def test_saved_in_the_result_and_predicted_by_either(julia, tmp_path):
    data = dataset(np.random.default_rng(11))
    fit = pcb.fit(data, schedule=pcb.Stage(5), backend="julia", progress=False)
    assert fit.provenance["versions"]["backend"].startswith("julia 1.")
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    by_julia = again.predict(data, backend="julia")
    np.testing.assert_array_equal(by_julia.values, fit.predictions.values)
    np.testing.assert_allclose(again.predict(data, backend="numpy"), by_julia, atol=1e-12)


def test_fits_in_several_threads_at_once(julia):
    """As in a notebook's executor: not the main thread, and more than one."""
    data = dataset(np.random.default_rng(14))
    fits, schedule = {}, pcb.Stage(150)
    wanted = pcb.fit(data, schedule=schedule, backend="julia", progress=False)

    def work(k: int) -> None:
        fits[k] = pcb.fit(data, schedule=schedule, backend="julia", progress=False)

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(fits) == [0, 1, 2]
    for fit in fits.values():
        np.testing.assert_array_equal(fit.parameters["W"], wanted.parameters["W"])


def test_julia_is_started_by_a_thread_beside_a_running_event_loop():
    out, err = output(
        """
        import asyncio, numpy as np, pycellbox as pcb
        from tests.support.problems import dataset

        def work():
            data = dataset(np.random.default_rng(0))
            return pcb.fit(data, schedule=pcb.Stage(3), backend="julia", progress=False).backend

        async def main():
            task, ticks = asyncio.get_running_loop().run_in_executor(None, work), 0
            while not task.done():
                await asyncio.sleep(0.01)
                ticks += 1
            print(await task, work(), ticks > 0)

        asyncio.run(main())
        """
    )
    assert "julia julia True" in out, err


def test_torch_may_have_been_imported_before():
    pytest.importorskip("torch")
    out, err = output(
        """
        import torch
        x = torch.randn(50, 50, requires_grad=True)
        (x @ x).tanh().sum().backward()
        import numpy as np, pycellbox as pcb
        from tests.support.problems import dataset
        data = dataset(np.random.default_rng(0))
        print(pcb.fit(data, schedule=pcb.Stage(3), backend="julia", progress=False).backend)
        (x @ x).tanh().sum().backward()
        print(bool(x.grad.isfinite().all()))
        """
    )
    assert out.split() == ["julia", "True"], err
    assert "torch was imported before Julia" in err


def test_our_options_do_not_reach_child_processes(julia):
    """There they would pass for the user's, and Ctrl-C would be left to Julia."""
    code = "from pycellbox.backends import get_backend; import os; get_backend('julia'); "
    code += f"print([name for name in {list(OPTIONS)} if name in os.environ])"
    out, err = output(code, **dict.fromkeys(OPTIONS))
    assert out.strip() == "[]", err


def test_ctrl_c_returns_the_partial_result_within_a_second(julia):
    with python(
        """
        import time, numpy as np, pycellbox as pcb
        from tests.support.problems import dataset
        data = dataset(np.random.default_rng(0), conditions=40)
        pcb.fit(data, schedule=pcb.Stage(2), backend="julia", progress=False)
        print("ready", flush=True)
        fit = pcb.fit(data, schedule=pcb.Stage(10_000_000, learning_rate=1e-4), backend="julia",
                      progress=False)
        print(fit.status, "after", fit.history.sizes["iteration"], time.time(), flush=True)
        """
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        time.sleep(1.5)
        sent = time.time()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "interrupted in stage 0 after" in out, err
    words = out.split()
    assert int(words[words.index("after") + 1]) > 1
    assert float(words[-1]) - sent < 1.0


@pytest.mark.parametrize("solver", ["Heun(0.1)", "Tsit5()"])
def test_garbage_is_collected_while_threads_compute(solver):
    """Julia's threads are stopped by signals for that, which must not end the process."""
    out, err = output(
        f"""
        import numpy as np, pycellbox as pcb
        from pycellbox.backends import get_backend
        from tests.support.problems import random_parameters, random_problem
        julia, model = get_backend("julia"), pcb.CellBox()
        import juliacall
        assert juliacall.Main.seval("Threads.nthreads()") == 2
        problem = random_problem(model, np.random.default_rng(0), conditions=3000)
        parameters = random_parameters(model, np.random.default_rng(0))
        session = julia.session(problem, pcb.{solver}, pcb.Loss())
        churn = "() -> for _ in 1:60; Threads.@spawn foreach(_ -> rand(9), 1:10^5); end"
        juliacall.Main.seval(churn)()
        for _ in range(150):
            session.loss_and_gradient(parameters)
        print("done")
        """,
        PYTHON_JULIACALL_THREADS="2",
    )
    assert out.split() == ["done"], err[-2000:]


def test_a_forked_process_is_told_what_to_do():
    out, err = output(
        """
        import os, pycellbox as pcb
        from pycellbox.backends import get_backend
        get_backend("julia")
        if os.fork() == 0:
            try:
                get_backend("julia")
            except pcb.BackendError as error:
                print(error, flush=True)
            os._exit(0)
        os.wait()
        """
    )
    assert "does not survive a fork" in out, err
    assert "spawn" in out


def test_auto_takes_julia_when_it_is_ready_and_says_so_once():
    out, err = output(
        """
        import logging, sys
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        from pycellbox.backends import get_backend
        print(get_backend("auto").name, get_backend("auto").name)
        """
    )
    assert "julia julia" in out, err
    assert out.count("backend: julia") == 1
