"""The JAX backend against the NumPy backend, and its manners beside other JAX code.

Skipped where JAX or diffrax is missing: pip install "pycellbox[jax]".
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.models import ENVELOPES, FORMS
from pycellbox.numerics.parametrization import NetworkParametrization
from pycellbox.objective import Loss
from tests.support.problems import (
    assert_same_gradient,
    dataset,
    models,
    random_parameters,
    random_problem,
    shifted_models,
)

jax = pytest.importorskip("jax", reason='needs JAX: pip install "pycellbox[jax]"')
pytest.importorskip("diffrax", reason='needs diffrax: pip install "pycellbox[jax]"')

from pycellbox.backends import jax as ours  # noqa: E402
from pycellbox.backends.jax import programs  # noqa: E402

pytestmark = pytest.mark.slow  # most of the time JAX compiles

TIMES = (0.0, 0.35, 1.0, 1.6)
FIXED = (pcb.Euler(0.2), pcb.Midpoint(0.2), pcb.Heun(0.2), pcb.RK4(0.2))


@pytest.fixture(scope="module")
def backend():
    return get_backend("jax")


def compare(backend, problem, parameters, solver, loss, tolerance, rows=None, prefix=None):
    """Loss and gradient, held to NumPy's on the problem of those times alone."""
    value, gradient = backend.session(problem, solver, loss).loss_and_gradient(
        parameters, rows, prefix
    )
    cut = dataclasses.replace(
        problem,
        times=problem.times[:prefix],
        response=problem.response[:, :prefix],
        weight=problem.weight[:, :prefix],
    )
    wanted, slope = NumpySession(cut, solver, loss).loss_and_gradient(parameters, rows)
    assert value == pytest.approx(wanted, rel=tolerance)
    assert_same_gradient(gradient, slope, tolerance)
    assert all(g.dtype == problem.perturbation.dtype for g in gradient.values())


def by_program() -> dict[tuple, list[pcb.CellBox]]:
    """Every model, those together that share a program: one compilation each."""
    groups: dict[tuple, list[pcb.CellBox]] = {}
    for model in (*models(), *shifted_models()):
        # Those of order 3 differ in the envelope alone, which has a test of its own.
        if model.order == 3 or (len(model.shifts) == 2 and model.envelope != "tanh"):
            continue
        outside = model.form in (1, 2) or model.kappa is not None
        drive = model.form not in (1, 2), outside or model.operating_point, len(model.shifts)
        groups.setdefault((model.envelope, model.order, *drive), []).append(model)
    return groups


@pytest.mark.parametrize("group", by_program().values(), ids=lambda g: repr(g[0]))
def test_every_model_agrees_with_numpy(backend, group):
    for model in group:
        rng = np.random.default_rng(1)
        problem = random_problem(model, rng, times=(0.5, 2.0))
        parameters = random_parameters(model, rng)
        compare(backend, problem, parameters, pcb.Heun(0.1), Loss(), 1e-10)


@pytest.mark.parametrize(
    ("solver", "dtype"), [*((s, "float64") for s in FIXED), (FIXED[2], "float32")], ids=repr
)
def test_every_fixed_step_agrees_with_numpy(backend, solver, dtype):
    rng = np.random.default_rng(2)
    model = pcb.CellBox(form=2, degree=2)
    problem = random_problem(model, rng, times=TIMES, dtype=dtype)
    parameters = random_parameters(model, rng, dtype=dtype)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    compare(backend, problem, parameters, solver, Loss(), tolerance)


