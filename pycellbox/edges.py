"""Interactions as a table: between which nodes, how strong, and how far their estimates spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.errors import ModelError

EDGE_KINDS = ("drug → node", "node → node", "node → phenotype")
"""Kinds of interactions, by the nodes between which they are."""
_Array = npt.NDArray[Any]


def edge_kinds(node_kind: _Array) -> _Array:
    """Return which of `EDGE_KINDS` each interaction is, (target, source)."""
    n = len(node_kind)
    kinds: _Array = np.full((n, n), "node → node", dtype=object)
    kinds[node_kind == "phenotype"] = "node → phenotype"
    kinds[:, node_kind == "drug"] = "drug → node"
    return kinds


def is_network(parameters: xr.Dataset) -> bool:
    """Whether parameters are those of a network, whose W is labelled by its nodes."""
    return "W" in parameters and set(parameters["W"].dims) == {"target", "source"}


def check_edges(parameters: xr.Dataset) -> None:
    """Refuse parameters that are not those of a network.

    Raises
    ------
    ModelError
    """
    if not is_network(parameters):
        raise ModelError("edges are those of a network, and the model has no W.")


def edge_table(
    parameters: xr.Dataset, lower: _Array, upper: _Array, sd: _Array, **more: _Array
) -> pd.DataFrame:
    """Return a row for each interaction that is not 0, the strongest first.

    Parameters
    ----------
    parameters : Dataset
        Of a network.
    lower, upper, sd : ndarray, (target, source)
        Ends of intervals, and standard deviations; an interaction that has one above 0 has a row
        too.
    **more : ndarray, (target, source)
        Further columns.
    """
    W = parameters["W"].transpose("target", "source").values
    names, kinds = parameters["node"].values, edge_kinds(parameters["node_kind"].values)
    i, j = np.nonzero((W != 0) | (sd > 0))
    table = pd.DataFrame(
        {
            "source": names[j], "target": names[i], "kind": kinds[i, j], "weight": W[i, j],
            "sign": np.sign(W[i, j]).astype(np.int64), "lower": lower[i, j],
            "upper": upper[i, j], "sd": sd[i, j],
            **{name: values[i, j] for name, values in more.items()},
        }
    )  # fmt: skip
    order = table["weight"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)
