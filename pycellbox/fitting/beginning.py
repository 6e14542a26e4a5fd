"""From a recipe and data to a problem, and the parameters from which its training begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import OptionError
from pycellbox.fitting import lm, shooting
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.run import check_stage_horizons
from pycellbox.initialization import Initialization
from pycellbox.models.structure import LEVEL, Structure
from pycellbox.numerics.lowering import equations_of
from pycellbox.objective import PENALIZED
from pycellbox.problem import Parameters, Problem, parameter_arrays, structure_of
from pycellbox.recipe import Recipe


def problem_of(recipe: Recipe, data: xr.Dataset) -> Problem:
    """Lay a resolved recipe over the data."""
    structure = structure_of(data, recipe.model)
    structure.check()
    problem = Problem.from_dataset(data, structure, recipe.horizon, np.dtype(recipe.dtype))
    check_stage_horizons(recipe.stages, problem)
    lm.check(recipe, problem.structure)
    shooting.check(recipe, problem.structure)
    _check_penalties(recipe, problem.structure)
    return problem


def _check_penalties(recipe: Recipe, structure: Structure) -> None:
    """Refuse penalties of what the model does not have, where they would do nothing at all.

    Raises
    ------
    OptionError
    """
    known = [p.name for p in structure.layout.parameters]
    network = structure.layout.has(PENALIZED)
    for penalty in (recipe.penalty, *(stage.penalty for stage in recipe.stages)):
        if penalty is None:
            continue
        for name in penalty.named:
            if name not in known:
                raise OptionError(
                    f"penalty has {name!r}, and the model no parameter of that name"
                    f"{did_you_mean(name, known)}; its parameters: {', '.join(known)}."
                )
        strengths = [*penalty.strengths("l1").items(), *penalty.strengths("l2").items()]
        if any(size and name in PENALIZED for name, size in strengths) and not network:
            raise OptionError(
                f"penalty={shown(penalty)} is of the interactions of a network, and "
                f"{type(structure.model).__name__} has none: penalize its parameters by name, "
                f"pcb.Penalty(l2={{{known[0]!r}: 0.1}}), or say what is known of them, "
                "pcb.Parameter(prior=pcb.normal(0, 1))."
            )


def start_of(
    clock: Clock,
    problem: Problem,
    initial: Initialization | xr.Dataset | None,
    rng: np.random.Generator,
) -> Parameters:
    """Effective parameters to start from, rates per time scale."""
    structure, treatment = problem.structure, problem.treatment
    levels = {}
    if structure.levels:
        assert treatment is not None
        levels = {LEVEL: treatment.level_starts}
    if isinstance(initial, xr.Dataset):
        known = structure if LEVEL in initial else structure.plain
        return levels | clock.started(known, parameter_arrays(known, initial, np.float64))
    settings = initial or Initialization()
    if settings.alpha is not None:
        settings = replace(settings, alpha=settings.alpha * clock.scale)
    plain = clock.problem(replace(problem, structure=structure.plain))
    return equations_of(plain.structure).start(plain, settings, rng) | levels
