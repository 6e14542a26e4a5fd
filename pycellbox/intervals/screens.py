"""Spreads of what an estimated screen predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.estimation.estimate import Estimate
from pycellbox.estimation.parameters import classes_of, estimate_of, estimated, read_from_others
from pycellbox.estimation.strengths import stand_once
from pycellbox.intervals.estimates import EstimateSpread
from pycellbox.intervals.spreads import Calibration, Spreads
from pycellbox.models import Structure
from pycellbox.problem import Array, Problem

_LEAST_ROWS = 10  # conditions whose drugs stand elsewhere too, from which on only those calibrate
_MOST_DRUGS = 24  # that are left out, each of which takes an estimate


class Screen:
    """The nodes of a fit at their optimum, and the errors of leaving out conditions.

    Parameters
    ----------
    data : Dataset
        The conditions that were fitted.
    predictions : DataArray, (condition, node)
        For them.
    structure : Structure
    chosen : mapping
        The estimate in the fit's provenance.
    robust : bool
        Whether the loss is Huber's.
    """

    def __init__(
        self,
        data: xr.Dataset,
        predictions: xr.DataArray,
        structure: Structure,
        chosen: Mapping[str, Any],
        robust: bool,
    ) -> None:
        self._problem = problem = Problem.from_dataset(data, structure, 1.0)
        self._drugs = drugs = structure.is_drug
        self._robust, self._classes = robust, classes_of(data, drugs)
        self._found = self._estimate(
            problem, strengths=chosen["strengths"], phenotypes=chosen.get("phenotypes")
        )
        self._nodes = nodes = np.flatnonzero(estimated(problem))
        read = self._found.is_read
        self._acted, self._read = nodes[~read], nodes[read]
        self._doses = problem.perturbation[:, drugs].astype(np.float64)
        self._sigma = "sigma" in data
        measured = problem.weight[:, -1, drugs] > 0
        residuals = (predictions.values - data["response"].values)[:, drugs]
        squares = np.where(measured, residuals, 0) ** 2
        with np.errstate(invalid="ignore"):  # of drugs that nobody measured nothing is known
            self._noise_of_drugs = squares.sum(axis=0) / measured.sum(axis=0)

    @property
    def known(self) -> dict[str, Any]:
        """All strengths, as `estimate` takes them."""
        found = self._found
        return {"strengths": found.strengths, "phenotypes": found.phenotypes, "own": found.own}

    def _estimate(self, problem: Problem, **known: Any) -> Estimate:
        return estimate_of(problem, classes=self._classes, robust=self._robust, **known)

    @cached_property
    def _spread(self) -> EstimateSpread:
        return EstimateSpread(self._found)

    @cached_property
    def _one_by_one(self) -> Calibration:
        counted = ~stand_once(self._doses)
        if counted.sum() < _LEAST_ROWS:
            counted[:] = True
        errors = [part.left_out()[:, counted] for part in self._spread.parts]
        return _calibration(errors, "conditions of the fit, left out one by one")

    @cached_property
    def _by_drug(self) -> Calibration:
        """By estimates without each drug, of the same strengths, and what they say of its rows."""
        given = self._doses != 0
        some = np.flatnonzero(given.any(axis=0) & ~given.all(axis=0))
        if some.size > _MOST_DRUGS:
            some = some[np.linspace(0, some.size - 1, _MOST_DRUGS).round().astype(int)]
        errors = [self._without(given[:, drug]) for drug in some]
        if not any(each.size for each in errors):
            return self._one_by_one
        return _calibration(errors, "conditions of the fit, all of a drug left out together")

    def _without(self, rows: Array) -> Array:
        """Errors of what an estimate without some conditions says of them, over their sd."""
        rest = self._problem.rows(np.flatnonzero(~rows))
        nodes = np.flatnonzero(estimated(rest))
        acted = ~read_from_others(rest.structure)[nodes]
        if not acted.any() or not (self._doses[~rows] != 0).any():
            return np.zeros(0)
        own = self._found.own[np.isin(self._nodes, nodes)]
        found = self._estimate(rest, **(self.known | {"own": own}))
        # Of a drug it has not seen it takes the sign of the doses for that of most of its class.
        as_seen = self._found.design.sign * found.design.sign
        doses = self._doses[rows] * np.where(found.design.seen, 1, as_seen)
        predicted, weights = found.predict(doses), self._problem.weight[rows, -1][:, nodes] ** 2
        state, noise = EstimateSpread(found).variances(doses, predicted)
        relative = weights * self._scale[nodes]
        error = self._problem.response[rows, -1][:, nodes] - predicted
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(relative > 0, error / np.sqrt(state + noise / relative), np.nan)

    @cached_property
    def _scale(self) -> Array:
        """Mean over measurements of their variance, by node: a weight times it is 1 in the mean."""
        weights = self._problem.weight[:, -1].astype(np.float64) ** 2
        with np.errstate(invalid="ignore"):
            scale: Array = (weights > 0).sum(axis=0) / weights.sum(axis=0)
        return scale

    def spreads(self, perturbation: Array, predicted: Array, sigma: Array | None) -> Spreads:
        """Return the spreads of predictions.

        Parameters
        ----------
        perturbation, predicted : ndarray, (c, n)
        sigma : ndarray, (c, n), optional
            Standard deviations of the new measurements, beside those of the fit; NaN and None: as
            precise as the fit's.
        """
        doses = perturbation[:, self._drugs].astype(np.float64)
        state, noise = np.full((2, *predicted.shape), np.nan)
        found = self._spread.variances(doses, predicted[:, self._nodes])
        state[:, self._nodes], noise[:, self._nodes] = found
        state[:, self._drugs], noise[:, self._drugs] = 0, self._noise_of_drugs
        new = ((doses != 0) & ~self._found.design.seen).any(axis=1)
        calibrations = [self._one_by_one, *([self._by_drug] if new.any() else [])]
        if _combined(doses).any() and not _combined(self._doses).any():
            said = "none of which combines drugs as those predicted do"
            calibrations = [replace(one, said=f"{one.said}, {said}") for one in calibrations]
        return Spreads(
            np.sqrt(state),
            np.sqrt(noise * self._relative(sigma)),
            tuple(calibrations),
            new.astype(np.intp),
        )

    def edge_deviations(self, slope: Array) -> Array:
        """Return standard deviations of W, (n, n); slopes (drug,) are where drug nodes settle.

        NaN of drugs that were not seen; 0 where an estimate has no interaction.
        """
        found, drugs = self._found, np.flatnonzero(self._drugs)
        W = np.zeros((self._drugs.size, self._drugs.size))
        W[np.ix_(self._acted, drugs[~found.design.seen])] = np.nan
        acted = found.acted.nodes
        columns = found.design.effects(np.eye(acted.columns.shape[1])).T
        spread = self._spread.parts[0].of_combinations(columns) / acted.ranges[:, None]
        W[np.ix_(self._acted, drugs[found.design.seen])] = spread / slope[found.design.seen]
        if found.read is not None:
            read, basis = found.read.nodes, found.basis
            columns = np.zeros((len(basis), read.columns.shape[1]))
            columns[:, : basis.shape[1]] = basis
            spread = self._spread.parts[1].of_combinations(columns) / read.ranges[:, None]
            W[np.ix_(self._read, self._acted)] = spread
        return W

    def _relative(self, sigma: Array | None) -> Array:
        """Variance of new measurements over that of the fit's, (c, n) or a number."""
        if sigma is None or not self._sigma:
            return np.ones(())
        variance: Array = np.nan_to_num(sigma**2 / self._scale, nan=1.0)
        return variance


def _combined(doses: Array) -> Array:
    """Which conditions have several drugs, (c,)."""
    several: Array = (doses != 0).sum(axis=1) > 1
    return several


def _calibration(errors: list[Array], said: str) -> Calibration:
    sizes = np.abs(np.concatenate([each.ravel() for each in errors]))
    return Calibration(sizes[~np.isnan(sizes)], said)
