"""A dataset whose treatment is being written: doses over time of every condition, and holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along, listed
from pycellbox.common.options import did_you_mean
from pycellbox.data.dims import PHASED, STEADY
from pycellbox.data.phases import phases_of
from pycellbox.data.units import NO_UNIT, SAME_TIME, read_time, time_unit, unit_said
from pycellbox.errors import DataError

Array: TypeAlias = npt.NDArray[Any]


class Line:
    """The doses of one condition over time: when each phase starts, and what is given in it."""

    def __init__(self, label: str, nodes: Sequence[str], starts: Array, inputs: Array) -> None:
        there = ~np.isnan(starts)
        self.label, self.names = label, nodes
        self.starts = starts[there].tolist()
        self.inputs = [row.copy() for row in inputs[there]]

    def dose_at(self, time: float, node: int) -> float:
        """Return what is given of a node at a time."""
        begun = [i for i, start in enumerate(self.starts) if start <= time]
        return float(self.inputs[begun[-1]][node]) if begun else 0.0

    def dose(self, node: int, given: float | None) -> float:
        """Return the dose of a node: the given one, or the largest that there is."""
        if given is not None:
            return given
        doses = [float(row[node]) for row in self.inputs]
        largest = max(doses, key=abs)
        if not largest:
            raise DataError(
                f"condition {self.label!r} has no dose of {self.names[node]!r}; give one with "
                "dose=, or leave the condition out of conditions=."
            )
        return largest

    def is_constant(self, node: int) -> bool:
        """Whether a node's dose is one and the same from 0 on."""
        later = [i for i, start in enumerate(self.starts) if start > 0]
        first = (later[0] if later else len(self.starts)) - 1
        return len({float(row[node]) for row in self.inputs[first:]}) == 1

    def give(self, node: int, dose: float, start: float, end: float | None = None) -> None:
        """Set a node's dose from a time on, until another."""
        first = self._break(start)
        last = len(self.starts) if end is None else self._break(end)
        for row in self.inputs[first:last]:
            row[node] = dose

    def _break(self, time: float) -> int:
        """Let a phase start at a time; return which."""
        for i, start in enumerate(self.starts):
            if math.isclose(start, time, rel_tol=SAME_TIME):
                return i
            if start > time:
                before = self.inputs[i - 1] if i else np.zeros_like(self.inputs[0])
                self._insert(i, time, before)
                return i
        self._insert(len(self.starts), time, self.inputs[-1])
        return len(self.starts) - 1

    def _insert(self, place: int, time: float, row: Array) -> None:
        self.starts.insert(place, time)
        self.inputs.insert(place, row.copy())

    def changes(self) -> tuple[list[float], list[Array]]:
        """Return the phases without those in which nothing changes."""
        kept = [
            i
            for i in range(len(self.starts))
            if i == 0 or (self.inputs[i] != self.inputs[i - 1]).any()
        ]
        return [self.starts[i] for i in kept], [self.inputs[i] for i in kept]


