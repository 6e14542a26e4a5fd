"""Steady states of equations of one's own on the Julia backend, held to the NumPy backend's."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.julia.project import readiness
from pycellbox.numerics.rest import EquationRest
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from tests.support.equations import courses, differing, parameters_of
from tests.support.settling import DRIVEN, SETTLING, UNSETTLED, begun, laid, of

STATE = readiness()
pytestmark = pytest.mark.skipif(
    not STATE.ready, reason=f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
)
BACKENDS = ("julia", "numpy")


def sessions(data, model, p, horizon, solver=None, loss="huber", dtype=np.float64):
    """One of each backend, and parameters."""
    problem = Problem.from_dataset(data, structure_of(data, model), horizon, dtype)
    arrays = {name: p[name].values.astype(dtype) for name in model.parameters}
    solver = pcb.SteadyState() if solver is None else solver
    return [get_backend(b).session(problem, solver, Loss(loss)) for b in BACKENDS], arrays


def assert_close(found, wanted, tolerance=1e-9):
    assert found.shape == wanted.shape
    size = np.abs(wanted).max(initial=0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * size + 1e-14)


def agree(data, model, p, horizon, rows=([2, 0],), solver=None, tolerance=1e-9):
    """Hold all that is asked of a session to NumPy's; which conditions settled."""
    (ours, theirs), arrays = sessions(data, model, p, horizon, solver)
    found, wanted = ours.solution(arrays), theirs.solution(arrays)
    for name in ("settled", "steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert_close(found.states, wanted.states, tolerance)
    for some in (None, *rows):
        value, slope = ours.loss_and_gradient(arrays, some, inputs=True)
        value_, slope_ = theirs.loss_and_gradient(arrays, some, inputs=True)
        assert value == pytest.approx(value_, rel=tolerance)
        assert ours.loss(arrays, some) == value
        assert set(slope) == set(slope_)
        for name in slope:
            assert_close(slope[name], slope_[name], tolerance)
        np.testing.assert_array_equal(ours.settled, theirs.settled)
    for got, due in zip(ours.residuals_and_jacobian(arrays),
                        theirs.residuals_and_jacobian(arrays), strict=True):  # fmt: skip
        assert_close(got, due, tolerance)
    return found.settled


def scattered(data):
    """Measurements, of which some are missing."""
    rng = np.random.default_rng(3)
    y = np.abs(data["response"] * 0 + rng.normal(1, 0.3, data["response"].shape))
    y[0, 0] = np.nan
    return data.assign(response=y)


@pytest.mark.parametrize("name", {**SETTLING, **UNSETTLED})
def test_all_that_is_asked_of_a_session_agrees_with_numpy(name):
    if name == "fast and slow":
        pytest.skip("takes an implicit integrator, which SteadyState has on NumPy alone")
    model, values = (SETTLING | UNSETTLED)[name]
    data, p = laid(model, values, c=3)
    if name in SETTLING:
        assert agree(scattered(data), model, p, 400.0).all()
    else:
        # One step for all, whatever rounding says: what is left over is rounding too.
        solver = pcb.SteadyState(integrator=pcb.RK4(0.02))
        assert not agree(scattered(data), model, p, 30.0, solver=solver).any()


@pytest.mark.parametrize("integrator", [pcb.RK4(0.05), pcb.Tsit5(1e-5, 1e-7)], ids=repr)
def test_conditions_end_each_in_its_own_way(integrator):
    model, values = DRIVEN
    data, p = laid(model, values, c=4)
    data["perturbation"].loc[{"node": "u"}] = [-2.9, 7.0, -2.5, 7.5]
    solver = pcb.SteadyState(integrator=integrator)
    settled = agree(scattered(data), model, p, 60.0, ([3, 0], [1], [2]), solver)
    assert settled.tolist() == [True, False, True, False]


def phased(data, u, start):
    """Return it with two phases of the last node."""
    whole = data["perturbation"].expand_dims(phase=2, axis=1).copy()
    whole[:, :, -1] = u
    starts = ("phase", start, {"units": "h"})
    data = data.drop_vars("perturbation").assign(perturbation=whole)
    return data.assign_coords(phase_start=starts)


@pytest.mark.parametrize("start", [[0.0, 8.0], [-np.inf, 0.0]], ids=["pulse", "pre-treatment"])
def test_what_was_done_before_decides_which_state_is_reached(start):
    model, values = begun(False)
    data, p = laid(model, values, c=3)
    data = scattered(data)
    settled = agree(phased(data, [[0, 0], [6, 0.1], [1, 0.2]], start), model, p, 100.0)
    assert settled.all()
    found = pcb.solve(
        model, p, phased(data, [[0, 0], [6, 0], [6, 0.1]], start)[["perturbation"]],
        solver=pcb.SteadyState(), horizon=100.0, backend="julia",
    )  # fmt: skip
    assert found["settled"].all()
    assert float(found[1, 0]) > 3 > 1 > float(found[0, 0])


CYCLE = {"a": "k*(s - a) + u", "b": "k*(a - b)", "s": "k*(b - s)"}


def test_sums_that_are_conserved_know_where_they_began():
    """What was put in before is found again in all three, with its derivatives."""
    given = CYCLE, {"k": 0.7}, {"a": pcb.Parameter(1.0), "s": 0.5}
    model, values = of(*given, inputs=["u"])
    data, p = laid(model, values, c=3)
    data = scattered(data)
    assert agree(phased(data, [[0, 0], [0.4, 0], [0.7, 0]], [0.0, 2.0]), model, p, 90.0).all()
    data["perturbation"][:, -1] = 0.0
    assert agree(data, of(*given, inputs=["u"], at_rest=True)[0], p, 90.0).all()


@pytest.mark.parametrize(
    "solver", [pcb.SteadyState(), pcb.Tsit5(1e-7, 1e-9)], ids=["steady", "in time"]
)
def test_conditions_may_begin_at_rest(solver):
    model, values = begun(True)
    if solver.steady:
        data, p = laid(model, values, c=3)
        data["perturbation"].loc[{"node": "d"}] = [0.0, 3.0, 0.2]
        assert agree(scattered(data), model, p, 200.0).all()
        return
    data = courses(["u", "v", "d"], [0.0, 0.5, 2.0], c=2)
    data["perturbation"].loc[{"node": "d"}] = [0.0, 3.0]
    p = parameters_of(model, ["u", "v", "d"], values)
    (ours, theirs), arrays = sessions(data, model, p, None, solver)
    for got, due in zip(ours.residuals_and_jacobian(arrays),
                        theirs.residuals_and_jacobian(arrays), strict=True):  # fmt: skip
        assert_close(got, due)


def test_nodes_that_are_held_stay_and_hold():
    model, values = begun(False)
    data, p = laid(model, values, c=3)
    held = data["perturbation"] * np.nan
    held[1, 0], held[2, 1] = 0.3, 2.0
    data = scattered(data).assign(held=held)
    assert agree(data, model, p, 200.0).all()
    found = pcb.solve(model, p, data[["perturbation", "held"]], solver=pcb.SteadyState(),
                      horizon=200.0, backend="julia")  # fmt: skip
    assert float(found[1, 0]) == 0.3


@pytest.mark.parametrize("dims", ["condition", "subject"])
def test_parameters_may_differ_by_condition_and_subject(dims):
    model, _, data, p, _ = differing("traced", dims)
    data = data.isel(time=0, drop=True)
    given = {"solver": pcb.SteadyState(), "horizon": 60.0}
    ours, theirs = (pcb.value_and_gradient(model, p, data, backend=b, **given) for b in BACKENDS)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-9)
    for name in model.parameters:
        assert_close(ours[1][name].values, theirs[1][name].values)


