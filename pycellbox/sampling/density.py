"""The posterior density of parameters in coordinates in which it is nearly a standard normal."""

from __future__ import annotations

import math

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.posterior import Posterior
from pycellbox.problem import Array

_FAR = 2.0  # of a logarithm, and of an unbounded value beside its size, that is one unit at most
_OPEN = 1e-3  # information in that unit, below which the data leave a direction open


class Density:
    """Of the values of parameters, or of logarithms where these have that scale or such a prior.

    Coordinates x are those of Laplace's method: free entries of θ are ``center + C x``, C Cᵀ the
    inverse of JᵀJ at the optimum, J the derivative of the residuals with those of priors and
    penalties. Entries that depend on each other mix as if they did not.

    Parameters
    ----------
    posterior : Posterior
    center : ndarray, (θ,), optional
        The optimum, where it is known.

    Attributes
    ----------
    size : int
    open : list of str
        Entries that are in directions which nothing determines.
    """

    def __init__(self, posterior: Posterior, center: Array | None = None) -> None:
        self.posterior, self._pair = posterior, posterior.pair
        self._free = self._pair.layout.free
        if center is None:
            center = posterior.inside(posterior.lowest(posterior.begin).raw)
        self.center = center
        J = posterior.jacobian(self.center)
        unit, own = self._units()
        values, vectors = np.linalg.eigh((J * own).T @ (J * own))
        weights = (vectors[:, values < _OPEN] ** 2).max(axis=1, initial=0.0)
        names = [name for p in self._pair.layout.parameters for name in self._names(p.name)]
        self.open = [name for name, w in zip(names, weights, strict=True) if w > 0.05]
        information = (J * unit).T @ (J * unit)
        # A faint prior of one unit, for the coordinates alone.
        root = np.linalg.cholesky(information + np.eye(len(unit)))
        self.scale = unit[:, None] * np.linalg.inv(root).T
        self.size = len(unit)

    def _names(self, name: str) -> list[str]:
        p, structure = self._pair.layout[name], self.posterior.structure
        free = np.ones(p.size, bool) if p.fixed is None else ~p.fixed.ravel()
        return [structure.name_of(p, i) for i in np.flatnonzero(free).tolist()]

    def _units(self) -> tuple[Array, Array]:
        """Change of each free entry of θ that counts as large, where nothing else says so.

        And that by which its value, near a bound too, would change by its size, to first order.
        """
        found, of_values, pair = [], [], self._pair
        raws, values = pair.layout.split(self.center), pair.constrain(self.center)
        for p in pair.layout.parameters:
            raw = raws[p.name]
            size = own = np.maximum(np.abs(raw), math.sqrt(float(np.mean(raw**2))) or 1.0)
            if p.name in self._bounded:  # a factor of e: of the value, or of how far a bound is
                bounds, value = self.posterior.layout[p.name], values[p.name]
                off = np.minimum(value - bounds.lower, bounds.upper - value)
                slope = np.abs(pair.slope(p.name, raw))
                size = np.maximum(off / slope, 1.0)
                width = bounds.upper - bounds.lower
                own = np.where(np.isfinite(width), width, np.maximum(off, np.abs(p.start))) / slope
            found.append(np.ravel(_FAR * size))
            of_values.append(np.ravel(own * np.ones(raw.shape)))
        free = self._free
        unit, own = np.concatenate(found)[free], np.concatenate(of_values)[free]
        return unit, own

    @property
    def _bounded(self) -> list[str]:
        return [p.name for p in self.posterior.layout.parameters
                if math.isfinite(p.lower) or math.isfinite(p.upper)]  # fmt: skip

    def raw(self, x: Array) -> Array:
        """θ of coordinates."""
        found = self.center.copy()
        found[self._free] += self.scale @ x
        return found

    def log(self, x: Array) -> float:
        """Logarithm of the density, but for a constant; −∞ where there is none."""
        raw = self.raw(x)
        try:
            return self._volume(raw)[0] - 0.5 * self.posterior.value(raw)
        except (DivergenceError, SolverError):
            return -math.inf

    def gradient(self, x: Array, rows: Array | None = None) -> Array | None:
        """Of that by x, from some of the conditions as if they were all; None where there is none.

        Parameters
        ----------
        x : ndarray, (size,)
        rows : ndarray of int, optional
            Conditions; by default all that are fitted.
        """
        raw, posterior = self.raw(x), self.posterior
        rows = posterior.train if rows is None else rows
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                slope = posterior.objective.value_and_gradient(raw, rows)[2]
                whole = self._volume(raw)[1] - 0.5 * posterior.per * slope
        except (DivergenceError, SolverError):
            return None
        found: Array = self.scale.T @ whole[self._free]
        return found if np.isfinite(found).all() else None

    def _volume(self, raw: Array) -> tuple[float, Array]:
        """Logarithm of how values, or their logarithms, change with θ, and its derivative."""
        pair, total, slopes = self._pair, 0.0, np.zeros(raw.size)
        raws, values = pair.layout.split(raw), pair.constrain(raw)
        for name in self._bounded:
            if name not in raws:
                continue
            p, place = self.posterior.layout[name], pair.layout.places[name]
            free = ~pair.layout.fixed[place]
            slope, bend = pair.slope(name, raws[name]), pair.bend(name, raws[name])
            change = np.log(np.maximum(np.abs(slope), 1e-300))
            if p.scale == "log" or (p.prior is not None and p.prior.by_factors):
                value = np.maximum(values[name], 1e-300)
                change, bend = change - np.log(value), bend - slope / value
            total += float(np.ravel(change)[free].sum())
            slopes[place] = np.where(free, np.ravel(bend), 0)
        return total, slopes
