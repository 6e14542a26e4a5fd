"""Where a fit goes: an unfinished one takes no finished one's place."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from pycellbox import load
from pycellbox.cli.tables import note
from pycellbox.ending import Ending
from pycellbox.errors import PycellboxError, ResultFileError
from pycellbox.result import Fit


def save(fit: Fit, path: Path) -> Path:
    """Save a fit; one that was cut short, beside a better one that is there.

    Returns
    -------
    Path
        Where it is.

    Raises
    ------
    KeyboardInterrupt
        It was interrupted before its first iteration, and nothing is saved.
    """
    if fit.ending is Ending.INTERRUPTED and not fit.history.sizes["iteration"]:
        raise KeyboardInterrupt("before the first iteration; nothing is saved")
    if not deserves(fit, path):
        beside = _beside(path)
        note(f"{path} holds a finished fit and stays; this one, cut short, goes to {beside}.")
        path = beside
    return fit.save(path)


def check_apart(path: Path, checkpoint: Path | None) -> None:
    """Raise a `ResultFileError` if a fit would be written over its checkpoint."""
    if checkpoint is None:
        return
    there = os.path.realpath(checkpoint)
    if there in (os.path.realpath(path), os.path.realpath(_beside(path))):
        raise ResultFileError(
            f"--out {path} would be written over the checkpoint {checkpoint}; give another name."
        )


def going_on(checkpoint: Path | None, path: Path) -> str:
    """Say how to go on with a fit that was interrupted."""
    if checkpoint is None:
        return ""
    words = ["pycellbox", "fit", "--resume", str(checkpoint), "--out", str(path)]
    return f"; to go on: {shlex.join(words)}"


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def deserves(fit: Fit, path: Path) -> bool:
    """Whether a fit may replace what is at a path: it is finished, or nothing better is there."""
    if fit.ending is Ending.COMPLETED or not os.path.exists(path):
        return True
    try:
        return load(path).ending is not Ending.COMPLETED
    except PycellboxError:  # whatever it is, it may be better
        return False
