"""`cross_validate`: predict every condition by a fit that has not seen it."""

from __future__ import annotations

import xarray as xr

from pycellbox import many
from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.labels import counted
from pycellbox.common.options import (
    SEED,
    Value,
    checked,
    flag,
    instance,
    integer,
    number,
    optional,
    text,
)
from pycellbox.crossvalidation.folds import Setting, outcomes
from pycellbox.crossvalidation.result import CrossValidation, put_together
from pycellbox.data import validate
from pycellbox.data.hidden import with_nodes
from pycellbox.data.replicates import warn_of_replicates
from pycellbox.errors import NumericsWarning, OptionError, PycellboxError, once, warn
from pycellbox.fitting.beginning import problem_of
from pycellbox.fitting.defaults import resolve
from pycellbox.fitting.progress import Progress
from pycellbox.fitting.roles import without_role
from pycellbox.inputs import levels_given
from pycellbox.models import CellBox, Model
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.splits import k_fold


def _read_validation(given: object) -> float | xr.Dataset:
    if isinstance(given, xr.Dataset):
        return given
    share: float = number(0, 1).read(given)
    return share


@checked(
    data=instance(xr.Dataset | Fit, "a dataset, or a fit of one"),
    model=optional(
        instance(Model | Recipe, "a model, such as pcb.CellBox(), or a pcb.Recipe(...)")
    ),
    folds=optional(integer(2)),
    by=text(),
    seed=SEED,
    validation=optional(Value(_read_validation, "a share from 0 to 1, or a dataset")),
    **many.WORKERS,
    backend=BACKEND,
    progress=flag(),
)
def cross_validate(
    data: xr.Dataset | Fit,
    model: Model | Recipe | None = None,
    *,
    folds: int | None = None,
    by: str = "replicate",
    seed: int = 0,
    validation: float | xr.Dataset | None = None,
    executor: many.GivenExecutor = None,
    n_jobs: int | None = None,
    backend: BackendName = "auto",
    progress: bool = True,
) -> CrossValidation:
    """Predict every condition by a fit that has not seen it.

    Parameters
    ----------
    data : Dataset or Fit
        What `pycellbox.fit` takes; or a fit, whose training conditions and recipe are taken.
    model : Model or Recipe, optional
        As of `pycellbox.fit`; none with a fit.
    folds : int, optional
        How many; by default 5, or one for each drug, see `pycellbox.splits.k_fold`.
    by : str
        What is left out together: "replicate" (conditions that are treated alike), "condition",
        "drug" (all conditions with a drug), or a coordinate (condition), such as "subject"; see
        there.
    seed : int
        Of the folds; that of the fits is in the recipe.
    validation : float or Dataset, optional
        Conditions by which each fit chooses its best parameters: a share of those that it may see,
        or others; with a fit, its own by default.
    executor : Executor or distributed.Client, optional
        Of ``concurrent.futures``, or the client of a cluster of Dask's, which fits the folds, to
        the same bits as without one. None: here, one after the other.
    n_jobs : int, optional
        Instead: so many processes of joblib's; -1, one on every core that this process may use.
    backend : str
        As of `pycellbox.fit`.
    progress : bool
        Show how many folds are fitted.

    Returns
    -------
    CrossValidation
        Predictions, and their errors by fold, node and condition.

    Raises
    ------
    OptionError, DataError, ModelError, SolverError, BackendError
        Something given does not fit; nothing was computed.
    PycellboxError
        No fold could be fitted.

    Warns
    -----
    DataWarning
        Folds by condition part replicates.
    NumericsWarning
        Some folds could not be fitted; ``failures`` names them.

    Notes
    -----
    Each fold is fitted as a whole: what a recipe leaves open, such as the strengths of penalties,
    is chosen anew by the conditions that are not left out. Of a fit κ of the doses and its levels
    are kept.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> data = pcb.datasets.melanoma()
    >>> pcb.cross_validate(data, pcb.CellBox(), by="drug")  # doctest: +SKIP
    """
    engine = many.workers(executor, n_jobs)
    if isinstance(data, Fit):
        _alone(model)
        recipe = data.recipe
        data, own = rows_of(data)
        validation = own if validation is None else validation
    else:
        recipe = model if isinstance(model, Recipe) else Recipe(model or CellBox())
        data = without_role(validate(data))
    splits = tuple(k_fold(data, folds, by=by, seed=seed))
    known = with_nodes(data, recipe.model.own_nodes)
    problem_of(resolve(recipe, known), known)  # which refuses what does not fit
    backend = BACKEND.read(get_backend(backend, model=recipe.model).name)
    setting = Setting(data, splits, recipe, validation, backend)
    with once(), Progress(len(splits), progress, "folds") as shown:
        for split in splits if by == "condition" else ():
            warn_of_replicates(*(data.sel(condition=list(p)) for p in (split.test, split.fit)))
        found = outcomes(setting, engine, shown)
    lost = [one for one in found if one.value is None]
    if lost:
        first = f"{splits[lost[0].number].name!r}: {lost[0].failure}"
        if len(lost) == len(found):
            raise PycellboxError(f"none of {len(found)} folds could be fitted; the first, {first}")
        warn(
            f"{counted(len(lost), 'fold')} of {len(found)} could not be fitted, and are in "
            f"failures; {first}",
            NumericsWarning,
        )
    return put_together(by, data, splits, found)


def rows_of(fit: Fit) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Return what a fit was trained on, its levels given, and what validated it."""
    roles = fit.data["role"].values
    data = levels_given(fit.data.drop_vars("role"), fit.parameters)
    validation = data.isel(condition=roles == "validation")
    train = data.isel(condition=roles == "train")
    return train, validation if validation.sizes["condition"] else None


def _alone(model: object) -> None:
    if model is not None:
        raise OptionError("a fit has its own model: leave one of the two out.")
