"""Responses on another scale than they were measured on, and back."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked, choice, instance, optional
from pycellbox.data.cells import cell_namer
from pycellbox.data.schema import DATASET, validate
from pycellbox.errors import DataError

Array: TypeAlias = npt.NDArray[Any]
Transform: TypeAlias = Literal["log", "log-center"]

TRANSFORMS: tuple[Transform, ...] = ("log", "log-center")
CENTER = "transform_center"
"""Coordinate with what was subtracted from the logarithms of each node; NaN: none were taken."""
_LEVELS = ("response", "held", "initial_state")


@checked(data=DATASET, transform=choice(*TRANSFORMS))
def transformed(data: xr.Dataset, transform: Transform) -> xr.Dataset:
    """Return data on a logarithmic scale, which remember how to go back.

    Parameters
    ----------
    data : Dataset
        With responses as measured, above 0: concentrations, counts, pelts.
    transform : {"log", "log-center"}
        Natural logarithms; with "log-center" minus their mean over all that was measured.

    Returns
    -------
    Dataset
        With ``response``, ``held``, ``initial_state`` and ``sigma`` (that of the logarithm to first
        order, sigma/response) transformed for all nodes that were measured, the attribute
        ``transform``, and a coordinate ``transform_center`` (node), by which `as_measured` and
        ``fit.predict(..., scale="measured")`` go back.

    Raises
    ------
    DataError
        Something that was measured is not above 0, or the data are on such a scale already.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> pelts = pcb.datasets.lynx_hare()
    >>> float(pcb.data.transformed(pelts, "log-center")["response"].mean().round(12)) + 0
    0.0
    """
    data = validate(data, part=True)
    if center_of(data) is not None:
        raise DataError(
            f"the data are transformed already ({data.attrs['transform']}); pcb.data.as_measured "
            "goes back."
        )
    measured = data["response"].notnull().any([d for d in data["response"].dims if d != "node"])
    shift = 0.0
    if transform == "log-center":
        shift = float(_logs("response", data["response"].where(measured)).mean())
    return _in_logs(data, np.where(measured, shift, np.nan), transform)


@checked(
    given=instance(xr.Dataset | xr.DataArray, "a dataset, or an array with the dim node"),
    data=optional(DATASET),
)
def as_measured(
    given: xr.Dataset | xr.DataArray, data: xr.Dataset | None = None
) -> xr.Dataset | xr.DataArray:
    """Return data, or predictions, on the scale on which they were measured.

    Parameters
    ----------
    given : Dataset or DataArray
        Data as `transformed` and `pycellbox.read_courses` give them; or predictions of such.
    data : Dataset, optional
        Of predictions, the data: ``fit.data``.

    Returns
    -------
    Dataset or DataArray
        What was not transformed stays as it is.

    Raises
    ------
    DataError
        Of an array, and no data given.

    Examples
    --------
    >>> pcb.data.as_measured(fit.predictions, fit.data)  # doctest: +SKIP
    """
    if isinstance(given, xr.DataArray):
        if data is None:
            raise DataError("as_measured of an array needs data=, which says how it was made.")
        center = center_of(data)
        return given if center is None else _back(given, center)
    center = center_of(given)
    if center is None:
        return given
    found = given.copy().drop_vars(CENTER)
    for name in [name for name in (*_LEVELS, "true_response") if name in given.variables]:
        found[name] = _back(given[name], center).variable
    if "sigma" in given:
        sigma = given["sigma"].drop_vars(CENTER)
        scaled = (sigma * found["response"]).where(center.notnull(), sigma)
        found["sigma"] = scaled.assign_attrs(sigma.attrs)
    found.attrs["transform"] = found.attrs.pop("measured_as", "as measured")
    return validate(found, part=True)


def center_of(data: xr.Dataset) -> xr.DataArray | None:
    """Return what was subtracted from the logarithms of each node, or None."""
    how = data.attrs.get("transform")
    if how not in TRANSFORMS or CENTER not in data.coords:
        return None
    return xr.DataArray(data[CENTER].values, {"node": labels_along(data, "node")}, ("node",))


def in_scale_of(data: xr.Dataset, own: xr.Dataset) -> xr.Dataset:
    """Return data on the scale of others; nodes that these do not have stay as measured.

    Raises
    ------
    DataError
        They cannot be on that scale, or are on one and the others are as measured.
    """
    wanted, given = center_of(own), center_of(data)
    if wanted is None and given is None:
        return data
    if wanted is None:
        raise DataError(
            f"they are transformed ({data.attrs['transform']}), and the data of the fit are not: "
            "pcb.data.as_measured goes back."
        )
    if given is not None:
        if given.sizes == wanted.sizes and wanted.equals(given.reindex(node=wanted["node"])):
            return data
        back = as_measured(data)
        assert isinstance(back, xr.Dataset)
        data = back
    center = wanted.reindex(node=labels_along(data, "node")).values
    return _in_logs(data, center, own.attrs["transform"])


def _in_logs(data: xr.Dataset, center: Array, transform: str) -> xr.Dataset:
    """Take the logarithms of nodes that have a center, (n,), and subtract it."""
    shift = xr.DataArray(center, {"node": data["node"].values}, ("node",))
    known = shift.notnull()
    found = data.copy()
    for name in [name for name in _LEVELS if name in data.variables]:
        moved = _logs(name, data[name].where(known)) - shift
        found[name] = moved.where(known, data[name]).assign_attrs(data[name].attrs)
    if "sigma" in data:
        sigma = (data["sigma"] / data["response"]).where(known, data["sigma"])
        found["sigma"] = sigma.assign_attrs(data["sigma"].attrs)
    found["response"].attrs.pop("long_name", None)
    said = {"measured_as": data.attrs["transform"], "transform": transform}
    return validate(found.assign_coords({CENTER: ("node", center)}).assign_attrs(said), part=True)


def _back(values: xr.DataArray, center: xr.DataArray) -> xr.DataArray:
    shift = center.reindex(node=labels_along(values, "node")).values
    last = values.transpose(..., "node")
    back = np.where(np.isnan(shift), last.values, np.exp(last.values + shift))
    attrs = {k: v for k, v in values.attrs.items() if k != "long_name"}
    return last.copy(data=back).transpose(*values.dims).assign_attrs(attrs)


def _logs(name: str, values: xr.DataArray) -> xr.DataArray:
    """Return logarithms; what has none is refused by its place."""
    bad = np.argwhere(values.values <= 0)
    if len(bad):
        axes = {str(d): values[d].values for d in values.dims}
        describe = cell_namer(name, axes)
        said = "; ".join(f"{describe(tuple(at))} is {values.values[tuple(at)]:g}" for at in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError(
            f"what has a logarithm is above 0: {said}{more}; leave such cells empty, add what the "
            "assay can detect at least, or take no transform."
        )
    return values.copy(data=np.log(values.values))
