"""Files that configurations name, and the folders of their results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pycellbox.common.files import check_apart, check_writable
from pycellbox.common.texts import MAX_CHARACTERS
from pycellbox.errors import DataError, OptionError, ResultFileError

FIT_FILE = "fit.nc"
"""Our own result; a folder that has it holds a finished run."""

# All that runs write.
_RESULTS = (
    "[0-9]*_best.*.csv", "record_eval.csv", "random_pos.csv", "conditions.csv", "params.csv",
    "config.json", "data.nc", FIT_FILE,
)  # fmt: skip

# Results whose names are not the same each time. A new run removes those of an older one, and of
# other files only the ones it writes itself.
_STALE = ("[0-9]*_best.*.csv", FIT_FILE)


def find(name: str, key: str, folders: Sequence[Path]) -> Path:
    """Find a file (or folder) that a configuration names under ``key``.

    Parameters
    ----------
    name : str
        A path; a relative one is looked for in ``folders``, in this order.
    key : str
        The key, for the message.
    folders : sequence of Path
        Usually the configuration's folder and the working directory.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        It is in none of them; the message says what was tried.
    """
    tried = list(dict.fromkeys(Path(os.path.realpath(folder / name)) for folder in folders))
    for path in tried:
        if os.path.exists(path):
            return path
    listed = " and ".join(str(path) for path in tried)
    raise DataError(f"{key} is {name!r}, and there is no such file: tried {listed}.")


def read_text(path: Path) -> str:
    """Read a text that a configuration names.

    Raises
    ------
    DataError
        It is missing or no text.
    """
    if not os.path.isfile(path):
        raise DataError(f"there is no file {str(path)!r}; check the path.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text in UTF-8: {error}.") from error


def read_configuration(path: Path, read: Callable[[str], Any]) -> Any:
    """Read a configuration with `read_json` or `read_yaml`.

    Raises
    ------
    DataError
        It is missing or no text.
    OptionError
        It is not what ``read`` reads.
    """
    if not os.path.isfile(path):
        raise DataError(f"there is no configuration {str(path)!r}; check the path.")
    if path.stat().st_size > 4 * MAX_CHARACTERS:
        raise OptionError(f"{path} is too long for a configuration: {path.stat().st_size} bytes.")
    try:
        return read(read_text(path))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        separator = ", " if str(error).startswith("line ") else ": "
        raise OptionError(f"{path}{separator}{error}.") from None


def check_unfinished(folder: Path) -> None:
    """Raise a `ResultFileError` if a folder holds a finished run."""
    if os.path.exists(folder / FIT_FILE):
        raise ResultFileError(
            f"{folder} holds the result of a run ({FIT_FILE}); choose another folder (--out), "
            "replace it (--overwrite), or remove it."
        )


@contextmanager
def workplace(folder: Path, inputs: Sequence[Path]) -> Iterator[Path]:
    """Give the folder to write a run to, without older results.

    Where ``folder`` holds a finished run, that stays until this one is finished: it is given
    ``<folder>.unfinished``, from where the results move at the end.

    Parameters
    ----------
    folder : Path
        Where the results are to be.
    inputs : sequence of Path
        Files that the run reads; none is replaced.

    Raises
    ------
    ResultFileError
        The folder cannot be made, an older result not be removed, or a result would replace an
        input.
    """
    there = [path for path in _results(folder) if path.name != "config.json"]
    check_apart(there, inputs)
    finished = os.path.exists(folder / FIT_FILE)
    place = folder.with_name(f"{folder.name}.unfinished") if finished else folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        for path in _results(place, _RESULTS if finished else _STALE):
            path.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResultFileError(f"cannot prepare the folder {place}: {reason}.") from error
    check_writable(place / FIT_FILE)
    before = _results(place)
    try:
        yield place
    except BaseException:
        if not _results(place, _STALE):  # nothing that was finished
            _discard(place, before)
        raise


def publish(place: Path, folder: Path, inputs: Sequence[Path]) -> None:
    """Move the results of a finished run from its `workplace` to their folder."""
    made = _results(place)
    try:
        for path in _results(folder, _STALE):
            if path.name not in [new.name for new in made]:
                path.unlink()
        for path in made:  # fit.nc, the mark of a finished run, comes last
            target = folder / path.name
            if not any(target.exists() and target.samefile(source) for source in inputs):
                os.replace(path, target)
    except OSError as error:
        raise ResultFileError(
            f"the results are in {place}, and cannot move to {folder}: {error.strerror}."
        ) from error
    _discard(place)


def _results(folder: Path, patterns: Sequence[str] = _RESULTS) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _discard(place: Path, spare: Sequence[Path] = ()) -> None:
    """Remove a workplace; what is not of this run stays, and the folder with it."""
    with suppress(OSError):
        for path in _results(place):
            if path not in spare:
                path.unlink()
        place.rmdir()
