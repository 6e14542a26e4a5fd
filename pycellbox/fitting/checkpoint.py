"""Checkpoints: a fit on its way, in a file, from which it goes on to the same bits."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from pycellbox._version import __version__
from pycellbox.common.files import check_writable
from pycellbox.data.container import ENDINGS, read_datasets, write_datasets
from pycellbox.ending import Ended
from pycellbox.errors import PycellboxError, ResultFileError
from pycellbox.fitting.job import Job
from pycellbox.fitting.state import TrainingState
from pycellbox.models import prior_mask
from pycellbox.problem import parameter_dataset

FORMAT, FORMAT_VERSION = "pycellbox.Checkpoint", 1
GROUPS = ("data", "start", "state", "history")


class Checkpoint:
    """Writes the state of a training to one file, now and then.

    Parameters
    ----------
    path : Path
    seconds : float
        Least time between two of them.
    attrs, groups
        What does not change: recipe, backend; data and start.
    """

    def __init__(
        self, path: Path, seconds: float, attrs: dict[str, Any], groups: dict[str, xr.Dataset]
    ) -> None:
        self.path, self.seconds = path, seconds
        self._attrs, self._groups = attrs, groups
        self._last = -math.inf

    @classmethod
    def of(cls, path: str | os.PathLike[str], seconds: float, job: Job) -> Checkpoint:
        """Return that of a fit that begins, in a file that is not another's.

        Raises
        ------
        ResultFileError
            The file cannot be written, or holds what would be lost.
        """
        target = Path(path)
        check_writable(target, ENDINGS)
        _refuse_to_lose(target)
        return cls.onwards(target, seconds, job)

    @classmethod
    def onwards(cls, path: Path, seconds: float, job: Job) -> Checkpoint:
        """Return that of a fit in the file from which it goes on."""
        structure = job.problem.structure
        start = parameter_dataset(structure, job.start)
        if job.recipe.model.mask is not None:
            mask = prior_mask(job.recipe.model.mask, structure.nodes)
            start = start.assign(mask=(("target", "source"), mask))
        attrs = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "pycellbox_version": __version__,
            "recipe": json.dumps(job.recipe.to_dict()),
            "backend": job.backend.name,
        }
        return cls(path, seconds, attrs, {"data": job.data, "start": start})

    def write(
        self, make: Callable[[], TrainingState], urgent: bool, elapsed: float, ended: str = "null"
    ) -> None:
        """Write a state if it is time to, or urgent; ``elapsed`` are the seconds of the fit."""
        if not urgent and time.monotonic() - self._last < self.seconds:
            return
        attrs, groups = make().to_groups()
        told = {**self._attrs, **attrs, "seconds": elapsed, "ended": ended}
        write_datasets(self.path, {"": xr.Dataset(attrs=told), **self._groups, **groups})
        self._last = time.monotonic()

    def finish(self, state: TrainingState, elapsed: float, ended: Ended) -> None:
        """Write the state of a fit that has come to its end."""
        self.write(lambda: state, True, elapsed, json.dumps(ended.to_dict()))


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, xr.Dataset]:
    """Read the groups of a checkpoint; that of the file itself, with its attributes, is "".

    Raises
    ------
    ResultFileError
        The file is missing, damaged, no checkpoint, or from a newer version.
    """
    groups = read_datasets(path)
    attrs = groups.get("", xr.Dataset()).attrs
    if attrs.get("format") != FORMAT:
        raise ResultFileError(
            f"{path} is no checkpoint of a fit, which pcb.fit(checkpoint=...) writes; saved fits "
            "are read with pcb.load, datasets with pcb.open_data."
        )
    version = attrs.get("format_version")
    if not isinstance(version, int | str) or not str(version).isdigit() or int(version) < 1:
        raise ResultFileError(f"{path} is damaged: it has no version.")
    if int(version) > FORMAT_VERSION:
        raise ResultFileError(
            f"{path} has checkpoint version {version}, this pycellbox reads up to "
            f"{FORMAT_VERSION}; it was written by pycellbox {attrs.get('pycellbox_version', '?')}: "
            "upgrade."
        )
    if missing := [name for name in GROUPS if name not in groups]:
        raise ResultFileError(f"{path} lacks the group(s) {', '.join(missing)}: it is damaged.")
    return groups


def _refuse_to_lose(path: Path) -> None:
    """Refuse a file in which something else lies, or a fit that has not come to its end."""
    if not path.exists():
        return
    try:
        attrs = read_checkpoint(path)[""].attrs
    except PycellboxError as error:
        raise ResultFileError(
            f"checkpoint={str(path)!r} is there and is no checkpoint that could be replaced "
            f"({error}); choose another name."
        ) from error
    if attrs.get("ended", "null") == "null":
        raise ResultFileError(
            f"checkpoint={str(path)!r} holds a fit that has not come to its end: go on with it by "
            f"pcb.resume({str(path)!r}), or remove it to begin anew."
        )
