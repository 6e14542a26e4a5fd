"""The likelihood of a fit's data, with what else the fit was told, as a function of parameters."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import DataError, ModelError, OptionError
from pycellbox.fitting import lm
from pycellbox.fitting.beginning import problem_of
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.job import Job
from pycellbox.fitting.stage import StageRun
from pycellbox.intervals.laplace import noise_of
from pycellbox.models import CellBox
from pycellbox.numerics.parametrization import NetworkParametrization
from pycellbox.objective import EDGE_GROUPS, Penalty
from pycellbox.problem import Array, Parameters, parameter_arrays, parameter_dataset
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.schedule import LM, Stage

MOST = 500
"""Parameters: with more, each step of Levenberg and Marquardt's method takes seconds."""
_ITERATIONS = 100
_METHOD = LM(tolerance=1e-7)
_OFF = 1e-3  # of the distance between bounds, or of the start from a bound
_TURNS, _SAME_NOISE = 20, 0.01  # of estimating the noise, until its logarithm stays
_NOTHING = 1e-8  # of the size of a response: residuals below are none
_SPAN = 1e-10  # singular values below this share of the largest are those of no direction


@dataclass(frozen=True)
class Noise:
    """That of the measurements.

    Attributes
    ----------
    by : str
        Where it is from, in words.
    sd : DataArray, (node,), or None
        Standard deviation, where it is estimated; None where the data have a sigma.
    freedom : float
        Degrees of freedom from which it is estimated; infinite where it is known.
    variance : float
        Of all residuals together.
    """

    by: str = "the sigma of the data"
    sd: xr.DataArray | None = None
    freedom: float = math.inf
    variance: float = 1.0


@dataclass(frozen=True)
class Setting:
    """What a posterior is made of; it can be pickled.

    Attributes
    ----------
    recipe : Recipe
        Resolved, in float64, with one stage of LM.
    data : Dataset
        With the coordinate ``role`` and a sigma.
    parameters : Dataset
        Effective ones: where to begin.
    backend : str
    """

    recipe: Recipe
    data: xr.Dataset
    parameters: xr.Dataset
    backend: BackendName

    def posterior(self) -> Posterior:
        """Make one; each task has its own, for threads must not share what solves."""
        return Posterior(self)

    @classmethod
    def of(cls, fit: Fit, backend: BackendName, what: str) -> Setting:
        """Return that of a fit, its residuals in units of the sigma of its data, or in their own.

        Raises
        ------
        ModelError, OptionError
            What the fit has minimized is no such likelihood, or it has too many parameters.
        """
        if fit.estimated:
            raise ModelError(
                f"{what}: the nodes of this fit were estimated, each with strengths of its own; "
                "predict(..., interval=0.9) says how sure it is. Train a network, with "
                "schedule=pcb.Stage(50, optimizer=pcb.LM()), for this."
            )
        data, recipe = fit._group("data"), fit.recipe
        given = "sigma" in data
        penalty = _penalty_of(fit)
        if recipe.measure.name == "mae" or (recipe.measure.name == "huber" and not given):
            raise OptionError(
                f"{what}: loss={recipe.measure.name!r} has no likelihood here; fit with "
                "loss='mse', or with 'huber' and a sigma in the data."
            )
        stage = Stage(_ITERATIONS, optimizer=LM(), horizon=fit.horizon)
        recipe = recipe.replace(schedule=stage, penalty=penalty, dtype="float64", starts=1)
        if not given:
            data = data.assign(sigma=xr.ones_like(data["response"]))
        chosen = BACKEND.read(get_backend(backend, fit.backend, fit.model).name)
        setting = cls(recipe, data, fit._group("parameters"), chosen)
        if "level" in setting.parameters:
            raise ModelError(
                f"{what}: levels that were fitted have no Jacobian; give them, as held or "
                "initial_state without held_fitted and initial_fitted, and fit again."
            )
        problem_of(recipe, data)  # which refuses penalties that are no squares
        if (count := len(setting.posterior().names)) > MOST:
            raise OptionError(
                f"{what}: the fit has {count} parameters, and this is for {MOST} at most: fix "
                "some, or leave edges out with a mask, pcb.prune or pcb.refine."
            )
        return setting

    def with_noise(self, noise: Noise) -> Setting:
        """Return the same with an estimated noise as the sigma of the data."""
        if noise.sd is None:
            return self
        sigma = noise.sd * xr.ones_like(self.data["response"])
        sigma = sigma.transpose(*self.data["response"].dims)
        penalty = self.recipe.penalty
        assert penalty is not None
        l2 = {name: size / noise.variance for name, size in penalty.strengths("l2").items()}
        recipe = self.recipe.replace(penalty=dataclasses.replace(penalty, l1=0.0, l2=l2))
        return dataclasses.replace(self, recipe=recipe, data=self.data.assign(sigma=sigma))


def _penalty_of(fit: Fit) -> Penalty:
    """Return what the last parameters of a fit were penalized by."""
    note = fit.provenance.get("refinement", {})
    if note and "reason" not in note and isinstance(fit.model, CellBox):
        ridge = note["ridge"] or 0.5 * note["noise"]
        return Penalty(l2=dict.fromkeys(EDGE_GROUPS, ridge**2), scale="sum")
    penalty = fit.recipe.stages[-1].penalty or fit.recipe.penalty
    assert penalty is not None
    return penalty


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


