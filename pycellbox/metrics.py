"""How well predictions agree with measurements, and fitted networks with true ones.

Arrays are matched by label, never by position. An entry whose measurement is NaN was not measured
and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.errors import DataError

__all__ = ["compare", "format_table", "mae", "mse", "pearson", "recovery"]

By = Literal["node", "condition"]
_Floats: TypeAlias = npt.NDArray[np.float64]
_HEADERS = {
    "pearson": "Pearson",
    "mse": "MSE",
    "pearson_by_node": "Pearson by node",
    "pearson_by_condition": "Pearson by condition",
}


@overload
def pearson(predicted: xr.DataArray, observed: xr.DataArray, by: None = None) -> float: ...
@overload
def pearson(predicted: xr.DataArray, observed: xr.DataArray, by: By) -> xr.DataArray: ...
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
    return _apply(_pearson_rows, predicted, observed, by)


@overload
def mse(predicted: xr.DataArray, observed: xr.DataArray, by: None = None) -> float: ...
@overload
def mse(predicted: xr.DataArray, observed: xr.DataArray, by: By) -> xr.DataArray: ...
def mse(
    predicted: xr.DataArray, observed: xr.DataArray, by: By | None = None
) -> float | xr.DataArray:
    """Mean squared error, in squared units of the response; arguments as for `pearson`.

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
def mae(
    predicted: xr.DataArray, observed: xr.DataArray, by: By | None = None
) -> float | xr.DataArray:
    """Mean absolute error, in units of the response; arguments as for `pearson`.

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


def format_table(table: pd.DataFrame, *, title: str | None = None) -> str:
    """Write a table of scores as aligned plain text.

    Parameters
    ----------
    table : DataFrame
        Such as `compare` returns; other columns are shown too.
    title : str, optional
        A line above the table.

    Returns
    -------
    str
        Without a final newline. Correlations have three decimals; other numbers have four, or an
        exponent where four would hide them; an undefined value is "-".
    """
    labels = [str(table.index.name or ""), *(str(label) for label in table.index)]
    columns = [
        [_HEADERS.get(str(name), str(name)), *_cells(str(name), table.iloc[:, i])]
        for i, name in enumerate(table.columns)
    ]
    padded = [_justified(labels, str.ljust), *(_justified(c, str.rjust) for c in columns)]
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines if title is None else [title, *lines])


def recovery(
    W: xr.DataArray, truth: xr.DataArray, *, mask: xr.DataArray | None = None
) -> dict[str, float]:
    """How well a fitted network recovers a known one.

    Parameters
    ----------
    W, truth : DataArray (target, source)
        Fitted and true interactions, with the same labels in any order.
    mask : DataArray of bool (target, source), optional
        True where an edge may exist (`pycellbox.networks.Network.mask`); entries that the model
        holds at zero would flatter the fit. Without it all off-diagonal entries count.

    Returns
    -------
    dict
        ``pearson``: correlation of fitted and true weights over the free off-diagonal entries
        (NaN when either is constant there). ``sign_accuracy``: the fraction of true edges whose
        fitted weight has the true sign, zero being wrong (NaN when there is no true edge).

    Raises
    ------
    DataError
        Dims or labels differ.
    """
    if set(truth.dims) != {"target", "source"}:
        raise DataError(f"truth has dims {truth.dims}; it needs ('target', 'source').")
    fitted, true = _aligned(W, truth.transpose("target", "source"), "W", "truth")
    free = true["target"].values[:, None] != true["source"].values[None, :]
    if mask is not None:
        free &= _aligned(mask, true, "mask", "truth")[0].values.astype(bool)
    f = np.asarray(fitted.values, dtype=np.float64)
    t = np.asarray(true.values, dtype=np.float64)
    edges = free & (t != 0)
    correct = np.sign(f[edges]) == np.sign(t[edges])
    return {
        "pearson": float(_pearson_rows(f.reshape(1, -1), t.reshape(1, -1), free.reshape(1, -1))[0]),
        "sign_accuracy": float(correct.mean()) if correct.size else float("nan"),
    }


def _apply(
    score: Callable[[_Floats, _Floats, npt.NDArray[np.bool_]], _Floats],
    predicted: xr.DataArray,
    observed: xr.DataArray,
    by: str | None,
) -> float | xr.DataArray:
    """Align, lay out as (group, entries), and score each row."""
    p, o = _aligned(predicted, observed, "predicted", "observed")
    if by is not None and (by not in ("node", "condition") or by not in o.dims):
        raise DataError(f'by={by!r}; use None, "node" or "condition", a dim of the arrays.')
    if by is not None:
        p, o = p.transpose(by, ...), o.transpose(by, ...)
    shape = (1 if by is None else o.sizes[by], -1)
    ov = np.asarray(o.values, dtype=np.float64)
    pv = np.asarray(p.values, dtype=np.float64)
    measured = ~np.isnan(ov)
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


def _aligned(
    left: xr.DataArray, right: xr.DataArray, left_name: str, right_name: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Bring ``left`` into the order of ``right``; they must have the same dims and labels."""
    for array, name in ((left, left_name), (right, right_name)):
        if not isinstance(array, xr.DataArray):
            raise DataError(f"{name} is a {type(array).__name__}; it needs a labelled DataArray.")
    if set(left.dims) != set(right.dims):
        raise DataError(
            f"{left_name} has dims {left.dims} and {right_name} has {right.dims}; they must agree."
        )
    for dim in right.dims:
        if dim not in left.indexes or dim not in right.indexes:
            raise DataError(f"{left_name} and {right_name} need labels along {dim!r}.")
        a, b = left.indexes[dim], right.indexes[dim]
        if not (a.is_unique and b.is_unique):
            raise DataError(f"labels along {dim!r} are not unique.")
        odd = a.symmetric_difference(b, sort=False)
        if len(odd):
            owner, other = (left_name, right_name) if odd[0] in a else (right_name, left_name)
            raise DataError(
                f"{left_name} and {right_name} differ in {len(odd)} label(s) along {dim!r}: "
                f"{odd[0]!r} is in {owner} but not in {other}."
            )
    order = {dim: right.indexes[dim] for dim in right.dims}
    return left.sel(order).transpose(*right.dims), right


