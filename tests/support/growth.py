"""Logistic growth of members that differ."""

from __future__ import annotations

import numpy as np

import pycellbox as pcb
from tests.support.equations import courses


def growth(dims="subject", **more):
    """Logistic growth with a capacity for all, and a rate of each."""
    parameters = {
        "r": pcb.Parameter(0.5, scale="log", dims=dims),
        "K": pcb.Parameter(3.0, positive=True),
    }
    initial = {"x": pcb.Parameter(0.3, positive=True, dims="condition")}
    given = {"parameters": parameters, "initial": initial, "observe": {"seen": "2*x"}}
    return pcb.ODE({"x": "r*x*(1 - x/K)"}, **given | more)


def grown(model=None, c=4):
    data = courses(["seen"], np.arange(0.0, 6), c=c)
    data = data.assign_coords(subject=("condition", [f"m{i // 2 + 1}" for i in range(c)]))
    truth = {"r": np.linspace(0.6, 1.2, (c + 1) // 2), "K": 4.0, "x_0": np.linspace(0.2, 0.5, c)}
    return pcb.simulation.courses(
        model or growth(), truth, data["time"].values, design=data, units="d"
    ), truth
