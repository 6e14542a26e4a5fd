"""Predictions that go far beyond what was fitted."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pycellbox.data.phases import phases_of
from pycellbox.errors import DataWarning, warn
from pycellbox.problem import perturbation_array

# Times the largest fitted dose: the saturation that was fitted says little of what lies beyond.
_FAR = 3.0


def doubt_extrapolation(perturbation: xr.DataArray, data: xr.Dataset) -> None:
    """Warn of doses far from those of a fit.

    Parameters
    ----------
    perturbation : DataArray (condition[, phase], node)
        What is to be predicted.
    data : Dataset
        The data of the fit, with the coordinate ``role``.

    Raises
    ------
    DataError
        ``perturbation`` lacks a node of the fit or has others, or a value is not finite.

    Warns
    -----
    DataWarning
        A dose is more than three times the largest that was fitted for its node, is one of a drug
        with a sign that none of them has, or its node was never dosed in the fit.
    """
    nodes = [str(node) for node in data["node"].values]
    if "phase" in perturbation.dims:
        count = perturbation.sizes["phase"]
        each = [perturbation.isel(phase=i, drop=True) for i in range(count)]
    else:
        each = [perturbation]
    rows = [perturbation_array(one, nodes, np.float64) for one in each]
    conditions = [label for labels, _ in rows for label in labels]
    u = np.concatenate([doses for _, doses in rows])
    fitted = phases_of(data.isel(condition=data["role"].values == "train")).doses
    high, low = fitted.max(axis=0, initial=0), fitted.min(axis=0, initial=0)
    # What a drug does is fitted; a perturbation of another node is u itself, of either sign.
    direct = data["node_kind"].values != "drug"
    high[direct] = np.maximum(high, -low)[direct]
    low[direct] = -high[direct]
    # Doses of a table are often rounded.
    far = (u > _FAR * high * (1 + 1e-6)) | (u < _FAR * low * (1 + 1e-6))
    if not far.any():
        return
    with np.errstate(divide="ignore", invalid="ignore"):  # of some no dose was fitted
        times = np.where(far, np.abs(u / np.where(u > 0, high, low)), 0.0)
    row, column = np.unravel_index(int(times.argmax()), times.shape)
    doses = fitted[:, column]
    doses = doses[doses != 0]
    others = int(np.count_nonzero(far)) - 1
    warn(
        f"predicted far outside of what was fitted: condition {conditions[row]!r} has node "
        f"{nodes[column]!r} at {u[row, column]:g}, and the fit knows it "
        + (f"from {doses.min():g} to {doses.max():g}" if doses.size else "not dosed at all")
        + (f" (and {others} more such dose{'s' if others > 1 else ''})" if others else "")
        + "; check the unit and the sign of the doses, or fit conditions that have such doses.",
        DataWarning,
    )
