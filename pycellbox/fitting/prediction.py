"""What a fit for prediction does with a drug screen: nodes are estimated, not trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.estimation import Estimate
from pycellbox.estimation.course_parameters import (
    course_parameters,
    estimate_of_courses,
)
from pycellbox.estimation.design import Design
from pycellbox.estimation.parameters import (
    classes_of,
    estimate_of,
    obstacle,
    parameters_of,
    saturating,
)
from pycellbox.fitting.clock import Clock
from pycellbox.initialization import Initialization
from pycellbox.models import CellBox, Model
from pycellbox.numerics.lowering import equations_of
from pycellbox.objective import Penalty
from pycellbox.problem import Array, Parameters, Problem, structure_of
from pycellbox.schedule import Stage

AS_ESTIMATED = Stage(iterations=1, learning_rate=0.0)
"""The schedule of screens where none is given: the parameters stay as they are, and the loss is
recorded."""

FROM_ESTIMATE = Stage(
    iterations=60,
    learning_rate={
        "drug_to_node": 0.002,
        "node_to_node": 0.01,
        "node_to_phenotype": 0.01,
        "rates": 0.003,
        "common_effect": 0.002,
    },
    decay="cosine",
    warmup=5,
)
"""That of time courses, of which the estimate is where training begins: edges between nodes have to
be found, and the rest stays near it."""

COURSES = Penalty(
    l2={
        "drug_to_node": 0.1,
        "drug_shared": 0.1,
        "node_to_node": 0.3,
        "node_to_phenotype": 0.3,
    },
    scale="sum",
)
"""Beside it."""


@dataclass(frozen=True)
class Estimated:
    """Where an estimated fit begins, and ends.

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


def predicting(model: Model, data: xr.Dataset) -> Model:
    """Return a network with all that an estimate is of; other equations as they are.

    In courses drugs are at their doses from the beginning of a phase on, and act on phenotypes as
    on proteins, which there have to be.
    """
    if not isinstance(model, CellBox) or model.form != 0:
        return model
    courses = "time" in data["response"].dims
    proteins = (~data["node_kind"].isin(["drug", "phenotype"])).any().item()
    return dataclasses.replace(
        model,
        operating_point=model.operating_point is not False,
        common_effect=model.common_effect is not False,
        response_range="held",
        drugs_on_phenotypes=(courses and proteins) or model.drugs_on_phenotypes,
        drug_columns="free" if courses else model.drug_columns,
        drugs="clamped" if courses else model.drugs,
    )


def estimated(
    clock: Clock,
    problem: Problem,
    train: Array,
    data: xr.Dataset,
    *,
    robust: bool,
    rng: np.random.Generator,
    **known: Any,
) -> Estimated | str:
    """Estimate the nodes of some of the conditions, or say why that cannot be.

    Rates are per time scale. Of screens the strengths may be ``known``, as `estimate` takes them.
    """
    part = problem.rows(train)
    if why := obstacle(part):
        return why
    drugs = problem.structure.is_drug
    if part.steady:
        classes = classes_of(data, drugs)
        screen = estimate_of(part, classes=classes, robust=robust, **known)
        design = screen.design
    else:
        courses, design = estimate_of_courses(clock.problem(part))
    structure = structure_of(data, saturating(problem.structure.model, design))
    laid, part = replace(problem, structure=structure), replace(part, structure=structure)
    begin = equations_of(structure).start(clock.problem(part), Initialization(), rng)
    if part.steady:
        start, pooled, said = parameters_of(screen, part, begin), screen.pooled, _strengths(screen)
    else:
        start, pooled = course_parameters(courses, design, part, begin)
        said = {}
    labels = np.array(structure.nodes)[drugs]
    return Estimated(laid, start, said | _of_doses(design, labels, pooled))


def _strengths(found: Estimate) -> dict[str, Any]:
    own = found.own
    return {
        "strengths": found.strengths,
        **({"phenotypes": found.phenotypes} if found.phenotypes else {}),
        "chosen_by": "leave-one-out" if found.leaves_out else "evidence",
        "own_strengths": [float(own.min()), float(np.median(own)), float(own.max())],
    }


def _of_doses(design: Design, drugs: Array, pooled: dict[str, float]) -> dict[str, Any]:
    unseen = ~design.seen
    return {
        "dose_saturation": design.saturation,
        "dose_unit": design.unit,
        "unseen_signs": dict(zip(drugs[unseen].tolist(), design.sign[unseen], strict=True)),
        "unseen_drug": pooled if len(pooled) > 1 else next(iter(pooled.values())),
    }