def wide(n=30):
    rng = np.random.default_rng(0)
    A = pcb.Parameter(rng.normal(0, 0.3, (n, n)))
    return pcb.ODE(
        lambda x, p: pcb.tanh(p.A @ x + p.b) - p.d * x,
        states=[f"s{i}" for i in range(n)],
        parameters={"A": A, "b": pcb.Parameter(rng.normal(0, 1, n)), "d": 0.8},
        observe={"all": lambda x, p: p.d * (x * x).sum()},
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-3)])
def test_systems_of_many_states_agree_with_numpy(dtype, tolerance):
    model = wide()
    data, p = laid(model, {k: one.start for k, one in model.parameters.items()}, c=3)
    (ours, theirs), arrays = sessions(scattered(data), model, p, 200.0, dtype=dtype)
    found, wanted = (s.loss_and_gradient(arrays) for s in (ours, theirs))
    assert found[0] == pytest.approx(wanted[0], rel=tolerance)
    for name in model.parameters:
        assert found[1][name].dtype == dtype
        assert_close(found[1][name], wanted[1][name], tolerance)
    if dtype == np.float64:
        for got, due in zip(ours.residuals_and_jacobian(arrays),
                            theirs.residuals_and_jacobian(arrays), strict=True):  # fmt: skip
            assert_close(got, due)


