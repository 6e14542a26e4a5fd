"""What a dataset says of treatment beyond constant doses: phases, held nodes, initial states.

`validate` calls these; each gives what the canonical form has of a variable, or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import label_text
from pycellbox.common.options import did_you_mean, shown
from pycellbox.data.cells import as_numbers, cell_namer, first_of, is_missing
from pycellbox.data.dims import STEADY
from pycellbox.data.storable import check_text
from pycellbox.data.units import in_common_unit
from pycellbox.errors import DataError, DataWarning, warn

Array: TypeAlias = npt.NDArray[Any]
Axes: TypeAlias = Mapping[str, Array]

DIMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "phase_start": (("phase",), ("condition", "phase")),
    "held": (STEADY,),
    "held_fitted": (STEADY,),
    "initial_state": (STEADY,),
    "initial_fitted": (STEADY,),
    "replicate_of": (("condition",),),
    "subject": (("condition",),),
    "group": (("node",),),
    "drive": (("condition", "drive_time", "input"),),
}
"""Variables of schema 2 that may be absent, and the dims that each may have."""
COORDINATES = ("phase_start", "replicate_of", "subject", "group")
"""Those of them that are coordinates; the others are variables."""
_ASKED = {"held_fitted": "held", "initial_fitted": "initial_state"}


def check_names(dataset: xr.Dataset) -> None:
    """Refuse what lacks what it goes with; point at names that are nearly known."""
    phased = "phase" in dataset["perturbation"].dims
    given = "phase_start" in dataset.variables
    if phased and not given:
        near = [name for name in dataset.variables if did_you_mean(name, ["phase_start"])]
        hint = f" ({near[0]!r} is not read; rename it)" if near else ""
        raise DataError(
            f"perturbation has a dim phase, and the dataset has no phase_start{hint}; say when "
            "each phase starts, in the unit of time, e.g. with dataset.assign_coords("
            "phase_start=('phase', [-np.inf, 0, 10], {'units': 'min'})); -inf first is a "
            "pre-treatment that has settled."
        )
    if given and not phased:
        raise DataError(
            "the dataset has a phase_start, and perturbation has no dim phase; give the inputs of "
            "every phase, perturbation(condition, phase, node), or remove it with "
            "dataset.drop_vars('phase_start')."
        )
    known = {name: dims for name, dims in DIMS.items() if name not in dataset.variables}
    for name, variable in dataset.variables.items():
        fits = [k for k, dims in known.items() if set(variable.dims) in [set(d) for d in dims]]
        if name not in DIMS and _is_near(name, fits):
            warn(
                f"the variable {name!r} means nothing to pycellbox, and is kept as it is"
                f"{did_you_mean(name, fits)}: "
                "rename it with dataset.rename({'old': 'new'}).",
                DataWarning,
            )


def _is_near(name: object, known: list[str]) -> bool:
    """Whether a name is a known one but for a letter at its end, capitals or underscores."""
    plain = str(name).lower().replace("_", "").rstrip("s")
    return any(plain == one.replace("_", "").rstrip("s") for one in known)


def phase_starts(dataset: xr.Dataset, axes: Axes) -> Array:
    """Return when each phase starts, ([condition,] phase), float64, in the unit of time."""
    variable = dataset["phase_start"]
    dims = tuple(d for d in ("condition", "phase") if d in variable.dims)
    values = variable.transpose(*dims).values
    if values.dtype.kind not in "biuf":
        values = np.asarray(values, dtype=object)
    names: Axes = {**axes, "phase": np.arange(variable.sizes["phase"]) + 1}
    describe = cell_namer("phase_start", {d: names[d] for d in dims})
    starts = np.array(as_numbers(values, describe), dtype=np.float64, order="C")
    _check_starts(starts, describe)
    counts = (np.isfinite(starts) & (starts != 0)).any()
    return in_common_unit(dataset, "phase_start", starts, counts)


def _check_starts(starts: Array, describe: Any) -> None:
    missing = np.isnan(starts)
    if starts.ndim == 1 and missing.any():
        raise DataError(
            f"{first_of(missing, describe)} is NaN; every phase needs a start, and a condition "
            "that has fewer phases than others a phase_start(condition, phase) of its own, NaN "
            "for the last ones."
        )
    if missing[..., :1].any():
        raise DataError(
            f"{first_of(missing & (np.arange(starts.shape[-1]) == 0), describe)} is NaN; every "
            "condition needs at least one phase, and NaN only for phases after its last."
        )
    gap = missing.copy()
    gap[..., 1:] = missing[..., :-1] & ~missing[..., 1:]
    gap[..., 0] = False
    if gap.any():
        raise DataError(
            f"{first_of(gap, describe)} follows a phase without a start; NaN is for phases after "
            "the last of a condition: move its starts, and its perturbation, to the front."
        )
    wrong = (starts == np.inf) | (
        (starts == -np.inf) & (np.broadcast_to(np.arange(starts.shape[-1]), starts.shape) > 0)
    )
    if wrong.any():
        raise DataError(
            f"{first_of(wrong, describe)} is infinite; a phase starts at a finite time, or the "
            "first at -inf, if it is a pre-treatment that has settled."
        )
    with np.errstate(invalid="ignore"):  # inf - inf has been refused
        backward = np.zeros(starts.shape, dtype=bool)
        backward[..., 1:] = np.diff(starts, axis=-1) <= 0
    if backward.any():
        index = tuple(np.argwhere(backward)[0])
        before = starts[(*index[:-1], index[-1] - 1)]
        raise DataError(
            f"{first_of(backward, describe)} is {starts[index]:g}, and the phase before starts at "
            f"{before:g}; starts increase from phase to phase: put the phases in order of time."
        )
    late = np.zeros(starts.shape, dtype=bool)
    late[..., 0] = starts[..., 0] > 0
    if late.any():
        index = tuple(np.argwhere(late)[0])
        raise DataError(
            f"{first_of(late, describe)} is {starts[index]:g}; time counts from 0, so that the "
            "first phase starts at 0 or before: add one with perturbation 0 that starts at 0, or "
            "at -inf if the state has settled by then."
        )


def without_phases_that_are_not(perturbation: Array, starts: Array) -> Array:
    """Set to 0 the perturbation, (condition, phase, node), of phases that a condition has not."""
    absent = np.broadcast_to(np.isnan(starts), perturbation.shape[:2])
    perturbation[absent] = 0
    return perturbation


def check_levels(name: str, levels: Array, dataset: xr.Dataset, axes: Axes) -> None:
    """Raise a `DataError` if a level, (condition, node), is infinite, or a mask in its place."""
    if dataset[name].dtype.kind == "b":
        raise DataError(
            f"{name} holds True and False; it needs numbers: NaN for nodes that are free, and for "
            f"the others the level, e.g. xr.where(dataset[{name!r}], -4.0, np.nan)."
        )
    bad = np.isinf(levels)
    if bad.any():
        meaning = {
            "held": "NaN where the node is free, and a number where it is held (a knock-out of a "
            "log-ratio to the control is a low one, such as -4)",
            "initial_state": "NaN where the model's own start is meant, else a number",
        }
        cell = first_of(bad, cell_namer(name, dict(axes)))
        raise DataError(f"{cell} is infinite; write {meaning[name]}.")


def flags(dataset: xr.Dataset, name: str, axes: Axes) -> npt.NDArray[np.bool_]:
    """Return a variable of True and False, (condition, node); a missing cell is False."""
    if name == "held_fitted" and "held" not in dataset.variables:
        raise DataError(
            "the dataset has held_fitted, and no held: held(condition, node) says which nodes are "
            "held, and from which level the fit starts; add it, or remove held_fitted."
        )
    values = dataset[name].transpose(*STEADY).values
    if values.dtype.kind != "b":
        numbers = as_numbers(np.asarray(values, dtype=object), cell_namer(name, dict(axes)))
        wrong = ~np.isin(numbers, (0, 1)) & ~np.isnan(numbers)
        if wrong.any():
            cell = first_of(wrong, cell_namer(name, dict(axes)))
            raise DataError(
                f"{cell} is {numbers[tuple(np.argwhere(wrong)[0])]:g}; it needs True where the "
                f"level is fitted and False where {_ASKED[name]} gives it."
            )
        values = numbers == 1
    return np.array(values, dtype=np.bool_, order="C", copy=True)


def check_fitted(arrays: Mapping[str, Array], starts: Array | None, axes: Axes) -> None:
    """Raise a `DataError` if something is to be fitted that is not there to be."""
    shape = tuple(len(labels) for labels in axes.values())
    held = ~np.isnan(arrays["held"]) if "held" in arrays else np.zeros(shape, dtype=np.bool_)
    if "held_fitted" in arrays:
        free = arrays["held_fitted"] & ~held
        if free.any():
            raise DataError(
                f"{first_of(free, cell_namer('held_fitted', dict(axes)))} is True, and the node is "
                "not held there; give held a number there, from which the fit of the level "
                "starts, or set held_fitted to False."
            )
    if "initial_fitted" in arrays and starts is not None:
        settled = np.broadcast_to(starts[..., 0] == -np.inf, len(arrays["perturbation"]))
        given = arrays["initial_fitted"] & settled[:, None] & ~held
        if given.any():
            raise DataError(
                f"{first_of(given, cell_namer('initial_fitted', dict(axes)))} is True, and the "
                "condition is pre-treated since -inf: its state at 0 is the steady state of that "
                "phase, so that there is none to fit. Set initial_fitted to False, or let the "
                "first phase start at a finite time."
            )


def texts(variable: xr.DataArray, labels: Array) -> npt.NDArray[np.str_]:
    """Return a variable of labels as text, '' where there is none."""
    found = []
    for cell, label in zip(variable.values.tolist(), labels.tolist(), strict=True):
        if is_missing(cell):
            found.append("")
            continue
        if not isinstance(cell, str | int | float) or isinstance(cell, bool):
            raise DataError(
                f"{variable.name} of {variable.dims[0]} {label!r} is {shown(cell)}; it needs a "
                "text, and '' where there is none."
            )
        text = label_text(cell).strip()
        check_text(text, f"{variable.name} of {variable.dims[0]} {label!r}")
        found.append(text)
    return np.array(found, dtype=np.str_)
