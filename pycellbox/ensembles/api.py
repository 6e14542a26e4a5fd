"""`ensemble`: fit, draw the data again, fit again, many times."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pycellbox import many
from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.files import PATH
from pycellbox.common.labels import counted
from pycellbox.common.options import SEED, checked, choice, flag, instance, integer, optional
from pycellbox.ensembles.members import Setting, member
from pycellbox.ensembles.resampling import Resample
from pycellbox.ensembles.result import Ensemble
from pycellbox.errors import NumericsWarning, PycellboxError, warn
from pycellbox.fitting import fit
from pycellbox.fitting.progress import Progress
from pycellbox.models import Model
from pycellbox.recipe import Recipe
from pycellbox.result import Fit


@checked(
    data=instance(xr.Dataset | Fit, "a dataset, or a fit of one"),
    members=integer(2, 100_000),
    resample=optional(choice("conditions", "residuals")),
    seed=SEED,
    **many.WORKERS,
    store=optional(PATH),
    backend=BACKEND,
    progress=flag(),
)
def ensemble(
    data: xr.Dataset | Fit,
    model: Model | Recipe | None = None,
    *,
    members: int = 50,
    resample: Resample | None = "conditions",
    seed: int = 0,
    executor: many.GivenExecutor = None,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    backend: BackendName = "auto",
    progress: bool = True,
) -> Ensemble:
    """Fit data, and fit them again as if the experiment had been made once more, many times.

    Parameters
    ----------
    data : Dataset or Fit
        What `pycellbox.fit` takes; or a fit, which is not made again.
    model : Model or Recipe, optional
        As of `pycellbox.fit`; none with a fit.
    members : int
        How many times.
    resample : {"conditions", "residuals"} or None
        What is drawn again, with replacement: conditions, replicates together; within each node the
        residuals of the fit, which are added to its predictions; or nothing, so that members differ
        by their seeds alone.
    seed : int
        Of the draws. Member k is the same whatever carries it out.
    executor : Executor or distributed.Client, optional
        Of ``concurrent.futures``, or one like it, or the client of a cluster of Dask's, which fits
        the members. None: here, one after the other.
    n_jobs : int, optional
        Instead: so many processes of joblib's; -1, one on every core that this process may use.
    store : path, optional
        A folder to which each member is written once it is fitted. A call with the same data and
        options goes on where another one was stopped.
    backend : str
        As of `pycellbox.fit`; of each member.
    progress : bool
        Show how many members are fitted.

    Returns
    -------
    Ensemble
        The fit, and the parameters of all members.

    Raises
    ------
    OptionError, DataError, ModelError
        Something given does not fit.
    ResultFileError
        The store holds the members of other data or options, or cannot be written.
    PycellboxError
        Fewer than two members could be fitted.

    Warns
    -----
    NumericsWarning
        Some members could not be fitted; ``failures`` names them.

    Notes
    -----
    Members of an estimated fit keep the strengths that it has chosen.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> members = pcb.ensemble(pcb.datasets.melanoma(), members=20)  # doctest: +SKIP
    >>> members.predict(pcb.datasets.melanoma())["sd"]  # doctest: +SKIP
    """
    engine = many.workers(executor, n_jobs)
    whole = _fitted(data, model, backend, progress)
    known = whole._predictor.screen.known if whole.estimated else {}
    name = BACKEND.read(get_backend(backend, model=whole.model).name)
    setting = Setting(whole, resample, members, seed, name, known)
    kept = None if store is None else many.Store.opened(store, setting.told(), _packed, _unpacked)
    found: dict[int, xr.Dataset] = {}
    lost: dict[int, str] = {}
    with Progress(members, progress, "members") as shown:
        for one in many.outcomes(member, setting, members, engine, kept):
            if one.value is None:
                lost[one.number] = one.failure
            else:
                found[one.number] = one.value
            shown.step(lambda: f"{len(lost)} failed" if lost else "")
    if len(found) < 2:
        why = next(iter(lost.values()), "")
        raise PycellboxError(
            f"{counted(len(lost), 'member')} of {members} could not be fitted; the first: {why}"
        )
    if lost:
        first = min(lost)
        warn(
            f"{counted(len(lost), 'member')} of {members} could not be fitted, and are in "
            f"failures; member {first}: {lost[first]}",
            NumericsWarning,
        )
    numbers = sorted(found)
    together = xr.concat([found[k] for k in numbers], "member", coords="minimal", compat="override")
    failures = [[number, lost[number]] for number in sorted(lost)]
    return Ensemble(
        whole,
        together.assign_coords(member=np.array(numbers)).assign_attrs(
            failures=json.dumps(failures), resample=str(resample), seed=seed
        ),
    )


def _fitted(data: Any, model: Any, backend: BackendName, progress: bool) -> Fit:
    if isinstance(data, Fit):
        if model is not None:
            raise PycellboxError("a fit has its own model: leave one of the two out.")
        return data
    with many.one_thread():  # as its members
        return fit(data, model, backend=backend, progress=progress)


def _packed(one: xr.Dataset) -> dict[str, xr.Dataset]:
    return {"member": one}


def _unpacked(groups: Mapping[str, xr.Dataset]) -> xr.Dataset:
    return groups["member"]
