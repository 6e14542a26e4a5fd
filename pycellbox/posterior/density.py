"""The posterior density of a fit's parameters, and where it is highest."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pycellbox.backends import get_backend
from pycellbox.errors import DataError, ModelError
from pycellbox.fitting import lm
from pycellbox.fitting.beginning import problem_of
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.job import Job
from pycellbox.fitting.stage import StageRun
from pycellbox.intervals.laplace import noise_of
from pycellbox.numerics.parametrization import NetworkParametrization
from pycellbox.posterior.entry import Entry
from pycellbox.posterior.noise import Noise
from pycellbox.problem import Array, Parameters, parameter_arrays, parameter_dataset
from pycellbox.schedule import LM

if TYPE_CHECKING:
    from pycellbox.posterior.setting import Setting

ITERATIONS = 100
"""Of a minimization, at most."""
_METHOD = LM(tolerance=1e-7)
_OFF = 1e-3  # of the distance between bounds, or of the start from a bound
_NOTHING = 1e-8  # of the size of a response: residuals below are none
_SPAN = 1e-10  # singular values below this share of the largest are those of no direction


@dataclass(frozen=True)
class Lowest:
    """Where a minimization ended.

    Attributes
    ----------
    raw : ndarray, (θ,)
    value : float
        Of −2 log posterior density, but for a constant.
    converged : bool
    """

    raw: Array
    value: float
    converged: bool


class Posterior:
    """−2 log of the posterior density of raw parameters, θ, but for a constant.

    The sum of squared residuals over sigma (of Huber's loss twice its values), of the distances to
    priors, and of penalties, as the fit weighs them.

    Parameters
    ----------
    setting : Setting

    Attributes
    ----------
    names : tuple of str
        Entries of effective parameters that are fitted.
    begin : ndarray, (θ,)
        Where the fit ended.
    """

    def __init__(self, setting: Setting) -> None:
        recipe, data = setting.recipe, setting.data
        problem = problem_of(recipe, data)
        self.clock, self.structure = Clock.of(recipe), problem.structure
        known = parameter_arrays(self.structure, setting.parameters, np.float64)
        backend = get_backend(setting.backend, model=recipe.model)
        start = self.clock.started(self.structure, known)
        rng = np.random.default_rng(0)
        training = Job(recipe, data, problem, start, backend, rng, progress=False).training()
        run = StageRun(training, 0, recipe.stages[0])
        self.loss, self.train, self.problem = training.loss, training.train, run.problem
        self.objective = dataclasses.replace(run.judge.objective, steepness=None)
        self.pair, self.begin = training.parametrization, training.raw.astype(np.float64)
        self.layout = self.pair.structure.layout  # in time scales
        self.names = tuple(
            self.structure.name_of(p, entry)
            for p in self.layout.parameters
            for entry in range(p.size)
            if p.fixed is None or not p.fixed.ravel()[entry]
        )
        self._rows = lm.of_conditions(self.problem, self.train)
        scales = self.clock.reached(self.structure, self.layout.split(np.ones(self.layout.size)))
        self._unit = self.layout.join(scales)[self.layout.free]
        self.per = self._squares(self.begin).per

    def _squares(self, raw: Array, span: Array | None = None) -> lm.Squares:
        return lm.Squares(self.objective, self.loss, self.problem, self._rows, raw, span)

    def lowest(
        self, raw: Array, entry: Entry | None = None, iterations: int = ITERATIONS
    ) -> Lowest:
        """Minimize from θ, or a little inside its bounds, with an entry held where it is.

        Raises
        ------
        DivergenceError
            The start blows up.
        """
        begin, span = self.inside(raw, entry), None if entry is None else entry.span
        squares = self._squares(begin, span)
        best = raw, self.value(raw)

        def report(point: Array, objective: float, loss: float, length: float) -> bool:
            nonlocal best
            if objective * self.per < best[1]:
                best = point.copy(), objective * self.per
            return False

        converged = True
        if squares.start.size:
            converged = lm.minimize(squares, _METHOD, begin, iterations, report)
        return Lowest(*best, converged)

    def inside(self, raw: Array, entry: Entry | None = None) -> Array:
        """θ with what is at a bound moved off it a little: there slopes are nothing."""
        effective = {name: np.array(values) for name, values in self.pair.constrain(raw).items()}
        away = np.zeros(raw.size, dtype=bool)
        for p in self.layout.parameters:
            ends = [end for end in (p.lower, p.upper) if math.isfinite(end)]
            if not ends or p.name not in self.pair.layout.places:
                continue
            size = p.upper - p.lower if len(ends) == 2 else np.abs(p.start - ends[0])
            off = _OFF * np.where(np.isfinite(size) & (size > 0), size, 1.0)
            moved = np.clip(effective[p.name], p.lower + off, p.upper - off)
            away[self.pair.layout.places[p.name]] = (moved != effective[p.name]).ravel()
            effective[p.name] = moved
        away &= ~self.pair.layout.fixed
        if entry is not None:
            away[entry.raw] = False
        return np.where(away, self.pair.unconstrain(effective), raw)

    def value(self, raw: Array) -> float:
        """Return it at θ."""
        return self.objective.value_and_gradient(raw, self.train)[0] * self.per

    def jacobian(self, raw: Array) -> Array:
        """Return that of the residuals and of what is beside them by free entries of θ."""
        squares = self._squares(raw)
        return squares.jacobian(squares.start)[0]

    def values(self, raw: Array) -> Array:
        """Effective entries that are fitted, in the unit of the data, (names,)."""
        found = self.layout.join(self.pair.constrain(raw))[self.layout.free] * self._unit
        return np.asarray(found, dtype=np.float64)

    def effective(self, raw: Array) -> Parameters:
        """Effective parameters, in the unit of the data."""
        return self.clock.reached(self.structure, self.pair.constrain(raw))

    def labelled(self, raw: Array) -> xr.Dataset:
        """Return these with labels."""
        return parameter_dataset(self.structure, self.effective(raw))

    def noise(self, raw: Array) -> Noise:
        """Estimate the noise of each node from residuals at θ.

        Raises
        ------
        DataError
            There are too few measurements, or residuals are nothing.
        """
        residuals, J = self.objective.residuals_and_jacobian(raw)
        whole = self.jacobian(raw)
        measured = np.argwhere(self.problem.weight > 0)
        residuals, J, measured = residuals[self._rows], J[self._rows], measured[self._rows]
        residuals = residuals / self.problem.weight[tuple(measured.T)]
        says = (J != 0).any(axis=1) | (residuals != 0)  # a drug is at its dose, by itself
        U, sizes, _ = np.linalg.svd(whole, full_matrices=False)
        U = U[: len(residuals), sizes > _SPAN * sizes.max(initial=0.0)]
        left = np.where(says, 1 - (U**2).sum(axis=1), 0.0)
        nodes, n = measured[:, -1], self.problem.response.shape[-1]
        sizes = np.bincount(nodes, self.problem.response[tuple(measured.T)] ** 2, n)
        remedy = "give the data a sigma: data.assign(sigma=0.1 * xr.ones_like(data['response']))"
        if (freedom := float(left.sum())) < 1:
            raise DataError(
                f"the fit has {len(self.names)} parameters, and its {len(residuals)} measurements "
                f"leave none from which the noise could be estimated; {remedy}."
            )
        count = np.bincount(nodes, says, n)
        squares = residuals[says] ** 2
        relative = np.where(count > 0, sizes / np.maximum(count, 1), 0)
        relative = np.maximum(relative, 1e-8 * (relative.max() or 1.0))
        variance, _ = noise_of(squares, left[says], nodes[says], relative)
        if (none := variance <= _NOTHING**2 * relative).any():
            node = self.structure.nodes[int(np.argmax(none))]
            raise DataError(
                f"the residuals of node {node!r} are nothing, from which no noise can be "
                f"estimated; {remedy}."
            )
        variance = np.nan_to_num(variance, nan=1.0)  # of what was not measured
        known = self.structure.known
        labels = list(self.structure.nodes[known])
        sd = xr.DataArray(np.sqrt(variance[known]), {"node": labels}, ("node",))
        by = "the residuals of each node"
        return Noise(by, sd, freedom, float(squares.sum()) / freedom)

    def entry(self, name: str) -> Entry:
        """Return a fitted entry by its name.

        Raises
        ------
        ModelError
            It follows from other parameters.
        """
        place = int(self.layout.free[self.names.index(name)])
        p = next(p for p in self.layout.parameters if place < self.layout.places[p.name].stop)
        at = place - self.layout.places[p.name].start
        if p.name not in self.pair.layout.places:
            raise ModelError(
                f"{name} is not free: with response_range='held' it follows from alpha; take that."
            )
        pair, tie = self.pair, None
        tied = isinstance(pair, NetworkParametrization) and pair.shared and p.name == "W"
        if tied and pair.drug_mask.ravel()[at]:  # type: ignore[attr-defined]
            tie = pair.layout.places["b0"].start + at // p.shape[-1]
        raw = pair.layout.places[p.name].start + at
        start = float(np.broadcast_to(p.start, p.shape).ravel()[at])
        typical = float(np.sqrt(np.mean(self.pair.constrain(self.begin)[p.name] ** 2)))
        unit = float(self._unit[self.names.index(name)])
        return Entry(self, name, p.name, at, raw, tie, (p.lower, p.upper), (start, typical), unit)