@pytest.mark.parametrize("optimizer", [pcb.LM(), pcb.AdamW()], ids=repr)
def test_fits_of_steady_states_are_those_of_numpy(tmp_path, optimizer):
    model, values = DRIVEN
    data, _ = laid(model, values, c=4)
    data["perturbation"].loc[{"node": "u"}] = [-2.9, -2.5, -2.0, -1.5]
    truth = parameters_of(model, [*model.own_nodes, "u"], values | {"a": 3.3, "n": 3.0})
    data["response"][...] = pcb.solve(
        model, truth, data["perturbation"], solver=pcb.SteadyState(), horizon=400.0, backend="numpy"
    ).values
    ours, theirs = (
        pcb.fit(data, model, solver=pcb.SteadyState(), horizon=400.0, progress=False, backend=b,
                schedule=pcb.Stage(12, optimizer=optimizer, learning_rate=0.02))
        for b in BACKENDS
    )  # fmt: skip
    for name in model.parameters:
        np.testing.assert_allclose(ours.parameters[name], theirs.parameters[name], rtol=1e-6)
    np.testing.assert_allclose(ours.predictions, theirs.predictions, rtol=1e-6)
    ours.save(tmp_path / "fit.nc")
    again = pcb.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(again.predict(again.data), ours.predictions, rtol=1e-9)


@pytest.mark.parametrize("phases", [False, True])
def test_what_leaves_the_finite_numbers_is_named(phases):
    model, values = of({"x": "x*x + u"}, {}, {"x": 1.0}, inputs=["u"])
    data, p = laid(model, values, c=2)
    data["perturbation"][0, -1] = -2.0  # settles
    data["perturbation"][1, -1] = 1.0
    if phases:
        data = phased(data, [[-2, -2], [1, -2]], [0.0, 3.0])
    solver = pcb.SteadyState(integrator=pcb.RK4(0.05))
    asked = {"solver": solver, "horizon": 50.0, "backend": "julia"}
    for call in (
        lambda: pcb.value_and_gradient(model, p, data, **asked),
        lambda: pcb.solve(model, p, data[["perturbation"]], **asked),
    ):
        with pytest.raises(pcb.DivergenceError, match="condition 'c1' is not finite by t = "):
            call()


def test_which_equation_had_no_value_is_named():
    model, values = of({"x": "-k", "y": "log(x) - y"}, {"k": 1.0}, {"x": 1.0})
    data, p = laid(model, values, c=2)
    solver = pcb.SteadyState(integrator=pcb.RK4(0.05))
    words = r"condition 'c0'.*equation of y has no value at x = -"
    with pytest.raises(pcb.DivergenceError, match=words):
        pcb.value_and_gradient(model, p, data, solver=solver, horizon=50.0, backend="julia")


def test_a_pretreatment_settles_once_for_a_jacobian(monkeypatch):
    model, values = begun(True)
    data, p = laid(model, values, c=2)
    (ours, _), arrays = sessions(scattered(data), model, p, 100.0)
    calls, old = [], EquationRest.__init__
    monkeypatch.setattr(EquationRest, "__init__", lambda *a: (calls.append(1), old(*a))[1])
    ours.residuals_and_jacobian(arrays)
    assert len(calls) == 1


def test_no_rows_have_no_loss():
    model, values = DRIVEN
    data, p = laid(model, values, c=2)
    (ours, _), arrays = sessions(scattered(data), model, p, 100.0)
    value, slope = ours.loss_and_gradient(arrays)
    none, nothing = ours.loss_and_gradient(arrays, np.array([], int))
    assert none == 0
    assert not any(slope_.any() for slope_ in nothing.values())
    again, same = ours.loss_and_gradient(arrays)
    assert again == value
    for name in slope:
        np.testing.assert_array_equal(slope[name], same[name])
