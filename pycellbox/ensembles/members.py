"""One member: the fit made again on data drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from pycellbox import many
from pycellbox.backends import BackendName
from pycellbox.ensembles.resampling import Resample, drawn, of_conditions, of_residuals
from pycellbox.errors import DivergenceError, ModelError
from pycellbox.fitting import fit
from pycellbox.fitting.beginning import problem_of
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.prediction import Estimated, estimated
from pycellbox.problem import parameter_dataset
from pycellbox.result import Fit


@dataclass(frozen=True)
class Setting:
    """What all members have in common; it can be pickled.

    Attributes
    ----------
    fit : Fit
        Of all data.
    resample : "conditions", "residuals" or None
    members : int
    seed : int
    backend : str
    known : mapping
        Strengths of an estimated fit, as `pycellbox.estimation.estimate` takes them.
    """

    fit: Fit
    resample: Resample | None
    members: int
    seed: int
    backend: BackendName
    known: Mapping[str, Any]

    @cached_property
    def seeds(self) -> list[int]:
        """One for each member."""
        return many.seeds(self.seed, self.members)

    @cached_property
    def data(self) -> xr.Dataset:
        """Conditions that were fitted."""
        data = self.fit.data
        return data.isel(condition=data["role"].values == "train")

    @cached_property
    def predictions(self) -> xr.DataArray:
        """Predictions of the fit for them."""
        return self.fit.predictions.sel(condition=self.data["condition"].values)

    def told(self) -> dict[str, Any]:
        """Say what the members follow from; not how many there are to be."""
        fit = self.fit
        return {
            "members of": fit.recipe.to_dict(), "resample": self.resample, "seed": self.seed,
            "backend": self.backend, "data": many.digest(fit.data, fit.parameters),
        }  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}


def member(setting: Setting, number: int) -> xr.Dataset:
    """Fit a member.

    Returns
    -------
    Dataset
        Its parameters; ``count`` (of), how often each condition was drawn; ``loss``; and
        ``unseen_sign`` (node), for drugs that it has not seen.

    Raises
    ------
    PycellboxError
        It cannot be fitted.
    """
    data, seed = setting.data, setting.seeds[number]
    rng = np.random.default_rng(seed)
    count = np.ones(data.sizes["condition"], dtype=np.int64)
    if setting.resample == "conditions":
        rows = drawn(data, rng)
        count = np.bincount(rows, minlength=count.size)
        data = of_conditions(data, rows)
    elif setting.resample == "residuals":
        data = of_residuals(data, setting.predictions, rng)
    found = _estimated(setting, data) if setting.fit.estimated else _trained(setting, data, seed)
    labels = setting.data["condition"].values
    return found.assign(count=("of", count)).assign_coords(of=labels)


def _estimated(setting: Setting, data: xr.Dataset) -> xr.Dataset:
    """Estimate it with the strengths of the fit."""
    recipe = setting.fit.recipe
    problem, clock = problem_of(recipe, data), Clock.of(recipe)
    found = estimated(
        clock, problem, np.arange(data.sizes["condition"]), data, robust=recipe.loss is None,
        rng=np.random.default_rng(recipe.seed), **setting.known,
    )  # fmt: skip
    if not isinstance(found, Estimated):
        raise ModelError(f"it cannot be estimated: {found}.")
    structure = found.problem.structure
    made = parameter_dataset(structure, clock.reached(structure, found.start))
    signs = found.said["unseen_signs"]
    return made.assign(unseen_sign=("node", [float(signs.get(n, 0)) for n in structure.nodes]))


def _trained(setting: Setting, data: xr.Dataset, seed: int) -> xr.Dataset:
    recipe = setting.fit.recipe.replace(seed=seed)
    found = fit(data.drop_vars("role"), recipe, backend=setting.backend, progress=False)
    if found.ending.value != "completed":
        raise DivergenceError(found.status)
    return found.parameters.assign(unseen_sign=("node", np.zeros(found.parameters.sizes["node"])))
