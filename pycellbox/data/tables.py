"""Tables in memory, labelled or with labels beside them, made into one checked dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.data.cells import (
    as_labels,
    as_numbers,
    cell_namer,
    check_unique,
    counted,
    listed,
)
from pycellbox.data.kinds import NodeKind, resolve_node_kinds
from pycellbox.data.schema import COURSE, STEADY, check_not_empty, validate
from pycellbox.errors import DataError

Table: TypeAlias = pd.DataFrame | xr.DataArray | npt.NDArray[Any] | Sequence[Any]


def from_tables(
    perturbation: Table,
    response: Table,
    sigma: Table | None = None,
    node_kind: NodeKind = None,
    time: Sequence[float] | npt.NDArray[Any] | None = None,
    *,
    conditions: Sequence[Any] | None = None,
    nodes: Sequence[Any] | None = None,
    time_units: str = "h",
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a checked dataset from tables of perturbations and responses.

    Parameters
    ----------
    perturbation : DataFrame, DataArray or array, shape (condition, node)
        Perturbations, dimensionless, finite; 0 where nothing was applied.
    response : DataFrame, DataArray or array, shape (condition, node) or (condition, time, node)
        Log-ratio to the unperturbed control, NaN where not measured. A DataFrame with a
        (condition, time) MultiIndex is a time course; what it leaves out counts as not
        measured.
    sigma : as ``response``, optional
        Standard deviation of the response, in its unit, positive wherever it is measured.
    node_kind : mapping, Series, DataArray or sequence, optional
        ``{node: kind}``; or one kind for each node in node order; or ``{kind: count}`` in node
        order; or ``{kind: [nodes]}``. Kinds are ``protein``, ``phenotype`` and ``drug``. By
        default the coordinate ``node_kind`` of a DataArray that has one, else all are proteins.
    time : sequence of float, optional
        Time points of a plain (condition, time, node) array. Labelled tables have their own.
    conditions, nodes : sequence of str, optional
        Labels of plain arrays, which need both. Labelled tables have their own.
    time_units : str
        Unit of time of a time course. A DataArray whose ``time`` has the attribute ``units``
        keeps that.
    attrs : mapping, optional
        Provenance to keep with the dataset, text and numbers. ``transform`` says how the
        response was made, by default ``"log-ratio to unperturbed control"``.

    Returns
    -------
    xarray.Dataset
        As described by `validate`, in float64. Tables are aligned by label: conditions and
        nodes come in the order of ``perturbation``.

    Raises
    ------
    DataError
        A table breaks the schema, or a label is in one table and not in another. The message
        names what, where, and how to mend it.

    Examples
    --------
    >>> import pandas as pd
    >>> u = pd.DataFrame({"MEK": [0.0, 0.0], "aMEK": [0.0, -1.1]}, index=["control", "aMEK"])
    >>> x = pd.DataFrame({"MEK": [0.0, -0.6], "aMEK": [0.0, -1.0]}, index=["control", "aMEK"])
    >>> dict(from_tables(u, x, node_kind={"MEK": "protein", "aMEK": "drug"}).sizes)
    {'condition': 2, 'node': 2}
    """
    given: dict[str, Table] = {"perturbation": perturbation, "response": response}
    if sigma is not None:
        given["sigma"] = sigma
    beside = _Beside(conditions, nodes, time)
    beside.check_use(given)
    tables = {name: _labelled(table, name, beside) for name, table in given.items()}
    _check_table_dims(tables)

    first = tables["perturbation"]
    aligned = {name: _aligned(table, name, first) for name, table in tables.items()}
    if "sigma" in aligned and "time" in aligned["response"].dims:
        aligned["sigma"] = _aligned_in_time(aligned["sigma"], aligned["response"])
    if node_kind is None:
        node_kind = _carried_kinds(given)
    kinds = resolve_node_kinds(node_kind, first["node"].values)

    dataset = xr.Dataset(aligned, attrs=dict(attrs or {}))
    dataset = dataset.assign_coords(node_kind=("node", kinds))
    if "time" in dataset.dims:
        dataset["time"].attrs.setdefault("units", time_units)
    return validate(dataset)


@dataclass(frozen=True)
class _Beside:
    """Labels given beside the tables, for those that have none of their own."""

    conditions: Sequence[Any] | None
    nodes: Sequence[Any] | None
    time: Sequence[float] | npt.NDArray[Any] | None

    def check_use(self, tables: Mapping[str, Table]) -> None:
        """Raise a `DataError` if labels are given that no table would use, or are missing."""
        plain = [name for name, table in tables.items() if not _has_labels(table)]
        for name, labels in (("conditions", self.conditions), ("nodes", self.nodes)):
            if labels is None and plain:
                raise DataError(
                    f"{plain[0]} is a plain array without labels; name its rows and columns "
                    "with conditions=[...] and nodes=[...], or give a pandas DataFrame."
                )
            if labels is not None and not plain:
                raise DataError(
                    f"{name} was given, and every table has labels of its own; leave it out."
                )
        if self.time is not None and not any(np.ndim(tables[name]) == 3 for name in plain):
            raise DataError(
                "time was given, and no table is a plain (condition, time, node) array; for a "
                "time course in a DataFrame put time into a (condition, time) MultiIndex."
            )


