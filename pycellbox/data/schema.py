"""The dataset schema, checked here and nowhere else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.labels import listed
from pycellbox.common.options import checked, flag, instance, shown
from pycellbox.common.plain import as_integer
from pycellbox.data import signals, treatments
from pycellbox.data.dims import COURSE, EVERY, PHASED, STEADY
from pycellbox.data.storable import OWN_ATTRIBUTES, check_name, encode, encode_attrs
from pycellbox.data.units import common_unit
from pycellbox.data.variables import (
    array_of,
    axes_of,
    check_dims,
    check_not_empty,
    check_perturbation,
    check_response,
    check_sigma,
    node_kinds,
)
from pycellbox.errors import DataError, DataWarning, warn

SCHEMA_VERSION = 2
DEFAULT_TRANSFORM = "log-ratio to unperturbed control"

_TEXTS = {"replicate_of": "condition", "subject": "condition", "group": "node"}
_COORDINATES = ("node_kind", *treatments.COORDINATES, "drive_time", "input")
_SCHEMA = (
    "perturbation(condition[, phase], node), response(condition[, time], node), optionally sigma, "
    "and the coordinates condition, node and node_kind(node)"
)
_ATTRIBUTES = {
    "perturbation": {"long_name": "perturbation", "units": "1"},
    "response": {"long_name": "response, log-ratio to the unperturbed control", "units": "1"},
    "sigma": {"long_name": "measurement standard deviation of the response", "units": "1"},
    "node_kind": {"long_name": "kind of node"},
    "condition": {"long_name": "condition"},
    "node": {"long_name": "node"},
    "time": {"long_name": "time since the perturbation"},
    "phase_start": {"long_name": "start of the phase"},
    "held": {"long_name": "level at which the node is held, NaN where it is free", "units": "1"},
    "held_fitted": {"long_name": "whether the level is fitted"},
    "initial_state": {"long_name": "state where the integration starts", "units": "1"},
    "initial_fitted": {"long_name": "whether the initial state is fitted"},
    "replicate_of": {"long_name": "what the condition repeats"},
    "subject": {"long_name": "cell line, animal or patient"},
    "group": {"long_name": "class of drugs"},
    "drive": {"long_name": "driving signals", "interpolation": "step", "after": "refuse"},
    "drive_time": {"long_name": "time of the driving signals"},
    "input": {"long_name": "driving signal"},
}


DATASET = instance(
    xr.Dataset, "an xarray.Dataset, such as pcb.from_tables, pcb.read_csv or pcb.open_data makes"
)


@checked(dataset=DATASET, part=flag())
def validate(dataset: xr.Dataset, *, part: bool = False) -> xr.Dataset:
    """Check a dataset against the schema and return it in canonical form.

    Parameters
    ----------
    dataset : xarray.Dataset
        ``perturbation(condition[, phase], node)``, dimensionless, finite; ``response(condition[,
        time], node)``, log-ratio to the unperturbed control, NaN where not measured; optionally
        ``sigma``, dims as the response, positive wherever the response is measured;
        ``node_kind(node)``, "protein", "phenotype", "drug" or "hidden"; unique labels
        ``condition`` and ``node``; for time courses ``time``, strictly increasing from 0 or later,
        with the attribute ``units``. Dims may come in any order. What else there may be is below.
    part : bool
        Whether this is a part of a dataset, some held-out conditions say, in which a node may
        happen to be measured nowhere.

    Returns
    -------
    xarray.Dataset
        A copy that shares no memory with the input: dims ordered (condition, [time,] node),
        arrays C-contiguous, float32 kept and every other real type as float64, labels as
        strings, ``node_kind``, ``phase_start``, ``replicate_of``, ``subject`` and ``group``
        coordinates, ``phase_start`` in the unit of time, the attribute ``schema_version`` that of
        this version, ``transform`` filled in where absent. Further variables and coordinates are
        kept as they are; they hold what a file can keep: numbers, booleans, text, dates,
        categories.

    Raises
    ------
    DataError
        The dataset breaks the schema. The message names what, where, and how to fix it.

    Warns
    -----
    DataWarning
        A variable has a name that is nearly one of the schema, and so is not read; or the dataset
        is of schema 1, in which one of them meant nothing.

    Notes
    -----
    Only a node of kind ``drug`` may go without a single measured response: the activity of a
    drug is often known from its dose alone. One of kind ``hidden`` is never measured.

    What may be there besides, each for itself:

    ``phase_start`` (phase) or (condition, phase)
        When each phase of the perturbation starts, in time's unit or one that its attribute
        ``units`` names (s, min, h, d, …), increasing; the perturbation is constant within a phase,
        and the last has no end. The first starts at 0, before it (the integration starts there),
        or at −∞: a pre-treatment, whose steady state is the state at 0. In the form (condition,
        phase) NaN at the end says that a condition has no such phase.
    ``held`` (condition, node)
        NaN where the node is free; a number where it stays at that level for all time: a
        knock-out, an overexpression, a clamp. Its response may be measured. ``held_fitted``, True
        where the level is fitted, from that number on; conditions in which a node starts from one
        number share its level.
    ``initial_state`` (condition, node)
        The state where the integration starts; NaN for the model's own, which for a `CellBox` is
        0. In conditions that are pre-treated the steady state is reached from it. Not read where a
        node is held. ``initial_fitted``, True where it is fitted, from that value on.
    ``replicate_of`` (condition)
        The name of what a condition repeats, or of another condition; '' for none. Conditions
        with one name, and conditions treated alike, stay on one side of every split.
    ``subject`` (condition), ``group`` (node)
        Cell line, animal or patient of a condition; class of a drug. Texts, '' for none.

    ``drive`` (condition, drive_time, input)
        Signals that drive the conditions and change at every ``drive_time``, such as light or food:
        what equations of one's own name in ``inputs=``. ``drive_time`` increases and has the
        attribute ``units``, ``input`` the names, none of which is a node's. The attribute
        ``interpolation`` of the variable says what they are between their times: "step", by
        default, that each value stays until the next, or "linear". They are known from the first of
        these times, at which no condition has begun yet, to the last. That is also the last that
        may be measured or asked for, unless the attribute ``after`` is "hold": the last values
        then stay. By default it is "refuse". `pycellbox.drive` writes it all.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> checked = pcb.data.validate(dataset)  # doctest: +SKIP
    """
    _check_version(dataset.attrs)
    dataset = _of_this_schema(dataset)
    _check_variables(dataset)
    axes = axes_of(dataset)
    arrays = {
        name: array_of(dataset[name], axes)
        for name in ("perturbation", "response", "sigma", "held", "initial_state")
        if name in dataset.variables
    }
    arrays["node_kind"] = node_kinds(dataset["node_kind"], axes["node"])
    check_response(arrays["response"], axes, arrays["node_kind"], part)
    if "sigma" in arrays:
        check_sigma(arrays["sigma"], arrays["response"], axes)
    _read_treatment(dataset, axes, arrays)
    checked = _canonical(dataset, axes, arrays)
    signals.check_covers(checked)
    return checked


def _read_treatment(
    dataset: xr.Dataset, axes: dict[str, npt.NDArray[Any]], arrays: dict[str, npt.NDArray[Any]]
) -> None:
    """Check what was done to the conditions, and add to the arrays what says so."""
    steady = {dimension: axes[dimension] for dimension in STEADY}
    starts = None
    if "phase_start" in dataset.variables:
        starts = arrays["phase_start"] = treatments.phase_starts(dataset, axes)
        treatments.without_phases_that_are_not(arrays["perturbation"], starts)
    check_perturbation(arrays["perturbation"], steady)
    for name in ("held", "initial_state"):
        if name in arrays:
            treatments.check_levels(name, arrays[name], dataset, steady)
    for name in ("held_fitted", "initial_fitted"):
        if name in dataset.variables:
            arrays[name] = treatments.flags(dataset, name, steady)
    treatments.check_fitted(arrays, starts, steady)
    for name, dimension in _TEXTS.items():
        if name in dataset.variables:
            arrays[name] = treatments.texts(dataset[name], axes[dimension])
    if "drive" in dataset.variables:
        arrays |= signals.read_drive(dataset, axes)


def _check_version(attrs: Mapping[Any, Any]) -> None:
    given = attrs.get("schema_version", SCHEMA_VERSION)
    version = as_integer(given)
    if version is None or version < 1:
        raise DataError(
            f"the attribute schema_version is {shown(given)}; it needs a positive integer, for "
            f"this version of pycellbox {SCHEMA_VERSION}."
        )
    if version > SCHEMA_VERSION:
        raise DataError(
            f"the dataset has schema_version {version} and this pycellbox knows versions up to "
            f"{SCHEMA_VERSION}; upgrade it with: pip install --upgrade pycellbox."
        )


def _of_this_schema(dataset: xr.Dataset) -> xr.Dataset:
    """Rename what has a name of this schema in a dataset of the first, where it meant nothing."""
    taken = [name for name in treatments.DIMS if name in dataset.variables]
    if dataset.attrs.get("schema_version", SCHEMA_VERSION) != 1 or not taken:
        return dataset
    warn(
        f"the dataset has schema_version 1, in which {listed(taken)} meant nothing: kept as "
        f"{listed(f'{name}_v1' for name in taken)}, and not read. If it is meant as in version "
        f"{SCHEMA_VERSION}, see pcb.validate, set dataset.attrs['schema_version'] = "
        f"{SCHEMA_VERSION}; else rename it.",
        DataWarning,
    )
    return dataset.rename({name: f"{name}_v1" for name in taken})


def _check_variables(dataset: xr.Dataset) -> None:
    """Check that everything is there, with the right dims and at least one entry each."""
    for name in ("perturbation", "response", "node_kind"):
        if name not in dataset.variables:
            raise DataError(
                f"the dataset has no variable {name!r} (it has: {listed(dataset.variables)}); "
                f"it needs {_SCHEMA}. pcb.from_tables makes one."
            )
    check_dims(dataset["perturbation"], STEADY, PHASED)
    treatments.check_names(dataset)
    for name, dims in treatments.DIMS.items():
        if name in dataset.variables:
            check_dims(dataset[name], *dims)
    check_dims(dataset["response"], STEADY, COURSE)
    check_dims(dataset["node_kind"], ("node",))
    time_course = "time" in dataset["response"].dims
    if "time" in dataset.dims and not time_course:
        raise DataError(
            "the dataset has a dimension time and the response does not; remove it with "
            "dataset.drop_dims('time'), or give the response at every time."
        )
    if "sigma" in dataset.variables:
        check_dims(dataset["sigma"], COURSE if time_course else STEADY)
    check_not_empty(dataset["response"].sizes, "the dataset")
    check_not_empty(dataset["perturbation"].sizes, "the dataset")
    for name in ("condition", "node", "time") if time_course else ("condition", "node"):
        if name not in dataset.coords:
            raise DataError(
                f"the dimension {name} has no labels; add them with "
                f"dataset.assign_coords({name}=[...])."
            )
        check_dims(dataset[name], (name,))


def _checked_attrs(owner: str, attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Copy attributes, all of which must be of a type that a file gives back unchanged."""
    encode_attrs(attrs, owner)
    return {key: value for key, value in attrs.items() if key not in OWN_ATTRIBUTES}


