"""An estimate of time courses as the parameters of a CellBox without edges between its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.estimation.courses import CourseEstimate, estimate_courses
from pycellbox.estimation.design import Design, Parts, saturated
from pycellbox.estimation.estimate import of_all_drugs
from pycellbox.estimation.parameters import estimated, fixed
from pycellbox.models import CellBox
from pycellbox.problem import Array, Parameters, Problem


@dataclass(frozen=True)
class Phases:
    """What is given when.

    Attributes
    ----------
    inputs : ndarray, (c, 1 + s, n)
        u in the pre-treatment, 0 where there is none, and in each phase.
    starts : ndarray, (s,)
    pretreated : ndarray of bool, (c,)
    """

    inputs: Array
    starts: Array
    pretreated: Array

    @classmethod
    def of(cls, problem: Problem) -> Phases:
        """Return those of a problem in which nothing is held and all begin together, at rest."""
        treatment, u = problem.treatment, problem.perturbation.astype(np.float64)
        if treatment is None:
            inputs = np.stack([np.zeros_like(u), u], axis=1)
            return cls(inputs, np.zeros(1), np.zeros(len(u), dtype=bool))
        before = np.zeros_like(u) if treatment.pretreatment is None else treatment.pretreatment
        before = np.where(treatment.pretreated[:, None], before, 0)
        inputs = np.concatenate([before[:, None], treatment.perturbation], axis=1)
        return cls(inputs.astype(np.float64), treatment.starts, treatment.pretreated)

    def columns(self, design: Design, drugs: Array) -> Array:
        """Doses in units of their size, and whether anything is given: (c, 1 + s, p)."""
        given = saturated(self.inputs[:, :, drugs][:, :, design.seen], design.saturation)
        treated = (self.inputs != 0).any(axis=2)
        return np.concatenate([given / design.unit, treated[:, :, None]], axis=2)


def largest_doses(inputs: Array) -> Array:
    """Of each condition the doses (c, drug) that are largest over its phases, (c, s, drug)."""
    place = np.abs(inputs).argmax(axis=1)[:, None]
    doses: Array = np.take_along_axis(inputs, place, axis=1)[:, 0]
    return doses


def estimate_of_courses(problem: Problem) -> tuple[CourseEstimate, Design]:
    """Estimate the nodes of a problem of time courses that has no obstacle."""
    phases, drugs = Phases.of(problem), problem.structure.is_drug
    nodes = estimated(problem)
    outputs = np.where(problem.weight > 0, problem.response.astype(np.float64), np.nan)[..., nodes]
    flat = outputs.reshape(len(outputs), -1)
    measured = ~np.isnan(flat).all(axis=0)
    model = problem.structure.model
    assert isinstance(model, CellBox)
    largest = largest_doses(phases.inputs[:, :, drugs])
    design = Design.of(largest, flat[:, measured], Parts(saturation=fixed(model)))
    found = estimate_courses(
        phases.columns(design, drugs), phases.starts, phases.pretreated, problem.times, outputs
    )
    return found, design


def course_parameters(
    found: CourseEstimate, design: Design, problem: Problem, start: Parameters
) -> tuple[Parameters, dict[str, float]]:
    """Effective parameters (float64) of a problem whose drugs are clamped, rates per time scale.

    Nodes that were not measured are as at the ``start``. There are no edges between nodes that are
    no drugs. Beside them, how much of the typical drug one has that was not seen.
    """
    nodes, drugs = estimated(problem), problem.structure.is_drug
    made = {name: array.astype(np.float64) for name, array in start.items()}
    effects, pooled = of_all_drugs(found.effects[:, :-1] / design.unit, design)
    made["W"] = np.zeros_like(made["W"])
    made["W"][np.ix_(nodes, drugs)] = effects / found.ranges[:, None]
    made["alpha"][nodes] = found.rates
    made["epsilon"][nodes] = found.ranges * found.rates
    made["b"][nodes] = found.point
    made["common"][nodes] = found.effects[:, -1] / found.ranges
    return made, pooled
