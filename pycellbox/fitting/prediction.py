"""What ``purpose="prediction"`` means for a drug screen: nodes are estimated, not trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.errors import DataWarning, warn
from pycellbox.estimation import Estimate
from pycellbox.estimation.parameters import estimate_of, obstacle, parameters_of, saturating
from pycellbox.initialization import Initialization
from pycellbox.models import CellBox, Model
from pycellbox.numerics.lowering import equations_of
from pycellbox.problem import Array, Parameters, Problem, structure_of
from pycellbox.schedule import Stage

AS_ESTIMATED = Stage(iterations=1, learning_rate=0.0)
"""The schedule where none is given: the parameters stay as they are, and the loss is recorded."""


@dataclass(frozen=True)
class Estimated:
    """Where an estimated fit begins, and mostly ends.

    Attributes
    ----------
    problem : Problem
        Of all conditions, its model with the κ that was chosen.
    start : dict of ndarray
        Effective parameters, float64.
    said : dict
        The strengths and what else was chosen, as plain values.
    """

    problem: Problem
    start: Parameters
    said: dict[str, Any]


def predicting(model: Model) -> Model:
    """Return a network with all that an estimate is of; other equations as they are."""
    if not isinstance(model, CellBox) or model.form != 0:
        return model
    return dataclasses.replace(
        model,
        operating_point=True,
        common_effect=True,
        drugs_on_phenotypes=True,
        response_range="held",
        drug_columns="free",
    )


def estimated(
    problem: Problem, train: Array, data: xr.Dataset, rng: np.random.Generator
) -> Estimated | None:
    """Estimate the nodes of some of the conditions; None where that cannot be.

    Warns
    -----
    DataWarning
        It cannot be, and why.
    """
    part = problem.rows(train)
    if why := obstacle(part):
        warn(
            f'purpose="prediction" estimates the nodes of drug screens, and cannot here: {why}. '
            "The network is trained as without a purpose.",
            DataWarning,
        )
        return None
    found = estimate_of(part)
    structure = structure_of(data, saturating(problem.structure.model, found))
    laid, part = replace(problem, structure=structure), replace(part, structure=structure)
    begin = equations_of(structure).start(part, Initialization(), rng)
    return Estimated(laid, parameters_of(found, part, begin), _said(found))


def _said(found: Estimate) -> dict[str, Any]:
    own = found.own
    return {
        "strengths": {name: float(value) for name, value in found.strengths.items()},
        "chosen_by": "leave-one-out" if found.leaves_out else "evidence",
        "dose_saturation": found.design.saturation,
        "dose_unit": found.design.unit,
        "own_strengths": [float(own.min()), float(np.median(own)), float(own.max())],
        "unseen_drug": found.pooled,
    }
