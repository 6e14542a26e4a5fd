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
from pycellbox.models import prior_mask
from pycellbox.recipe import Recipe
from pycellbox.result import FORMAT, FORMAT_VERSION, Fit, last_horizon
from pycellbox.solving import nodes_of, solve
from pycellbox.verification import verify


def conclusion(
    recipe: Recipe,
    *,
    parameters: xr.Dataset,
    history: xr.Dataset,
    data: xr.Dataset,
    backend: str,
    provenance: Mapping[str, Any],
) -> Fit:
    """Predict the fitted conditions, hold that to the equation, and make a `Fit` of it all.

    Parameters
    ----------
    recipe : Recipe
        Resolved.
    parameters, history, data : Dataset
        What `Fit` has under these names.
    backend : str
        Which predicts; kept as the fit's own.
    provenance : mapping
        How the fit went, as plain values.
    """
    model, solver, horizon = recipe.model, recipe.solver, last_horizon(recipe, history)
    assert solver is not None
    if model.mask is not None:
        mask = prior_mask(model.mask, nodes_of(parameters))
        parameters = parameters.assign(mask=(("target", "source"), mask))
    asked: dict[str, Any] = {
        "horizon": horizon,
        "times": None if horizon is not None else data["time"].values,
        "backend": backend,
        "dtype": recipe.dtype,
    }
    network = (model, parameters, data["perturbation"])
    predicted = solve(*network, solver=solver, **asked)
    verified = verify(predicted, *network, solver=solver, **asked)
    tree = xr.DataTree.from_dict(
        {
            "parameters": parameters,
            "history": history,
            # The bare values: a DataArray would bring all other coordinates of the data along.
            "predictions": predicted.assign_coords(
                role=("condition", data["role"].values)
            ).to_dataset(),
            "data": data,
        }
    )
    tree.attrs = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pycellbox_version": __version__,
        "recipe": json.dumps(recipe.to_dict()),
        "provenance": json.dumps({**provenance, "backend": backend, **verified}),
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
