"""What `prune` was asked for, checked, and what it does when it was not told."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from pycellbox.common.options import Value, integer, shown
from pycellbox.common.plain import as_integer, as_number, several
from pycellbox.data.replicates import twins_of
from pycellbox.errors import DataError, ModelError, OptionError
from pycellbox.fitting.defaults import default_schedule
from pycellbox.fitting.roles import as_validation
from pycellbox.objective import Penalty
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.schedule import Stage

Choose = Literal["sparsest", "lowest"]

_STEPS = 12
_SHARE = 4  # a refit begins near its end, so it gets a quarter of the iterations of the fit


def parts(
    fit: Fit, validation: xr.Dataset | None, folds: int | None, choose: Choose
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Conditions to fit and conditions that judge; None for those where folds do."""
    data = fit.data.drop_vars("role")
    roles = fit.data["role"].values
    train = data.isel(condition=np.flatnonzero(roles == "train"))
    if folds is not None:
        if validation is not None:
            raise OptionError("give folds= or validation=, not both.")
        n = np.unique(twins_of(data)).size
        # Replicates stay in one fold.
        integer(2, n)("folds", folds)
        if (roles == "validation").any():
            raise OptionError(
                "folds= is for fits without validation conditions, and this fit has "
                f"{int((roles == 'validation').sum())}, which judge by themselves: leave folds out."
            )
        return train, None
    if validation is None:
        judges = data.isel(condition=np.flatnonzero(roles == "validation"))
        if not judges.sizes["condition"]:
            raise DataError(
                "the fit has no validation conditions, so that nothing can judge which edges to "
                "keep: fit with pcb.fit(..., validation=0.2), give unseen conditions as "
                "validation=, or ask for cross-validation with folds=5."
            )
    else:
        judges = as_validation(validation, train)  # raises and warns, once for all refits
    if choose == "sparsest" and judges.sizes["condition"] < 2:
        raise DataError(
            "one validation condition has no standard error: give more, or choose='lowest'."
        )
    return train, judges


def steps_to_take(
    fit: Fit, edges: Sequence[int] | None, thresholds: Sequence[float] | None
) -> list[int | float]:
    """Numbers of edges to keep (int), or thresholds (float), from mild to severe."""
    if edges is not None and thresholds is not None:
        raise OptionError("give edges= or thresholds=, not both.")
    there = count(fit)
    if there < 2:
        raise ModelError(f"the fit has {there} edge(s); there is nothing to prune.")
    if thresholds is not None:
        values = [as_number(v) or 0.0 for v in _listed("thresholds", thresholds)]
        if not all(a < b for a, b in itertools.pairwise([0.0, *values, math.inf])):
            raise OptionError(
                f"thresholds={shown(thresholds)}; they need to be rising numbers > 0."
            )
        return list(values)
    if edges is None:
        fewest = max(1, min(there - 1, fit.data.sizes["node"] // 2))
        path = np.geomspace(there, fewest, _STEPS + 1).round().astype(int)[1:]
        return [int(k) for k in np.unique(path)[::-1] if k < there]
    counts = [as_integer(k) or 0 for k in _listed("edges", edges)]
    if not all(a > b for a, b in itertools.pairwise([there, *counts, 0])):
        raise OptionError(
            f"edges={shown(edges)}; they need to be falling integers from below {there}, the "
            "edges of the fit, to 1 or more."
        )
    return list(counts)


def _listed(name: str, values: object) -> list[Any]:
    entries: list[Any] = Value(several, "a list of numbers")(name, values)
    if not entries:
        raise OptionError(f"{name} is empty; it needs a list of numbers.")
    return entries


def of_refits(
    fit: Fit, schedule: Stage | Sequence[Stage] | None, penalty: Penalty | None
) -> Recipe:
    """Return the recipe of refits, which begin near their end: by default, of its last stage.

    Of an estimated fit, which has none: that of the default schedule.
    """
    recipe = fit.recipe
    if fit.estimated:
        stages, light = default_schedule(fit.data)
        recipe = recipe.replace(schedule=stages, penalty=light, loss=recipe.measure)
    if schedule is None:
        stages, ran = recipe.stages, fit.history["stage"].values
        # A refined fit has a stage more in its history.
        last = stages[min(int(ran.max(initial=0)), len(stages) - 1)]
        schedule = dataclasses.replace(last, iterations=max(1, last.iterations // _SHARE))
    return recipe.replace(
        schedule=schedule, penalty=recipe.penalty if penalty is None else penalty,
        horizon=fit.horizon,
    )  # fmt: skip


def count(fit: Fit) -> int:
    """Count the edges of a fit."""
    return int(np.count_nonzero(fit.parameters["W"].values))
