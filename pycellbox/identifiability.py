"""Which directions of the parameters the data of a fit determine, and which they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from pycellbox.backends import Backend
from pycellbox.backends.levels import session_of
from pycellbox.combinations import in_words
from pycellbox.models import Structure
from pycellbox.models.structure import LEVEL
from pycellbox.numerics.lowering import equations_of
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
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
    entries = _Entries(structure, exact, problem)
    J = entries.scaled(jacobian)
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


class _Entries:
    """Fitted entries of parameters, as what they are scaled by."""

    def __init__(self, structure: Structure, parameters: Parameters, problem: Problem) -> None:
        self._pair = equations_of(structure).parametrization(parameters, problem)
        self._effective = structure.layout
        # A column that drugs share is the sum of what is here already.
        self._kept = [p for p in self._pair.layout.parameters if p.name in parameters]
        self._free = [np.ones(p.size, bool) if p.fixed is None else ~p.fixed.ravel()
                      for p in self._kept]  # fmt: skip
        names, factors, sizes, values = list[str](), [], [], []
        for p, free in zip(self._kept, self._free, strict=True):
            value = parameters[p.name].ravel()
            bounded = self._effective[p.name].lower >= 0
            rms = math.sqrt(float(np.mean(value[free] ** 2))) if free.any() else 0.0
            size = np.abs(value) if bounded else np.maximum(np.abs(value), rms or 1.0)
            places = np.flatnonzero(free).tolist()
            names += [self._name(structure, p.name, p.dims, p.shape, i) for i in places]
            factors.append(np.full(free.sum(), bounded))
            sizes.append(size[free])
            values.append(value[free])
        self.names: Sequence[str] = names
        self.by_factors: Array = np.concatenate(factors)
        self.sizes: Array = np.concatenate(sizes)
        self.values: Array = np.concatenate(values)

    def scaled(self, jacobian: Array) -> Array:
        """Turn derivatives by free effective entries into those by what is here."""
        whole = np.zeros((len(jacobian), self._effective.size))
        whole[:, self._effective.free] = jacobian
        of_each = self._pair.pull_back_ties(self._effective.split(whole))
        columns = [of_each[p.name].reshape(len(jacobian), -1)[:, free]
                   for p, free in zip(self._kept, self._free, strict=True)]  # fmt: skip
        found: Array = np.concatenate(columns, axis=1) * self.sizes
        return found

    @staticmethod
    def _name(
        structure: Structure, name: str, dims: tuple[str, ...], shape: tuple[int, ...], entry: int
    ) -> str:
        place = np.unravel_index(entry, shape) if shape else ()
        labels = [structure.labels_of(dim)[i] for dim, i in zip(dims, place, strict=True)]
        return f"{name}[{', '.join(labels)}]" if labels else name
