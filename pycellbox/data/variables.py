"""The variables of a dataset one by one: dims, labels and times, numbers, and what they may be."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted, listed
from pycellbox.common.options import as_text, did_you_mean
from pycellbox.data.cells import Labels, as_labels, as_numbers, cell_namer, check_unique, first_of
from pycellbox.data.dims import STEADY
from pycellbox.data.storable import check_text
from pycellbox.errors import DataError

NODE_KINDS = ("protein", "phenotype", "drug", "hidden")


def check_not_empty(sizes: Mapping[Any, int], owner: str) -> None:
    """Raise a `DataError` if a dimension has no entries."""
    for dimension, size in sizes.items():
        if size == 0:
            noun = "time points" if dimension == "time" else f"{dimension}s"
            raise DataError(f"{owner} is empty: it has 0 {noun}; at least one is needed.")


def check_dims(variable: xr.DataArray, *allowed: tuple[str, ...]) -> None:
    """Raise a `DataError` if a variable has none of these dims, in any order."""
    if any(set(variable.dims) == set(dims) for dims in allowed):
        return
    needed = " or ".join(_written(dims) for dims in allowed)
    raise DataError(
        f"{variable.name} has the dims {_written(variable.dims)}; it needs {needed}, in any "
        "order: rename the dims with dataset.rename({'old': 'new'})."
    )


def _written(dims: tuple[Hashable, ...]) -> str:
    return f"({', '.join(str(dim) for dim in dims)})"


def axes_of(dataset: xr.Dataset) -> dict[str, npt.NDArray[Any]]:
    """Check the labels of the response's dimensions; return them in canonical order."""
    axes: dict[str, npt.NDArray[Any]] = {}
    for dimension in STEADY:
        labels = as_labels(dataset[dimension].values, dimension, "the dataset")
        check_unique(labels, dimension, "the dataset")
        for label in labels.tolist():
            check_text(label, f"a {dimension} label")
        axes[dimension] = labels
    if "time" in dataset["response"].dims:
        times = _times(dataset["time"])
        axes = {"condition": axes["condition"], "time": times, "node": axes["node"]}
    return axes


def _times(time: xr.DataArray) -> npt.NDArray[np.float64]:
    if time.dtype.kind not in "iuf":
        raise DataError(
            f"time has dtype {time.dtype}, which is not numeric; give plain numbers, and their "
            "unit in the attribute units, e.g. dataset['time'].attrs['units'] = 'h'."
        )
    times = time.values.astype(np.float64)
    if not np.all(np.isfinite(times)):
        position = int(np.argmin(np.isfinite(times)))
        raise DataError(
            f"time point {position + 1} is {times[position]}; every time point needs a finite "
            "number."
        )
    if times[0] < 0:
        raise DataError(
            f"the first time point is negative ({times[0]:g}); time counts from the "
            "perturbation at 0."
        )
    backward = np.flatnonzero(np.diff(times) <= 0)
    if len(backward):
        i = int(backward[0])
        raise DataError(
            f"time is not strictly increasing: {times[i + 1]:g} follows {times[i]:g} at position "
            f"{i + 2}; sort it with dataset.sortby('time') and keep each time point once."
        )
    units = time.attrs.get("units")
    if not isinstance(units, str) or not units.strip():
        raise DataError(
            "time has no attribute units; say what it counts in, e.g. "
            "dataset['time'].attrs['units'] = 'h'."
        )
    return times


