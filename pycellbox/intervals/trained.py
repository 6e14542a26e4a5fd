"""Spreads of what a trained fit predicts: steady states and courses of any equation."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pycellbox.backends import Backend
from pycellbox.backends.levels import session_of
from pycellbox.combinations import in_words
from pycellbox.common.labels import counted
from pycellbox.errors import DataWarning, ModelError, warn
from pycellbox.inputs import Inputs, fitted_levels
from pycellbox.intervals.laplace import Laplace
from pycellbox.intervals.spreads import Calibration, Spreads
from pycellbox.models import Layout, Structure
from pycellbox.models.structure import LEVEL
from pycellbox.numerics.entries import Entries
from pycellbox.numerics.penalties import strengths_over
from pycellbox.numerics.priors import Priors
from pycellbox.objective import Loss, Penalty
from pycellbox.problem import Array, Parameters, Problem, parameter_arrays, structure_of
from pycellbox.recipe import Recipe
from pycellbox.solvers import Solver

MOST_FREE = 3000
"""Parameters that are fitted, at most: matrices of more take minutes and gigabytes."""
_LEAST_ROWS = 10  # conditions from which on those left out calibrate
_LARGEST_BLOCK = 1000  # of residuals of a condition that is left out
_ENTRIES = 2e7  # of a Jacobian at a time
_ROWS = 256  # of derivatives at a time
_NAMED = 20  # predictions by which open directions are named


def check(recipe: Recipe, data: xr.Dataset) -> None:
    """Refuse, before any work, fits for which Laplace's method has no meaning.

    Raises
    ------
    ModelError
    """
    if recipe.measure.name == "mae":
        raise ModelError(
            "intervals of a trained fit are made where a sum of squares has its minimum, and this "
            "one was fitted with loss='mae': fit with 'mse' or 'huber', or take "
            "pcb.ensemble(data, fit.recipe, ...), which asks for no derivatives."
        )
    free = structure_of(data, recipe.model).layout.free.size
    if free > MOST_FREE:
        raise ModelError(
            f"this fit has {free} free parameters, and intervals by Laplace's method are made of "
            f"at most {MOST_FREE}: take pcb.ensemble(data, fit.recipe, ...), a mask with fewer "
            "interactions, or, of a drug screen, a default fit, whose nodes are estimated."
        )
    rows = data["role"].values == "train"
    if not rows.any() or not data["response"].isel(condition=rows).notnull().any():
        raise ModelError(
            "nothing that was measured was fitted here, so that there is no noise to go by: "
            "intervals need a fit with training conditions."
        )


class Trained:
    """A trained fit, its parameters uncertain by what its conditions leave open.

    Parameters
    ----------
    recipe : Recipe
        Of the fit.
    solver : Solver
    horizon : float or None
        For steady states.
    penalty : Penalty
        Of the last stage.
    data : Dataset
        Of the fit, with the roles.
    parameters : Dataset
    backend : Backend
        What takes derivatives.
    """

    def __init__(
        self,
        recipe: Recipe,
        solver: Solver,
        horizon: float | None,
        penalty: Penalty,
        data: xr.Dataset,
        parameters: xr.Dataset,
        backend: Backend,
    ) -> None:
        self._solver, self._backend, self._parameters = solver, backend, parameters
        structure = structure_of(data, recipe.model)
        rows = np.flatnonzero(data["role"].values == "train")
        problem = Problem.from_dataset(data, structure, horizon).rows(rows)
        self._problem = problem
        self._sigma = "sigma" in data
        arrays = self._arrays(problem.structure)
        entries = Entries(problem.structure, arrays, problem, shared=True)
        session = session_of(backend, problem, solver, Loss())
        residuals, jacobian = session.residuals_and_jacobian(arrays)
        J = entries.slopes(jacobian)
        measured = problem.weight > 0
        place, _, nodes = np.nonzero(measured)
        counts, per = _robust(recipe.measure, residuals)
        square = float(np.mean(counts * residuals**2))
        per *= residuals.size
        penalties = _of_penalty(penalty, entries, problem, recipe, per, square)
        self._entries = entries
        self._found = found = Laplace(
            J, residuals, counts, nodes, self._relative(problem), entries.sizes, penalties,
            _of_priors(entries, problem.structure, arrays),
        )  # fmt: skip
        if found.free < 1 and not self._sigma:
            raise ModelError(
                f"the {residuals.size} measurements of this fit leave {found.free:.2g} degrees of "
                f"freedom to the noise beside {len(entries.names)} parameters: give the data a "
                "sigma, fix parameters, or measure more."
            )
        self._calibration = self._calibrated(place)

    def _arrays(self, structure: Structure) -> Parameters:
        """Parameters of the fit, and of what is laid its own levels, where the fit has them."""
        arrays = parameter_arrays(structure.plain, self._parameters, np.float64)
        if structure.levels:
            known = fitted_levels(self._parameters)
            starts = zip(structure.levels, structure.layout[LEVEL].start, strict=True)
            arrays[LEVEL] = np.array([known.get(label, start) for label, start in starts])
        return arrays

    def _relative(self, problem: Problem) -> Array:
        """To what the variances of nodes are in proportion: 1 where sigma says it."""
        if self._sigma:
            return np.ones(problem.response.shape[-1])
        count = (problem.weight > 0).sum(axis=(0, 1))
        square = (problem.response**2).sum(axis=(0, 1)) / np.maximum(count, 1)
        relative: Array = np.maximum(square, 1e-8 * square.max()) if square.any() else square + 1
        return relative

    def _calibrated(self, place: Array) -> Calibration:
        """How far intervals reach: by conditions left out, where there are enough."""
        conditions, sizes = np.unique(place, return_counts=True)
        if conditions.size >= _LEAST_ROWS and sizes.max() <= _LARGEST_BLOCK:
            errors = np.abs(self._found.left_out(place))
            return Calibration(errors, "conditions of the fit, left out one by one")
        known = self._problem.structure.known
        return Calibration(
            np.zeros(0), "Student's distribution, by residuals", self._found.freedom[known]
        )

    def deviations(self, name: str) -> Array:
        """Return standard deviations of the entries of a parameter, in its shape; 0 of fixed ones.

        Infinite where the data do not determine them.
        """
        layout = self._problem.structure.layout
        place, free = layout.places[name], layout.free
        own = np.flatnonzero((free >= place.start) & (free < place.stop))
        whole = np.zeros(layout.size)
        for start in range(0, own.size, _ROWS):
            some = own[start : start + _ROWS]
            of_each = np.zeros((some.size, free.size))
            of_each[np.arange(some.size), some] = 1
            variance, _ = self._found.variance(self._entries.slopes(of_each))
            whole[free[some]] = np.sqrt(variance)
        found: Array = layout.split(whole)[name]
        return found

    def spreads(
        self, structure: Structure, inputs: Inputs, grid: Array, steady: bool, sigma: Array | None
    ) -> Spreads:
        """Return the spreads of predictions.

        Parameters
        ----------
        structure : Structure
        inputs : Inputs
            Of the conditions that are predicted.
        grid : ndarray, (t,)
            Times, or the horizon.
        steady : bool
            Whether it is a horizon.
        sigma : ndarray, (c[, t], n), optional
            Standard deviations of the new measurements, where the fit has some; NaN and None: as
            precise as the fit's.
        """
        if inputs.levels:
            assert inputs.treatment is not None
            structure = structure.with_levels(inputs.levels, inputs.treatment.level_starts)
        known, found = structure.known, self._found
        shape = (len(inputs.conditions), grid.size, len(structure.nodes[known]))
        variance = np.empty(shape)
        arrays, open_ = self._arrays(structure), []
        each = max(1, int(_ENTRIES / (shape[1] * structure.n_nodes * len(self._entries.names))))
        for first in range(0, shape[0], each):
            index = np.arange(first, min(first + each, shape[0]))
            problem = _everywhere(structure, inputs.rows(index), grid, steady)
            session = session_of(self._backend, problem, self._solver_of(steady), Loss())
            entries = Entries(structure, arrays, problem, shared=True)
            slopes = self._by_own(entries, session.residuals_and_jacobian(arrays)[1])
            some, off = found.variance(slopes)
            variance[index] = some.reshape(-1, *shape[1:])
            open_.append(off[np.isinf(some)])
        self._doubt(np.isinf(variance), open_)
        noise = np.broadcast_to(found.noise[: shape[2]] * self._scale(sigma, shape), shape)
        if steady:
            variance, noise = variance[:, 0], noise[:, 0]
        which = np.zeros(shape[0], dtype=np.intp)
        return Spreads(np.sqrt(variance), np.sqrt(noise), (self._calibration,), which)

    def _by_own(self, entries: Entries, jacobian: Array) -> Array:
        """Return derivatives by the parameters of the fit: levels are those of other conditions."""
        slopes, own = entries.slopes(jacobian), self._entries.names
        if entries.names == own:
            return slopes
        place = {name: k for k, name in enumerate(own)}
        found = np.zeros((len(slopes), len(own)))
        for k, name in enumerate(entries.names):
            if name in place:
                found[:, place[name]] = slopes[:, k]
        return found

    def _solver_of(self, steady: bool) -> Solver:
        return self._solver if steady else self._solver.through_time

    def _scale(self, sigma: Array | None, shape: tuple[int, ...]) -> Array:
        """Variance of a new measurement over that of one of weight 1, (n,) or (c, t, n)."""
        weight = self._problem.weight[..., : shape[2]]
        squares = np.where(weight > 0, weight, np.nan) ** 2
        count = (weight > 0).sum(axis=(0, 1))
        with np.errstate(invalid="ignore"):
            own: Array = count / np.nansum(squares, axis=(0, 1))
        if sigma is None or not self._sigma:
            return own
        given: Array = sigma.reshape(shape) ** 2
        return np.where(np.isnan(given), own, given)

    def _doubt(self, infinite: Array, open_: list[Array]) -> None:
        """Say what the data leave open where predictions hang on it."""
        off = np.concatenate(open_) if open_ else np.zeros((0, 0))
        if not len(off):
            return
        picked = off[np.linspace(0, len(off) - 1, min(len(off), _NAMED)).astype(int)]
        e = self._entries
        words = in_words(
            self._found.open_directions(picked), e.names, e.by_factors, e.sizes, e.values
        )
        nodes = int(infinite.any(axis=(0, 1)).sum())
        warn(
            f"what {counted(int(infinite.sum()), 'prediction')} of {infinite.size} (of "
            f"{counted(nodes, 'node')}) hang on is not determined by the data, and their intervals "
            f"are infinite: {'; '.join(words[:3])}"
            f"{f'; and {len(words) - 3} more' if len(words) > 3 else ''}. Measure what "
            "tells it, or say what is known: pcb.Parameter(prior=...), a penalty, a fixed value. "
            "fit.identifiability() has all directions.",
            DataWarning,
        )


def _robust(loss: Loss, residuals: Array) -> tuple[Array, float]:
    """Weights of residuals, and by what half a loss's curvature has to be multiplied to be 1."""
    if loss.name == "mse":
        return np.ones(residuals.size), 1.0
    return np.minimum(1, loss.delta / np.maximum(np.abs(residuals), 1e-300)), 2.0


