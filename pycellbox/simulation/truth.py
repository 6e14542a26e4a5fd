"""The truth behind simulated data, carried in the dataset beside what an experimenter sees."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked
from pycellbox.common.texts import read_json
from pycellbox.data.hidden import with_nodes
from pycellbox.data.schema import DATASET
from pycellbox.errors import DataError
from pycellbox.models import Model
from pycellbox.models.model import model_from_dict, model_to_dict
from pycellbox.problem import structure_over

_PREFIX = "true_"
_RESPONSE = "true_response"
_MODEL = "true_model"


def with_truth(
    data: xr.Dataset, model: Model, parameters: xr.Dataset, response: xr.DataArray
) -> xr.Dataset:
    """Add the model, its parameters and the response without error to a dataset."""
    named = {}
    for name, along in _names(data, model).items():
        values = parameters[name]
        if along == "subject":  # which is a coordinate of the conditions already
            labels = xr.DataArray(data["subject"].values.astype(str), dims="condition")
            values = values.sel(subject=labels).drop_vars("subject")
        named[f"{_PREFIX}{name}"] = values
    data = data.assign({**named, _RESPONSE: response.variable})
    for name in (*named, _RESPONSE):
        long_name = "response without noise and gaps" if name == _RESPONSE else name[len(_PREFIX) :]
        data[name].attrs = {"long_name": f"true {long_name}"}
    data.attrs[_MODEL] = json.dumps(model_to_dict(model))
    return data


@checked(data=DATASET)
def truth(data: xr.Dataset) -> xr.Dataset:
    """Return the parameters that made a simulated dataset.

    Parameters
    ----------
    data : Dataset
        As `pycellbox.simulate` or `pycellbox.simulation.courses` returns it, or a part of that, or
        read back from a file.

    Returns
    -------
    Dataset
        The parameters of the model, such as W (target, source), as `pycellbox.solve` and
        `pycellbox.metrics.recovery` take them.

    Raises
    ------
    DataError
        The dataset carries no truth.

    Examples
    --------
    >>> metrics.recovery(fit.parameters["W"], truth(data)["W"])  # doctest: +SKIP
    """
    names = {"W": ""}
    if _MODEL in data.attrs:
        model = true_model(data)
        data = with_nodes(data, model.own_nodes)
        names = _names(data, model)
    if lacking := [name for name in names if f"{_PREFIX}{name}" not in data]:
        raise DataError(
            f"the dataset has no variable '{_PREFIX}{lacking[0]}'; only one that pcb.simulate or "
            "pcb.simulation.courses made has a truth."
        )
    named = {
        str(name).removeprefix(_PREFIX): array.variable
        for name, array in data.data_vars.items()
        if str(name).startswith(_PREFIX) and name != _RESPONSE
    }
    for name in [name for name, along in names.items() if along == "subject"]:
        first = np.unique(data["subject"].values, return_index=True)[1]
        values = named[name].isel(condition=np.sort(first))
        data = data.assign_coords(subject=("subject", data["subject"].values[np.sort(first)]))
        named[name] = xr.Variable(("subject", *values.dims[1:]), values.values, values.attrs)
    dims = [str(dim) for variable in named.values() for dim in variable.dims]
    wanted = list(dict.fromkeys([*dims, "node", "node_kind"]))
    if missing := [name for name in wanted if name not in data.coords]:
        raise DataError(f"the dataset has no {', '.join(missing)}, which its truth needs.")
    coords = {name: data.coords[name] for name in wanted}
    return xr.Dataset(named, coords).copy(deep=True)


@checked(data=DATASET)
def true_model(data: xr.Dataset) -> Model:
    """Return the model that made a simulated dataset.

    Parameters
    ----------
    data : Dataset
        As for `truth`.

    Returns
    -------
    Model
        The equation that was solved.

    Raises
    ------
    DataError
        The dataset carries no truth.
    """
    if _MODEL not in data.attrs:
        raise DataError(
            f"the dataset has no attribute {_MODEL!r}; only one that pcb.simulate made has a truth."
        )
    model: Model = model_from_dict(read_json(data.attrs[_MODEL]))
    return model


def _names(data: xr.Dataset, model: Model) -> dict[str, str]:
    """Names of the parameters of a model over the nodes of data, and by what each differs."""
    whole = with_nodes(data, model.own_nodes)
    nodes, kinds = labels_along(whole, "node"), whole["node_kind"].values
    layout = structure_over(model, nodes, kinds, data, data).layout
    return {p.name: p.along for p in layout.parameters}
