"""What a fit says of its own numerics: its states, held to an integration of the equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import Backend, get_backend
from pycellbox.errors import DivergenceError, NumericsWarning, warn
from pycellbox.inputs import Inputs
from pycellbox.models import Structure
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.steps import SETTLING_TIMES
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import Solver, Tsit5
from pycellbox.solving import states_of

_CLOSE = Tsit5(rtol=1e-6, atol=1e-8)
# Of the largest response: what no measurement would notice.
_NOTICEABLE = 0.01


def verify(
    states: xr.DataArray,
    structure: Structure,
    parameters: Parameters,
    inputs: Inputs,
    grid: Array,
    *,
    solver: Solver,
    backend: Backend,
) -> dict[str, Any]:
    """Hold computed states to an integration.

    Settled steady states are integrated over forty times the slowest decay time, or up to the
    horizon where no rate is known, by the solver's own integrator on the backend that found them.
    The states of a method with fixed steps are held to Tsit5 at tolerances of 1e-6 and 1e-8 by the
    NumPy backend, whatever computed them, with a warning where the difference is more than a
    hundredth of the largest response: the parameters then belong to those steps and not to the
    equation.

    Parameters
    ----------
    states : DataArray, (condition[, time], node)
        As `pycellbox.solving.states_of` returned them for what follows.
    structure : Structure
    parameters : dict of ndarray
        In the precision of the states.
    inputs : Inputs
        In float64.
    grid : ndarray, (t,)
    solver : Solver
    backend : Backend

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
    exact = {name: values.astype(np.float64) for name, values in parameters.items()}
    if solver.steady:
        settled = states["settled"].values
        long = settling_time(structure, exact, inputs.perturbation)
        if long is None:
            long = float(grid[-1])
        elif inputs.treatment is not None:
            long += float(inputs.treatment.starts[-1])
        same = inputs.rows(np.flatnonzero(settled)).astype(states.dtype)
        distance = _distance(
            states.isel(condition=settled), structure, parameters, same, np.array([long]),
            solver=solver.through_time, backend=backend,
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
        states, structure, exact, inputs, grid, solver=_CLOSE, backend=get_backend("numpy")
    )
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


def settling_time(structure: Structure, parameters: Parameters, doses: Array) -> float | None:
    """Forty times the slowest decay time of the nodes that move; None where no rate is known."""
    equations = equations_of(structure)
    slowest = equations.field(parameters, equations.drive(doses)).slowest_rate()
    if slowest is None:
        return None
    return SETTLING_TIMES / slowest if slowest < math.inf else SETTLING_TIMES


def _distance(
    states: xr.DataArray,
    structure: Structure,
    parameters: Parameters,
    inputs: Inputs,
    grid: Array,
    **options: Any,
) -> xr.DataArray | None:
    """How far states are from an integration; None, with a warning, where it fails."""
    try:
        steady = "time" not in states.dims
        exact = states_of(structure, parameters, inputs, grid, steady, **options)
    except DivergenceError as error:
        warn(
            f"the states of the fit could not be held to an integration of the equation: {error}",
            NumericsWarning,
        )
        return None
    return states.copy(data=np.abs(states.values - exact.values))


def _largest(distance: xr.DataArray) -> float:
    return float(distance.values.max(initial=0.0))
