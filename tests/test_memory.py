"""Memory of one loss and gradient, and none that grows with the number of steps."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.models import CellBox, Structure
from pycellbox.objective import Loss
from pycellbox.problem import Problem
from pycellbox.solvers import Heun, Tsit5


def melanoma_sized(horizon: float) -> tuple[Problem, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    n, c = 99, 89
    kinds = ["protein"] * 82 + ["phenotype"] * 5 + ["drug"] * 12
    s = Structure.over(CellBox(dose_saturation=None), range(n), kinds)
    parameters = {
        "W": rng.normal(0, 0.1, (n, n)) * s.mask, "alpha": np.ones(n), "epsilon": np.ones(n),
    }  # fmt: skip
    y = rng.normal(size=(c, 1, n))
    u = rng.normal(size=(c, n))
    names = tuple(map(str, range(c)))
    problem = Problem(s, names, u, y, np.ones_like(y), np.array([horizon]), True)
    return problem, parameters


def test_under_40_megabytes_at_99_nodes_89_conditions_100_heun_steps():
    problem, parameters = melanoma_sized(10.0)
    tracemalloc.start()
    NumpySession(problem, Heun(0.1), Loss()).loss_and_gradient(parameters)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


def test_the_time_loop_allocates_nothing():
    """Once the tape exists, a solve of many steps allocates as much as one of few."""

    def peak(solver, horizon: float) -> int:
        problem, parameters = melanoma_sized(horizon)
        session = NumpySession(problem, solver, Loss())
        session.loss_and_gradient(parameters)
        tracemalloc.start()
        session.loss_and_gradient(parameters)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    state = 99 * 89 * 8
    assert abs(peak(Heun(0.1), 8.0) - peak(Heun(0.1), 1.0)) < 0.2 * state
    # Tsit5 forms one temporary per error estimate, whatever the number of steps.
    assert abs(peak(Tsit5(), 20.0) - peak(Tsit5(), 5.0)) < 1.5 * state


@pytest.mark.parametrize("optimizer", [pcb.AdamW(), pcb.LBFGS(), pcb.LM()], ids=repr)
def test_a_session_goes_with_its_fit(monkeypatch, optimizer):
    """Without a collector: what a circle held would pile up, buffers of Julia too."""
    network = pcb.networks.cyclic(3)
    data = pcb.simulate(network, 4, times=[1.0, 2.0], backend="numpy")
    sessions = []
    made = NumpySession.__init__

    def noted(self, *given, **named):
        sessions.append(weakref.ref(self))
        made(self, *given, **named)

    monkeypatch.setattr(NumpySession, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        stage, solver = pcb.Stage(2, optimizer=optimizer), pcb.RK4(0.25)
        pcb.fit(
            data, schedule=stage, solver=solver, penalty=pcb.Penalty(), backend="numpy",
            progress=False,
        )  # fmt: skip
        assert sessions
        assert all(one() is None for one in sessions)
    finally:
        gc.enable()
