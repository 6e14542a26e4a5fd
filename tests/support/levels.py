"""Courses with nodes that are held, and states that begin elsewhere, at levels to be found."""

from __future__ import annotations

import numpy as np
import xarray as xr

import pycellbox as pcb

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
