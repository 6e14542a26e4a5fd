"""Files that configurations name, and the folders of their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pycellbox.errors import DataError, ResultFileError

FIT_FILE = "fit.nc"
"""Our own result; a folder that has it holds a finished run."""

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
    tried = list(dict.fromkeys((folder / name).resolve() for folder in folders))
    for path in tried:
        if path.exists():
            return path
    listed = " and ".join(str(path) for path in tried)
    raise DataError(f"{key} is {name!r}, and there is no such file: tried {listed}.")


def read_text(path: Path) -> str:
    """Read a configuration.

    Raises
    ------
    DataError
        It is missing or no text.
    """
    if not path.is_file():
        raise DataError(f"there is no configuration {str(path)!r}; check the path.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a configuration: {error}.") from error


def check_unfinished(folder: Path) -> None:
    """Raise a `ResultFileError` if a folder holds a finished run."""
    if (folder / FIT_FILE).exists():
        raise ResultFileError(
            f"{folder} holds the result of a run ({FIT_FILE}); choose another folder (--out), "
            "replace it (--overwrite), or remove it."
        )


def prepare_folder(folder: Path) -> None:
    """Make the folder of a run, without older results.

    Raises
    ------
    ResultFileError
        It cannot be made, or an older result not be removed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in _STALE:
            for path in folder.glob(pattern):
                path.unlink()
    except OSError as error:
        raise ResultFileError(f"cannot prepare the folder {folder}: {error.strerror}.") from error
