"""`resume`: go on with a fit that was interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pycellbox.backends import BACKEND, get_backend
from pycellbox.common.files import PATH, check_writable
from pycellbox.common.options import checked, flag, number, optional
from pycellbox.common.texts import read_json
from pycellbox.data import validate
from pycellbox.data.container import ENDINGS
from pycellbox.ending import Ended, Ending
from pycellbox.errors import (
    BackendError,
    FileWarning,
    PycellboxWarning,
    ResultFileError,
    warn,
)
from pycellbox.fitting.callbacks import CALLBACKS, Callback
from pycellbox.fitting.checkpoint import Checkpoint, circumstances, read_checkpoint
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.job import Job
from pycellbox.fitting.run import carry_out, check_stage_horizons
from pycellbox.fitting.state import TrainingState
from pycellbox.problem import Problem, parameter_arrays, structure_of
from pycellbox.recipe import recipe_in_file
from pycellbox.result import Fit


@checked(
    checkpoint=PATH, progress=flag(), checkpoint_seconds=number(0), callbacks=optional(CALLBACKS)
)
def resume(
    checkpoint: str | os.PathLike[str],
    *,
    progress: bool = True,
    checkpoint_seconds: float = 60.0,
    callbacks: Callback | Sequence[Callback] | None = None,
) -> Fit:
    """Go on with a fit from its checkpoint, to the same bits as if it had never been interrupted.

    Parameters
    ----------
    checkpoint : str or path-like
        The file that `fit` was given as ``checkpoint``; it is written further.
    progress, checkpoint_seconds, callbacks : optional
        As for `fit`.

    Returns
    -------
    Fit
        The one that `fit` would have returned. Of a fit that has come to its end, the same again.

    Raises
    ------
    ResultFileError
        The file is missing, damaged, no checkpoint, or from a newer version; or it cannot be
        written further. Nothing was computed.
    BackendError
        The backend of the fit is not ready.

    Warns
    -----
    FileWarning
        The checkpoint was written with another version of pycellbox, NumPy, SciPy or the backend,
        or on another kind of processor; or, later, it cannot be written further.

    Notes
    -----
    The same bits on the same machine and versions, with the same backend and number of threads. A
    stage of L-BFGS starts again at its beginning. ``provenance["seconds"]`` counts the time until
    the checkpoint and that of going on.

    Examples
    --------
    >>> pcb.fit(data, checkpoint="run.nc")  # doctest: +SKIP
    >>> fit = pcb.resume("run.nc")  # after a crash  # doctest: +SKIP
    """
    now = time.perf_counter()
    path = Path(checkpoint)
    groups = read_checkpoint(path)
    attrs = groups[""].attrs
    try:
        chosen = get_backend(BACKEND.read(attrs["backend"]))
        began = now - number(0)("seconds", attrs["seconds"])
        _compare(path, read_json(attrs["circumstances"]), circumstances(chosen))
        start = groups["start"]
        recipe = recipe_in_file(attrs["recipe"], start.get("mask"))
        data = validate(groups["data"])
        roles = data["role"].values
        if not set(roles) <= {"train", "validation"} or not (roles == "train").any():
            raise ValueError("a role is neither train nor validation")
        structure = structure_of(data, recipe.model)
        structure.check()
        precision = np.dtype(recipe.dtype)
        problem = Problem.from_dataset(data, structure, recipe.horizon, precision)
        check_stage_horizons(recipe.stages, problem)
        parameters = parameter_arrays(
            Clock.of(recipe).structure(problem.structure),
            start.drop_vars("mask", errors="ignore"),
            np.float64,
        )
        ended = _ended(read_json(attrs["ended"]))
        job = Job(
            recipe=recipe,
            data=data,
            problem=problem,
            start=parameters,
            backend=chosen,
            rng=np.random.default_rng(recipe.seed),
            progress=progress,
            callbacks=CALLBACKS.read(callbacks or ()),
            estimate=read_json(attrs.get("estimate", "{}")),
        )
        keeper = Checkpoint.onwards(path, checkpoint_seconds, job)
        training = job.training()
        state = TrainingState.from_groups(attrs, groups, training.parametrization, training.clock)
        training.go_on(state, recipe.stages)
    except (BackendError, PycellboxWarning):
        raise
    except Exception as error:  # of a file that is whole, and not what this pycellbox wrote
        said = " ".join(str(error).split())[:200]
        raise ResultFileError(f"{path} is damaged: {type(error).__name__}: {said}") from error
    if ended is None:
        check_writable(path, ENDINGS)
    return carry_out(job, training, began, keeper, ended)


def _compare(path: Path, then: dict[str, str], now: dict[str, str]) -> None:
    """Warn of what may change the last bits."""
    other = [f"{name} {then[name]} (here {now[name]})" for name in now if then[name] != now[name]]
    if other:
        warn(
            f"{path} was written with {', '.join(other)}: the fit goes on, but its last bits may "
            "differ from those of one that was never interrupted. Where these matter, go on with "
            "it where it began.",
            FileWarning,
        )


def _ended(told: dict[str, str] | None) -> Ended | None:
    return None if told is None else Ended(Ending(told["ending"]), str(told["status"]))