def _of_penalty(
    penalty: Penalty, entries: Entries, problem: Problem, recipe: Recipe, per: float, square: float
) -> Array:
    """Information that a penalty counts as, relative to the noise, (p, p).

    An L1 penalty is the density of Laplace's distribution: it counts as the normal one of the same
    variance, also of what it has brought to zero.
    """
    layout = entries.pair.layout if penalty.sees_raw else problem.structure.layout
    l1, l2 = (strengths_over(penalty, layout, kind, problem_size(problem)) for kind in ("l1", "l2"))
    information = (per * l1) ** 2 / (8 * square) if square > 0 else np.zeros_like(l1)
    information = (information + per * l2) * _per_time_scale(layout, recipe) ** 2
    if penalty.sees_raw:
        return np.diag(information[layout.free])
    some = np.flatnonzero(information[layout.free])
    slopes = entries.slopes(np.eye(layout.free.size)[some])
    found: Array = (slopes.T * information[layout.free][some]) @ slopes
    return found


def problem_size(problem: Problem) -> int:
    """Measured entries, as penalties on the sum's scale count them."""
    return max(int(np.count_nonzero(problem.weight)), 1)


def _per_time_scale(layout: Layout, recipe: Recipe) -> Array:
    """Return what penalties see values in, (size,): rates in 1 per time scale."""
    scale = recipe.time_scale or 1.0
    return np.concatenate(
        [np.full(p.size, scale if p.per_time else 1.0) for p in layout.parameters]
    )


def _of_priors(entries: Entries, structure: Structure, parameters: Parameters) -> Array:
    """Information of priors, (p, p)."""
    priors, layout = Priors(structure.layout), structure.layout
    whole = layout.join(priors.jacobian(parameters))[:, layout.free]
    slopes = entries.slopes(whole)
    found: Array = slopes.T @ slopes
    return found


def _everywhere(structure: Structure, inputs: Inputs, grid: Array, steady: bool) -> Problem:
    """Return the problem of conditions that are measured at all nodes and times."""
    shape = (len(inputs.conditions), grid.size, structure.n_nodes)
    weight = np.zeros(shape)
    weight[..., structure.known] = 1
    return Problem(
        structure, inputs.conditions, inputs.perturbation, np.zeros(shape), weight, grid, steady,
        inputs.treatment,
    )  # fmt: skip
