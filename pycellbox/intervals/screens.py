"""Spreads of what an estimated screen predicts."""

from __future__ import annotations

import numpy as np

from pycellbox.estimation.design import saturated
from pycellbox.estimation.estimate import Estimate
from pycellbox.estimation.parameters import estimate_of, estimated, read_from_others
from pycellbox.estimation.spread import Spread
from pycellbox.estimation.strengths import stand_once
from pycellbox.intervals.spreads import Calibration, Spreads
from pycellbox.problem import Array, Problem

_LEAST_ROWS = 10  # conditions whose drugs stand elsewhere too, from which on only those calibrate


def of_screen(
    problem: Problem,
    strengths: dict[str, dict[str, float]],
    classes: Array | None,
    robust: bool,
    residuals: Array,
    doses: Array,
    predicted: Array,
    weights: Array,
) -> Spreads:
    """Return the spreads of predictions.

    Errors of leaving out conditions, one by one, say how large errors are beside their standard
    deviations; where a drug is new, those of leaving out all conditions with a drug.

    Parameters
    ----------
    problem : Problem
        Of the conditions that were fitted.
    strengths : dict
        ``strengths`` and ``phenotypes`` of the estimate.
    classes : ndarray of str, (drug,), optional
    robust : bool
        Whether the loss is Huber's.
    residuals : ndarray, (fitted c, n)
        Of the conditions that were fitted.
    doses : ndarray, (c, drug)
        Of the conditions predicted.
    predicted : ndarray, (c, n)
    weights : ndarray, (c, n)
        Of new measurements, 1 for those like the fit's.
    """
    found = estimate_of(problem, classes=classes, robust=robust, **strengths)
    nodes, drugs = np.flatnonzero(estimated(problem)), problem.structure.is_drug
    read = read_from_others(problem.structure)[nodes]
    given = problem.perturbation[:, drugs].astype(np.float64)
    acted, others = Spread(found.acted), None
    state, noise = np.full((2, *predicted.shape), np.nan)
    of_acted, _ = acted.of_states(found.design(doses))
    new = (doses != 0) & ~found.design.seen
    of_acted = of_acted + _of_new_drugs(found, acted, doses, predicted[:, nodes[~read]].T)
    state[:, nodes[~read]] = of_acted.T
    noise[:, nodes[~read]] = acted.noise
    left_out = [acted.left_out()]
    if found.read is not None:
        others = Spread(found.read)
        columns = predicted[:, nodes[~read]] @ found.basis
        if "common" in found.read.kinds:
            columns = np.column_stack([columns, (doses != 0).any(axis=1)])
        of_read, slopes = others.of_states(columns)
        through = slopes[:, :, : found.basis.shape[1]] @ found.basis.T
        state[:, nodes[read]] = (of_read + np.einsum("icj,jc->ic", through**2, of_acted)).T
        noise[:, nodes[read]] = others.noise
        left_out.append(others.left_out())
    # Drugs' own states follow from the doses; what is measured of them is off by their residuals.
    measured = problem.weight[:, -1, drugs] > 0
    state[:, drugs] = 0
    squares = (residuals[:, drugs] ** 2 * measured).sum(axis=0)
    with np.errstate(invalid="ignore"):
        noise[:, drugs] = squares / measured.sum(axis=0)
    counted = ~stand_once(given)
    if counted.sum() < _LEAST_ROWS:
        counted[:] = True
    calibrations = [
        _calibration([each[:, counted] for each in left_out], "conditions of the fit, left out")
    ]
    if new.any():
        together = [
            spread.left_out_together(np.flatnonzero(given[:, drug]))
            for drug in np.flatnonzero(found.design.seen)
            for spread in (acted, *([others] if others else []))
            if not given[:, drug].all()
        ]
        calibrations.append(_calibration(together, "all conditions with a drug, left out"))
    return Spreads(
        np.sqrt(state),
        np.sqrt(noise / weights),
        tuple(calibrations),
        new.any(axis=1).astype(np.intp),
    )


def _of_new_drugs(found: Estimate, spread: Spread, doses: Array, states: Array) -> Array:
    """Variance of states, (m, c), by what drugs that were not seen may do by themselves."""
    design, acted = found.design, found.acted.nodes
    at = states / acted.ranges[:, None] + np.tanh(acted.theta[:, -1:])
    slope = 1 - np.clip(at, -1, 1) ** 2
    squares = np.where(design.seen, 0, saturated(doses, design.saturation) / design.unit) ** 2
    open_ = np.zeros_like(states)
    for one in np.unique(design.classes[~design.seen]):
        of_class = squares[:, design.classes == one].sum(axis=1)
        open_ += np.outer(spread.of_a_drug(str(one)), of_class)
    variance: Array = open_ * slope**2
    return variance


def _calibration(errors: list[Array], said: str) -> Calibration:
    sizes = np.abs(np.concatenate([each.ravel() for each in errors]))
    return Calibration(sizes[~np.isnan(sizes)], said)
