"""The conclusion of a fit: its conditions predicted, that verified, and all put together."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pycellbox._version import __version__
from pycellbox.backends import Backend
from pycellbox.inputs import inputs_of_data
from pycellbox.models import Structure
from pycellbox.models.structure import LEVEL
from pycellbox.problem import Parameters, stored_parameters
from pycellbox.recipe import Recipe
from pycellbox.result import FORMAT, FORMAT_VERSION, Fit, last_horizon
from pycellbox.solving import states_of
from pycellbox.times import time_grid
from pycellbox.unseen import turned, unseen_signs, with_signs
from pycellbox.verification import verify


def conclusion(
    recipe: Recipe,
    *,
    structure: Structure,
    parameters: Parameters,
    history: xr.Dataset,
    data: xr.Dataset,
    backend: Backend,
    provenance: Mapping[str, Any],
    starts: xr.Dataset | None = None,
) -> Fit:
    """Predict the fitted conditions, hold that to the equation, and make a `Fit` of it all.

    Parameters
    ----------
    recipe : Recipe
        Resolved.
    structure : Structure
        Of its model, over the nodes of the data.
    parameters : dict of ndarray
        Effective, in the recipe's precision.
    history, data : Dataset
        What `Fit` has under these names.
    backend : Backend
        Which predicts; kept as the fit's own.
    provenance : mapping
        How the fit went, as plain values.
    starts : Dataset, optional
        How each start ended, where there were several.
    """
    solver, horizon = recipe.solver, last_horizon(recipe, history)
    assert solver is not None
    labelled = stored_parameters(structure, parameters)
    steady = horizon is not None
    grid = time_grid(horizon, None if steady else data["time"].values)
    inputs = inputs_of_data(data, structure, np.float64)
    if structure.levels:
        inputs = inputs.at(parameters[LEVEL])
    structure, parameters = structure.plain, {k: v for k, v in parameters.items() if k != LEVEL}
    inputs, sign = turned(inputs, structure, unseen_signs(provenance))
    predicted = states_of(
        structure, parameters, inputs.astype(recipe.dtype), grid, steady, solver=solver,
        backend=backend,
    )  # fmt: skip
    verified = verify(
        predicted, structure, parameters, inputs, grid, solver=solver, backend=backend
    )
    predicted = with_signs(predicted, sign)
    tree = xr.DataTree.from_dict(
        {
            "parameters": labelled,
            "history": history,
            # The bare values: a DataArray would bring all other coordinates of the data along.
            "predictions": predicted.assign_coords(
                role=("condition", data["role"].values)
            ).to_dataset(),
            "data": data,
            **({} if starts is None else {"starts": starts}),
        }
    )
    by = {"backend": backend.name, "versions": versions(backend)}
    tree.attrs = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pycellbox_version": __version__,
        "recipe": json.dumps(recipe.to_dict()),
        "provenance": json.dumps({**provenance, **by, **verified}),
    }
    return Fit(tree)


def versions(backend: Backend) -> dict[str, str]:
    """Versions of what computed a result."""
    return {
        "pycellbox": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "xarray": xr.__version__,
        "backend": backend.version(),
    }