def with_own_noise(setting: Setting) -> tuple[Setting, Noise, float]:
    """Bring a setting whose sigma is none to its optimum, with a noise that is estimated there.

    Noise and optimum in turn, until they belong together.

    Returns
    -------
    setting : Setting
        At the optimum, with the noise as its sigma.
    noise : Noise
    gain : float
        By how much the fit's own optimum is better than the fit, of −2 log density.

    Raises
    ------
    DataError
        There are too few measurements, or residuals are nothing.
    """
    posterior, found, gain = setting.posterior(), setting, 0.0
    before: Array | None = None
    for turn in range(_TURNS):
        center = posterior.lowest(posterior.begin)
        noise = posterior.noise(center.raw)
        assert noise.sd is not None
        if not turn:
            gain = (posterior.value(posterior.begin) - center.value) / noise.variance
        found = dataclasses.replace(
            setting.with_noise(noise), parameters=posterior.labelled(center.raw)
        )
        posterior, now = found.posterior(), np.log(noise.sd.values)
        if before is not None and np.abs(now - before).max() < _SAME_NOISE:
            break
        before = now
    return found, noise, gain


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
        self, raw: Array, entry: Entry | None = None, iterations: int = _ITERATIONS
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


@dataclass(frozen=True)
class Entry:
    """An entry of a parameter, as what it is stepped along and held at.

    Attributes
    ----------
    posterior : Posterior
    name : str
        With its labels.
    parameter, at : str and int
        Its parameter, and its number in that.
    raw : int
        Its number in θ.
    tie : int or None
        That of what has to be added to it: the common column of drugs.
    bounds : tuple of float
    typical : tuple of float
        Its start, and the size of the parameter's entries.
    unit : float
        What makes of it a value in the unit of the data.
    """

    posterior: Posterior
    name: str
    parameter: str
    at: int
    raw: int
    tie: int | None
    bounds: tuple[float, float]
    typical: tuple[float, float]
    unit: float

    def value(self, raw: Array) -> float:
        """Its value in time scales."""
        return float(np.ravel(self.posterior.pair.constrain(raw)[self.parameter])[self.at])

    def placed(self, raw: Array, value: float) -> Array:
        """θ with this value, all other effective entries as they are."""
        pair = self.posterior.pair
        effective: Parameters = {k: np.array(v) for k, v in pair.constrain(raw).items()}
        effective[self.parameter].flat[self.at] = value
        found = raw.copy()
        if self.tie is not None:
            found[self.raw] = value - raw[self.tie]
        else:
            found[self.raw] = pair.unconstrain(effective)[self.raw]
        return found

    @cached_property
    def span(self) -> Array:
        """Directions of free entries of θ that leave it where it is."""
        free = self.posterior.pair.layout.free
        whole, own = np.eye(free.size), free == self.raw
        if self.tie is not None:
            whole[own, free == self.tie] = -1
        return whole[:, ~own]

    def along(self, value: float) -> float:
        """Where a value lies on the scale on which it is stepped: logarithms of what is bounded."""
        low, high = self.bounds
        with np.errstate(divide="ignore"):
            below = np.log(value - low) if low > -math.inf else 0.0
            above = np.log(high - value) if high < math.inf else 0.0
        return float(below - above) if math.isfinite(low) or math.isfinite(high) else value

    def back(self, z: float) -> float:
        """Return the value at a place of that scale."""
        low, high = self.bounds
        if math.isinf(low) and math.isinf(high):
            return z
        if math.isinf(high):
            return low + math.exp(z)
        if math.isinf(low):
            return high - math.exp(-z)
        return low + (high - low) * 0.5 * (1 + math.tanh(z / 2))

    def reach(self, value: float) -> tuple[float, float]:
        """How far it is stepped from a value, on that scale: a million times, or to a bound."""
        low, high = self.bounds
        if math.isinf(low) and math.isinf(high):
            size = max(abs(value), *map(abs, self.typical)) or 1.0
            return value - 1e3 * size, value + 1e3 * size
        if math.isfinite(low) and math.isfinite(high):
            return -_FAR, _FAR
        end = low if math.isfinite(low) else high
        size = math.log(max(abs(value - end), abs(self.typical[0] - end)) or 1.0)
        ends = size - _FAR, size + _FAR
        return ends if math.isfinite(low) else (-ends[1], -ends[0])


_FAR = math.log(1e6)


def named(posterior: Posterior, names: tuple[str, ...] | None, what: str) -> list[str]:
    """Return the entries that names stand for: those of a parameter, or a single one.

    Raises
    ------
    OptionError
        There is none of that name that is fitted.
    """
    known = {name.replace(" ", ""): name for name in posterior.names}
    if names is None:
        return list(posterior.names)
    found: dict[str, None] = {}
    for name in names:
        plain = name.replace(" ", "")
        of_it = [one for key, one in known.items() if key == plain or key.startswith(f"{plain}[")]
        if not of_it:
            parameter = plain.split("[")[0]
            inside = [p for p in posterior.layout.parameters if p.name == parameter]
            why = "is not fitted" if inside else f"is none{did_you_mean(name, posterior.names)}"
            some = list(posterior.names[:8])
            more = ", …" if len(posterior.names) > 8 else ""
            raise OptionError(
                f"{what}: {shown(name)} {why}; what is fitted: {', '.join(some)}{more}."
            )
        found |= dict.fromkeys(of_it)
    return list(found)
