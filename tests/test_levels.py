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
from tests.support.levels import experiment


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
