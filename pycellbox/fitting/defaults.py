"""What a fit does when it is not told otherwise."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pycellbox.errors import SolverError
from pycellbox.fitting.schedule import AdamW, Stage
from pycellbox.objective import Penalty
from pycellbox.solvers import Heun, Solver, SteadyState, Tsit5

DEFAULT_HORIZON = 10.0
"""End of the integration for steady states: ten times the initial 1/α, the hundred steps of 0.1
of the first stage of Yuan et al. (2021)."""


def time_span(data: xr.Dataset, horizon: float | None) -> float:
    """Return the end of the integration.

    Raises
    ------
    SolverError
        A horizon is given for time courses, which have one of their own.
    """
    if "time" not in data["response"].dims:
        return DEFAULT_HORIZON if horizon is None else horizon
    if horizon is not None:
        raise SolverError(
            f"horizon={horizon!r} is for steady-state data; these are time courses, which end at "
            f"{float(data['time'].values[-1]):g}. Stage(horizon=...) fits only their beginning."
        )
    return float(data["time"].values[-1])


def is_screen(data: xr.Dataset) -> bool:
    """Whether the data are a drug screen: drug nodes, steady states, more nodes than conditions."""
    return (
        bool((data["node_kind"] == "drug").any())
        and "time" not in data["response"].dims
        and data.sizes["condition"] < data.sizes["node"]
    )


def default_solver(data: xr.Dataset, horizon: float, finds_steady_states: bool) -> Solver:
    """Tsit5 for time courses; the steady state itself for drug screens, else Heun in fifty steps.

    Heun too where the backend does not find steady states.

    With the penalties of `default_schedule` the network of a drug screen is contracting: it has one
    steady state, which is found at a fraction of what an integration takes. In networks whose nodes
    act strongly on each other every steady state has to be proven, which takes longer than
    integrating (`benchmarks/steady.py`).
    """
    if "time" in data["response"].dims:
        return Tsit5(rtol=1e-5, atol=1e-7)
    if is_screen(data) and finds_steady_states:
        return SteadyState()
    return Heun(dt=horizon / 50)


def default_schedule(data: xr.Dataset) -> tuple[tuple[Stage, ...], Penalty]:
    """Stages and penalty for this kind of data.

    Drug screens (see `is_screen`): the edges are far more
    than the data can tell, and the drugs' direct effects carry most of the signal. Small
    node → node weights, learning rates and penalties by group, 150 iterations. Everything else
    (time courses, many conditions, networks whose nodes are perturbed directly): one learning
    rate, a light penalty, more iterations.
    """
    if is_screen(data):
        rates = {
            "drug_to_node": 0.02,
            "node_to_node": 0.001,
            "node_to_phenotype": 0.004,
            "rates": 0.002,
        }
        stage = Stage(
            iterations=150,
            learning_rate=rates,
            decay="cosine",
            warmup=10,
            optimiser=AdamW(beta2=0.99),
        )
        strengths = {
            "node_to_node": 1.0,
            "drug_to_node": 1.0,
            "drug_shared": 0.1,
            "node_to_phenotype": 0.1,
        }
        return (stage,), Penalty(l2=strengths, scale="sum")
    stage = Stage(
        iterations=1000,
        learning_rate=0.02,
        decay="cosine",
        warmup=20,
        optimiser=AdamW(beta2=0.999, clip_norm=float(np.sqrt(data.sizes["node"]))),
    )
    return (stage,), Penalty(l1=1e-5, l2=1e-6)
