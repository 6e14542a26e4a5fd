"""Nodes that a model has and data do not: hidden ones, never measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.labels import labels_along

_NOTHING: dict[str, Any] = {
    "perturbation": 0.0, "node_kind": "hidden", "held_fitted": False, "initial_fitted": False,
    "group": "",
}  # fmt: skip
_OTHERS = {"f": np.nan, "b": False, "U": "", "i": 0, "u": 0}


def with_nodes(given: Any, nodes: Sequence[str]) -> Any:
    """Return data, or perturbations, with hidden nodes for those that they do not have.

    Parameters
    ----------
    given : Dataset or DataArray
        Doses, where it is an array.
    nodes : sequence of str
        What there needs to be.
    """
    if not nodes or "node" not in given.indexes:
        return given
    labels = labels_along(given, "node")
    lacking = [node for node in nodes if node not in labels]
    if not lacking:
        return given
    whole = given
    if isinstance(given, xr.DataArray):
        whole = given.to_dataset(name="perturbation")
    of_nodes = {name: v for name, v in whole.variables.items() if "node" in v.dims}
    kept = {
        name: _NOTHING.get(str(name), _OTHERS.get(v.dtype.kind)) for name, v in of_nodes.items()
    }
    fill = {name: value for name, value in kept.items() if value is not None and name != "node"}
    whole = whole.assign_coords(node=labels).reindex(node=[*labels, *lacking], fill_value=fill)
    return whole["perturbation"].rename(given.name) if isinstance(given, xr.DataArray) else whole