def _check_extra(dataset: xr.Dataset, name: Hashable) -> None:
    """Raise if no file could keep a further variable; the time to say so is before the fit."""
    label = check_name(name, "the variable")
    if isinstance(dataset.indexes.get(name), pd.MultiIndex):
        raise DataError(
            f"the coordinate {label!r} is a MultiIndex, which a file does not keep; make its "
            f"levels plain coordinates with dataset.reset_index({label!r})."
        )
    variable = dataset[name].variable
    for dimension in variable.dims:
        check_name(dimension, "the dimension")
    encode(variable, label)


def _canonical(
    dataset: xr.Dataset,
    axes: dict[str, npt.NDArray[Any]],
    arrays: dict[str, npt.NDArray[Any]],
) -> xr.Dataset:
    data: dict[Hashable, Any] = {}
    coords: dict[Hashable, Any] = {}
    for name, values in {**axes, **arrays}.items():
        given = _checked_attrs(name, dataset[name].attrs)
        if name in ("phase_start", "drive_time") and (unit := common_unit(dataset)):
            given["units"] = unit
        variable = xr.Variable(_dims_of(dataset[name]), values, {**_ATTRIBUTES[name], **given})
        (coords if name in axes or name in _COORDINATES else data)[name] = variable
    for key, extra in dataset.variables.items():
        if key not in axes and key not in arrays:
            _check_extra(dataset, key)
            (coords if key in dataset.coords else data)[key] = extra.copy(deep=True)
    attrs = _checked_attrs("the dataset", dataset.attrs)
    attrs["schema_version"] = SCHEMA_VERSION
    scale = attrs.setdefault("transform", DEFAULT_TRANSFORM)
    if scale != DEFAULT_TRANSFORM and "long_name" not in dataset["response"].attrs:
        data["response"].attrs["long_name"] = f"response, {scale}"
    if not arrays["perturbation"].any() and "time" in axes:
        coords["time"].attrs.update({"long_name": "time", **dataset["time"].attrs})
    return xr.Dataset(data, coords, attrs)


def _dims_of(variable: xr.DataArray) -> tuple[str, ...]:
    return tuple(dimension for dimension in EVERY if dimension in variable.dims)
