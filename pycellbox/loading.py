"""`load`: a fit out of a file, if all of it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.files import PATH
from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked
from pycellbox.common.texts import read_json
from pycellbox.data import validate
from pycellbox.data.container import read_datasets
from pycellbox.ending import Ending
from pycellbox.ensembles.result import FORMAT as FORMAT_OF_ENSEMBLES
from pycellbox.ensembles.result import Ensemble
from pycellbox.errors import ResultFileError
from pycellbox.problem import levelled, parameter_arrays, structure_of
from pycellbox.result import FORMAT, FORMAT_VERSION, GROUPS, Fit
from pycellbox.supported import support_in
from pycellbox.times import time_grid

_HISTORY = ("objective", "loss", "validation_loss", "gradient_norm", "learning_rate", "stage")
_ENDINGS = [ending.value for ending in Ending]
# What other parts of the package read of the provenance, and the kind of each.
_TOLD: dict[str, type | tuple[type, ...]] = {
    "ending": str, "status": str, "backend": str, "seconds": (int, float), "steps_retried": int,
    "versions": dict,
}  # fmt: skip


@checked(path=PATH)
def load(path: str | Path) -> Any:
    """Read a fit written by `Fit.save`, or an ensemble by `Ensemble.save`, with the same bits.

    Parameters
    ----------
    path : str or Path
        Of the file.

    Returns
    -------
    Fit or Ensemble
        As it was saved.

    Raises
    ------
    ResultFileError
        The file is missing, damaged, not a pycellbox fit, or from a newer version.
    """
    groups = read_datasets(path)
    attrs = groups.get("", xr.Dataset()).attrs
    ensemble = attrs.get("format") == FORMAT_OF_ENSEMBLES and "members" in groups
    if attrs.get("format") != FORMAT and not ensemble:
        raise ResultFileError(
            f"{path} is a NetCDF file, but not one that Fit.save wrote; datasets are read with "
            "pcb.open_data."
        )
    try:
        version = int(attrs.get("format_version", 0))
        if version > FORMAT_VERSION:
            raise ResultFileError(
                f"{path} has format version {version}, this pycellbox reads up to "
                f"{FORMAT_VERSION}; it was written by pycellbox "
                f"{attrs.get('pycellbox_version', '?')}: upgrade."
            )
        missing = [name for name in GROUPS if name not in groups]
        if missing:
            raise ResultFileError(f"{path} lacks the group(s) {', '.join(missing)}: it is damaged.")
        if version == 1:
            _to_version_2(groups)
        members = groups.pop("members") if ensemble else None
        attrs["format"] = FORMAT
        fit = Fit(xr.DataTree.from_dict(groups))
        _check_whole(fit)
        return fit if members is None else Ensemble(fit, members)
    except ResultFileError:
        raise
    except Exception as error:  # whatever else than a fit can be in a file
        said = " ".join(str(error).split())[:200]
        raise ResultFileError(f"{path} is damaged: {type(error).__name__}: {said}") from error


def _to_version_2(groups: dict[str, xr.Dataset]) -> None:
    """Turn what version 1 kept into what version 2 does: a recipe, in place of its parts."""
    attrs, history = groups[""].attrs, groups["history"]
    last = read_json(attrs.pop("horizon"))
    told = read_json(attrs["provenance"], constants=True)
    recipe = {name: told.pop(name) for name in ("loss", "penalty", "schedule", "seed", "dtype")}
    recipe |= {name: read_json(attrs.pop(name)) for name in ("model", "solver")}
    # That of the result is the last stage's; the fit's own was not always kept, nor was a course.
    recipe["horizon"] = told.pop("horizon", last)
    if last is not None and "horizon" not in history:
        history["horizon"] = ("iteration", np.full(history.sizes["iteration"], last))
    # Its first word; that of a blow-up was "stopped".
    word = str(told["status"]).split()[0]
    told["ending"] = word if word in _ENDINGS else Ending.DIVERGED.value
    for stage in recipe["schedule"]:
        if "optimiser" in stage:
            stage["optimizer"] = stage.pop("optimiser")
    attrs |= {"recipe": json.dumps(recipe), "provenance": json.dumps(told), "format_version": 2}


def _check_whole(fit: Fit) -> None:
    """Raise if something that a fit is made of is missing or cannot be."""
    data = validate(fit.data)
    parameters, history, told = fit.parameters, fit.history, fit.provenance
    nodes = labels_along(data, "node")
    if "node_kind" not in parameters.coords:
        raise ValueError("the parameters have no node_kind")
    if labels_along(parameters, "node") != nodes:
        raise ValueError("parameters and data have other nodes")
    structure = levelled(structure_of(data, fit.model), parameters)
    if any(parameters[name].dtype.kind != "f" for name in structure.layout.places):
        raise ValueError("a parameter is no number")
    parameter_arrays(structure, parameters, fit.recipe.dtype)
    if fit.predictions.dims != data["response"].dims or fit.predictions.dtype.kind != "f":
        raise ValueError("the predictions have other dims than the response")
    if not set(data["role"].values) <= {"train", "validation"}:
        raise ValueError("a role is neither train nor validation")
    for name in _HISTORY:
        if history[name].dims != ("iteration",) or history[name].dtype.kind not in "if":
            raise ValueError(f"the history of {name} is no row of numbers")
    if (fit.horizon is None) != ("time" in data.dims):
        raise ValueError("the horizon does not go with the data")
    if fit.horizon is not None:
        time_grid(fit.horizon)
    for name, kind in _TOLD.items():
        if not isinstance(told[name], kind):
            raise ValueError(f"provenance has {name} = {told[name]!r:.60}")
    support_in(told)
    if told["ending"] not in _ENDINGS:
        raise ValueError(f"the ending {told['ending']!r:.60} is unknown")
