"""The tables of `panel.py`: drug screens of several labs, simulated ones, and time courses.

A folder has them by family: `melanoma/`, `crc/tables/LINE/`, `hpn/tables/LINE/`,
`liver/tables/NAME/` (`pert.csv`, `expr.csv`, `kinds.csv`), `signalling/NAME/` (without headings,
`node_Index.csv`; the ten drugs, D1 to D10, are the last columns), `hpn/midas/MD-LINE.csv`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

import pycellbox as pcb
from pycellbox.splits import Split

sys.path.insert(0, str(Path(__file__).resolve().parent))
import experiments
import melanoma

from harness.splits import tasks


@dataclass(frozen=True)
class Family:
    """Tables of one kind.

    Attributes
    ----------
    pattern : str
        Of their files or folders.
    read : callable
        Makes a dataset of one of them.
    first_seed : int
        Of random splits.
    together : bool
        As for `harness.splits.tasks`.
    courses : bool
        Whether they are time courses.
    """

    pattern: str
    read: Callable[[Path], xr.Dataset]
    first_seed: int = 0
    together: bool = True
    courses: bool = False


@dataclass(frozen=True)
class Table:
    """A table by its family and name, and where it lies."""

    family: str
    name: str
    path: Path

    @property
    def label(self) -> str:
        return self.family if self.family == self.name else f"{self.family} {self.name}"

    def read(self) -> xr.Dataset:
        return FAMILIES[self.family].read(self.path)

    def tasks(self, data: xr.Dataset, seeds: int) -> dict[str, list[Split]]:
        """Draw the splits of every task, so many random ones."""
        family = FAMILIES[self.family]
        drawn = range(family.first_seed, family.first_seed + seeds)
        return tasks(data, drawn, together=family.together)


def with_kinds(folder: Path) -> xr.Dataset:
    return pcb.read_csv(folder / "pert.csv", folder / "expr.csv", node_kind=folder / "kinds.csv")


def simulated(folder: Path) -> xr.Dataset:
    names = (folder / "node_Index.csv").read_text(encoding="utf-8").split()
    kinds = {"protein": len(names) - 10, "drug": 10}
    return pcb.read_csv(
        folder / "pert.csv", folder / "expr.csv", nodes=folder / "node_Index.csv", node_kind=kinds
    )


FAMILIES = {
    # As published: the seeds, and that the one pair of replicates may be parted.
    "melanoma": Family("melanoma", melanoma.read, first_seed=1000, together=False),
    "crc": Family("crc/tables/*", with_kinds),
    "hpn": Family("hpn/tables/*", with_kinds),
    "liver": Family("liver/tables/*", with_kinds),
    "signalling": Family("signalling/*", simulated),
    "hpn courses": Family("hpn/midas/*.csv", experiments.hpn, courses=True),
}


def find(folder: Path) -> list[Table]:
    """All tables that a folder has, by family."""
    return [
        Table(family, path.stem.removeprefix("MD-").removesuffix("_60min"), path)
        for family, kind in FAMILIES.items()
        for path in sorted(folder.glob(kind.pattern))
    ]
