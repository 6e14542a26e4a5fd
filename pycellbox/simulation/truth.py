"""The truth behind simulated data, carried in the dataset beside what an experimenter sees."""

from __future__ import annotations

import json

import xarray as xr

from pycellbox.common.options import checked
from pycellbox.common.texts import read_json
from pycellbox.data.schema import DATASET
from pycellbox.errors import DataError
from pycellbox.models import CellBox

_PREFIX = "true_"
_RESPONSE = "true_response"
_MODEL = "true_model"


def with_truth(
    data: xr.Dataset, model: CellBox, parameters: xr.Dataset, response: xr.DataArray
) -> xr.Dataset:
    """Add the model, its parameters and the response without error to a dataset."""
    named = {f"{_PREFIX}{name}": parameters[name] for name in ("W", *model.rates, *model.shifts)}
    data = data.assign({**named, _RESPONSE: response.variable})
    for name in (*named, _RESPONSE):
        long_name = "response without noise and gaps" if name == _RESPONSE else name[len(_PREFIX) :]
        data[name].attrs = {"long_name": f"true {long_name}"}
    data.attrs[_MODEL] = json.dumps(model.to_dict())
    return data


@checked(data=DATASET)
def truth(data: xr.Dataset) -> xr.Dataset:
    """Return the parameters that made a simulated dataset.

    Parameters
    ----------
    data : Dataset
        As `pycellbox.simulate` returns it, or a part of that, or read back from a file.

    Returns
    -------
    Dataset
        W (target, source) and the other parameters (node) of the model, as `pycellbox.solve` and
        `pycellbox.metrics.recovery` take them.

    Raises
    ------
    DataError
        The dataset carries no truth.

    Examples
    --------
    >>> metrics.recovery(fit.parameters["W"], truth(data)["W"])  # doctest: +SKIP
    """
    if "true_W" not in data:
        raise DataError(
            "the dataset has no variable 'true_W'; only one that pcb.simulate made has a truth."
        )
    named = {
        str(name).removeprefix(_PREFIX): array.variable
        for name, array in data.data_vars.items()
        if str(name).startswith(_PREFIX) and name != _RESPONSE
    }
    wanted = ("target", "source", "node", "node_kind")
    if missing := [name for name in wanted if name not in data.coords]:
        raise DataError(f"the dataset has no {', '.join(missing)}, which its truth needs.")
    coords = {name: data.coords[name] for name in wanted}
    return xr.Dataset(named, coords).copy(deep=True)


@checked(data=DATASET)
def true_model(data: xr.Dataset) -> CellBox:
    """Return the model that made a simulated dataset.

    Parameters
    ----------
    data : Dataset
        As for `truth`.

    Returns
    -------
    CellBox
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
    model: CellBox = CellBox.from_dict(read_json(data.attrs[_MODEL]))
    return model
