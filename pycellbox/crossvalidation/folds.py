"""One fold: a fit of all other conditions, and what it predicts of those left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pycellbox import many
from pycellbox.backends import BackendName
from pycellbox.data.hidden import with_nodes
from pycellbox.ending import Ending
from pycellbox.errors import DivergenceError
from pycellbox.fitting import fit
from pycellbox.fitting.progress import Progress
from pycellbox.recipe import Recipe
from pycellbox.splits import Split


@dataclass(frozen=True)
class Setting:
    """What all folds have in common; it can be pickled.

    Attributes
    ----------
    data : Dataset
        Without roles.
    splits : tuple of Split
        One for each fold.
    recipe : Recipe
    validation : float, Dataset or None
        As of `pycellbox.fit`, in each fold.
    backend : str
    initials : tuple of Dataset, optional
        Parameters from which the fit of each fold begins.
    """

    data: xr.Dataset
    splits: tuple[Split, ...]
    recipe: Recipe
    validation: float | xr.Dataset | None
    backend: BackendName
    initials: tuple[xr.Dataset, ...] | None = None


@dataclass(frozen=True)
class Fold:
    """What comes of one.

    Attributes
    ----------
    predictions : DataArray, (condition[, time], node)
        Of the conditions left out, for the nodes of the data.
    parameters : Dataset
        Of the fit of the others.
    """

    predictions: xr.DataArray
    parameters: xr.Dataset


def outcomes(
    setting: Setting, engine: many.Engine | None, shown: Progress
) -> list[many.Outcome[Fold]]:
    """Fit all folds; those that fail are outcomes too, in the order of the splits."""
    found: dict[int, many.Outcome[Fold]] = {}
    for one in many.outcomes(_left_out, setting, len(setting.splits), engine):
        found[one.number] = one
        failed = sum(each.value is None for each in found.values())
        shown.step(lambda failed=failed: f"{failed} failed" if failed else "")  # type: ignore[misc]
    return [found[k] for k in range(len(setting.splits))]


def _left_out(setting: Setting, number: int) -> Fold:
    train, _, test = setting.splits[number].apply(setting.data)
    initial = None if setting.initials is None else setting.initials[number]
    found = fit(
        train, setting.recipe, validation=setting.validation, initial=initial,
        backend=setting.backend, progress=False,
    )  # fmt: skip
    if found.ending is Ending.INTERRUPTED:
        raise KeyboardInterrupt
    if found.ending is not Ending.COMPLETED:
        raise DivergenceError(found.status)
    predictor = found._predictor  # without doubts of doses that are left out on purpose
    given = with_nodes(test, found.model.own_nodes)
    predicted = predictor.solved(*predictor.laid(given), None, setting.backend)
    predicted = predicted.sel(node=test["node"].values).transpose(*test["response"].dims)
    measured = ~np.isnan(test["response"].values)
    if not np.isfinite(predicted.values[measured]).all():
        raise DivergenceError("predictions of conditions that were left out are not finite")
    return Fold(predicted.drop_attrs(), found.parameters)
