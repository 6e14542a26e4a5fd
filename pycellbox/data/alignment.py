"""Tables of one dataset brought together: the same labels, times and unit in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted, listed
from pycellbox.common.options import did_you_mean
from pycellbox.data.dims import STEADY
from pycellbox.data.units import same_unit
from pycellbox.errors import DataError

PARTIAL = ("held", "held_fitted", "initial_state", "initial_fitted")
"""Tables that may leave out conditions and nodes of which they say nothing."""


def check_table_dims(tables: Mapping[str, xr.DataArray]) -> None:
    """Check that the perturbation is constant in time and sigma goes with the response."""
    if "time" in tables["perturbation"].dims:
        raise DataError(
            "perturbation has a time dimension; give one row for each condition, or, where inputs "
            "change, one for each condition and start of a phase, in a column called 'start'."
        )
    if "sigma" in tables and tables["sigma"].dims != tables["response"].dims:
        raise DataError(
            f"sigma has the dims ({', '.join(map(str, tables['sigma'].dims))}) and the response "
            f"has ({', '.join(map(str, tables['response'].dims))}); give one standard deviation "
            "for each response."
        )


def aligned(table: xr.DataArray, name: str, first: xr.DataArray) -> xr.DataArray:
    """Put a table into the order of the first one, once both have the same labels."""
    for dimension in STEADY:
        _check_same_labels(
            first[dimension].values, table[dimension].values, dimension, ("perturbation", name)
        )
    ordered: xr.DataArray = table.sel({dim: first[dim].values for dim in STEADY})
    return ordered


def spread(table: xr.DataArray, name: str, first: xr.DataArray) -> xr.DataArray:
    """Put a table that says something of some conditions and nodes over all; NaN elsewhere."""
    if set(table.dims) != set(STEADY):
        raise DataError(f"{name} has the dims {table.dims}; it needs (condition, node).")
    for dimension in STEADY:
        known = first[dimension].values.tolist()
        strange = [label for label in table[dimension].values.tolist() if label not in known]
        if strange:
            raise DataError(
                f"{name} has {counted(len(strange), f'{dimension} label')} that the perturbation "
                f"has not: {listed(strange)}{did_you_mean(strange[0], known)}; use its labels, "
                "rows for conditions and columns for nodes."
            )
    full: xr.DataArray = table.reindex({dim: first[dim].values for dim in STEADY})
    return full


def aligned_in_time(sigma: xr.DataArray, response: xr.DataArray) -> xr.DataArray:
    """Check that sigma has the times of the response."""
    times = response["time"].values
    if np.array_equal(sigma["time"].values, times):
        return sigma
    _check_same_labels(times, sigma["time"].values, "time", ("response", "sigma"))
    raise DataError(
        "sigma has the time points of the response in another order; give both in increasing "
        "order of time."
    )


def one_unit(tables: Mapping[str, xr.DataArray], given: str | None) -> str:
    """Return the one unit that the caller and the tables give to time, by default h."""
    said = {"time_units": given} if given is not None else {}
    for name, table in tables.items():
        if "time" in table.dims and "units" in table["time"].attrs:
            said[f"the time of {name}"] = str(table["time"].attrs["units"])
    # A time without a unit, "1", takes any that another source gives.
    units = [unit for unit in said.values() if unit != "1"] or list(said.values()) or ["h"]
    if not all(same_unit(unit, units[0]) for unit in units):
        written = " and ".join(f"{where} is in {unit!r}" for where, unit in said.items())
        raise DataError(f"{written.replace('time_units is in', 'time_units is')}; give one unit.")
    return units[0]


def _check_same_labels(
    ours: npt.NDArray[Any], theirs: npt.NDArray[Any], dimension: str, owners: tuple[str, str]
) -> None:
    ours_set, theirs_set = set(ours.tolist()), set(theirs.tolist())
    only_ours = [label for label in ours.tolist() if label not in theirs_set]
    only_theirs = [label for label in theirs.tolist() if label not in ours_set]
    if not only_ours and not only_theirs:
        return
    noun = f"{dimension} label"
    parts = [
        f"{counted(len(labels), noun)} in {here} and not in {there}: {listed(labels)}"
        for labels, here, there in (
            (only_ours, *owners),
            (only_theirs, *reversed(owners)),
        )
        if labels
    ]
    fix = _why_apart(ours, theirs, dimension, owners)
    if dimension == "node":
        fix += ": give a node 0 where it was not perturbed and NaN where it was not measured"
    raise DataError(
        f"{'; '.join(parts)}; every table needs the same {dimension} labels, spelt alike, in any "
        f"order{fix}."
    )


def _why_apart(
    ours: npt.NDArray[Any], theirs: npt.NDArray[Any], dimension: str, owners: tuple[str, str]
) -> str:
    """Say what to do about labels that differ for a known cause."""
    for labels, others, owner in ((ours, theirs, owners[0]), (theirs, ours, owners[1])):
        counting = [str(i) for i in range(len(labels))]
        if dimension == "condition" and labels.tolist() == counting and len(others) == len(labels):
            return (
                f": those of {owner} only count its rows; if it has its labels in no column, give "
                "them as its index (set_index)"
            )
    if {str(label).strip().lower() for label in ours} == {str(x).strip().lower() for x in theirs}:
        return " (they differ in capitals or blanks)"
    return ""
