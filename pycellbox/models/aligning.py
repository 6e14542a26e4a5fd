"""Labelled arrays brought into the order of the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along, listed
from pycellbox.data.cells import as_numbers, cell_namer
from pycellbox.errors import DataError, ModelError

Array = npt.NDArray[Any]


def aligned(name: str, array: xr.DataArray, labels: Mapping[str, Sequence[str]]) -> Array:
    """Values of an array along dims, in the order of the labels of each.

    Raises
    ------
    ModelError
        Dims, labels or values do not fit; the message names ``name``.
    """
    dims = tuple(labels)
    if set(array.dims) != set(dims):
        raise ModelError(f"{name} has dims {array.dims}; it needs {dims}.")
    values = array.values.transpose([array.dims.index(dim) for dim in dims])
    for axis, (dim, nodes) in enumerate(labels.items()):
        if dim not in array.coords:
            raise ModelError(f"{name} has no labels along {dim!r}.")
        given = labels_along(array, dim)
        if given == list(nodes):
            continue
        try:
            same_labels(f"{name} ({dim})", given, nodes)
        except DataError as error:
            raise ModelError(str(error)) from None
        position = {label: i for i, label in enumerate(given)}
        values = values.take([position[n] for n in nodes], axis)
    try:
        return as_numbers(
            values, cell_namer(name, {dim: np.asarray(each) for dim, each in labels.items()})
        )
    except DataError as error:
        raise ModelError(str(error)) from None


def same_labels(what: str, given: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse node labels that are not the wanted ones, each once.

    Raises
    ------
    DataError
    """
    doubled = (
        sorted({g for g in given if given.count(g) > 1}) if len(set(given)) < len(given) else []
    )
    absent = [n for n in wanted if n not in set(given)]
    extra = [g for g in given if g not in set(wanted)]
    for problem, labels in (("repeats", doubled), ("lacks", absent), ("does not know", extra)):
        if labels:
            subject = "the model" if problem == "does not know" else what
            place = f" of {what}" if problem == "does not know" else ""
            raise DataError(f"{subject} {problem} the node(s) {listed(labels)}{place}.")
