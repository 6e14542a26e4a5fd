"""An equation that a light drives, and conditions of it."""

from __future__ import annotations

import numpy as np
import xarray as xr

import pycellbox as pcb
from tests.support.equations import courses

TIMES = np.array([0.5, 1.0, 2.5, 4.0])
GRID = np.array([0.0, 0.7, 1.5, 3.0, 4.0])
LINEAR = [False, True]


def model(**more):
    return pcb.ODE(
        {"x": "k*light*y - a*x", "y": "dose + a - y*light"},
        parameters={"k": 1.0, "a": 0.7},
        observe={"seen": "x + light"},
        initial={"x": "0.3*light", "y": pcb.Parameter(0.4)},
        inputs=["dose", "light"],
        **more,
    )


def values(c=2):
    return np.random.default_rng(5).uniform(-1, 1, (c, len(GRID)))


def driven(linear, *, times=TIMES, c=2, after="refuse"):
    data = courses(["x", "y", "dose", "seen"], times, c=c)
    data["node_kind"][2:3] = "drug"
    data["perturbation"].loc[{"node": "dose"}] = 0.2
    how = {"interpolation": "linear" if linear else "step", "after": after}
    return pcb.regimen(data, pcb.drive("light", GRID, values(c), **how))


def parameters(**given):
    p = {"k": 1.3, "a": 0.6, "y_0": 0.5} | given
    nodes = ["x", "y", "dose", "seen"]
    kinds = ["protein", "protein", "drug", "protein"]
    return xr.Dataset(p, coords={"node": nodes, "node_kind": ("node", kinds)})
