"""Where a network's fit starts."""

from __future__ import annotations

import numpy as np

from pycellbox.initialization import Initialization
from pycellbox.numerics.dose import map_dose
from pycellbox.problem import Array, Parameters, Problem


def response_range(problem: Problem, factor: float) -> Array:
    """Where ε/α of each node should start, (n,).

    max(1, factor·max|y|) over the measured training responses y. A drug node that receives a
    mapped dose d(u) outside the envelope is not limited by ε/α but settles at (ε/α)·d(u): for it,
    the least-squares slope of y on d(u), that of all drugs together if it was never dosed.
    """
    measured = np.where(problem.weight > 0, np.abs(problem.response), 0)
    ranges: Array = np.maximum(1.0, factor * measured.max(axis=(0, 1)).astype(np.float64))
    structure = problem.structure
    model, drug = structure.model, structure.is_drug
    if model.kappa is None or model.form in ("ji", "ji-code") or not drug.any():
        return ranges
    dose = map_dose(model, problem.perturbation[:, drug].astype(np.float64))
    weight = problem.weight[:, -1, drug].astype(np.float64) ** 2
    along = (weight * dose * problem.response[:, -1, drug]).sum(axis=0)
    square = (weight * dose * dose).sum(axis=0)
    pooled = along.sum() / square.sum() if square.sum() > 0 else 1.0
    slope = np.where(square > 0, along / np.where(square > 0, square, 1), pooled)
    ranges[drug] = np.maximum(slope, 0.01)  # ε must stay positive
    return ranges


def initial_parameters(
    problem: Problem, start: Initialization, rng: np.random.Generator
) -> Parameters:
    """Draw the effective parameters at which a fit starts, float64."""
    structure, ranges = problem.structure, response_range(problem, start.range_factor)
    n = structure.n_nodes
    W = np.where(structure.mask, rng.normal(0.0, start.weight_scale, (n, n)), 0.0)
    alpha = np.full(n, 1.0 if start.alpha is None else float(start.alpha))
    psi = np.where(structure.is_drug, alpha * ranges, 1.0)
    rates = {"alpha": alpha, "epsilon": alpha * ranges, "psi": psi}
    shifts = {name: np.zeros(n) for name in structure.model.shifts}
    return {"W": W, **{name: rates[name] for name in structure.model.rates}, **shifts}