@pytest.mark.parametrize("solver", FIXED[2:], ids=repr)
def test_solutions_agree_with_numpy(backend, solver):
    rng = np.random.default_rng(2)
    model = pcb.CellBox()
    problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
    found, wanted = (
        b.solve(problem.structure, solver, parameters, problem.perturbation, problem.times)
        for b in (backend, NumpyBackend())
    )
    np.testing.assert_allclose(found.states, wanted.states, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(found.steps, wanted.steps)
    found.states[...] += 1  # the caller's own


@pytest.mark.parametrize("loss", [Loss("mse"), Loss("mae"), Loss("huber", delta=0.4)], ids=repr)
def test_losses_rows_and_prefixes_agree_with_numpy(backend, loss):
    rng = np.random.default_rng(3)
    model = pcb.CellBox()
    problem = random_problem(model, rng, times=TIMES)
    parameters = random_parameters(model, rng)
    for rows in ([3, 0], np.array([1, 2])):
        for prefix in (None, 1, 2, 4, 9):
            compare(backend, problem, parameters, pcb.Heun(0.2), loss, 1e-10, rows, prefix)
        value = backend.session(problem, pcb.Heun(0.2), loss).loss(parameters, rows)
        wanted = NumpySession(problem, pcb.Heun(0.2), loss).loss(parameters, rows)
        assert value == pytest.approx(wanted, rel=1e-12)


def test_one_compilation_for_all_batches_prefixes_and_sessions(backend):
    rng = np.random.default_rng(4)
    model = pcb.CellBox()
    problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
    other = random_problem(model, rng, times=TIMES)
    backend.session(problem, pcb.Heun(0.2), Loss()).loss_and_gradient(parameters, [0, 1], 2)
    compiled = programs.value_and_gradient._cache_size()
    backend.session(problem, pcb.Heun(0.2), Loss()).loss_and_gradient(parameters, [3, 2])
    backend.session(other, pcb.Heun(0.2), Loss()).loss_and_gradient(parameters, [1, 2], 3)
    assert programs.value_and_gradient._cache_size() == compiled


def test_a_long_trajectory_is_reversed_in_parts(backend, monkeypatch):
    rng = np.random.default_rng(5)
    for model in (pcb.CellBox(form=2), pcb.CellBox(envelope="hill")):
        problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
        state = problem.perturbation.nbytes
        monkeypatch.setattr(ours.plan, "_TAPE_BYTES", 12 * state)
        session = backend.session(problem, pcb.Heun(0.09), Loss())
        ready = session._plan.evaluation(parameters, session._plan.arrays, None, 4, False)
        assert ready.method.parts > 3
        for prefix in (None, 2):
            compare(
                backend, problem, parameters, pcb.Heun(0.09), Loss(), 1e-10, [1, 3], prefix
            )  # fmt: skip


def test_gradients_of_inputs_agree_with_numpy(backend, monkeypatch):
    """Perturbation and initial state: of batches, of a state at time 0, of segments."""
    heun = pcb.Heun(0.2)
    cases = [
        (heun, form, drugs, saturation)
        for form, drugs, saturation in itertools.product(FORMS, ("input", "clamped"), (None, 0.5))
    ]
    cases += [(pcb.Tsit5(1e-9, 1e-11), 0, "clamped", 0.5), (heun, 0, "clamped", 0.5)]
    for case, (solver, form, drugs, saturation) in enumerate(cases):
        model = pcb.CellBox(form=form, drugs=drugs, dose_saturation=saturation)
        rng = np.random.default_rng(case)
        problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
        if case == len(cases) - 1:
            monkeypatch.setattr(ours.plan, "_TAPE_BYTES", 12 * problem.perturbation.nbytes)
        asked = [([2, 0], 2), ([1, 3], 1), ([0, 1], None)][case % 3]
        (value, gradient), (wanted, slope) = (
            b.session(problem, solver, Loss()).loss_and_gradient(parameters, *asked, inputs=True)
            for b in (backend, NumpyBackend())
        )
        assert value == pytest.approx(wanted, rel=1e-7)
        assert gradient.keys() == slope.keys()
        assert gradient["perturbation"].shape == gradient["initial_state"].shape == (2, 7)
        assert_same_gradient(gradient, slope, 1e-10 if solver == heun else 1e-6)


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_saturated_envelopes_have_finite_slopes(envelope):
    from pycellbox.backends.jax.envelopes import envelope as make
    from pycellbox.numerics.envelopes import envelope_kernel

    order = 3 if envelope in ("polynomial", "hill") else None
    model = pcb.CellBox(envelope=envelope, order=order)
    kernel, phi = envelope_kernel(model), make(envelope, order)
    z = np.array([-1e4, -400.0, -1.0, -0.3, 0.0, 0.2, 1.0, 1.7, 400.0, 1e4])
    value, slope = np.empty_like(z), np.empty_like(z)
    with np.errstate(over="ignore"):
        kernel.value(z, value)
    kernel.slope(z, value, slope)
    with programs.float64():
        z_ = jax.numpy.asarray(z)
        np.testing.assert_allclose(phi.value(z_), value, rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(phi.slope(z_, phi.value(z_)), slope, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("form", FORMS)
def test_tsit5_agrees_with_numpy_within_tolerance(backend, form):
    rng = np.random.default_rng(6)
    model = pcb.CellBox(form=form)
    problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
    compare(backend, problem, parameters, pcb.Tsit5(1e-6, 1e-8), Loss(), 1e-5)


def test_tsit5_solutions_and_prefixes(backend):
    rng = np.random.default_rng(7)
    model, solver = pcb.CellBox(), pcb.Tsit5(1e-6, 1e-8)
    problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
    found, wanted = (
        b.solve(problem.structure, solver, parameters, problem.perturbation, problem.times)
        for b in (backend, NumpyBackend())
    )
    np.testing.assert_allclose(found.states, wanted.states, atol=1e-6)
    assert (found.steps >= len(TIMES)).all()
    assert not found.diverged.any()
    for prefix in (1, 2):
        compare(backend, problem, parameters, solver, Loss(), 1e-5, None, prefix)


@pytest.mark.parametrize("tolerances", [(1e-2, 1e-4), (1e-3, 1e-6), (1e-6, 1e-8)])
@pytest.mark.parametrize("decay", [1.0, 30.0])
def test_settled_conditions_under_loose_tsit5(backend, tolerances, decay):
    """Once all has settled the error is nil at any step; the derivative must not explode."""
    rng = np.random.default_rng(4)
    model = pcb.CellBox(dose_saturation=None)
    problem = random_problem(model, rng, times=(40.0,), missing=0.0)
    problem.perturbation[0] = 0.0  # never moves at all
    parameters = random_parameters(model, rng, scale=0.3)
    parameters["alpha"][1] *= decay
    _, gradient = backend.session(problem, pcb.Tsit5(*tolerances), Loss()).loss_and_gradient(
        parameters
    )
    exact = NumpySession(problem, pcb.Tsit5(1e-11, 1e-13), Loss())
    _, converged = exact.loss_and_gradient(parameters)
    assert_same_gradient(gradient, converged, 30 * tolerances[0])


def test_finite_differences(backend):
    rng = np.random.default_rng(8)
    model = pcb.CellBox()
    problem, parameters = random_problem(model, rng, times=TIMES), random_parameters(model, rng)
    exact = backend.session(problem, pcb.Heun(0.2), Loss())
    slow = backend.session(problem, pcb.Heun(0.2), Loss(), "finite-difference")
    value, gradient = exact.loss_and_gradient(parameters, [0, 2], 3)
    again, differences = slow.loss_and_gradient(parameters, [0, 2], 3)
    assert value == pytest.approx(again, rel=1e-14)
    assert_same_gradient(gradient, differences, 1e-7)


def test_parameters_may_be_more_precise_than_the_data(backend):
    """Those of residuals are."""
    solver, rng = pcb.Heun(0.2), np.random.default_rng(9)
    problem = random_problem(pcb.CellBox(), rng, times=TIMES, dtype="float32")
    parameters = random_parameters(pcb.CellBox(), rng)
    (r, J), (residuals, jacobian) = (
        b.session(problem, solver, Loss()).residuals_and_jacobian(parameters)
        for b in (backend, NumpyBackend())
    )
    np.testing.assert_allclose(r, residuals, atol=1e-3)
    np.testing.assert_allclose(J, jacobian, atol=1e-3)


def test_tsit5_in_float32(backend):
    rng = np.random.default_rng(9)
    model = pcb.CellBox()
    problem = random_problem(model, rng, times=TIMES, dtype="float32")
    parameters = random_parameters(model, rng, dtype="float32")
    compare(backend, problem, parameters, pcb.Tsit5(), Loss(), 1e-3)


@pytest.mark.parametrize("solver", [pcb.Heun(0.1), pcb.Tsit5()], ids=repr)
def test_an_unstable_network_is_said_to_diverge(backend, solver):
    rng = np.random.default_rng(10)
    model = pcb.CellBox(envelope="linear")
    problem = random_problem(model, rng, times=(2000.0,))
    session = backend.session(problem, solver, Loss())
    wild = random_parameters(model, rng, scale=5.0)
    with pytest.raises(DivergenceError, match=r"condition 'c0' is not finite|gave up"):
        session.loss(wild)
    with pytest.raises(DivergenceError, match=r"condition 'c0' is not finite|gave up"):
        session.loss_and_gradient(wild)
    asked = problem.structure, solver, wild, problem.perturbation, problem.times
    if isinstance(solver, pcb.Heun):
        assert backend.solve(*asked).diverged.all()
    else:  # the step of all vanishes
        with pytest.raises(DivergenceError, match=r"not finite by t = 2000|gave up"):
            backend.solve(*asked)


def test_a_drug_screen_is_integrated_by_default(backend):
    """Its default elsewhere, SteadyState, does not exist here."""
    data = dataset(np.random.default_rng(0), conditions=5)
    options = {"schedule": pcb.Stage(3), "progress": False}
    fit = pcb.fit(data, backend="numpy", **options)
    assert isinstance(fit.solver, pcb.SteadyState)
    with pytest.warns(pcb.BackendWarning, match="jax backend has no SteadyState") as caught:
        there = pcb.fit(data, backend="jax", **options)
    assert len(caught) == 1
    assert there.solver == pcb.Tsit5(rtol=1e-4, atol=1e-6)
    assert there.horizon == fit.horizon


@pytest.mark.parametrize("method", [pcb.Euler, pcb.Midpoint, pcb.Heun, pcb.RK4])
def test_steps_too_long_for_a_decay_are_said(backend, method):
    rng = np.random.default_rng(10)
    problem = random_problem(pcb.CellBox(), rng)
    parameters = random_parameters(pcb.CellBox(), rng)
    parameters["alpha"][1] = 20.0
    for factor in (0.99, 1.2):  # of two units of time, so that steps stay nearly as long
        session = backend.session(problem, method(factor * method.reach / 20), Loss())
        if factor < 1:
            session.loss_and_gradient(parameters)
            continue
        with pytest.raises(DivergenceError, match="node number 2 decays at the rate 20"):
            session.loss_and_gradient(parameters)


def test_a_session_survives_divergence(backend):
    rng = np.random.default_rng(10)
    model, solver = pcb.CellBox(envelope="linear"), pcb.Heun(0.1)
    problem = random_problem(model, rng, times=(2000.0,))
    session = backend.session(problem, solver, Loss())
    with pytest.raises(DivergenceError):
        session.loss_and_gradient(random_parameters(model, rng, scale=5.0))
    calm = random_parameters(model, rng, scale=0.05)
    assert session.loss(calm) == pytest.approx(NumpySession(problem, solver, Loss()).loss(calm))


def test_tsit5_gives_up_after_max_steps(backend):
    rng = np.random.default_rng(11)
    problem = random_problem(pcb.CellBox(), rng, times=(20.0,))
    parameters = random_parameters(pcb.CellBox(), rng)
    session = backend.session(problem, pcb.Tsit5(1e-9, 1e-11, max_steps=20), Loss())
    with pytest.raises(DivergenceError, match=r"gave up before t = 20: .* 20 steps"):
        session.loss(parameters)


def test_other_jax_code_keeps_its_precision(backend):
    rng = np.random.default_rng(12)
    problem = random_problem(pcb.CellBox(), rng, times=TIMES)
    session = backend.session(problem, pcb.Heun(0.2), Loss())
    parameters = random_parameters(pcb.CellBox(), rng)
    before = jax.config.jax_enable_x64
    _, gradient = session.loss_and_gradient(parameters, [0, 1])
    assert gradient["W"].dtype == np.float64
    assert jax.config.jax_enable_x64 == before
    wanted = "float64" if before else "float32"
    assert jax.numpy.ones(3).dtype == wanted
    assert jax.jit(lambda x: x * 2.0)(np.ones(3)).dtype == wanted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stage": {"batch_size": 5}, "model": pcb.CellBox(form=2, degree=2)},
        {"stage": {"patience": 8}, "validation": 0.4},
    ],
    ids=repr,
)
def test_training_follows_numpy(backend, options):
    options = dict(options)
    stage = {"learning_rate": 0.02} | options.pop("stage", {})
    data = dataset(np.random.default_rng(5), conditions=14)
    model = options.pop("model", pcb.CellBox())
    fits = [
        pcb.fit(
            data, model, schedule=pcb.Stage(50, **stage), backend=name, progress=False, seed=1,
            solver=pcb.Heun(0.2), **options,
        )
        for name in ("numpy", "jax")
    ]  # fmt: skip
    assert fits[1].backend == "jax"
    assert fits[0].history.sizes == fits[1].history.sizes
    for name in ("objective", "loss", "validation_loss", "gradient_norm"):
        a, b = (f.history[name].values for f in fits)
        np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(fits[0].parameters["W"], fits[1].parameters["W"], atol=1e-9)


def test_provenance_tells_versions_and_device(backend, recwarn):
    data = dataset(np.random.default_rng(5), conditions=14)
    options = {"schedule": pcb.Stage(2), "solver": pcb.Heun(0.1), "progress": False}
    fit = pcb.fit(data, backend="jax", **options)
    # A screen that is integrated on purpose is nothing to warn of.
    assert not [w for w in recwarn if issubclass(w.category, pcb.BackendWarning)]
    told = fit.provenance["versions"]["backend"]
    assert told.startswith(f"jax {jax.__version__}, diffrax ")
    assert f" on {jax.default_backend()}" in told


def test_what_it_has_not_is_said(backend):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(0))
    with pytest.raises(BackendError, match=r"no gradient 'adjoint'.*discrete"):
        backend.session(problem, pcb.Tsit5(), Loss(), "adjoint")
    with pytest.raises(BackendError, match=r"no solver Adaptive.*Tsit5"):
        backend.session(problem, pcb.Adaptive("Rodas5P"), Loss())
    with pytest.raises(BackendError, match=r"no solver SteadyState.*numpy"):
        backend.session(problem, pcb.SteadyState(), Loss())
    assert backend.supports(pcb.Heun(0.1), inputs=True) == ""
    assert "inputs" in backend.supports(pcb.Heun(0.1), "finite-difference", inputs=True)