def _has_labels(table: object) -> bool:
    return isinstance(table, pd.DataFrame | xr.DataArray)


def _labelled(table: Table, name: str, beside: _Beside) -> xr.DataArray:
    """Turn any table into a float64 DataArray with canonical dims and string labels."""
    if isinstance(table, pd.DataFrame):
        return _from_frame(table, name)
    if isinstance(table, xr.DataArray):
        return _from_dataarray(table, name)
    if isinstance(table, str) or not isinstance(table, Sequence | np.ndarray):
        raise DataError(
            f"{name} is a {type(table).__name__}; give a pandas DataFrame, an xarray.DataArray "
            "or a NumPy array (pcb.read_csv reads files)."
        )
    return _from_array(np.asarray(table), name, beside)


def _from_frame(frame: pd.DataFrame, name: str) -> xr.DataArray:
    check_not_empty({"condition": frame.shape[0], "node": frame.shape[1]}, name)
    nodes = as_labels(frame.columns, "node", name)
    if isinstance(frame.index, pd.MultiIndex):
        return _from_long_frame(frame, name, nodes)
    conditions = as_labels(frame.index, "condition", name)
    axes = {"condition": conditions, "node": nodes}
    return _dataarray(_frame_cells(frame), name, axes)


def _from_long_frame(frame: pd.DataFrame, name: str, nodes: npt.NDArray[Any]) -> xr.DataArray:
    """Spread a frame with a (condition, time) index over a full (condition, time, node) grid."""
    index = frame.index
    if index.nlevels != 2:
        raise DataError(
            f"{name} has an index of {index.nlevels} levels; a time course needs two, condition "
            "and time."
        )
    # Levels go by name where they have these names, by position otherwise.
    condition_level, time_level = (1, 0) if list(index.names) == ["time", "condition"] else (0, 1)
    rows = as_labels(index.get_level_values(condition_level), "condition", name)
    cells = np.asarray(index.get_level_values(time_level), dtype=object)
    row_times = as_numbers(cells, cell_namer(f"the time of {name}", {"condition": rows}))
    missing = np.isnan(row_times)
    if missing.any():
        raise DataError(
            f"{name}: the time of condition {str(rows[missing][0])!r} is missing; every row of a "
            "time course needs its time."
        )
    described = cell_namer(name, {"condition": rows, "node": nodes})
    values = as_numbers(_frame_cells(frame), described)

    conditions, condition_codes = _in_order_of_appearance(rows)
    times, time_codes = np.unique(row_times, return_inverse=True)
    codes = condition_codes * len(times) + time_codes
    repeated = np.flatnonzero(np.bincount(codes) > 1)
    if len(repeated):
        c, t = divmod(int(repeated[0]), len(times))
        raise DataError(
            f"{name} has condition {str(conditions[c])!r} at time {times[t]:g} more than once; "
            "give each condition and time one row: rename the replicates, or average them and "
            "give their spread as sigma."
        )
    grid = np.full((len(conditions) * len(times), len(nodes)), np.nan)
    grid[codes] = values
    axes = {"condition": conditions, "time": times, "node": nodes}
    return _dataarray(grid.reshape(len(conditions), len(times), len(nodes)), name, axes)


