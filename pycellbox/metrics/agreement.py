"""How well predictions agree with measurements.

An entry whose measurement is NaN was not measured and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, overload

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox.common.options import checked, choice, instance, optional
from pycellbox.data.given import real_numbers
from pycellbox.errors import DataError, OptionError
from pycellbox.metrics.labels import Bools, Floats, aligned, pearson_rows

By = Literal["node", "condition"]
"""Of what there is a score each: see `pearson`."""

_BY = checked(by=optional(choice("node", "condition")))


@overload
def pearson(predicted: xr.DataArray, observed: xr.DataArray, by: None = None) -> float: ...
@overload
def pearson(predicted: xr.DataArray, observed: xr.DataArray, by: By) -> xr.DataArray: ...
@_BY
def pearson(
    predicted: xr.DataArray, observed: xr.DataArray, by: By | None = None
) -> float | xr.DataArray:
    """Pearson correlation of predicted and observed values.

    Parameters
    ----------
    predicted, observed : DataArray (condition[, time], node)
        With the same labels, in any order; NaN in ``observed`` is left out.
    by : {None, "node", "condition"}
        None pools all entries; otherwise one value for each node or condition.

    Returns
    -------
    float, or DataArray (``by``)
        NaN where fewer than two entries were measured, or where either side is constant.

    Raises
    ------
    DataError
        Labels or dims differ, or ``predicted`` is NaN or infinite at a measured entry.
    """
    return _apply(pearson_rows, predicted, observed, by)


@overload
def mse(predicted: xr.DataArray, observed: xr.DataArray, by: None = None) -> float: ...
@overload
def mse(predicted: xr.DataArray, observed: xr.DataArray, by: By) -> xr.DataArray: ...
@_BY
def mse(
    predicted: xr.DataArray, observed: xr.DataArray, by: By | None = None
) -> float | xr.DataArray:
    """Mean squared error, in squared units of the response.

    Parameters
    ----------
    predicted, observed : DataArray (condition[, time], node)
        As for `pearson`.
    by : {None, "node", "condition"}
        As for `pearson`.

    Returns
    -------
    float, or DataArray (``by``)
        NaN where nothing was measured.

    Raises
    ------
    DataError
        As for `pearson`.
    """
    return _apply(lambda p, o, m: _mean_rows((p - o) ** 2, m), predicted, observed, by)


@overload
def mae(predicted: xr.DataArray, observed: xr.DataArray, by: None = None) -> float: ...
@overload
def mae(predicted: xr.DataArray, observed: xr.DataArray, by: By) -> xr.DataArray: ...
@_BY
def mae(
    predicted: xr.DataArray, observed: xr.DataArray, by: By | None = None
) -> float | xr.DataArray:
    """Mean absolute error, in units of the response.

    Parameters
    ----------
    predicted, observed : DataArray (condition[, time], node)
        As for `pearson`.
    by : {None, "node", "condition"}
        As for `pearson`.

    Returns
    -------
    float, or DataArray (``by``)
        NaN where nothing was measured.

    Raises
    ------
    DataError
        As for `pearson`.
    """
    return _apply(lambda p, o, m: _mean_rows(np.abs(p - o), m), predicted, observed, by)


@overload
def unexplained(predicted: xr.DataArray, observed: xr.DataArray, by: None = None) -> float: ...
@overload
def unexplained(predicted: xr.DataArray, observed: xr.DataArray, by: By) -> xr.DataArray: ...
@_BY
def unexplained(
    predicted: xr.DataArray, observed: xr.DataArray, by: By | None = None
) -> float | xr.DataArray:
    """Mean squared error as a fraction of the variance of what was observed, which is 1 − R².

    Parameters
    ----------
    predicted, observed : DataArray (condition[, time], node)
        As for `pearson`.
    by : {None, "node", "condition"}
        As for `pearson`; the variance is then that of each node or condition.

    Returns
    -------
    float, or DataArray (``by``)
        0 where predictions are exact, 1 where they are no better than the mean of what was
        observed, more where they are worse; NaN where that is constant or nothing was measured.

    Raises
    ------
    DataError
        As for `pearson`.
    """

    def rows(p: Floats, o: Floats, measured: Bools) -> Floats:
        mean = _mean_rows(o, measured)[:, None]
        variance = _mean_rows((o - mean) ** 2, measured)
        # Of equal values the mean is rounded, and so they seem to vary.
        variance[variance <= (1e-14 * mean[:, 0]) ** 2] = np.nan
        return _mean_rows((p - o) ** 2, measured) / variance

    return _apply(rows, predicted, observed, by)


@checked(predictions=instance(Mapping, "a mapping of names to predictions"))
def compare(predictions: Mapping[str, xr.DataArray], observed: xr.DataArray) -> pd.DataFrame:
    """Score several predictions of the same measurements, side by side.

    Parameters
    ----------
    predictions : mapping of str to DataArray (condition[, time], node)
        Model name to prediction.
    observed : DataArray (condition[, time], node)
        The measurements.

    Returns
    -------
    DataFrame
        A row for each model, in the order given. Columns: ``pearson`` and ``mse`` over all
        entries; ``pearson_by_node`` and ``pearson_by_condition``, the means over those nodes and
        conditions whose correlation is defined.

    Raises
    ------
    DataError
        As for `pearson`; the message names the model.
    """
    rows = {}
    for name, predicted in predictions.items():
        try:
            rows[name] = {
                "pearson": pearson(predicted, observed),
                "mse": mse(predicted, observed),
                "pearson_by_node": _mean_defined(pearson(predicted, observed, by="node")),
                "pearson_by_condition": _mean_defined(pearson(predicted, observed, by="condition")),
            }
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
    columns = ["pearson", "mse", "pearson_by_node", "pearson_by_condition"]
    table: pd.DataFrame = pd.DataFrame(list(rows.values()), columns=columns)
    table.index = pd.Index(list(rows), name="model")
    return table


def _apply(
    score: Callable[[Floats, Floats, Bools], Floats],
    predicted: xr.DataArray,
    observed: xr.DataArray,
    by: str | None,
) -> float | xr.DataArray:
    """Align, lay out as (group, entries), and score each row."""
    p, o = aligned(predicted, observed, "predicted", "observed")
    if by is not None and by not in o.dims:
        raise OptionError(f"by={by!r} is no dim of the arrays, which have {o.dims}.")
    if by is not None:
        p, o = p.transpose(by, ...), o.transpose(by, ...)
    shape = (1 if by is None else o.sizes[by], -1)
    ov = real_numbers(o, "observed").astype(np.float64)
    pv = real_numbers(p, "predicted").astype(np.float64)
    measured = ~np.isnan(ov)
    if np.isinf(ov).any():
        raise DataError("observed holds infinity; write NaN where nothing was measured.")
    bad = np.argwhere(measured & ~np.isfinite(pv))
    if len(bad):
        at = ", ".join(f"{d} {o.indexes[d][i]!r}" for d, i in zip(o.dims, bad[0], strict=True))
        raise DataError(f"predicted is not finite at {len(bad)} measured entries, first at {at}.")
    if ov.size == 0:
        values = np.full(shape[0], np.nan)
    else:
        values = score(pv.reshape(shape), ov.reshape(shape), measured.reshape(shape))
    if by is None:
        return float(values[0])
    coords = {name: c for name, c in o.coords.items() if c.dims == (by,)}
    return xr.DataArray(values, dims=(by,), coords=coords)


def _mean_rows(error: Floats, measured: Bools) -> Floats:
    count = measured.sum(axis=1)
    total: Floats = np.where(measured, error, 0.0).sum(axis=1)
    result = np.full(len(total), np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


def _mean_defined(scores: xr.DataArray) -> float:
    values = scores.values[~np.isnan(scores.values)]
    return float(values.mean()) if values.size else float("nan")
