"""What a fit says of its own numerics: its states, held to an integration of the equation."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.errors import DivergenceError
from pycellbox.models import CellBox
from pycellbox.solvers import FixedStep, Solver, SteadyState, Tsit5
from pycellbox.solving import solve

log = logging.getLogger("pycellbox")

# In units of the slowest decay time: enough for a network that settles at half the rate of its
# slowest node (e⁻²⁰ is 2e-9).
_SETTLING_TIMES = 40.0
_CLOSE = Tsit5(rtol=1e-6, atol=1e-8)
# Of the largest response: what no measurement would notice.
_NOTICEABLE = 0.01


def verify(
    states: xr.DataArray,
    model: CellBox,
    parameters: xr.Dataset,
    perturbation: xr.DataArray,
    *,
    solver: Solver,
    horizon: float | None,
    times: Any,
    backend: str,
    dtype: str,
) -> dict[str, Any]:
    """Hold computed states to an integration.

    Steady states are integrated over forty times the slowest decay time. The states of a method
    with fixed steps are held to Tsit5 at tolerances of 1e-6 and 1e-8 by the NumPy backend, with a
    warning where the difference is more than a hundredth of the largest response: the parameters
    then belong to those steps and not to the equation.

    Parameters
    ----------
    states : DataArray, (condition[, time], node)
        As `solve` returned them.
    model, parameters, perturbation, solver, horizon, times, backend, dtype
        What `solve` was given.

    Returns
    -------
    dict
        Plain values for provenance: an entry ``steady_state``, ``steps``, or none for adaptive
        solvers, which hold themselves to their tolerance.
    """
    if isinstance(solver, SteadyState):
        settled = states["settled"].values
        rates = parameters["alpha"].values
        long = _SETTLING_TIMES / max(float(rates.min()), 1e-3 * float(rates.max()))
        integrated = solve(
            model, parameters, perturbation, solver=solver.integrator, horizon=long,
            backend=backend, dtype=dtype,
        )  # fmt: skip
        distance = np.abs(states.values - integrated.values)[settled]
        return {
            "steady_state": {
                "unsettled": [str(c) for c in states["condition"].values[~settled]],
                "residual": float(states["residual"].values[settled].max(initial=0.0)),
                "distance_to_integration": float(distance.max(initial=0.0)),
                "integrated_to": long,
            }
        }
    if not isinstance(solver, FixedStep):
        return {}
    try:
        exact = solve(
            model, parameters, perturbation, solver=_CLOSE, horizon=horizon, times=times,
            backend="numpy",
        )  # fmt: skip
    except DivergenceError as error:
        log.warning("the states of %r could not be held to an integration: %s", solver, error)
        return {"steps": {"distance_to_integration": None}}
    distance = np.abs(states.values - exact.values)
    largest = float(distance.max(initial=0.0))
    if largest > _NOTICEABLE * float(np.abs(exact.values).max(initial=0.0)):
        where = np.unravel_index(int(distance.argmax()), distance.shape)
        log.warning(
            "the steps of %r leave the equation's solution by up to %.2g (condition %s, node %s): "
            "the parameters belong to these steps. A smaller dt, RK4 or Tsit5 mends it.",
            solver, largest, states["condition"].values[where[0]], states["node"].values[where[-1]],
        )  # fmt: skip
    return {"steps": {"distance_to_integration": largest}}
