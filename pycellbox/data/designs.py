"""Designs: what is done to conditions, with or without what was measured."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pycellbox.common.options import instance
from pycellbox.data.dims import STEADY
from pycellbox.data.given import as_array
from pycellbox.data.schema import validate
from pycellbox.errors import DataError

DESIGN = instance(
    xr.DataArray | xr.Dataset,
    "a dataset, or the doses as a DataArray (condition, node), such as "
    "pcb.simulation.perturbations lays out",
)


def as_design(given: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Return perturbations, with or without responses, as a dataset in canonical form.

    Parameters
    ----------
    given : Dataset or DataArray
        A dataset, valid but for a response or kinds of nodes that it may lack; or doses alone,
        (condition, node) or, with a ``phase_start``, (condition, phase, node).

    Returns
    -------
    Dataset
        As `validate` returns it; without ``response`` if there was none.

    Raises
    ------
    DataError
        See `validate`.
    """
    if isinstance(given, xr.DataArray):
        if "phase" not in given.dims:
            given = as_array(given, "perturbation", *STEADY)
        given = given.to_dataset(name="perturbation")
    if "perturbation" not in given.variables:
        raise DataError("the dataset has no variable 'perturbation'.")
    kinds = given.get("node_kind")
    if "response" in given.variables and kinds is not None:
        return validate(given, part=True)
    for dim in ("condition", "node"):
        if dim not in given.indexes:
            raise DataError(f"perturbation has no labels along its dim {dim}; give it some.")
    shape = tuple(given.sizes[dim] for dim in ("condition", "node"))
    # Of drugs and of parts nothing needs to be measured; a condition needs one entry.
    stand_in = {"response": (("condition", "node"), np.zeros(shape))}
    of_kind = {"node_kind": ("node", ["drug"] * shape[1])}
    checked = validate(given.assign(stand_in).assign_coords(of_kind), part=True)
    checked = checked.drop_vars(["response", "node_kind"])
    return checked if kinds is None else checked.assign_coords(node_kind=kinds)