class Draft:
    """A design with a `Line` for each condition, and what is held and where all starts."""

    def __init__(self, design: xr.Dataset) -> None:
        self.design = design
        self.labels = labels_along(design, "condition")
        self.names = labels_along(design, "node")
        phases = phases_of(design)
        self._shared = phases.shared
        rows = zip(self.labels, phases.starts, phases.inputs, strict=True)
        self._lines = [Line(label, self.names, *row) for label, *row in rows]
        self.unit = time_unit(design)
        self.held, self.initial = (self._levels(name) for name in ("held", "initial_state"))
        self.held_fitted, self.initial_fitted = (
            design[name].values.copy() if name in design else np.zeros(self.held.shape, dtype=bool)
            for name in ("held_fitted", "initial_fitted")
        )

    def _levels(self, name: str) -> Array:
        if name in self.design:
            return self.design[name].values.copy()
        return np.full((len(self.labels), len(self.names)), np.nan)

    def time(self, name: str, given: float | str) -> float:
        """Read a time in the design's unit; one without takes that of the first text."""
        if self.unit is None and unit_said(given) is not None:
            self.unit = unit_said(given)
        return read_time(name, given, NO_UNIT if self.unit is None else self.unit)

    def nodes(self, labels: str | Sequence[str]) -> list[int]:
        """Return where nodes are."""
        return _places([labels] if isinstance(labels, str) else labels, self.names, "node")

    def conditions(self, labels: str | Sequence[str] | None) -> list[int]:
        """Return where conditions are, by default all."""
        if labels is None:
            return list(range(len(self.labels)))
        return _places([labels] if isinstance(labels, str) else labels, self.labels, "condition")

    def where(self, node: int, labels: str | Sequence[str] | None) -> list[int]:
        """Return conditions by label; by default those in which the data perturb a node, or all."""
        given = self._perturbing(node)
        return given if labels is None and given else self.conditions(labels)

    def _perturbing(self, node: int) -> list[int]:
        return [i for i, line in enumerate(self._lines) if any(row[node] for row in line.inputs)]

    def lines(
        self, nodes: str | Sequence[str], labels: str | Sequence[str] | None, dose: float | None
    ) -> Iterator[tuple[Line, int]]:
        """Yield the conditions of an instruction, with each of its nodes."""
        for node in self.nodes(nodes):
            if labels is None and dose is None and not self._perturbing(node):
                raise DataError(
                    f"the data perturb {self.names[node]!r} in no condition; give its dose with "
                    "dose=, and in which conditions with conditions=[...]."
                )
            for condition in self.where(node, labels):
                yield self._lines[condition], node

    def dataset(self) -> xr.Dataset:
        """Return the design with all that was written."""
        if self._shared and np.isnan(self.initial).all():
            lines = _in_same_phases([(line.starts, line.inputs) for line in self._lines])
        else:
            lines = [line.changes() for line in self._lines]
        design, u = self._without_phases(), self.design["perturbation"]
        if all(starts == [0.0] for starts, _ in lines):
            doses = np.stack([inputs[0] for _, inputs in lines])
            design["perturbation"] = (STEADY, doses, u.attrs)
        else:
            most = max(len(starts) for starts, _ in lines)
            values = np.zeros((len(lines), most, len(self.names)), u.dtype)
            all_starts = np.full((len(lines), most), np.nan)
            for i, (starts, inputs) in enumerate(lines):
                values[i, : len(starts)], all_starts[i, : len(starts)] = inputs, starts
            attrs = {} if self.unit is None else {"units": self.unit}
            same = all(starts == lines[0][0] for starts, _ in lines)
            phase_start: Any = (PHASED[:2], all_starts, attrs)
            if same:
                phase_start = ("phase", all_starts[0], attrs)
            design["perturbation"] = (PHASED, values, u.attrs)
            design = design.assign_coords(phase_start=phase_start)
        for name, level, fitted in (
            ("held", self.held, self.held_fitted),
            ("initial_state", self.initial, self.initial_fitted),
        ):
            if name in design or not np.isnan(level).all():
                design[name] = (STEADY, level)
            asked = {"held": "held_fitted"}.get(name, "initial_fitted")
            if asked in design or fitted.any():
                design[asked] = (STEADY, fitted)
        return design

    def _without_phases(self) -> xr.Dataset:
        gone = [name for name, v in self.design.variables.items() if "phase" in v.dims]
        return self.design.drop_vars(gone)


def _in_same_phases(
    lines: Sequence[tuple[list[float], list[Array]]],
) -> list[tuple[list[float], list[Array]]]:
    """Give all conditions the phases of each; before its first nothing is given."""
    times = np.unique([start for starts, _ in lines for start in starts])
    span = float(np.abs(times[np.isfinite(times)]).max(initial=0.0)) or 1.0
    keep = np.ones(len(times), dtype=bool)
    with np.errstate(invalid="ignore"):
        keep[1:] = np.diff(times) > SAME_TIME * span
    times = times[keep]
    spread = []
    for starts, inputs in lines:
        last = np.searchsorted(np.asarray(starts), times + SAME_TIME * span, side="right") - 1
        rows = [inputs[i] if i >= 0 else np.zeros_like(inputs[0]) for i in last]
        spread.append(rows)
    every = np.array(spread)
    changed = np.concatenate([[True], (every[:, 1:] != every[:, :-1]).any(axis=(0, 2))])
    return [(times[changed].tolist(), list(rows[changed])) for rows in every]


def _places(wanted: Sequence[str], known: Sequence[str], dimension: str) -> list[int]:
    place = {label: i for i, label in enumerate(known)}
    missing = [label for label in wanted if label not in place]
    if missing:
        raise DataError(
            f"regimen: there is no {dimension} {listed(missing)}"
            f"{did_you_mean(missing[0], known)}; the data have {listed(known)}."
        )
    return [place[label] for label in wanted]
