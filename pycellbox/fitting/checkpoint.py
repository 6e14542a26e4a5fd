"""Checkpoints: a fit on its way, in a file, from which it goes on to the same bits."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import xarray as xr

from pycellbox._version import __version__
from pycellbox.backends import Backend
from pycellbox.common.files import check_writable
from pycellbox.common.plain import as_integer
from pycellbox.data.container import ENDINGS, read_datasets, write_datasets
from pycellbox.ending import Ended
from pycellbox.errors import FileWarning, PycellboxError, ResultFileError, warn
from pycellbox.fitting.conclusion import versions
from pycellbox.fitting.job import Job
from pycellbox.fitting.state import TrainingState
from pycellbox.problem import stored_parameters

FORMAT, FORMAT_VERSION = "pycellbox.Checkpoint", 1
GROUPS = ("data", "start", "state")
PAUSE = 4.0
"""Least time between two checkpoints, in times that the last one took to write."""


class Checkpoint:
    """Writes the state of a training to one file, now and then.

    What fails at the beginning is an error. Later it is a warning, once, because a disk that is
    full for an hour must not end a fit of a day; the next one is tried when it is due.

    Parameters
    ----------
    path : Path
        Kept as what it means now, whatever the working directory becomes.
    seconds : float
        Least time between two of them.
    attrs, groups
        What does not change: recipe, backend; data and start.
    there : bool
        Whether the file holds a checkpoint of this fit already.
    """

    def __init__(
        self,
        path: Path,
        seconds: float,
        attrs: dict[str, Any],
        groups: dict[str, xr.Dataset],
        there: bool,
    ) -> None:
        self.path, self.seconds = Path(os.path.abspath(path)), seconds
        self._attrs, self._groups = attrs, groups
        self._there, self._warned = there, False
        self._due = time.monotonic() + seconds if there else -math.inf

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
        return cls._for(target, seconds, job, there=False)

    @classmethod
    def onwards(cls, path: Path, seconds: float, job: Job) -> Checkpoint:
        """Return that of a fit in the file from which it goes on."""
        return cls._for(path, seconds, job, there=True)

    @classmethod
    def _for(cls, path: Path, seconds: float, job: Job, *, there: bool) -> Checkpoint:
        start = stored_parameters(job.problem.structure, job.start)
        attrs = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "pycellbox_version": __version__,
            "recipe": json.dumps(job.recipe.to_dict()),
            "backend": job.backend.name,
            "estimate": json.dumps(dict(job.estimate)),
            "circumstances": json.dumps(circumstances(job.backend)),
        }
        return cls(path, seconds, attrs, {"data": job.data, "start": start}, there)

    def write(
        self, state: TrainingState, urgent: bool, elapsed: float, ended: str = "null"
    ) -> None:
        """Write a state if it is due, or urgent; ``elapsed`` are the seconds of the fit."""
        began = time.monotonic()
        if not urgent and began < self._due:
            return
        attrs, groups = state.to_groups()
        told = {**self._attrs, **attrs, "seconds": elapsed, "ended": ended}
        try:
            write_datasets(self.path, {"": xr.Dataset(attrs=told), **self._groups, **groups})
            self._there = True
        except ResultFileError as error:
            if not self._there:
                raise
            self._warn(error)
        now = time.monotonic()
        self._due = now + max(self.seconds, PAUSE * (now - began))

    def _warn(self, error: ResultFileError) -> None:
        if not self._warned:
            self._warned = True
            warn(
                f"the checkpoint cannot be written now; the fit goes on, and the next one is tried "
                f"when it is due. Until then the last one is what a resumed fit begins from. "
                f"{error}",
                FileWarning,
            )

    def finish(self, state: TrainingState, elapsed: float, ended: Ended) -> None:
        """Write the state of a fit that has come to its end."""
        self.write(state, True, elapsed, json.dumps(ended.to_dict()))


def circumstances(backend: Backend) -> dict[str, str]:
    """On what the last bits of a fit depend, beside what it was told."""
    by = versions(backend)
    return {
        "pycellbox": by["pycellbox"],
        "numpy": by["numpy"],
        "scipy": metadata.version("scipy"),
        f"the {backend.name} backend": by["backend"],
        "processor": platform.machine(),
    }


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
    version = as_integer(attrs.get("format_version"))
    if version is None or version < 1:
        raise ResultFileError(f"{path} is damaged: it has no version.")
    if version > FORMAT_VERSION:
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
            f"pcb.resume({str(path)!r}) or `pycellbox fit --resume`, or remove it to begin anew."
        )
