"""A network as a problem of Julia's SciML solvers."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.options import HORIZON, checked, instance
from pycellbox.errors import DataError
from pycellbox.models import CellBox, Structure
from pycellbox.problem import PARAMETERS, kinds_of, parameter_arrays, perturbation_array
from pycellbox.solving import nodes_of


@checked(
    model=instance(CellBox, "a network, such as pcb.CellBox()"),
    parameters=PARAMETERS,
    horizon=HORIZON,
)
def to_ode_problem(
    model: CellBox, parameters: xr.Dataset, perturbation: xr.DataArray, *, horizon: float
) -> Any:
    """Return the network as a Julia ``ODEProblem``, for diffeqpy's ``de.solve`` or juliacall.

    Parameters
    ----------
    model : CellBox
        The equation.
    parameters, perturbation : Dataset, DataArray
        As in `pycellbox.solve`.
    horizon : float
        End of the integration.

    Returns
    -------
    Julia ODEProblem
        The state is a (node × condition) matrix; the function carries analytic vector-Jacobian
        products.

    Raises
    ------
    DataError
        The perturbation has phases.
    BackendError
        Julia is not ready.

    Examples
    --------
    >>> from diffeqpy import de
    >>> problem = pcb.to_ode_problem(model, fit.parameters, data["perturbation"], horizon=10.0)
    >>> solution = de.solve(problem, de.Tsit5())
    """
    from pycellbox.backends.julia import JuliaBackend

    if isinstance(perturbation, xr.DataArray | xr.Dataset):
        _check_constant(perturbation)
    nodes = nodes_of(parameters)
    structure = Structure.over(model, nodes, kinds_of(nodes, perturbation, parameters))
    arrays = parameter_arrays(structure, parameters, np.float64)
    _, u = perturbation_array(perturbation, structure.nodes, np.float64)
    return JuliaBackend().ode_problem(structure, arrays, u, horizon)


def _check_constant(given: xr.DataArray | xr.Dataset) -> None:
    names = {*given.dims, *given.coords, *(given if isinstance(given, xr.Dataset) else ())}
    treated = ("phase", "phase_start", "held", "initial_state")
    if found := [name for name in treated if name in names]:
        raise DataError(
            f"the data have {', '.join(found)}, and an ODEProblem has one constant input for each "
            "condition, from rest: give doses (condition, node), such as those of one phase, "
            "perturbation.isel(phase=-1, drop=True).drop_vars('phase_start'), or solve it here "
            "with pcb.solve."
        )