def array_of(variable: xr.DataArray, axes: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Copy a variable into a C-contiguous array of real numbers with canonical dims."""
    if "phase" in variable.dims:
        phases = np.arange(variable.sizes["phase"]) + 1
        axes = {"condition": axes["condition"], "phase": phases, "node": axes["node"]}
    dims = tuple(dimension for dimension in axes if dimension in variable.dims)
    values = variable.transpose(*dims).values
    if values.dtype.kind not in "biuf":
        # Names the first cell that is no number, if there is one.
        describe = cell_namer(
            str(variable.name), {dimension: axes[dimension] for dimension in dims}
        )
        as_numbers(np.asarray(values, dtype=object), describe)
        raise DataError(
            f"{variable.name} has dtype {variable.dtype}; it needs real numbers: convert it "
            "with .astype(float)."
        )
    dtype = np.float32 if values.dtype == np.float32 else np.float64
    return np.array(values, dtype=dtype, order="C", copy=True)


def node_kinds(node_kind: xr.DataArray, nodes: Labels) -> Labels:
    """Return the kind of each node as text; all must be known."""
    kinds = [as_text(kind) for kind in node_kind.values]
    for node, kind in zip(nodes, kinds, strict=True):
        if kind not in NODE_KINDS:
            hint = did_you_mean(kind, NODE_KINDS)
            raise DataError(
                f"node {str(node)!r} has the unknown node_kind {kind!r}{hint}; allowed are "
                f"{', '.join(NODE_KINDS)}."
            )
    return np.array(kinds, dtype=np.str_)


def check_perturbation(perturbation: npt.NDArray[Any], axes: dict[str, npt.NDArray[Any]]) -> None:
    """Raise a `DataError` if a perturbation, (condition[, phase], node), is not finite."""
    bad = ~np.isfinite(perturbation)
    if bad.any():
        if perturbation.ndim == 3:
            phases = np.arange(perturbation.shape[1]) + 1
            axes = {"condition": axes["condition"], "phase": phases, "node": axes["node"]}
        cell = first_of(bad, cell_namer("perturbation", axes))
        raise DataError(
            f"{cell} is NaN or infinite; every perturbation needs a finite number: write 0 where "
            "nothing was applied."
        )


def check_response(
    response: npt.NDArray[Any], axes: dict[str, npt.NDArray[Any]], kinds: Labels, part: bool
) -> None:
    """Raise a `DataError` if a response is infinite, or a node or condition has none."""
    infinite = np.isinf(response)
    if infinite.any():
        cell = first_of(infinite, cell_namer("response", axes))
        raise DataError(
            f"{cell} is infinite; write NaN where nothing was measured (a ratio with a zero in "
            "it has no finite logarithm)."
        )
    measured = ~np.isnan(response)
    hidden = measured & (kinds == "hidden")
    if hidden.any():
        raise DataError(
            f"{first_of(hidden, cell_namer('response', axes))} is measured, and the node is of "
            "kind 'hidden', which is never measured; write NaN there, or give the node another "
            "kind."
        )
    node_measured = measured.reshape(-1, response.shape[-1]).any(axis=0)
    unmeasured = axes["node"][~node_measured & ~np.isin(kinds, ("drug", "hidden"))]
    if len(unmeasured) and not part:
        raise DataError(
            f"the response of {counted(len(unmeasured), 'node')} is NaN in every condition: "
            f"{listed(unmeasured)}; leave such nodes out, or give them the node_kind 'drug' if "
            "they are drugs whose activity was not measured, or 'hidden' if the network is to "
            "have them all the same."
        )
    empty = axes["condition"][~measured.reshape(len(response), -1).any(axis=1)]
    if len(empty):
        raise DataError(
            f"{counted(len(empty), 'condition')} without a single measured response: "
            f"{listed(empty)}; leave them out, and predict them after the fit."
        )


def check_sigma(
    sigma: npt.NDArray[Any], response: npt.NDArray[Any], axes: dict[str, npt.NDArray[Any]]
) -> None:
    """Raise a `DataError` if a standard deviation is not positive where something is measured."""
    # Where nothing was measured sigma is never read, so that it may be anything there.
    bad = ~np.isnan(response) & ~((sigma > 0) & np.isfinite(sigma))
    if bad.any():
        index = tuple(np.argwhere(bad)[0])
        cell = first_of(bad, cell_namer("sigma", axes))
        raise DataError(
            f"{cell} is {sigma[index]:g}, and the response is measured there; a standard "
            "deviation needs a finite number above 0."
        )
