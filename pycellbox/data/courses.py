"""Time courses out of one plain table: a column for each species, a row for each time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.files import PATH
from pycellbox.common.labels import label_text, listed
from pycellbox.common.options import (
    Value,
    checked,
    choice,
    did_you_mean,
    either,
    instance,
    number,
    optional,
    shown,
    text,
)
from pycellbox.common.options import listed as a_list
from pycellbox.data.cells import is_missing, is_numeric, number_in
from pycellbox.data.columns import Surroundings
from pycellbox.data.delimited import read_rows
from pycellbox.data.frames import from_frame
from pycellbox.data.headings import is_written_index, names_labels, time_heading
from pycellbox.data.lists import FilePath
from pycellbox.data.numerals import is_missing_text
from pycellbox.data.schema import validate
from pycellbox.data.textfiles import labelled_frame
from pycellbox.data.transforms import TRANSFORMS, Transform, transformed
from pycellbox.data.units import NO_UNIT
from pycellbox.errors import DataError

_YEARS = frozenset(["year", "years", "yr", "yrs"])
_SUBJECTS = frozenset(["subject", "mouse", "patient", "animal", "individual", "person", "donor"])
_COURSES = frozenset(["course", "series", "trajectory", "run", "group", "arm"])
_REPLICATES = frozenset(["replicate", "rep", "repeat", "replica"])
_SIGMA = r"(?:sigma|sd|std|stdev|stddev|error|err)"
_WITH_SIGMA = (
    re.compile(rf"(.+?)[\s_.\-]*[(\[]\s*{_SIGMA}\s*[)\]]", re.I),
    re.compile(rf"(.+?)[\s_.\-]+{_SIGMA}", re.I),
    re.compile(rf"{_SIGMA}[\s_.\-]+(.+)", re.I),
    re.compile(rf"{_SIGMA}\s*[(\[]\s*(.+?)\s*[)\]]", re.I),
)

_COLUMN = optional(text("the heading of a column"))


@checked(
    path=Value(
        lambda given: given if isinstance(given, pd.DataFrame) else PATH.read(given),
        "the path of a table, or a pandas DataFrame",
    ),
    time=_COLUMN,
    condition=_COLUMN,
    subject=_COLUMN,
    replicate=_COLUMN,
    species=optional(a_list(text("the heading of a column"))),
    sigma=optional(instance(Mapping, "a mapping from species to the columns of their sigma")),
    time_units=optional(text()),
    origin=either("first", optional(number())),
    transform=optional(choice(*TRANSFORMS)),
    attrs=optional(instance(Mapping, "a mapping of names to values")),
)
def read_courses(
    path: FilePath | pd.DataFrame,
    *,
    time: str | None = None,
    condition: str | None = None,
    subject: str | None = None,
    replicate: str | None = None,
    species: Sequence[str] | None = None,
    sigma: Mapping[str, str] | None = None,
    time_units: str | None = None,
    origin: float | Literal["first"] | None = None,
    transform: Transform | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read time courses from one plain table, for equations of one's own.

    A row for each time, or for each condition and time, and a column for each species; what is
    empty was not measured, and conditions may have other times. Nothing is perturbed:
    `pycellbox.regimen` lays doses and signals over the data.

    Parameters
    ----------
    path : path or DataFrame
        Text of separated cells, packed or not, as for `read_csv`, with a header.
    time : str, optional
        Column of times; by default the one whose heading says so: ``time``, ``Time (h)``,
        ``hours``, ``Year``.
    condition : str, optional
        Column of what each course is called; by default one whose heading says so (``condition``,
        ``course``, ``experiment``, ``group``, …), or the one column of text. Without any, a course
        for each subject, or one.
    subject : str, optional
        Column of the animal, patient or cell line; by default one called ``subject``, ``mouse``,
        ``patient`` and so on. Parameters may differ by it, see `Parameter`.
    replicate : str, optional
        Column that numbers repeats of a condition, by default one called ``replicate`` or ``rep``:
        each is a course of its own, and ``replicate_of`` joins them.
    species : sequence of str, optional
        Columns that are measured, by default all others that are numbers.
    sigma : mapping of str to str, optional
        Columns with the standard deviation of species, by species; by default those called like
        ``Hare sigma``, ``Hare_sd``, ``sd(Hare)``. Where one species has one, all need one; ``{}``
        takes none.
    time_units : str, optional
        By default what the heading says, ``"y"`` for years, else none.
    origin : float or "first", optional
        What counts as time 0: a time of the table, or the first there is. By default 0, and the
        first where the heading says years of a calendar.
    transform : {"log", "log-center"}, optional
        Take logarithms, see `pycellbox.data.transformed`.
    attrs : mapping, optional
        Provenance to keep with the dataset, text and numbers.

    Returns
    -------
    Dataset
        As described by `validate`, species as nodes of kind protein, and a perturbation of 0.

    Raises
    ------
    DataError
        There is no file or no table, a column cannot be found or may be two things, a cell is no
        number, a condition has a time twice; with the place.

    Examples
    --------
    >>> data = pcb.read_courses("predators.csv", transform="log-center")  # doctest: +SKIP
    """
    if isinstance(path, pd.DataFrame):
        frame, name, alone = path.copy(), "the table", "course"
        if not isinstance(path.index, pd.RangeIndex):
            frame = frame.reset_index()
    else:
        name, alone = str(path), Path(path).name.partition(".")[0] or "course"
        frame = labelled_frame(read_rows(Path(path)))
    frame.columns = pd.Index([label_text(column) for column in frame.columns], dtype=object)
    table = _Table(frame, name)
    columns = {
        "time": table.time(time),
        "condition": table.called(condition, "condition", _COURSES, labels=True),
        "subject": table.called(subject, "subject", _SUBJECTS),
        "replicate": table.called(replicate, "replicate", _REPLICATES),
    }
    taken = [column for column in columns.values() if column is not None]
    if columns["condition"] is None:
        columns["condition"] = alone_in_text = table.text_alone(taken, species)
        taken += [alone_in_text] if alone_in_text else []
    named = {
        one: table.called(column, f"sigma of {one}", frozenset())
        for one, column in (sigma or {}).items()
    }
    measured, spread = table.measured(taken, species, None if sigma is None else named)
    labels, beside = _conditions(frame, columns, alone)
    unit, years = table.unit(str(columns["time"]), time_units)
    times = table.numbers(str(columns["time"]))
    if origin is None and years:
        origin = "first"
    zero = float(np.nanmin(times)) if origin == "first" else float(origin or 0.0)
    index = pd.MultiIndex.from_arrays([labels, times - zero], names=["condition", "time"])
    arrays = {}
    for what, headings in (("response", measured), ("sigma", spread)):
        if headings:
            cells = pd.DataFrame({one: table.numbers(c) for one, c in headings.items()})
            arrays[what] = from_frame(cells.set_index(index), name, Surroundings(set(measured)))
    data = xr.Dataset(arrays, attrs={"transform": "as measured", **(attrs or {})})
    conditions = data["condition"].values.tolist()
    data["perturbation"] = (
        ("condition", "node"), np.zeros((len(conditions), len(measured)))
    )  # fmt: skip
    data = data.assign_coords(node_kind=("node", ["protein"] * len(measured)))
    for dim, given in beside.items():
        data = data.assign_coords({dim: ("condition", [given[label] for label in conditions])})
    data["time"].attrs["units"] = unit
    if zero:
        data["time"].attrs["origin"] = zero
    data = validate(data)
    return data if transform is None else transformed(data, transform)