def _pearson_rows(p: _Floats, o: _Floats, measured: npt.NDArray[np.bool_]) -> _Floats:
    result = np.full(len(o), np.nan)
    for i, m in enumerate(measured):
        a, b = p[i, m], o[i, m]
        # A constant is told by its range: rounding in the mean leaves a spurious variance.
        if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            continue
        # Scaled to unit norm before the product, so that tiny or huge values do not overflow.
        a, b = a - a.mean(), b - b.mean()
        r = (a / np.linalg.norm(a)) @ (b / np.linalg.norm(b))
        result[i] = np.clip(r, -1.0, 1.0)
    return result


def _mean_rows(error: _Floats, measured: npt.NDArray[np.bool_]) -> _Floats:
    count = measured.sum(axis=1)
    total: _Floats = np.where(measured, error, 0.0).sum(axis=1)
    result = np.full(len(total), np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


def _mean_defined(scores: xr.DataArray) -> float:
    values = scores.values[~np.isnan(scores.values)]
    return float(values.mean()) if values.size else float("nan")


def _cells(name: str, column: pd.Series[Any]) -> list[str]:
    values: list[Any] = list(column)
    numbers = [abs(float(v)) for v in values if isinstance(v, float | np.floating) and v]
    numbers = [v for v in numbers if v < np.inf]  # not NaN, not infinite
    style = ".3f" if "pearson" in name.lower() else ".4f"
    if numbers and style == ".4f" and (min(numbers) < 1e-3 or max(numbers) >= 1e5):
        style = ".3e"
    return [
        ("-" if v != v else format(v, style)) if isinstance(v, float | np.floating) else str(v)
        for v in values
    ]


def _justified(cells: list[str], justify: Callable[[str, int], str]) -> list[str]:
    width = max(map(len, cells))
    return [justify(cell, width) for cell in cells]
