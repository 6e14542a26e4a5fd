"""An estimate as the parameters of a CellBox, whose steady states are its predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.estimation.design import Design, Parts
from pycellbox.estimation.estimate import Estimate, estimate
from pycellbox.models import CellBox, Structure
from pycellbox.problem import Array, Parameters, Problem


def obstacle(problem: Problem) -> str:
    """Why the nodes of a problem cannot be estimated; empty if they can."""
    structure, model = problem.structure, problem.structure.model
    if not isinstance(model, CellBox):
        return f"the model is a {type(model).__name__}, and it is for pcb.CellBox"
    needed: dict[str, object] = {"form": 0, "envelope": "tanh", "degree": 1, "drugs": "input"}
    if not problem.steady:
        needed |= {"drugs": "clamped", "operating_point": True, "common_effect": True}
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
    if not problem.steady and weights.size and weights.max() > weights.min() * (1 + 1e-6):
        return "responses have standard deviations that differ, which is for steady states"
    if not inputs.any():
        return "no condition has a dose"
    if not problem.steady and (problem.weight[:, :, structure.is_drug] > 0).any():
        return "the drugs' own courses are measured, and it is for drugs that are at their doses"
    nodes = estimated(problem)
    read = nodes & read_from_others(structure)
    if not (nodes & ~read).any():
        return "no node on which drugs act is measured"
    on_nodes, on_phenotypes = _blocks(structure, nodes, read)
    others = structure.mask[nodes][:, ~structure.is_drug]  # by which nodes could be trained
    if (
        any(block.any() and not block.all() for block in (on_nodes, on_phenotypes))
        or (others[~read[nodes]].any() and not on_nodes.any())
        or (others[read[nodes]].any() and not on_phenotypes.any())
    ):
        return (
            "the model's mask does not let every drug act on every measured protein, and those on "
            "every phenotype, nor nothing"
        )
    return ""


def _blocks(structure: Structure, nodes: Array, read: Array) -> tuple[Array, Array]:
    """Which drug may act on which node, and which of these on which phenotype."""
    allowed, acted = structure.mask, nodes & ~read
    return allowed[np.ix_(acted, structure.is_drug)], allowed[np.ix_(read, acted)]


def read_from_others(structure: Structure) -> Array:
    """Which nodes are phenotypes on which drugs act only through other nodes; bool, (n,)."""
    model = structure.model
    assert isinstance(model, CellBox)
    return structure.is_phenotype & (not model.drugs_on_phenotypes)


def estimated(problem: Problem) -> Array:
    """Which nodes are: those measured that are no drugs; bool, (n,)."""
    measured = (problem.weight > 0).any(axis=(0, 1))
    return np.asarray(measured & ~problem.structure.is_drug)


def estimate_of(
    problem: Problem, *, classes: Array | None = None, robust: bool = True, **known: Any
) -> Estimate:
    """Estimate the nodes of a problem that has no `obstacle`; without ``robust`` by squares.

    ``classes`` are those of the drugs, str (drug,). The strengths may be ``known``, as `estimate`
    takes them.
    """
    structure = problem.structure
    model = structure.model
    assert isinstance(model, CellBox)
    nodes, every = estimated(problem), read_from_others(structure)
    on_nodes, on_phenotypes = _blocks(structure, nodes, nodes & every)
    parts = Parts(
        drugs=bool(on_nodes.any()),
        read=bool(on_phenotypes.any()),
        operating_point=bool(model.operating_point),
        common=bool(model.common_effect),
        shared=model.drug_columns == "shared",
        robust=robust,
        saturation=fixed(model),
    )
    measured = problem.weight[:, -1] > 0
    outputs = np.where(measured, problem.response[:, -1].astype(np.float64), np.nan)
    doses = problem.perturbation[:, structure.is_drug].astype(np.float64)
    weights = problem.weight[:, -1].astype(np.float64)[:, nodes] ** 2
    return estimate(
        doses, outputs[:, nodes], weights, read=every[nodes], classes=classes, parts=parts, **known
    )


def classes_of(data: xr.Dataset, drugs: Array) -> Array | None:
    """Return the classes of the drugs, str (drug,), of data that have some."""
    return data["group"].values[drugs].astype(str) if "group" in data.variables else None


def fixed(model: CellBox) -> float | None:
    """Return κ where a model says it."""
    kappa = model.dose_saturation
    return None if isinstance(kappa, str) else kappa


def saturating(model: CellBox, design: Design) -> CellBox:
    """Return the model with the κ that was found."""
    return replace(model, dose_saturation=design.saturation)


def parameters_of(found: Estimate, problem: Problem, start: Parameters) -> Parameters:
    """Effective parameters (float64) of a problem's nodes.

    Decay rates, and drugs and nodes that were not measured, are as at the ``start``, for a model
    of the estimate's κ. Of nodes that are no drugs, none acts on another but on phenotypes.
    """
    nodes, drugs = estimated(problem), problem.structure.is_drug
    made = {name: array.astype(np.float64) for name, array in start.items()}
    # A drug node settles at (ε/α)·d(u).
    slope = (made["epsilon"] / made["alpha"])[drugs]
    made["W"] = np.zeros_like(made["W"])
    made["W"][np.ix_(nodes, drugs)] = found.effects / (found.ranges[:, None] * slope)
    made["W"][np.ix_(nodes, nodes)] = found.between / found.ranges[:, None]
    made["epsilon"][nodes] = found.ranges * made["alpha"][nodes]
    for name, values in (("b", found.point), ("common", found.common / found.ranges)):
        if name in made:
            made[name][nodes] = values
    return made