class _Table:
    """A table, and which of its columns is what."""

    def __init__(self, frame: pd.DataFrame, name: str) -> None:
        self.frame, self.name = frame, name
        self.headings: list[str] = frame.columns.tolist()
        if twice := [h for h in dict.fromkeys(self.headings) if self.headings.count(h) > 1]:
            raise DataError(f"{name} has two columns called {listed(twice)}; rename one.")

    def time(self, given: str | None) -> str:
        """Return the column of times."""
        if given is not None:
            return self._known(given, "time")
        read = {h: time_heading(h) for h in self.headings}
        known = {h: one for h, one in read.items() if one is not None}
        sure = [h for h, one in known.items() if not one.may_be_node]
        sure += [h for h in self.headings if h.lower() in _YEARS]
        # S, H and D are units of time, and more often species.
        likely = [h for h in known if len(h) > 1 or h.lower() == "t"]
        found = sure or likely or list(known)
        if len(found) == 1:
            return found[0]
        which = f"{listed(found)} may all be" if found else "none of its columns is called"
        raise DataError(
            f"{self.name}: {which} time; it has {listed(self.headings, 12)}. Say which one is with "
            "time='...'."
        )

    def unit(self, column: str, given: str | None) -> tuple[str, bool]:
        """Return the unit of times, and whether they are years of a calendar."""
        heading = time_heading(column)
        years = column.lower() in _YEARS
        said = "y" if years else heading.unit if heading is not None else None
        return given or said or NO_UNIT, years

    def called(
        self, given: str | None, what: str, names: frozenset[str], *, labels: bool = False
    ) -> str | None:
        """Return the column that is given, or is called so; None for none."""
        if given is not None:
            return self._known(given, what)
        plain = {h: re.sub(r"[\W_]+", " ", h).strip().lower() for h in self.headings}
        plain = {h: re.sub(r" ?(id|no|nr|name|label)s?$", "", p) or p for h, p in plain.items()}
        found = [h for h, p in plain.items() if p == what or p in names]
        if labels and not found:
            found = [
                h for h, p in plain.items()
                if names_labels(h) and not is_written_index(h)
                and p not in _SUBJECTS | _REPLICATES
            ]  # fmt: skip
        if len(found) > 1:
            raise DataError(
                f"{self.name}: {listed(found)} may all be the {what}; say which one is with "
                f"{what}='...'."
            )
        return found[0] if found else None

    def text_alone(self, taken: Sequence[str], species: Sequence[str] | None) -> str | None:
        """Return the one column of text that is left, or None."""
        left = [h for h in self.headings if h not in taken and h not in (species or ())]
        texts = [h for h in left if self._is_text(h)]
        if len(texts) > 1 and species is None:
            raise DataError(
                f"{self.name}: {listed(texts)} hold text; say with condition='...', subject='...' "
                "or replicate='...' what they are, or with species=[...] what was measured."
            )
        return texts[0] if len(texts) == 1 else None

    def measured(
        self,
        taken: Sequence[str],
        species: Sequence[str] | None,
        sigma: Mapping[str, str | None] | None,
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the columns of responses and of their standard deviations, by species."""
        called = self._called_sigma(taken)
        spread = called if sigma is None else {one: str(h) for one, h in sigma.items()}
        if species is not None:
            found = [self._known(one, "species") for one in species]
        else:
            index = [h for h in self.headings[:1] if is_written_index(h)]
            others = {*taken, *index, *called.values()}
            found = [h for h in self.headings if h not in others]
        found = [h for h in found if h not in spread.values()]
        if not found:
            raise DataError(f"{self.name} has no column of a species; it has {self.headings}.")
        spread = {one: column for one, column in spread.items() if one in found}
        if strange := [one for one in sigma or () if one not in found]:
            raise DataError(f"sigma names {listed(strange)}, which is no species of the table.")
        if spread and len(spread) < len(found):
            lacking = [one for one in found if one not in spread]
            raise DataError(
                f"{self.name} has a sigma of {listed(spread)}, and none of {listed(lacking)}: give "
                "all one, or take none with sigma={}."
            )
        return {one: one for one in found}, {one: spread[one] for one in found if one in spread}

    def numbers(self, column: str) -> npt.NDArray[Any]:
        """Return the cells of a column as numbers, NaN where they are missing."""
        cells = self.frame[column].to_numpy(dtype=object)
        found = np.full(len(cells), np.nan)
        for i, cell in enumerate(cells):
            if _is_gap(cell):
                continue
            number = number_in(cell)
            if number is None:
                fix = (
                    "write a decimal point, no comma"
                    if is_numeric(cell)
                    else "say what the column is, with condition='...' or the like, or leave it "
                    "out with species=[...]"
                )
                raise DataError(
                    f"{self.name}, row {i + 1}, column {column!r}: {shown(cell)} is no number; "
                    f"{fix}."
                )
            found[i] = number
        return found

    def _called_sigma(self, taken: Sequence[str]) -> dict[str, str]:
        """Return the columns that are called like the sigma of others, by these."""
        matches = [
            (pattern.fullmatch(h), h) for h in self.headings if h not in taken
            for pattern in _WITH_SIGMA
        ]  # fmt: skip
        return {match[1]: h for match, h in matches if match and match[1] in self.headings}

    def _is_text(self, heading: str) -> bool:
        cells = [c for c in self.frame[heading].to_numpy(dtype=object) if not _is_gap(c)]
        return (
            bool(cells)
            and all(isinstance(c, str) for c in cells)
            and not any(is_numeric(c) for c in cells)
        )

    def _known(self, given: str, what: str) -> str:
        if given not in self.headings:
            raise DataError(
                f"{self.name} has no column {given!r}, named as the {what}"
                f"{did_you_mean(given, self.headings)}; it has {listed(self.headings, 12)}."
            )
        return given


def _is_gap(cell: object) -> bool:
    return is_missing(cell) or (isinstance(cell, str) and is_missing_text(cell))


def _conditions(
    frame: pd.DataFrame, columns: Mapping[str, str | None], alone: str
) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Return the condition of each row, and what is said of conditions."""
    cells: dict[str, list[str]] = {}
    for what in ("condition", "subject", "replicate"):
        column = columns[what]
        if column is None:
            continue
        values = frame[column].to_numpy(dtype=object)
        if gaps := [i + 1 for i, cell in enumerate(values) if _is_gap(cell)]:
            raise DataError(f"the {what} of row {gaps[0]} ({column!r}) is missing; give it one.")
        cells[what] = [label_text(cell) for cell in values]
    subjects = cells.get("subject")
    labels = cells.get("condition") or subjects or [alone] * len(frame)
    beside: dict[str, dict[str, str]] = {}
    if subjects is not None and "condition" in cells:
        own: dict[str, set[str]] = {}
        for label, subject in zip(labels, subjects, strict=True):
            own.setdefault(label, set()).add(subject)
        if any(len(each) > 1 for each in own.values()):  # each of them had the condition
            labels = [f"{c}, {s}" for c, s in zip(labels, subjects, strict=True)]
    if "replicate" in cells:
        whole = [f"{c} #{r}" for c, r in zip(labels, cells["replicate"], strict=True)]
        beside["replicate_of"] = dict(zip(whole, labels, strict=True))
        labels = whole
    if subjects is not None:
        beside["subject"] = dict(zip(labels, subjects, strict=True))
    return labels, beside
