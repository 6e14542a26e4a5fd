"""From a fit and what it predicts to intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.inputs import Inputs
from pycellbox.intervals.screens import of_screen
from pycellbox.intervals.spreads import Spreads
from pycellbox.models import Structure
from pycellbox.problem import Array, Problem


def of_estimate(
    data: xr.Dataset,
    estimate: Mapping[str, Any],
    structure: Structure,
    inputs: Inputs,
    predictions: xr.DataArray,
    predicted: xr.DataArray,
    sigma: Array | None,
    robust: bool,
) -> Spreads:
    """Spreads of an estimated fit.

    Parameters
    ----------
    data : Dataset
        The conditions that were fitted.
    estimate : mapping
        Of the fit's provenance.
    structure : Structure
    inputs : Inputs
        Of the conditions that are predicted.
    predictions, predicted : DataArray, (condition, node)
        For the conditions of the fit, and those that are asked for.
    sigma : ndarray, (c, n), optional
        Of the measurements that are predicted, NaN where it is not known: that of the fit's.
    robust : bool
    """
    problem = Problem.from_dataset(data, structure, 1.0)
    drugs = structure.is_drug
    classes = data["group"].values[drugs].astype(str) if "group" in data.variables else None
    weights = np.ones(predicted.shape)
    if sigma is not None and "sigma" in data:
        own = problem.weight[:, -1] ** 2
        mean = own.sum(axis=0) / np.maximum((own > 0).sum(axis=0), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.nan_to_num(1 / (sigma**2 * mean), nan=1.0, posinf=1.0)
    return of_screen(
        problem,
        {"strengths": estimate["strengths"], "phenotypes": estimate.get("phenotypes", {})},
        classes,
        robust,
        predictions.values - data["response"].fillna(0).values,
        inputs.perturbation[:, drugs].astype(np.float64),
        predicted.values.astype(np.float64),
        weights,
    )


def labelled(predicted: xr.DataArray, spreads: Spreads, share: float) -> xr.Dataset:
    """Return predictions with their intervals and standard deviations."""
    half = spreads.half(share)
    calibrated = [spreads.calibrations[k].said for k in np.unique(spreads.which)]
    like = predicted.drop_attrs()
    found = xr.Dataset(
        {
            "response": predicted,
            "lower": like - half,
            "upper": like + half,
            "sd": like.copy(data=spreads.total),
            "sd_state": like.copy(data=spreads.state),
        },
        attrs={"interval": share, "calibrated_by": "; ".join(calibrated)},
    )
    names = {
        "lower": f"lower end of the interval that is to hold {share:.0%} of new measurements",
        "upper": f"upper end of the interval that is to hold {share:.0%} of new measurements",
        "sd": "standard deviation of a new measurement",
        "sd_state": "standard deviation of the response itself, without that of measuring it",
    }
    for name, long_name in names.items():
        found[name].attrs = {**predicted.attrs, "long_name": long_name}
    return found
