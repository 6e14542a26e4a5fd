"""Spreads of what an estimated screen predicts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.estimation.design import COMMON, saturated
from pycellbox.estimation.parameters import classes_of, estimate_of, estimated, read_from_others
from pycellbox.estimation.spread import Spread
from pycellbox.estimation.strengths import stand_once
from pycellbox.intervals.spreads import Calibration, Spreads
from pycellbox.models import Structure
from pycellbox.problem import Array, Problem

_LEAST_ROWS = 10  # conditions whose drugs stand elsewhere too, from which on only those calibrate


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
        self._found = estimate_of(
            problem, classes=classes_of(data, drugs), robust=robust,
            strengths=chosen["strengths"], phenotypes=chosen.get("phenotypes"),
        )  # fmt: skip
        nodes = np.flatnonzero(estimated(problem))
        read = read_from_others(structure)[nodes]
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

    @cached_property
    def _spreads(self) -> tuple[Spread, ...]:
        """Of nodes on which drugs act, and of phenotypes that are read from these."""
        found = self._found
        return tuple(Spread(one) for one in (found.acted, found.read) if one is not None)

    @cached_property
    def _one_by_one(self) -> Calibration:
        counted = ~stand_once(self._doses)
        if counted.sum() < _LEAST_ROWS:
            counted[:] = True
        errors = [spread.left_out()[:, counted] for spread in self._spreads]
        return _calibration(errors, "conditions of the fit, left out one by one")

    @cached_property
    def _by_drug(self) -> Calibration:
        acted = self._spreads[0]
        errors = [acted.without_drug(column) for column in self._found.acted.drugs]
        if not errors:  # of a single drug that is everywhere
            return self._one_by_one
        return _calibration(errors, "conditions of the fit, all of a drug left out together")

    def spreads(self, perturbation: Array, predicted: Array, sigma: Array | None) -> Spreads:
        """Return the spreads of predictions.

        Parameters
        ----------
        perturbation, predicted : ndarray, (c, n)
        sigma : ndarray, (c, n), optional
            Standard deviations of the new measurements, beside those of the fit; NaN and None: as
            precise as the fit's.
        """
        found, doses = self._found, perturbation[:, self._drugs].astype(np.float64)
        state, noise = np.full((2, *predicted.shape), np.nan)
        of_acted, _ = self._spreads[0].of_states(found.design(doses))
        of_acted = of_acted + self._of_new_drugs(doses, predicted[:, self._acted].T)
        state[:, self._acted], noise[:, self._acted] = of_acted.T, self._spreads[0].noise
        if found.read is not None:
            columns = predicted[:, self._acted] @ found.basis
            if COMMON in found.read.kinds:
                columns = np.column_stack([columns, (doses != 0).any(axis=1)])
            of_read, slopes = self._spreads[1].of_states(columns)
            through = slopes[:, :, : found.basis.shape[1]] @ found.basis.T
            of_read += np.einsum("icj,jc->ic", through**2, of_acted)
            state[:, self._read], noise[:, self._read] = of_read.T, self._spreads[1].noise
        state[:, self._drugs], noise[:, self._drugs] = 0, self._noise_of_drugs
        new = ((doses != 0) & ~found.design.seen).any(axis=1)
        return Spreads(
            np.sqrt(state),
            np.sqrt(noise * self._relative(sigma)),
            (self._one_by_one, self._by_drug) if new.any() else (self._one_by_one,),
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
        spread = self._spreads[0].of_combinations(columns) / acted.ranges[:, None]
        W[np.ix_(self._acted, drugs[found.design.seen])] = spread / slope[found.design.seen]
        if found.read is not None:
            read, basis = found.read.nodes, found.basis
            columns = np.zeros((len(basis), read.columns.shape[1]))
            columns[:, : basis.shape[1]] = basis
            spread = self._spreads[1].of_combinations(columns) / read.ranges[:, None]
            W[np.ix_(self._read, self._acted)] = spread
        return W

    def _relative(self, sigma: Array | None) -> Array:
        """Variance of new measurements over that of the fit's, (c, n) or a number."""
        if sigma is None or not self._sigma:
            return np.ones(())
        own = self._problem.weight[:, -1].astype(np.float64) ** 2
        with np.errstate(invalid="ignore"):
            mean = own.sum(axis=0) / (own > 0).sum(axis=0)
        variance: Array = np.nan_to_num(sigma**2 * mean, nan=1.0)
        return variance

    def _of_new_drugs(self, doses: Array, states: Array) -> Array:
        """Variance of states, (m, c), by what drugs that were not seen may do by themselves."""
        design, nodes = self._found.design, self._found.acted.nodes
        phi = states / nodes.ranges[:, None] + np.tanh(nodes.theta[:, -1:])
        slope = 1 - np.clip(phi, -1, 1) ** 2
        squares = np.where(design.seen, 0, saturated(doses, design.saturation) / design.unit) ** 2
        found = np.zeros_like(states)
        for one in np.unique(design.classes[~design.seen]):
            of_class = squares[:, design.classes == one].sum(axis=1)
            found += np.outer(self._spreads[0].of_a_drug(str(one)), of_class) * slope**2
        return found


def _calibration(errors: list[Array], said: str) -> Calibration:
    sizes = np.abs(np.concatenate([each.ravel() for each in errors]))
    return Calibration(sizes[~np.isnan(sizes)], said)
