"""Short fits of a small known network."""

from __future__ import annotations

import numpy as np
import xarray as xr

import pycellbox as pcb
from tests.support.problems import KINDS, NODES, labelled, structure

PLAIN = pcb.CellBox(dose_saturation=None, drug_columns="free")


NO_PENALTY = pcb.Penalty()


def quick(iterations: int = 20, **options) -> pcb.Stage:
    return pcb.Stage(iterations, **({"learning_rate": 0.05} | options))


def fitted(data, *, model=PLAIN, schedule=None, **options) -> pcb.Fit:
    defaults = {"solver": pcb.Heun(0.2), "progress": False, "penalty": NO_PENALTY}
    if "time" in data["response"].dims:
        defaults["time_scale"] = 1.0  # that of the networks which made them, for steps of 0.2
    else:
        defaults["horizon"] = 4.0
    return pcb.fit(data, model, schedule=schedule or quick(), **(defaults | options))


def known_network(times=None, conditions=24) -> tuple[xr.Dataset, xr.Dataset]:
    """Noise-free data of a random network in which every node is perturbed, and its truth."""
    rng = np.random.default_rng(0)
    s = structure(PLAIN)
    n = s.n_nodes
    W = rng.normal(0, 0.8, (n, n)) * s.mask * (rng.random((n, n)) < 0.6)
    truth = labelled(s, {"W": W, "alpha": np.ones(n), "epsilon": np.ones(n)})
    u = xr.DataArray(
        rng.normal(0, 1, (conditions, n)),
        {"condition": [f"c{i}" for i in range(conditions)], "node": list(NODES),
         "node_kind": ("node", list(KINDS))},
        ("condition", "node"),
    )  # fmt: skip
    where = {"horizon": 4.0} if times is None else {"times": times}
    x = pcb.solve(PLAIN, truth, u, solver=pcb.RK4(0.05), **where)
    x = x.drop_attrs()
    if times is not None:
        x["time"].attrs["units"] = "h"
    data = xr.Dataset({"perturbation": u, "response": x})
    data.attrs["schema_version"] = 2
    return pcb.validate(data), truth