def test_a_missing_diffrax_matters_for_tsit5_alone(backend, monkeypatch):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "diffrax", None)
    monkeypatch.delitem(sys.modules, "pycellbox.backends.jax.adaptive", raising=False)
    monkeypatch.delattr(ours, "adaptive", raising=False)
    backend.session(problem, pcb.Heun(0.1), Loss())
    with pytest.raises(BackendError, match=r"needs diffrax for Tsit5.*pycellbox\[jax\]"):
        backend.session(problem, pcb.Tsit5(), Loss())


def test_a_missing_jax_is_said(monkeypatch):
    for name in [m for m in sys.modules if m.startswith("pycellbox.backends.jax")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(BackendError, match=r"needs JAX.*pip install \"pycellbox\[jax\]\""):
        get_backend("jax")


def test_auto_does_not_take_it():
    assert get_backend("auto").name == "numpy"
    assert pcb.available_backends()["jax"] == ""


@pytest.mark.parametrize(("columns", "range_"), [("shared", "free"), ("free", "held")])
def test_a_fit_of_a_drug_screen_in_float32(columns, range_):
    model = pcb.CellBox(drug_columns=columns, response_range=range_)
    options = {"dtype": "float32", "schedule": pcb.Stage(3), "solver": pcb.Heun(0.5)}
    data = dataset(np.random.default_rng(3))
    fits = [pcb.fit(data, model, backend=b, progress=False, **options) for b in ("jax", "numpy")]
    for fit in fits:
        assert {str(v.dtype) for v in fit.parameters.data_vars.values()} == {"float32"}
    np.testing.assert_allclose(*(f.parameters["W"].values for f in fits), rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("ours", [True, False], ids=["a fit", "other code"])
def test_a_forked_process_is_told_what_to_do(ours):
    start = "get_backend('jax')" if ours else "import jax; jax.numpy.ones(3).block_until_ready()"
    script = f"""
import os, sys, warnings
import pycellbox as pcb
from pycellbox.backends import get_backend
warnings.simplefilter("ignore")  # JAX warns of the fork itself
{start}
if os.fork() == 0:
    try:
        get_backend("jax")
    except pcb.BackendError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert "JAX does not survive a fork" in run.stdout, run.stderr
    assert "spawn" in run.stdout


def test_a_raw_parameter_has_the_precision_of_the_fit():
    structure = random_problem(pcb.CellBox(), np.random.default_rng(0), dtype="float32").structure
    pair = NetworkParametrization(structure, np.ones(structure.n_nodes, np.float32))
    parameters = random_parameters(pcb.CellBox(), np.random.default_rng(0), dtype="float32")
    raw = pair.unconstrain(parameters)
    assert "b0" in pair.layout.places
    assert raw.dtype == "float32"
    assert {a.dtype.name for a in pair.constrain(raw).values()} == {"float32"}
