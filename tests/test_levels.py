"""Levels that are fitted: where nodes are held, and where states begin."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends.levels import session_of
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.models.structure import LEVEL, LEVEL_OF
from pycellbox.numerics.lowering import equations_of
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from pycellbox.solvers import Heun, SteadyState

NODES = list("ABCD")
TIMES = np.array([0.0, 0.5, 1.0, 2.0])


def truth():
    rng = np.random.default_rng(3)
    W = rng.normal(0, 0.6, (4, 4))
    np.fill_diagonal(W, 0)
    return xr.Dataset(
        {
            "W": (("target", "source"), W),
            "alpha": ("node", np.ones(4)),
            "epsilon": ("node", np.full(4, 1.5)),
        },
        {"target": NODES, "source": NODES, "node": NODES},
    )


def experiment(*, held=-1.0, begin=0.4, told=None, steady=False):
    """Courses in which B is knocked down in two conditions, and A begins elsewhere in another."""
    c = 8
    u = np.zeros((c, 2, 4))
    for i in range(c):
        u[i, :, i % 4] = 1 + 0.2 * i
        u[i, 1, (i + 1) % 4] = -1
    holds, starts = np.full((c, 4), np.nan), np.zeros((c, 4))
    holds[2, 1] = holds[5, 1] = held
    starts[6, 0] = begin
    data = xr.Dataset(
        {
            "perturbation": (("condition", "phase", "node"), u),
            "response": (("condition", "time", "node"), np.zeros((c, 4, 4))),
            "held": (("condition", "node"), holds),
            "initial_state": (("condition", "node"), starts),
        },
        {
            "condition": [f"c{i}" for i in range(c)],
            "node": NODES,
            "node_kind": ("node", ["protein"] * 4),
            "time": ("time", TIMES, {"units": "h"}),
            "phase_start": ("phase", [0.0, 30.0], {"units": "min"}),
        },
    )
    exact = pcb.Tsit5(1e-8, 1e-10)
    times = None if steady else TIMES
    found = pcb.solve(
        pcb.CellBox(), truth(), pcb.validate(data), solver=exact, times=times,
        horizon=90.0 if steady else None, backend="numpy",
    )  # fmt: skip
    if steady:
        data = data.isel(time=0, drop=True)
    data["response"] = data["response"].copy(data=found.values)
    if told is not None:
        was = ~np.isnan(holds)
        data["held"] = data["held"].where(~was, told)
        data["held_fitted"] = data["held"].copy(data=was)
        data["initial_fitted"] = data["held"].copy(data=starts != 0)
        data["initial_state"] = 0 * data["initial_state"]
    return pcb.validate(data)


@pytest.mark.parametrize("solver", [Heun(0.1), SteadyState(tol=1e-13)], ids=repr)
@pytest.mark.parametrize("rows", [None, [5, 0, 2, 6]])
def test_gradients_of_levels(solver, rows):
    data = experiment(told=-0.3, steady=solver.steady)
    problem = Problem.from_dataset(
        data, structure_of(data, pcb.CellBox()), 90.0 if solver.steady else None
    )
    session = session_of(NumpyBackend(), problem, solver, Loss())
    plain = equations_of(problem.structure.plain)
    p = plain.start(problem, pcb.Initialization(), np.random.default_rng(0))
    p[LEVEL] = problem.treatment.level_starts + 0.1
    _, gradient = session.loss_and_gradient(p, rows)
    assert set(gradient) == set(p)
    for i in range(len(p[LEVEL])):
        h = 1e-5 * (np.arange(len(p[LEVEL])) == i)
        up, down = (session.loss(p | {LEVEL: p[LEVEL] + s * h}, rows) for s in (1, -1))
        assert gradient[LEVEL][i] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-10)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "run.nc"
    stage = pcb.Stage(iterations=250, learning_rate=0.05)
    return pcb.fit(
        experiment(told=-0.3), backend="numpy", progress=False, schedule=stage, checkpoint=path,
        checkpoint_seconds=0, solver=pcb.Heun(0.1),
    ), path  # fmt: skip


def test_levels_are_found(fitted):
    fit, _ = fitted
    found = dict(zip(fit.parameters[LEVEL_OF].values, fit.parameters[LEVEL].values, strict=True))
    assert found["B held from -0.3"] == pytest.approx(-1, abs=0.1)
    assert found["A in c6"] == pytest.approx(0.4, abs=0.05)
    assert len(found) == 2


def test_levels_are_kept_in_files_and_used_in_predictions(fitted, tmp_path):
    fit, checkpoint = fitted
    data = experiment(told=-0.3)
    xr.testing.assert_identical(
        fit.predict(data).drop_attrs(), fit.predictions.drop_vars("role").drop_attrs()
    )
    loaded = pcb.load(fit.save(tmp_path / "fit.nc"))
    xr.testing.assert_identical(loaded.parameters, fit.parameters)
    np.testing.assert_array_equal(loaded.predict(data), fit.predict(data))
    resumed = pcb.resume(checkpoint, progress=False)
    np.testing.assert_array_equal(resumed.parameters[LEVEL], fit.parameters[LEVEL])


def test_a_level_that_the_fit_does_not_know_is_named(fitted):
    fit, _ = fitted
    with pytest.warns(pcb.DataWarning, match=r"1 level .*B held from -0\.7"):
        fit.predict(experiment(told=-0.7))
