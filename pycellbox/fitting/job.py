"""What is to be fitted, how, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import Backend
from pycellbox.fitting.callbacks import Callback
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.loop import Training
from pycellbox.fitting.progress import Progress
from pycellbox.numerics.lowering import equations_of
from pycellbox.problem import Parameters, Problem
from pycellbox.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What is to be fitted, how, and who watches.

    Attributes
    ----------
    recipe : Recipe
        Resolved.
    data : Dataset
        Valid, with the coordinate ``role``.
    problem : Problem
        Of all its conditions.
    start : dict of ndarray
        Effective parameters, float64, rates per time scale.
    backend : Backend
    rng : numpy.random.Generator
        After the start was drawn.
    progress : bool
    callbacks : sequence of callable
        Each is given the `TrainingState` after iterations.
    estimate : mapping
        What was chosen where nodes were estimated, as plain values; empty where they were not.
    starts : Dataset, optional
        How other starts of the same fit ended, and this one.
    """

    recipe: Recipe
    data: xr.Dataset
    problem: Problem
    start: Parameters
    backend: Backend
    rng: np.random.Generator
    progress: bool
    callbacks: Sequence[Callback] = ()
    estimate: Mapping[str, Any] = field(default_factory=dict)
    starts: xr.Dataset | None = None

    def training(self) -> Training:
        """Make its training, at the beginning."""
        recipe, problem, roles = self.recipe, self.problem, self.data["role"].values
        clock = Clock.of(recipe)
        scaled = clock.problem(problem)
        assert recipe.solver is not None
        assert recipe.penalty is not None
        train = np.flatnonzero(roles == "train")
        pair = equations_of(scaled.structure).parametrization(self.start, scaled.rows(train))
        start = {k: v.astype(problem.perturbation.dtype) for k, v in self.start.items()}
        return Training(
            backend=self.backend,
            problem=problem,
            clock=clock,
            train=train,
            validation=np.flatnonzero(roles == "validation"),
            solver=recipe.solver,
            loss=recipe.measure,
            penalty=recipe.penalty,
            parametrization=pair,
            raw=pair.unconstrain(start),
            rng=self.rng,
            progress=Progress(sum(s.iterations for s in recipe.stages), self.progress),
        )
