"""Datasets joined along their conditions, whatever one says of treatment and the other does not."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.data.signals import on_one_grid

_ABSENT: dict[str, Any] = {
    "held": np.nan,
    "held_fitted": False,
    "initial_state": np.nan,
    "initial_fitted": False,
    "replicate_of": "",
    "subject": "",
}
"""What a variable of conditions says where a dataset has none."""
TREATMENT = ("perturbation", *_ABSENT, "drive")


def joined(data: xr.Dataset, extra: xr.Dataset) -> xr.Dataset:
    """Append the conditions of another valid dataset, of the same nodes, times and units.

    What else the two carry (the truth of a simulation, say) may differ: it is that of the first.

    Parameters
    ----------
    data, extra : Dataset
        As `validate` returns them. Their phases may differ, and the times of driving signals.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        They have other driving signals.
    """
    data, extra = on_one_grid(data, extra)
    one, other = _in_same_phases(data, extra.sel(node=data["node"].values))
    one, other = _filled(one, other), _filled(other, one)
    # Coordinates that one has alone are filled up, which xarray does for variables only.
    alone = [
        [c for c in a.coords if c not in b.coords and "condition" in a[c].dims]
        for a, b in ((one, other), (other, one))
    ]
    both: xr.Dataset = xr.concat(
        [one.reset_coords(alone[0]), other.reset_coords(alone[1])], "condition",
        data_vars="minimal", coords="minimal", compat="override",
    )  # fmt: skip
    return both.set_coords(alone[0] + alone[1])


def treatments(data: xr.Dataset) -> xr.Dataset:
    """Return what was done to the conditions alone, of a valid dataset, without other coordinates.

    ``perturbation`` with its phases, what is held, initial states, subjects, replicates, signals.
    """
    wanted = data[[name for name in TREATMENT if name in data.variables]]
    known = {"condition", "node", "phase_start", "drive_time", "input", *_ABSENT}
    return wanted.drop_vars([name for name in wanted.coords if name not in known])


def _filled(data: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Add what the other says of treatment and this one does not."""
    for name, value in _ABSENT.items():
        if name in other.variables and name not in data.variables:
            variable = xr.full_like(other[name].variable, value)
            shape = [data.sizes[dim] for dim in variable.dims]
            filled = xr.Variable(variable.dims, np.full(shape, value), variable.attrs)
            place = data.assign_coords if name in other.coords else data.assign
            data = place({name: filled})
    return data


def _in_same_phases(*datasets: xr.Dataset) -> Sequence[xr.Dataset]:
    """Give datasets the same phases, each condition its own starts where they differ."""
    starts = [d["phase_start"] if "phase_start" in d.variables else None for d in datasets]
    if all(s is None for s in starts):
        return datasets
    first, second = starts
    if first is not None and second is not None and first.identical(second) and first.ndim == 1:
        return datasets
    most = max(1 if s is None else s.sizes["phase"] for s in starts)
    units = next(s.attrs.get("units") for s in starts if s is not None)
    return [_with_own_starts(d, most, units) for d in datasets]


def _with_own_starts(data: xr.Dataset, phases: int, units: Any) -> xr.Dataset:
    u = data["perturbation"]
    c, n = data.sizes["condition"], data.sizes["node"]
    values, starts = np.zeros((c, phases, n), u.dtype), np.full((c, phases), np.nan)
    if "phase_start" in data.variables:
        own = data.sizes["phase"]
        values[:, :own] = u.values
        starts[:, :own] = data["phase_start"].values
        attrs = data["phase_start"].attrs
    else:
        values[:, 0], starts[:, 0] = u.values, 0.0
        attrs = {} if units is None else {"units": units}
    dropped: list[Hashable] = [
        name for name, v in data.variables.items() if "phase" in v.dims and name != "perturbation"
    ]
    return (
        data.drop_vars([*dropped, "perturbation"])
        .assign(perturbation=(("condition", "phase", "node"), values, u.attrs))
        .assign_coords(phase_start=(("condition", "phase"), starts, attrs))
    )
