"""An estimate as the parameters of a CellBox, whose steady states are its predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pycellbox.estimation.estimate import Estimate, estimate
from pycellbox.models import CellBox
from pycellbox.problem import Array, Parameters, Problem


def obstacle(problem: Problem) -> str:
    """Why the nodes of a problem cannot be estimated; empty if they can."""
    structure, model = problem.structure, problem.structure.model
    if not isinstance(model, CellBox):
        return f"the model is a {type(model).__name__}, and it is for pcb.CellBox"
    needed = {
        "form": 0, "envelope": "tanh", "degree": 1,
        "drugs": "input" if problem.steady else "clamped",
        "operating_point": True, "common_effect": True,
    }  # fmt: skip
    for name, value in needed.items():
        if getattr(model, name) != value:
            return f"the model has {name}={getattr(model, name)!r}, and it is for {value!r}"
    if model.dose_saturation is None:
        return "the model has dose_saturation=None, and it is for mapped doses"
    treatment, inputs = problem.treatment, problem.perturbation[:, None]
    if treatment is not None:
        if problem.steady:
            return "it is for steady states under constant doses"
        if treatment.moves is not None or not np.isnan(treatment.initial).all():
            return "it is for courses in which no node is held, and all begin together and at rest"
        before = treatment.pretreatment
        parts = [treatment.perturbation, *([] if before is None else [before[:, None]])]
        inputs = np.concatenate(parts, axis=1)
    if inputs[:, :, ~structure.is_drug].any():
        return "nodes that are no drugs are perturbed"
    weights = problem.weight[problem.weight > 0]
    if weights.size and weights.max() > weights.min() * (1 + 1e-6):
        return "responses have standard deviations that differ, by which it does not weigh them"
    if not weights.size:
        return "no response is measured"
    if not inputs.any():
        return "no condition has a dose"
    if not structure.mask[np.ix_(estimated(problem), structure.is_drug)].all():
        return (
            "the model does not allow every drug to act on every measured node: use "
            "drugs_on_phenotypes=True, and no mask"
        )
    return ""


def estimated(problem: Problem) -> Array:
    """Which nodes are: those measured that are no drugs; bool, (n,)."""
    measured = (problem.weight > 0).any(axis=(0, 1))
    return np.asarray(measured & ~problem.structure.is_drug)


def estimate_of(problem: Problem) -> Estimate:
    """Estimate the nodes of a problem that has no `obstacle`."""
    structure = problem.structure
    measured = problem.weight[:, -1] > 0
    outputs = np.where(measured, problem.response[:, -1].astype(np.float64), np.nan)
    doses = problem.perturbation[:, structure.is_drug].astype(np.float64)
    return estimate(doses, outputs[:, estimated(problem)])


def saturating(model: CellBox, found: Estimate) -> CellBox:
    """Return the model with the κ that was found."""
    return replace(model, dose_saturation=found.design.saturation)


def parameters_of(found: Estimate, problem: Problem, start: Parameters) -> Parameters:
    """Effective parameters (float64) of a problem's nodes.

    Decay rates, and drugs and nodes that were not measured, are as at the ``start``, for a model
    of the estimate's κ. There are no edges between nodes that are no drugs.
    """
    nodes, drugs = estimated(problem), problem.structure.is_drug
    made = {name: array.astype(np.float64) for name, array in start.items()}
    # A drug node settles at (ε/α)·d(u).
    slope = (made["epsilon"] / made["alpha"])[drugs]
    made["W"] = np.zeros_like(made["W"])
    made["W"][np.ix_(nodes, drugs)] = found.effects / (found.ranges[:, None] * slope)
    made["epsilon"][nodes] = found.ranges * made["alpha"][nodes]
    made["b"][nodes] = found.point
    made["common"][nodes] = found.common / found.ranges
    return made
