"""Driving signals in a line, laid over a dataset as other instructions of `regimen` are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.options import Value, checked, choice, listed, shown, text
from pycellbox.data.drafts import Draft
from pycellbox.data.regimens import CONDITIONS, TIME, Instruction, Labels, Time
from pycellbox.data.signals import AFTER, DRIVE, INTERPOLATIONS, resampled
from pycellbox.data.units import distinct
from pycellbox.errors import DataError, OptionError


def _read_values(given: object) -> npt.NDArray[np.float64]:
    values = np.asarray(given)
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2) or not values.size:
        raise ValueError
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinite")
    return values.astype(np.float64)


@checked(
    signal=text("the name of a signal"),
    times=listed(TIME),
    values=Value(_read_values, "numbers (time,) or (condition, time)"),
    interpolation=choice(*INTERPOLATIONS),
    after=choice(*AFTER),
    conditions=CONDITIONS,
)
def drive(
    signal: str,
    times: Sequence[Time],
    values: npt.ArrayLike,
    *,
    interpolation: Literal["step", "linear"] = "step",
    after: Literal["refuse", "hold"] = "refuse",
    conditions: Labels | None = None,
) -> Instruction:
    """Drive conditions by a signal: light, food, temperature, a stimulus that was recorded.

    Equations of one's own name it in ``inputs=``, see `pycellbox.ODE`.

    Parameters
    ----------
    signal : str
        Its name, which is no node's. One that the data have already is replaced.
    times : sequence of number or str, (t,)
        When it has its values, increasing, such as ``range(0, 49, 12)`` or ``["0 h", "30 min"]``;
        plain numbers are in the data's unit. The first is where the conditions begin, or earlier.
    values : array-like, (t,) or (condition, t)
        For all conditions, or for each of ``conditions`` in their order.
    interpolation : {"step", "linear"}
        Whether each value stays until the next, or the signal goes straight from one to the next.
        All signals of a dataset do the same.
    after : {"refuse", "hold"}
        What is known of it after its last time: nothing, so that nothing later can be measured or
        asked for, or that its last value stays.
    conditions : str or sequence of str, optional
        Labels; by default all. In others the signal is 0.

    Returns
    -------
    Instruction
        For `regimen`.

    Raises
    ------
    OptionError
        Times and values do not go together.
    DataError
        When it is carried out: a condition is unknown; or signals that the data have already are
        known for other times, or are steps where this one is lines.

    Examples
    --------
    Twelve hours of light and twelve of darkness, twice:

    >>> data = pcb.regimen(  # doctest: +SKIP
    ...     data, pcb.drive("light", [0, 12, 24, 36], [1, 0, 1, 0], after="hold")
    ... )
    """
    given: Any = values
    if given.shape[-1] != len(times):
        raise OptionError(
            f"drive: {len(times)} times and values of the shape {given.shape}; there needs to be a "
            "value for each time, (time,) or (condition, time)."
        )

    def apply(draft: Draft) -> None:
        own = np.array([draft.time("drive: times", one) for one in times])
        backward = np.flatnonzero(~(np.diff(own) > 0))
        if backward.size or not np.isfinite(own).all():
            at = int(backward[0]) if backward.size else 0
            raise OptionError(f"drive: times increase, and {shown(times[at])} does not go before "
                              f"{shown(times[min(at + 1, len(own) - 1)])}.")  # fmt: skip
        rows = draft.conditions(conditions)
        if given.ndim == 2 and len(given) != len(rows):
            raise OptionError(
                f"drive: values of {len(given)} conditions, and there are {len(rows)}."
            )
        whole = np.zeros((len(draft.labels), len(own)))
        whole[rows] = given
        draft.design = _with(draft, signal, own, whole, interpolation, after)

    return Instruction(f"drive by {signal}", apply)


def _with(
    draft: Draft,
    signal: str,
    times: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    interpolation: str,
    after: str,
) -> xr.Dataset:
    """Return a design with one more signal, all at the times of each."""
    design = draft.design
    said = {"interpolation": interpolation, "after": after}
    attrs = {} if draft.unit is None else {"units": draft.unit}
    signals = {signal: (times, values)}
    if "drive" in design:
        had = design["drive"].transpose(*DRIVE)
        others = [str(label) for label in design["input"].values if str(label) != signal]
        for name, value in said.items():
            if others and had.attrs[name] != value:
                raise DataError(
                    f"drive: {name}={value!r}, and {', '.join(others)} of the data have "
                    f"{had.attrs[name]!r}; all signals of a dataset have the same."
                )
        before = design["drive_time"].values
        signals = {label: (before, had.sel(input=label).values) for label in others} | signals
        design = design.drop_dims("drive_time").drop_vars("input")
    ends = [(float(own[0]), np.inf if after == "hold" else float(own[-1]))
            for own, _ in signals.values()]  # fmt: skip
    if len(set(ends)) > 1:
        raise DataError(
            f"drive: {signal} is known from {times[0]:g} to {times[-1]:g}, and other signals of "
            f"the data from {ends[0][0]:g} to {ends[0][1]:g}; give all for the same time."
        )
    grid = distinct(np.concatenate([own for own, _ in signals.values()]))
    every = [
        resampled(grid, own, each, linear=interpolation == "linear")
        for own, each in signals.values()
    ]
    return design.assign_coords(
        drive_time=("drive_time", grid, attrs), input=("input", list(signals))
    ).assign(drive=(DRIVE, np.stack(every, axis=-1), said))
