"""Measurement noise, as replicates show it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.options import checked, flag, number
from pycellbox.data.replicates import twins_of
from pycellbox.data.schema import DATASET, validate
from pycellbox.errors import DataError


@checked(data=DATASET, by_time=flag(), floor=number(0))
def pooled_sigma(data: xr.Dataset, *, by_time: bool = False, floor: float = 0.1) -> xr.DataArray:
    """Estimate the measurement standard deviation of every node from replicates.

    Parameters
    ----------
    data : Dataset
        See `pycellbox.validate`. Replicates are conditions that ``replicate_of`` joins or that
        are treated alike.
    by_time : bool
        Whether each time of a time course has its own; by default a node has one for all times.
    floor : float
        Least standard deviation, as a share of the median over all nodes: one of few replicates
        may happen to be next to 0, and would have all the weight of a fit.

    Returns
    -------
    DataArray
        Dims as the response, of one value for every condition: √(Σ (y − mean of its replicates at
        that time)² / Σ (replicates − 1)), with sums over all groups of replicates. A time without
        replicates has the value of all times of the node, a node without any that of all nodes.

    Raises
    ------
    DataError
        The dataset is not valid, nothing was measured in two replicates, or all of them agree
        exactly.

    Examples
    --------
    >>> data["sigma"] = pcb.data.pooled_sigma(data)  # doctest: +SKIP
    """
    data = validate(data, part=True)
    response = data["response"]
    y = response.values.astype(np.float64)
    group = twins_of(data)
    squares, freedom = np.zeros(y.shape[1:]), np.zeros(y.shape[1:])
    for number_ in np.flatnonzero(np.bincount(group) > 1):
        mine = y[group == number_]
        count = (~np.isnan(mine)).sum(axis=0)
        mean = np.nansum(mine, axis=0) / np.maximum(count, 1)
        squares += np.nansum((mine - mean) ** 2, axis=0)
        freedom += np.maximum(count - 1, 0)
    if not squares.any():
        what = (
            "all replicates have exactly the same responses"
            if freedom.any()
            else "nothing was measured in two conditions that are replicates of each other"
        )
        raise DataError(
            f"{what}, so that there is no noise to estimate; say which conditions repeat which "
            "with replicate_of(condition), or give sigma as it is known."
        )
    everything: Any = tuple(range(squares.ndim))
    coarser = [everything[:0]] * by_time + [everything[:-1], everything]
    found = np.full_like(squares, np.nan)
    for axes in coarser:
        found = np.where(np.isnan(found), _mean_square(squares, freedom, axes), found)
    sigma = np.sqrt(found)
    sigma = np.maximum(sigma, floor * np.median(sigma[sigma > 0]))
    if not sigma.all():
        raise DataError(
            "some nodes have exactly the same responses in all replicates, which leaves them a "
            "standard deviation of 0; give a floor above 0."
        )
    return (
        response.copy(data=np.broadcast_to(sigma, y.shape).astype(response.dtype))
        .rename("sigma")
        .assign_attrs(long_name="measurement standard deviation of the response")
    )


def _mean_square(
    squares: npt.NDArray[Any], freedom: npt.NDArray[Any], axes: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Pool over some axes, which are kept; NaN where there are no replicates."""
    total, count = squares.sum(axis=axes, keepdims=True), freedom.sum(axis=axes, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