def _in_order_of_appearance(
    labels: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the distinct labels, and for each entry the position of its label among them."""
    positions: dict[str, int] = {}
    codes = [positions.setdefault(label, len(positions)) for label in labels.tolist()]
    return np.array(list(positions), dtype=np.str_), np.array(codes)


def _frame_cells(frame: pd.DataFrame) -> npt.NDArray[Any]:
    """Cells as float64 if all columns are numbers, else as objects to be looked at one by one."""
    kinds = pd.api.types
    if all(kinds.is_numeric_dtype(t) and not kinds.is_complex_dtype(t) for t in frame.dtypes):
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    return frame.to_numpy(dtype=object)


def _from_dataarray(table: xr.DataArray, name: str) -> xr.DataArray:
    dims = _dims_like(set(table.dims))
    if dims is None:
        raise DataError(
            f"{name} has the dims ({', '.join(map(str, table.dims))}); it needs (condition, "
            "node), for time courses (condition, time, node): rename them with .rename({...})."
        )
    check_not_empty(table.sizes, name)
    for dimension in dims:
        if dimension not in table.coords:
            raise DataError(
                f"{name} has no labels for its dim {dimension}; add them with "
                f".assign_coords({dimension}=[...])."
            )
    axes = {dim: as_labels(table[dim].values, dim, name) for dim in STEADY}
    if "time" in dims:
        axes = {"condition": axes["condition"], "time": table["time"].values, "node": axes["node"]}
    result = _dataarray(table.transpose(*dims).values, name, axes)
    result.attrs = dict(table.attrs)
    if "time" in dims:
        result["time"].attrs = dict(table["time"].attrs)
    return result


def _from_array(array: npt.NDArray[Any], name: str, beside: _Beside) -> xr.DataArray:
    if array.ndim not in (2, 3):
        raise DataError(
            f"{name} has {counted(array.ndim, 'dimension')}; it needs 2 (condition, node), for "
            "time courses 3 (condition, time, node)."
        )
    dims = STEADY if array.ndim == 2 else COURSE
    check_not_empty(dict(zip(dims, array.shape, strict=True)), name)
    assert beside.conditions is not None  # check_use has seen to it
    assert beside.nodes is not None
    axes = {
        "condition": as_labels(beside.conditions, "condition", "conditions"),
        "node": as_labels(beside.nodes, "node", "nodes"),
    }
    if array.ndim == 3:
        axes = {"condition": axes["condition"], "time": _given_times(name, beside), **axes}
    for axis, (dimension, labels) in enumerate(axes.items()):
        if len(labels) != array.shape[axis]:
            raise DataError(
                f"{name} has the shape {array.shape}, that is {array.shape[axis]} along "
                f"{dimension}, and {len(labels)} labels are given for it; the numbers must "
                "agree (rows are conditions, columns are nodes)."
            )
    return _dataarray(array, name, axes)


def _given_times(name: str, beside: _Beside) -> npt.NDArray[Any]:
    if beside.time is None:
        raise DataError(f"{name} is a time course; give its time points with time=[...].")
    times = np.asarray(beside.time)
    if times.ndim != 1:
        raise DataError(f"time has {times.ndim} dimensions; it needs one, a number per time point.")
    return as_numbers(times, lambda index: f"time point {index[0] + 1}")


def _dataarray(
    values: npt.NDArray[Any], name: str, axes: dict[str, npt.NDArray[Any]]
) -> xr.DataArray:
    for dimension in STEADY:
        check_unique(axes[dimension], dimension, name)
    numbers = as_numbers(values, cell_namer(name, axes)).astype(np.float64, copy=False)
    return xr.DataArray(numbers, coords=axes, dims=tuple(axes), name=name)


def _dims_like(dims: set[Any]) -> tuple[str, ...] | None:
    return next((known for known in (STEADY, COURSE) if set(known) == dims), None)


def _check_table_dims(tables: Mapping[str, xr.DataArray]) -> None:
    """Check that the perturbation is constant in time and sigma goes with the response."""
    if "time" in tables["perturbation"].dims:
        raise DataError(
            "perturbation has a time dimension; perturbations are constant in time: give one row "
            "for each condition."
        )
    if "sigma" in tables and tables["sigma"].dims != tables["response"].dims:
        raise DataError(
            f"sigma has the dims ({', '.join(map(str, tables['sigma'].dims))}) and the response "
            f"has ({', '.join(map(str, tables['response'].dims))}); give one standard deviation "
            "for each response."
        )


def _aligned(table: xr.DataArray, name: str, first: xr.DataArray) -> xr.DataArray:
    """Put a table into the order of the first one, once both have the same labels."""
    for dimension in STEADY:
        _check_same_labels(
            first[dimension].values, table[dimension].values, dimension, ("perturbation", name)
        )
    ordered: xr.DataArray = table.sel({dim: first[dim].values for dim in STEADY})
    return ordered


def _aligned_in_time(sigma: xr.DataArray, response: xr.DataArray) -> xr.DataArray:
    times = response["time"].values
    if np.array_equal(sigma["time"].values, times):
        return sigma
    _check_same_labels(times, sigma["time"].values, "time", ("response", "sigma"))
    raise DataError(
        "sigma has the time points of the response in another order; give both in increasing "
        "order of time."
    )


def _check_same_labels(
    ours: npt.NDArray[Any], theirs: npt.NDArray[Any], dimension: str, owners: tuple[str, str]
) -> None:
    ours_set, theirs_set = set(ours.tolist()), set(theirs.tolist())
    only_ours = [label for label in ours.tolist() if label not in theirs_set]
    only_theirs = [label for label in theirs.tolist() if label not in ours_set]
    if not only_ours and not only_theirs:
        return
    noun = f"{dimension} label"
    parts = [
        f"{counted(len(labels), noun)} in {here} and not in {there}: {listed(labels)}"
        for labels, here, there in (
            (only_ours, *owners),
            (only_theirs, *reversed(owners)),
        )
        if labels
    ]
    mend = ""
    if dimension == "node":
        mend = ": give a node 0 where it was not perturbed and NaN where it was not measured"
    raise DataError(
        f"{'; '.join(parts)}; every table needs the same {dimension} labels, spelt alike, in any "
        f"order{mend}."
    )


def _carried_kinds(tables: Mapping[str, Table]) -> xr.DataArray | None:
    """Return the coordinate node_kind of the first DataArray that has one."""
    for table in tables.values():
        if isinstance(table, xr.DataArray) and "node_kind" in table.coords:
            kinds: xr.DataArray = table["node_kind"]
            return kinds
    return None
