"""What pictures read from labelled arrays: matrices in one order, kinds, names, units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import metrics
from pycellbox.common.labels import labels_along
from pycellbox.common.options import shown
from pycellbox.data.cells import as_labels
from pycellbox.data.given import real_numbers
from pycellbox.errors import DataError
from pycellbox.result import Fit

_LARGEST = 1e300  # of an interaction: axes and colors need room for differences
Interactions: TypeAlias = Fit | xr.DataArray


def interactions_of(fit: Interactions) -> xr.DataArray:
    """Return W (target, source), finite, of a fit or as given."""
    W = fit.parameters["W"] if isinstance(fit, Fit) else fit
    if not isinstance(W, xr.DataArray) or set(W.dims) != {"target", "source"}:
        dims = f" with the dims {W.dims}" if isinstance(W, xr.DataArray) else ""
        raise DataError(
            "interactions are needed as a Fit or as a DataArray with the dims (target, source), "
            f"such as fit.parameters['W']; a {type(W).__name__}{dims} was given."
        )
    matrix: xr.DataArray = W.transpose("target", "source")
    bad = np.argwhere(~(np.abs(real_numbers(matrix, "W")) <= _LARGEST))
    if len(bad):
        target, source = (matrix[d].values[i] for d, i in zip(matrix.dims, bad[0], strict=True))
        raise DataError(
            f"{len(bad)} interaction(s) are beyond {_LARGEST:g}, NaN or infinite, the first that "
            f"of {str(source)!r} on {str(target)!r}; write 0 where there is none."
        )
    return matrix


def like(array: xr.DataArray, W: xr.DataArray) -> xr.DataArray:
    """Put another matrix of interactions into the order of W."""
    metrics.recovery(W, array)  # names what does not fit
    order = {dim: labels_along(array, dim) for dim in ("target", "source")}
    places = {dim: [order[dim].index(name) for name in labels_along(W, dim)] for dim in order}
    ordered: xr.DataArray = array.isel(places).transpose("target", "source")
    return ordered


def free_entries(W: xr.DataArray, mask: xr.DataArray | None) -> npt.NDArray[np.bool_]:
    """Return where an edge may exist, bool (target, source) in the order of W."""
    free: npt.NDArray[np.bool_] = W["target"].values[:, None] != W["source"].values[None, :]
    if mask is not None:
        free &= like(mask, W).values.astype(bool)
    return free


def kinds_along_node(*arrays: xr.DataArray) -> npt.NDArray[np.str_]:
    """Return the kind of every node, from the first array that says."""
    for array in arrays:
        if "node_kind" in array.coords:
            return np.asarray(array["node_kind"].values, dtype=np.str_)
    return np.full(arrays[0].sizes["node"], "protein")


def short(label: str, longest: int = 22) -> str:
    """Cut a long label in the middle, as both its ends tell it from others."""
    if len(label) <= longest:
        return label
    head = longest // 2
    return f"{label[:head]}…{label[len(label) - (longest - head - 1) :]}"


def with_unit(text: str, attrs: dict[Any, Any]) -> str:
    """Add the unit that the attributes give, unless the quantity has none."""
    unit = str(attrs.get("units", "")).strip()
    return text if unit in ("", "1") else f"{text} ({unit})"


def response_label(response: xr.DataArray) -> str:
    """Return the name of the response and what it is relative to, short enough for an axis."""
    quantity = str(response.attrs.get("long_name", "response"))
    if "," not in quantity:  # a name without its unit
        quantity += ", " + str(response.attrs.get("description", "log-ratio to the control"))
    return quantity.replace("the unperturbed control", "the control")


def chosen(wanted: Sequence[str] | str | None, array: xr.DataArray, dim: str) -> list[str]:
    """Return the labels asked for along a dim, all of which must exist."""
    known = labels_along(array, dim)
    if wanted is None:
        return known
    names = as_labels([wanted] if isinstance(wanted, str) else wanted, dim, f"{dim}s").tolist()
    strange = [name for name in names if name not in known]
    if strange or not names:
        raise DataError(
            f"{dim}s={shown(names)}: "
            + (f"there is no {dim} {strange[0]!r}" if strange else f"no {dim} is left")
            + f"; choose from {', '.join(known[:5])}{', …' if known[5:] else ''}."
        )
    return list(dict.fromkeys(names))
