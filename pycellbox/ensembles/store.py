"""Members on disk as they are fitted, so that a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from pycellbox.common.files import write_whole
from pycellbox.common.options import shown
from pycellbox.data.container import read_datasets, write_datasets
from pycellbox.ensembles.members import Setting
from pycellbox.errors import ResultFileError

_MARK = "ensemble.json"


@dataclass(frozen=True)
class Store:
    """A folder with a file for each member."""

    folder: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str], setting: Setting) -> Store:
        """Open a folder for a setting, or make it.

        Raises
        ------
        ResultFileError
            It is that of another one, or no folder of an ensemble.
        """
        folder, told = Path(path), _told(setting)
        mark = folder / _MARK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if mark.exists():
                if mark.read_bytes() != told:
                    raise ResultFileError(
                        f"store={shown(str(path))} has the members of other data or options: give "
                        "another folder, or the same options."
                    )
            elif any(folder.iterdir()):
                raise ResultFileError(
                    f"store={shown(str(path))} is a folder with other files: give an empty or new "
                    "one."
                )
            else:
                write_whole(mark, told)
        except OSError as error:
            raise ResultFileError(f"store={shown(str(path))} cannot be used: {error}") from error
        return cls(folder)

    def read(self) -> dict[int, xr.Dataset]:
        """Return members by number.

        Raises
        ------
        ResultFileError
            A file is damaged.
        """
        found = {}
        for path in sorted(self.folder.glob("member_*.nc")):
            number = path.stem.removeprefix("member_")
            if number.isdigit():
                found[int(number)] = read_datasets(path)["member"]
        return found

    def write(self, number: int, member: xr.Dataset) -> None:
        """Write one, whole or not at all."""
        write_datasets(
            self.folder / f"member_{number:06d}.nc", {"": xr.Dataset(), "member": member}
        )


def _told(setting: Setting) -> bytes:
    """Say what the members follow from; not how many there are to be."""
    fit = setting.fit
    digest = hashlib.sha256()
    for part in (fit.data, fit.parameters):
        for name in sorted(map(str, part.variables)):
            values = part[name].values
            digest.update(name.encode() + repr(values.shape).encode())
            number = values.dtype.kind in "fiub"
            digest.update(values.tobytes() if number else repr(values.tolist()).encode())
    told = {
        "recipe": fit.recipe.to_dict(), "resample": setting.resample, "seed": setting.seed,
        "data": digest.hexdigest(),
    }  # fmt: skip
    return (json.dumps(told, sort_keys=True) + "\n").encode()
