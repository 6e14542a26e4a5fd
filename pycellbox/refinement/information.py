"""What data can tell about the parameters: their standard errors, and those of predictions."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.options import HORIZON, checked, number, optional
from pycellbox.data import validate
from pycellbox.models import MODEL, CellBox
from pycellbox.models.structure import LEVEL
from pycellbox.problem import (
    PARAMETERS,
    Array,
    Problem,
    parameter_arrays,
    parameter_dataset,
    structure_of,
)
from pycellbox.refinement.obstacles import obstacles, refuse
from pycellbox.refinement.trajectories import Trajectories
from pycellbox.solvers import SOLVER, Solver
from pycellbox.solving import label_states

_SQUARES = (1e-100, 1e100)  # between which squares and their inverses are numbers


@checked(
    model=MODEL,
    parameters=PARAMETERS,
    noise=number(*_SQUARES),
    solver=SOLVER,
    horizon=optional(HORIZON),
    spread=number(*_SQUARES, infinite=True),
    steepest=number(0, above=True, infinite=True),
    backend=BACKEND,
)
def standard_errors(
    model: CellBox,
    parameters: xr.Dataset,
    data: xr.Dataset,
    *,
    noise: float,
    solver: Solver,
    horizon: float | None = None,
    spread: float = math.inf,
    steepest: float = 1000.0,
    predict: xr.Dataset | None = None,
    backend: BackendName = "auto",
) -> xr.Dataset:
    """How precisely an experiment tells the parameters of a network, to first order.

    The bound of Cramér and Rao: noise²·(JᵀJ)⁻¹, J being the derivative of the responses of all
    conditions with respect to W, the logarithms of the rates, operating points and common
    effects, at ``parameters``. No unbiased estimate from the same data has smaller errors.

    Parameters
    ----------
    model : CellBox
        Whose mask says which interactions are to be told; those known to be zero cost nothing.
    parameters : Dataset
        Such as the truth of a simulation, or those of a fit.
    data : Dataset
        The experiment: which conditions, times and nodes are measured; the values do not matter.
    noise : float
        Standard deviation of the error, in units of the response, or of sigma where the data has
        one.
    solver, horizon, backend
        As for `pycellbox.solve`.
    spread : float
        Standard deviation of all of these that is known beforehand; infinite: nothing is,
        and a weight of which the data say nothing has an infinite error. A finite one makes this
        a posterior.
    steepest : float
        A response that changes by more than this per unit of the parameters counts as not
        measured: it goes where a tiny error leads it, and first order does not hold.
    predict : Dataset, optional
        Conditions whose predicted responses get a standard error too, of their mean without
        noise; measured at the same times.

    Returns
    -------
    Dataset
        W (target, source), zero where the model allows no interaction; the rates and, where the
        model has them, b and common (node), zero of drugs; and with ``predict``, ``response``
        (condition[, time], node).

    Raises
    ------
    OptionError, ModelError, DataError, SolverError
        Something given does not fit.

    Notes
    -----
    To first order: near an unstable state, where trajectories part, it can be far off. With
    ``steepest`` infinite the responses there count too, as nearly exact knowledge.

    Examples
    --------
    >>> train, _, test = ji_experiment("HSC")  # doctest: +SKIP
    >>> standard_errors(JI_MODEL, truth(train), train, noise=0.001, solver=pcb.RK4(0.25),
    ...                 predict=test)  # doctest: +SKIP
    """
    problem, J = _jacobian(model, parameters, data, solver, horizon, backend)
    measured = (problem.weight > 0) & (np.linalg.norm(J, axis=-1) <= steepest)
    rows = J[measured] * problem.weight[measured][:, None]
    covariance = _inverse(rows.T @ rows / noise**2, 0.0 if math.isinf(spread) else spread**-2)
    layout = problem.structure.layout
    errors = np.zeros(layout.size)
    errors[layout.free] = np.sqrt(np.diag(covariance))
    arrays = parameter_arrays(problem.structure, parameters, np.float64)
    # From the error of log α to that of α.
    of = {n: e * arrays[n] if n in model.rates else e for n, e in layout.split(errors).items()}
    out = parameter_dataset(problem.structure, of)
    if predict is None:
        return out
    # What is infinite makes every prediction that it touches infinite; what it does not touch
    # stays as it is, because its derivative is zero.
    ahead, J = _jacobian(model, parameters, predict, solver, horizon, backend)
    with np.errstate(invalid="ignore"):
        variance = np.nansum((J @ np.nan_to_num(covariance, posinf=1e12)) * J, axis=-1)
    times = None if ahead.steady else ahead.times
    sd = np.sqrt(np.maximum(variance, 0.0))
    labelled = label_states(sd, ahead.structure, ahead.conditions, times)
    return out.assign(response=labelled)


def _jacobian(
    model: CellBox,
    parameters: xr.Dataset,
    data: xr.Dataset,
    solver: Solver,
    horizon: float | None,
    backend: BackendName,
) -> tuple[Problem, Array]:
    data = validate(data, part=True)
    problem = Problem.from_dataset(data, structure_of(data, model), horizon)
    arrays = parameter_arrays(problem.structure, parameters, np.float64)
    problem = problem.at(arrays.pop(LEVEL, None))
    refuse(obstacles(problem, solver))
    trajectories = Trajectories(problem, get_backend(backend), solver)
    return problem, trajectories.jacobian(arrays, problem.structure.mask)


def _inverse(information: Array, prior: float) -> Array:
    """Inverse, with an infinite variance for every parameter that lies in the null space."""
    A = information + prior * np.eye(information.shape[0])
    scale = np.sqrt(np.maximum(np.diag(A), 1e-300))
    values, vectors = np.linalg.eigh(A / scale / scale[:, None])
    null = values < 1e-12
    parts = vectors[:, ~null] / scale[:, None]
    inverse: Array = (parts / values[~null]) @ parts.T
    untold = (np.abs(vectors[:, null]) > 1e-6).any(axis=1)
    inverse[untold, untold] = np.inf
    return inverse
