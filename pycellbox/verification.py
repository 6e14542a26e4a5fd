"""What a fit says of its own numerics: its states, held to an integration of the equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.errors import DivergenceError, NumericsWarning, warn
from pycellbox.models import Model, Structure
from pycellbox.numerics.lowering import equations_of
from pycellbox.problem import kinds_of, parameter_arrays, perturbation_array
from pycellbox.solvers import Solver, Tsit5
from pycellbox.solving import nodes_of, solve

# In units of the slowest decay time: enough for a network that settles at half the rate of its
# slowest node (e⁻²⁰ is 2e-9).
_SETTLING_TIMES = 40.0
_CLOSE = Tsit5(rtol=1e-6, atol=1e-8)
# Of the largest response: what no measurement would notice.
_NOTICEABLE = 0.01


def verify(
    states: xr.DataArray,
    model: Model,
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

    Settled steady states are integrated over forty times the slowest decay time, by the solver's
    own integrator on the backend that found them. The states of a method with fixed steps are held
    to Tsit5 at tolerances of 1e-6 and 1e-8 by the NumPy backend, whatever computed them, with a
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

    Warns
    -----
    NumericsWarning
        The steps leave the equation's solution, or the integration itself fails.
    """
    if solver.steady:
        settled = states["settled"].values
        long = settling_time(model, parameters, perturbation)
        if long is None:
            return {}
        distance = _distance(
            states.isel(condition=settled), model, parameters, perturbation.isel(condition=settled),
            solver=solver.through_time, horizon=long, backend=backend, dtype=dtype,
        )  # fmt: skip
        return {
            "steady_state": {
                "unsettled": [str(c) for c in states["condition"].values[~settled]],
                "residual": float(states["residual"].values[settled].max(initial=0.0)),
                "distance_to_integration": None if distance is None else _largest(distance),
                "integrated_to": long,
            }
        }
    if solver.holds_error:
        return {}
    distance = _distance(
        states, model, parameters, perturbation, solver=_CLOSE, horizon=horizon, times=times,
        backend="numpy",
    )  # fmt: skip
    if distance is None:
        return {"steps": {"distance_to_integration": None}}
    largest = _largest(distance)
    if largest > _NOTICEABLE * float(np.abs(states.values).max(initial=0.0)):
        where = distance.isel(distance.argmax(...))  # type: ignore[arg-type]
        warn(
            f"the steps of {solver!r} leave the equation's solution by up to {largest:.2g} "
            f"(condition {where['condition'].item()}, node {where['node'].item()}): the parameters "
            "belong to these steps. Use a smaller dt, RK4 or Tsit5.",
            NumericsWarning,
        )
    return {"steps": {"distance_to_integration": largest}}


def settling_time(model: Model, parameters: xr.Dataset, perturbation: xr.DataArray) -> float | None:
    """Forty times the slowest decay time of the nodes that move; None where no rate is known."""
    nodes = nodes_of(parameters)
    structure = Structure.over(model, nodes, kinds_of(nodes, perturbation, parameters))
    arrays = parameter_arrays(structure, parameters, np.float64)
    equations = equations_of(structure)
    _, u = perturbation_array(perturbation, nodes, np.float64)
    slowest = equations.field(arrays, equations.drive(u)).slowest_rate()
    if slowest is None:
        return None
    return _SETTLING_TIMES / slowest if slowest < math.inf else _SETTLING_TIMES


def _distance(states: xr.DataArray, *network: Any, **options: Any) -> xr.DataArray | None:
    """How far states are from an integration; None, with a warning, where it fails."""
    try:
        exact = solve(*network, **options)
    except DivergenceError as error:
        warn(
            f"the states of the fit could not be held to an integration of the equation: {error}",
            NumericsWarning,
        )
        return None
    return states.copy(data=np.abs(states.values - exact.values))


def _largest(distance: xr.DataArray) -> float:
    return float(distance.values.max(initial=0.0))
