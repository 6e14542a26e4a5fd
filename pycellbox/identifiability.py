"""Which directions of the parameters the data of a fit determine, and which they do not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from pycellbox.backends import Backend
from pycellbox.backends.levels import session_of
from pycellbox.combinations import in_words
from pycellbox.models.structure import LEVEL
from pycellbox.numerics.entries import Entries
from pycellbox.objective import Loss
from pycellbox.problem import Parameters, Problem
from pycellbox.solvers import Solver

_NOTHING = 1e-6
"""Singular values below this share of the largest are of rounding and of short derivatives."""


@dataclass(frozen=True, repr=False)
class Identifiability:
    """What the data of a fit say of its parameters, to first order around them.

    Parameters
    ----------
    directions : Dataset
        Dims: direction, parameter. ``singular_value`` (direction) of the derivative of the
        residuals; ``standard_error`` (direction), of a step along it; ``determined`` (direction);
        ``weight`` (direction, parameter), the step itself, of length one: in natural logarithms
        for parameters that are positive (``by_factors``), in multiples of ``size`` (parameter) for
        the others.
    noise : float
        Standard deviation of a residual, by which standard errors are scaled.
    undetermined : tuple of str
        What the data do not determine, in words.
    """

    directions: xr.Dataset
    noise: float
    undetermined: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        determined = self.directions["determined"].values
        total, count = determined.size, int((~determined).sum())
        said = f"all {total} directions are determined"
        if count:
            said = f"{count} of {total} directions {'is' if count == 1 else 'are'} not determined"
        first = f"<pycellbox.Identifiability: {said}"
        return "\n".join([first, *(f"  {text}" for text in self.undetermined)]) + ">"


def identifiability(
    problem: Problem, parameters: Parameters, solver: Solver, backend: Backend, given_noise: bool
) -> Identifiability:
    """Look at the Jacobian of a problem's residuals; see `pycellbox.Fit.identifiability`.

    Parameters
    ----------
    problem : Problem
        Of the conditions that were fitted.
    parameters : dict of ndarray
        Effective ones.
    solver : Solver
    backend : Backend
    given_noise : bool
        Whether the data have a sigma.
    """
    problem = problem.at(parameters.get(LEVEL))
    exact = {n: v.astype(np.float64) for n, v in parameters.items() if n != LEVEL}
    structure = problem.structure
    session = session_of(backend, problem, solver, Loss())
    residuals, jacobian = session.residuals_and_jacobian(exact)
    entries = Entries(structure, exact, problem, shared=False)
    J = entries.slopes(jacobian) * entries.sizes
    count = J.shape[1]
    noise = 1.0
    if not given_noise:
        noise = math.sqrt(float(residuals @ residuals) / max(residuals.size - count, 1))
    _, values, directions = np.linalg.svd(J, full_matrices=True)
    values = np.concatenate([values, np.zeros(count - values.size)])
    with np.errstate(divide="ignore"):
        errors = np.where(values > 0, noise / values, np.inf)
    determined = (values > _NOTHING * values[0]) & (errors < 1)
    words = in_words(directions[~determined], entries.names, entries.by_factors, entries.sizes,
                     entries.values)  # fmt: skip
    table = xr.Dataset(
        {
            "singular_value": ("direction", values),
            "standard_error": ("direction", errors),
            "determined": ("direction", determined),
            "weight": (("direction", "parameter"), directions),
            "size": ("parameter", entries.sizes),
            "by_factors": ("parameter", entries.by_factors),
        },
        {"parameter": list(entries.names)},
    )
    return Identifiability(table, noise, words)
