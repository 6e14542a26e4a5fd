"""How conditions are treated over time, as arrays on one grid of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted
from pycellbox.data.phases import phases_of
from pycellbox.data.signals import signals_of
from pycellbox.errors import DataError, OptionError

Array: TypeAlias = npt.NDArray[Any]

TREATED = {"held", "initial_state", "drive"}
"""Variables of a dataset that, like phases, make a treatment."""
MOST_BREAKS = 8
"""Distinct times at which inputs may change where every condition has its own."""


@dataclass(frozen=True)
class Treatment:
    """Inputs that change, nodes that are held, states that are not at rest when all begins.

    Time is cut into segments, the same for all conditions, in each of which inputs are constant.
    The first segment begins where the first of the conditions does; one that begins later stays
    where it is until then.

    Attributes
    ----------
    starts : ndarray, (s,)
        When each segment begins: finite, increasing; the first one at 0 or before.
    perturbation : ndarray, (c, s, n)
        u in each segment.
    moves : ndarray of bool, (c, s, n), or None
        Which nodes follow the equation; the others stay where they are, because they are held or
        because the condition has not begun. None where all move.
    initial : ndarray, (c, n)
        State where the integration starts, for held nodes where they are held; NaN for the model's
        own.
    pretreatment : ndarray, (c, n), or None
        u before the first segment, in whose steady state a condition begins that is pretreated.
        None where no condition is.
    pretreated : ndarray of bool, (c,)
    held : ndarray of bool, (c, n)
        Nodes that stay at ``initial`` for all time.
    fitted : ndarray of int, (c, n)
        Which of the fitted levels an entry of ``initial`` is, −1 where it is given.
    levels : tuple of str
        Labels of the fitted levels.
    signals : tuple of str
        Labels of driving signals. Their values, and with ``linear`` their slopes and time, are
        nodes behind those of the data, as `pycellbox.models.Structure.over` has them.
    linear : bool
    end : float
        Time until which the signals are known.
    """

    starts: Array
    perturbation: Array
    moves: Array | None
    initial: Array
    pretreatment: Array | None
    pretreated: Array
    held: Array
    fitted: Array
    levels: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    linear: bool = False
    end: float = np.inf

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self.starts)

    @property
    def level_starts(self) -> Array:
        """Where the fit of each level starts, (m,), float64."""
        starts = np.zeros(len(self.levels))
        wanted = self.fitted >= 0
        starts[self.fitted[wanted]] = self.initial[wanted]
        return starts

    def at(self, levels: Array) -> Treatment:
        """Return the treatment with its levels, (m,), as given ones."""
        nothing = np.full_like(self.fitted, -1)
        return replace(self, initial=self.begin(levels), fitted=nothing, levels=())

    def begin(self, levels: Array) -> Array:
        """State where the integration starts at these levels, (c, n)."""
        if not self.levels:
            return self.initial
        begin = np.where(self.fitted >= 0, levels[self.fitted], self.initial)
        return begin.astype(self.initial.dtype)

    def astype(self, dtype: npt.DTypeLike) -> Treatment:
        """Return it in another precision."""
        before = self.pretreatment
        return replace(
            self,
            perturbation=self.perturbation.astype(dtype),
            initial=self.initial.astype(dtype),
            pretreatment=None if before is None else before.astype(dtype),
        )

    def rows(self, index: Any) -> Treatment:
        """Return the treatment of some of the conditions, on the same grid."""
        arrays: dict[str, Any] = {
            name: None if (array := getattr(self, name)) is None else array[index]
            for name in (
                "perturbation", "moves", "initial", "pretreatment", "pretreated", "held", "fitted"
            )
        }  # fmt: skip
        return replace(self, **arrays)


def treatment_of(
    data: xr.Dataset,
    dtype: npt.DTypeLike,
    numbers: Array | None = None,
    *,
    at_rest: bool = False,
) -> Treatment | None:
    """Read from valid data how its conditions are treated; None where u is constant from 0 on.

    Parameters
    ----------
    data : Dataset
    dtype : dtype
    numbers : ndarray, (c, dims), optional
        What stands behind the perturbation for all time; see `Structure.numbers`.
    at_rest : bool
        Whether conditions begin at rest without any input, where data have no pre-treatment.

    Raises
    ------
    DataError
        Conditions change at more than `MOST_BREAKS` different times of their own, or begin at rest
        under signals that are lines.
    """
    if at_rest:
        data = _from_rest(data)
    if data["perturbation"].ndim == 2 and not TREATED & set(data.variables):
        return None
    phases, signals = phases_of(data), signals_of(data)
    c, n = phases.inputs.shape[0], phases.inputs.shape[-1]
    grid = phases.grid()
    if not phases.shared and len(grid) - 1 > MOST_BREAKS:
        raise DataError(
            f"inputs change at {counted(len(grid) - 1, 'different time')}, each condition at its "
            f"own, and at most {MOST_BREAKS} can be: give all conditions one phase_start (phase), "
            "or round the times."
        )
    if signals is not None:
        grid = phases.grid(signals.times)
    inputs, waiting = phases.on(grid)
    pretreated = phases.pretreated
    held, initial = np.zeros((c, n), dtype=bool), np.full((c, n), np.nan)
    if "initial_state" in data:
        initial[...] = data["initial_state"].values
    if "held" in data:
        levels = data["held"].values
        held = ~np.isnan(levels)
        initial = np.where(held, levels, initial)
    fitted, labels = _fitted(data, held, initial)
    known: dict[str, Any] = {}
    before = phases.inputs[:, 0]
    if signals is not None:
        if signals.linear and pretreated.any():
            raise DataError(
                "a model that is at rest before all begins (at_rest) takes driving signals that "
                "are steps; these are lines: give pcb.drive(..., interpolation='step') values at "
                "more times, or leave at_rest out."
            )
        values, linear = signals.on(grid, phases.begin), signals.linear
        known = {"signals": signals.labels, "linear": linear, "end": signals.end}
        inputs = np.concatenate([inputs, values, np.zeros((*values.shape[:2], int(linear)))], 2)
        before = np.pad(before, ((0, 0), (0, inputs.shape[2] - n)))
    if numbers is not None and numbers.shape[1]:
        each = np.broadcast_to(numbers[:, None], (*inputs.shape[:2], numbers.shape[1]))
        inputs, before = np.concatenate([inputs, each], 2), np.concatenate([before, numbers], 1)
    held, initial, fitted = (
        np.pad(array, ((0, 0), (0, inputs.shape[2] - n)), constant_values=nothing)
        for array, nothing in ((held, False), (initial, np.nan), (fitted, -1))
    )
    moves = ~(waiting[:, :, None] | held[:, None, :])
    starts_, inputs, moves = _without_repeats(grid, inputs, moves)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(inputs, dtype)
    if not np.isfinite(narrow).all():
        raise DataError(
            f"a perturbation or a signal goes up to {np.abs(inputs).max():.3g}, beyond the range "
            f"of {np.dtype(dtype).name}: rescale it, or compute in float64."
        )
    return Treatment(
        starts=starts_,
        perturbation=narrow,
        moves=None if moves.all() else np.ascontiguousarray(moves),
        initial=np.ascontiguousarray(initial, dtype),
        pretreatment=np.ascontiguousarray(before, dtype) if pretreated.any() else None,
        pretreated=pretreated,
        held=held,
        fitted=fitted,
        levels=labels,
        **known,
    )


def _from_rest(data: xr.Dataset) -> xr.Dataset:
    """Put a phase of nothing from −∞ on before all others, where there is none from −∞."""
    u = data["perturbation"]
    if "phase" not in u.dims:
        u = u.expand_dims(phase=1, axis=1).assign_coords(phase_start=("phase", [0.0]))
    starts = u["phase_start"] if "phase_start" in u.coords else data["phase_start"]
    if (starts == -np.inf).any():
        return data
    before = xr.zeros_like(u.isel(phase=[0])).assign_coords(
        phase_start=xr.full_like(starts.isel(phase=[0]), -np.inf)
    )
    whole = xr.concat([before, u.assign_coords(phase_start=starts)], dim="phase")
    rest = data.drop_vars(["perturbation", "phase_start"], errors="ignore")
    return rest.assign(perturbation=whole.transpose("condition", "phase", "node"))


def check_horizon(treatment: Treatment, horizon: float) -> None:
    """Refuse to integrate to a time before the last segment, which would then not count.

    Raises
    ------
    OptionError
    """
    last = float(treatment.starts[-1])
    if horizon <= last:
        raise OptionError(
            f"horizon={horizon:g}, and the last phase starts at {last:g}: give a later horizon, so "
            "that there is time to settle."
        )


def check_settles(treatment: Treatment | None) -> None:
    """Refuse steady states under driving signals.

    Raises
    ------
    DataError
    """
    if treatment is not None and treatment.signals:
        raise DataError(
            "the data have driving signals and steady states: signals are for time courses. Give "
            "a dose that changes in phases, perturbation(condition, phase, node), or leave drive "
            "out with .drop_vars('drive')."
        )


def _fitted(data: xr.Dataset, held: Array, initial: Array) -> tuple[Array, tuple[str, ...]]:
    """Give every level to be fitted a number: held nodes share theirs by node and start."""
    fitted = np.full(held.shape, -1)
    wanted = np.zeros(held.shape, dtype=bool)
    for name, where in (("held_fitted", held), ("initial_fitted", ~held)):
        if name in data.variables:
            wanted |= data[name].values.astype(bool) & where
    labels: dict[str, int] = {}
    conditions, nodes = data["condition"].values, data["node"].values
    for i, j in np.argwhere(wanted):
        start = 0.0 if np.isnan(initial[i, j]) else initial[i, j]
        label = (
            f"{nodes[j]} held from {start:g}" if held[i, j] else f"{nodes[j]} in {conditions[i]}"
        )
        initial[i, j] = start
        fitted[i, j] = labels.setdefault(label, len(labels))
    return fitted, tuple(labels)


def _without_repeats(grid: Array, inputs: Array, moves: Array) -> tuple[Array, Array, Array]:
    """Leave out breaks at which nothing changes."""
    same = np.array(
        [False]
        + [
            bool(
                (inputs[:, s] == inputs[:, s - 1]).all() and (moves[:, s] == moves[:, s - 1]).all()
            )
            for s in range(1, len(grid))
        ]
    )
    return grid[~same], inputs[:, ~same], moves[:, ~same]
