"""The simulated experiment of a CellBox.jl configuration: the one place that makes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from pycellbox.data import condition_labels, validate
from pycellbox.models import CellBox
from pycellbox.solvers import Tsit5
from pycellbox.solving import solve


def simulate_experiment(
    truth: xr.Dataset,
    model: CellBox,
    n_conditions: int,
    *,
    n_perturbed: int,
    times: Sequence[float] | None,
    horizon: float,
    noise: float,
    seed: int,
    backend: str,
) -> xr.Dataset:
    """Draw doses, solve the true network, and add noise.

    The doses are a Latin hypercube over (0, 1]: with c conditions each node gets each of 1/c,
    2/c, …, 1 once, of which ``n_perturbed`` nodes a condition keep theirs.

    Parameters
    ----------
    truth : Dataset
        W (target, source) and alpha (node).
    model : CellBox
    n_conditions, n_perturbed : int
    times : sequence of float, optional
        None for one measurement at the horizon, without a time axis.
    horizon : float
    noise : float
        Standard deviation, in units of the response.
    seed : int
    backend : str

    Returns
    -------
    Dataset
        perturbation, response, true_response, true_W and true_alpha.
    """
    for_doses, for_noise = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)
    )
    nodes = [str(node) for node in truth["node"].values]
    levels = np.arange(1, n_conditions + 1) / n_conditions
    doses = for_doses.permuted(np.tile(levels[:, None], len(nodes)), axis=0)
    if n_perturbed < len(nodes):
        ranks = for_doses.random(doses.shape).argsort(axis=1).argsort(axis=1)
        doses[ranks >= n_perturbed] = 0.0
    perturbation = xr.DataArray(
        doses,
        {
            "condition": condition_labels(doses, nodes),
            "node": nodes,
            "node_kind": ("node", ["protein"] * len(nodes)),
        },
        ("condition", "node"),
    )
    clean = solve(
        model,
        truth,
        perturbation,
        solver=Tsit5(rtol=1e-10, atol=1e-12),
        horizon=horizon if times is None else None,
        times=times,
        backend=backend,
    )
    measured = clean.copy(data=clean.values + noise * for_noise.standard_normal(clean.shape))
    data = xr.Dataset({"perturbation": perturbation, "response": measured, "true_response": clean})
    data = data.assign(true_W=truth["W"], true_alpha=truth["alpha"])
    if times is not None:
        data["time"].attrs.setdefault("units", "1")
    data.attrs.update(source="simulated by pycellbox", noise=float(noise), seed=int(seed))
    return validate(data)
