"""The labelled doors to a backend: solve a network, differentiate a loss through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import BACKEND, Backend, BackendName, get_backend
from pycellbox.backends.levels import session_of
from pycellbox.common.labels import labels_along, listed
from pycellbox.common.options import DTYPE, HORIZON, checked, optional
from pycellbox.data import validate
from pycellbox.data.hidden import with_nodes
from pycellbox.data.signals import check_end
from pycellbox.errors import (
    BackendError,
    ModelError,
    NumericsWarning,
    SolverError,
    warn,
)
from pycellbox.inputs import Inputs, inputs_of
from pycellbox.models import MODEL, Model, Structure
from pycellbox.models.structure import LEVEL
from pycellbox.numerics.checks import labelled
from pycellbox.numerics.solution import Solution
from pycellbox.objective import LOSS, Loss, LossName
from pycellbox.problem import (
    PARAMETERS,
    Array,
    Parameters,
    Problem,
    kinds_of,
    parameter_arrays,
    parameter_dataset,
    structure_over,
)
from pycellbox.recipe import Dtype
from pycellbox.solvers import GRADIENT, SOLVER, Gradient, Solver
from pycellbox.times import time_grid
from pycellbox.treatment import check_horizon, check_settles


@checked(
    model=MODEL,
    parameters=PARAMETERS,
    solver=SOLVER,
    horizon=optional(HORIZON),
    backend=BACKEND,
    dtype=DTYPE,
)
def solve(
    model: Model,
    parameters: xr.Dataset,
    perturbation: xr.DataArray | xr.Dataset,
    *,
    solver: Solver,
    horizon: float | None = None,
    times: Any = None,
    backend: BackendName = "auto",
    dtype: Dtype = "float64",
) -> xr.DataArray:
    """Integrate the network from rest, or as it is treated, all conditions together.

    Parameters
    ----------
    model : Model
        The equation, such as a `CellBox`.
    parameters : Dataset
        Effective values: of a CellBox ``W`` (target, source) and the rates of its form (node):
        ``alpha``, and ``epsilon``, ``psi`` where the form has them; ``b`` of an operating point,
        ``common`` of a common effect.
    perturbation : DataArray, (condition, node) or (condition, phase, node), or Dataset
        Perturbations u, dimensionless. Node kinds are read from its ``node_kind`` coordinate,
        else from that of ``parameters``; nodes without one are proteins. With phases it has the
        coordinate ``phase_start``, in the unit of ``times``; a dataset may say which nodes are
        ``held``, give an ``initial_state``, and signals that ``drive`` the conditions: see
        `pycellbox.validate`.
    solver : Euler, Midpoint, Heun, RK4, Tsit5, Adaptive or SteadyState
        The method; fixed-step methods take equal steps of at most ``dt`` between requested times.
        `Adaptive` has two implicit methods on the NumPy backend and all of OrdinaryDiffEq's on
        Julia; `SteadyState` gives steady states, at a ``horizon``, on
        the NumPy and Julia backends.
    horizon : float, optional
        End of the integration, for steady states.
    times : sequence of float, (t,), optional
        Times at which the solution is wanted, instead of ``horizon``; strictly increasing, ≥ 0.
    backend : str
        "auto" or the name of a backend.
    dtype : {"float64", "float32"}
        Precision of the integration.

    Returns
    -------
    DataArray, (condition, node) or (condition, time, node)
        x, as log-ratio to the unperturbed control. With `SteadyState` it has the coordinates
        ``residual`` and ``settled`` (condition).

    Raises
    ------
    ModelError, DataError, SolverError, BackendError
        Something given does not fit; nothing was computed.
    DivergenceError
        The trajectory is not finite.

    Examples
    --------
    >>> x = pcb.solve(model, fit.parameters, perturbation, solver=pcb.Tsit5(), horizon=10.0)
    """
    precision = np.dtype(dtype)
    grid = time_grid(horizon, times)
    nodes = nodes_of(parameters)
    kinds = kinds_of(nodes, perturbation, parameters)
    structure = structure_over(model, nodes, kinds, perturbation, parameters)
    arrays = parameter_arrays(structure, parameters, precision)
    perturbation = with_nodes(perturbation, model.own_nodes)
    inputs = inputs_of(perturbation, structure, precision)
    check_steady(solver, times is None)
    return states_of(
        structure, arrays, inputs, grid, times is None, solver=solver,
        backend=get_backend(backend, model=model),
    )  # fmt: skip


def states_of(
    structure: Structure,
    parameters: Parameters,
    inputs: Inputs,
    grid: Array,
    steady: bool,
    *,
    solver: Solver,
    backend: Backend,
) -> xr.DataArray:
    """Integrate a network of arrays of one precision that have been checked; see `solve`.

    The times of the grid are labelled where it is not ``steady``.
    """
    conditions, u, treatment = inputs.conditions, inputs.perturbation, inputs.treatment
    if why := backend.supports(solver, treated=treatment is not None):
        raise BackendError(why)
    if solver.steady:
        check_settles(treatment)
    if steady and treatment is not None and not treatment.signals:
        check_horizon(treatment, float(grid[-1]))
    if treatment is not None:
        check_end(treatment.end, float(grid[-1]), "the last time asked for is")
    if conditions:
        with labelled(conditions):
            found = backend.solve(structure, solver, parameters, u, grid, treatment)
    else:
        found = Solution.integrated(np.empty((0, grid.size, structure.n_nodes), u.dtype))
    found.check(conditions, grid)
    if found.rested is not None and not found.rested.all():
        names = [name for name, ok in zip(conditions, found.rested, strict=True) if not ok]
        warn(
            f"the pre-treatment of {len(names)} condition(s) does not settle in a stable steady "
            f"state ({listed(names)}); the state at its end depends on how long it was: let the "
            "first phase start at a finite time.",
            NumericsWarning,
        )
    states = label_states(found.states, structure, conditions, None if steady else grid)
    if not solver.steady:
        return states
    _warn_unsettled(conditions, found.settled, float(grid[-1]))
    return states.assign_coords(
        residual=("condition", found.residual), settled=("condition", found.settled)
    )


@checked(
    model=MODEL,
    parameters=PARAMETERS,
    loss=LOSS,
    solver=SOLVER,
    horizon=optional(HORIZON),
    gradient=optional(GRADIENT),
    backend=BACKEND,
    dtype=DTYPE,
)
def value_and_gradient(
    model: Model,
    parameters: xr.Dataset,
    data: xr.Dataset,
    *,
    loss: LossName | Loss = "mse",
    solver: Solver,
    horizon: float | None = None,
    gradient: Gradient | None = None,
    backend: BackendName = "auto",
    dtype: Dtype = "float64",
) -> tuple[float, xr.Dataset]:
    """Loss of a network on a dataset, and its derivative with respect to the parameters.

    Parameters
    ----------
    model : CellBox
        The equation.
    parameters : Dataset
        As in `solve`.
    data : Dataset
        Steady-state or time-course data; entries that are NaN do not count, ``sigma`` scales the
        residuals.
    loss : str or Loss
        "mse", "mae", "huber", or a `Loss`.
    solver : Euler, Midpoint, Heun, RK4, Tsit5, Adaptive or SteadyState
        As in `solve`.
    horizon : float, optional
        End of the integration; needed for steady-state data, not allowed for time courses, whose
        times are their own.
    gradient : str, optional
        How to differentiate. Default: "discrete", the exact derivative of the computed
        trajectory, for fixed steps, `Tsit5`, and `Adaptive` on the NumPy backend; "implicit", that
        of the fixed point, for `SteadyState`; "adjoint", the continuous one, for `Adaptive` on
        Julia. Julia has for `Tsit5` and
        `Adaptive` also "gauss" (which "adjoint" is), "interpolating" and "quadrature" adjoints and
        "forward" sensitivities; NumPy and JAX have "finite-difference", to check by.
    backend, dtype : str
        As in `solve`.

    Returns
    -------
    value : float
        The loss, without penalties.
    gradient : Dataset
        Like ``parameters``, with respect to the effective values; zero for edges that the model
        does not allow.

    Raises
    ------
    ModelError, DataError, SolverError, BackendError
        Something given does not fit; nothing was computed.
    DivergenceError
        The trajectory or its derivative is not finite.
    """
    precision, objective = np.dtype(dtype), LOSS.read(loss)
    chosen = get_backend(backend, model=model)
    data = with_nodes(validate(data, part=True), model.own_nodes)
    of_data = structure_over(model, data["node"].values, data["node_kind"].values, data, parameters)
    problem = Problem.from_dataset(data, of_data, horizon, precision)
    check_steady(solver, problem.steady)
    structure = problem.structure
    known = structure if LEVEL in parameters else structure.plain
    arrays = parameter_arrays(known, parameters, precision)
    if structure.levels and LEVEL not in parameters:
        assert problem.treatment is not None
        arrays[LEVEL] = problem.treatment.level_starts.astype(precision)
    session = session_of(chosen, problem, solver, objective, gradient)
    value, slope = session.loss_and_gradient(arrays)
    if session.settled is not None:
        _warn_unsettled(problem.conditions, session.settled, float(problem.times[-1]))
    return value, parameter_dataset(problem.structure, slope)


def _warn_unsettled(conditions: Sequence[str], settled: Array, horizon: float) -> None:
    """Say which conditions have no steady state that their trajectory reaches."""
    names = [name for name, ok in zip(conditions, settled, strict=True) if not ok]
    if not names:
        return
    warn(
        f"{len(names)} condition(s) do not settle in a stable steady state ({listed(names)}); they "
        f"are integrated to t = {horizon:g} instead.",
        NumericsWarning,
    )


def check_steady(solver: Solver, steady: bool) -> None:
    """Refuse `SteadyState` for time courses."""
    if solver.steady and not steady:
        raise SolverError(
            "SteadyState gives steady states only, and times were asked for: use Tsit5, RK4 or "
            "Heun for time courses."
        )


def label_states(
    states: np.ndarray, structure: Structure, conditions: tuple[str, ...], times: Any
) -> xr.DataArray:
    """States (c, t, n) as a labelled array, without the time axis where ``times`` is None."""
    coords: dict[str, Any] = {
        "condition": list(conditions),
        "node": list(structure.nodes[structure.known]),
        "node_kind": ("node", list(structure.node_kind[structure.known])),
    }
    attrs = {"long_name": "response, in the units of the equations"}
    if structure.model.log_ratios:
        attrs = {"long_name": "response", "units": "1", "description": "log-ratio to the control"}
    states = states[..., structure.known]
    if times is None:
        return xr.DataArray(
            states[:, -1, :], coords, ("condition", "node"), name="response", attrs=attrs
        )
    coords["time"] = np.asarray(times)
    dims = ("condition", "time", "node")
    return xr.DataArray(states, coords, dims, name="response", attrs=attrs)


def nodes_of(parameters: xr.Dataset) -> tuple[str, ...]:
    """Return the node labels of a parameter dataset."""
    for dim in ("node", "target"):
        if dim in parameters.indexes:
            return tuple(labels_along(parameters, dim))
    raise ModelError("parameters have no node labels; give them target, source and node coords.")
