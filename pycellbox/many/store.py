"""Tasks on disk as they end, so that a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import xarray as xr

from pycellbox._version import __version__
from pycellbox.common.files import check_writable, write_whole
from pycellbox.common.options import shown
from pycellbox.data.container import read_datasets, write_datasets
from pycellbox.errors import FileWarning, ResultFileError, warn
from pycellbox.many.tasks import Outcome

T = TypeVar("T")

_MARK = "store.json"
_FILE = re.compile(r"(\d{6,})\.nc")


@dataclass
class Store(Generic[T]):
    """A folder with a file for each task that came to its end.

    Attributes
    ----------
    folder : Path
    mark : str
        Of what the tasks follow from; every file has it.
    pack, unpack : callable
        What a task returns as datasets by name, and back.
    """

    folder: Path
    mark: str
    pack: Callable[[T], Mapping[str, xr.Dataset]]
    unpack: Callable[[Mapping[str, xr.Dataset]], T]
    _full: bool = field(default=False, init=False)

    @classmethod
    def opened(
        cls,
        path: str | os.PathLike[str],
        told: Mapping[str, Any],
        pack: Callable[[T], Mapping[str, xr.Dataset]],
        unpack: Callable[[Mapping[str, xr.Dataset]], T],
    ) -> Store[T]:
        """Open a folder for tasks that follow from what is told, or make it.

        Raises
        ------
        ResultFileError
            It is that of other tasks, or no folder of such, or cannot be written to.
        """
        folder = Path(path)
        said = json.dumps({"version": __version__, **told}, sort_keys=True).encode() + b"\n"
        mark = folder / _MARK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if mark.exists():
                if mark.read_bytes() != said:
                    raise ResultFileError(
                        f"store={shown(str(path))} has what came of other data or options, or of "
                        "another version: give another folder, or the same options."
                    )
                check_writable(mark)
            elif any(not name.startswith(".pycellbox-") for name in os.listdir(folder)):
                raise ResultFileError(
                    f"store={shown(str(path))} is a folder with other files: give an empty or new "
                    "one."
                )
            else:
                write_whole(mark, said)
        except ResultFileError:
            raise
        except OSError as error:
            raise ResultFileError(f"store={shown(str(path))} cannot be used: {error}") from error
        return cls(folder, hashlib.sha256(said).hexdigest(), pack, unpack)

    def read(self, count: int) -> dict[int, Outcome[T]]:
        """Return what is there of so many tasks, by number.

        Raises
        ------
        ResultFileError
            A file is damaged, or of another store.
        """
        found = {}
        for name in sorted(os.listdir(self.folder)):
            fits = _FILE.fullmatch(name)
            if fits and int(fits[1]) < count:
                found[int(fits[1])] = self._read(self.folder / name, int(fits[1]))
        return found

    def _read(self, path: Path, number: int) -> Outcome[T]:
        groups = read_datasets(path)
        attrs = groups.pop("").attrs
        if attrs.get("store") != self.mark or attrs.get("number") != number:
            raise ResultFileError(
                f"{str(path)!r} does not belong to this store: another one has written it, or it "
                "has another name. Remove it; what it stands for is made again."
            )
        try:
            return Outcome(number, float(attrs["seconds"]), self.unpack(groups))
        except (KeyError, ValueError, TypeError) as error:
            raise ResultFileError(
                f"{str(path)!r} lacks what the store of this version has ({error!r}). Remove it; "
                "what it stands for is made again."
            ) from error

    def write(self, one: Outcome[T]) -> None:
        """Write what came of a task, whole or not at all; where that fails, warn once."""
        if one.value is None:
            return
        attrs = {"store": self.mark, "number": one.number, "seconds": one.seconds}
        groups = {"": xr.Dataset(attrs=attrs), **self.pack(one.value)}
        try:
            write_datasets(self.folder / f"{one.number:06d}.nc", groups)
        except ResultFileError as error:
            if not self._full:
                self._full = True
                warn(
                    f"the store is not written to any more, or not whole; all goes on, and what it "
                    f"lacks would be made again by another call. {error}",
                    FileWarning,
                )


def digest(*parts: xr.Dataset) -> str:
    """Return a checksum of all variables of datasets."""
    found = hashlib.sha256()
    for part in parts:
        for name in sorted(map(str, part.variables)):
            variable = part[name]
            found.update(f"{name} {variable.dims} {variable.shape}".encode())
            plain = variable.dtype.kind in "fiub"
            values = variable.values
            found.update(values.tobytes() if plain else repr(values.tolist()).encode())
    return found.hexdigest()
