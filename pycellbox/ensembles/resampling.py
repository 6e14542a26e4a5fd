"""Data drawn again from data, as if the experiment had been made once more."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.data.replicates import twins_of

Resample = Literal["conditions", "residuals"]


def drawn(data: xr.Dataset, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw as many groups of replicates as there are, with replacement: numbers of conditions."""
    groups = twins_of(data)
    names = np.unique(groups)
    chosen = rng.choice(names, names.size)
    return np.concatenate([np.flatnonzero(groups == one) for one in chosen])


def of_conditions(data: xr.Dataset, rows: npt.NDArray[np.intp]) -> xr.Dataset:
    """Return conditions, some of them several times, under labels of their own."""
    labels, seen = labels_along(data, "condition"), dict[str, int]()
    own = []
    for row in rows:
        label = labels[row]
        seen[label] = seen.get(label, 0) + 1
        while (name := label if seen[label] == 1 else f"{label} ({seen[label]})") in own:
            seen[label] += 1
        own.append(name)
    return data.isel(condition=rows).assign_coords(condition=own)


def of_residuals(
    data: xr.Dataset, predictions: xr.DataArray, rng: np.random.Generator
) -> xr.Dataset:
    """Return data with responses that are predictions plus residuals, drawn within each node.

    With standard deviations, residuals are drawn in units of these.
    """
    sigma = data["sigma"] if "sigma" in data else xr.ones_like(predictions)
    residuals = ((data["response"] - predictions) / sigma).transpose(*data["response"].dims)
    values = residuals.values.copy()
    for node in range(values.shape[-1]):
        measured = ~np.isnan(values[..., node])
        some = values[..., node][measured]
        if some.size:
            centered = some - some.mean()
            values[..., node][measured] = rng.choice(centered, some.size)
    response = predictions + residuals.copy(data=values) * sigma
    return data.assign(response=response.transpose(*data["response"].dims))
