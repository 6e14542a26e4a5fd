"""Tables in memory, labelled or with labels beside them, made into one checked dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.arrays import unmasked
from pycellbox.common.labels import counted, label_text
from pycellbox.common.options import checked, instance, optional, shown, text
from pycellbox.data.alignment import (
    PARTIAL,
    aligned,
    aligned_in_time,
    check_table_dims,
    one_unit,
    spread,
)
from pycellbox.data.cells import as_labels, as_numbers
from pycellbox.data.columns import Surroundings
from pycellbox.data.dims import COURSE, STEADY
from pycellbox.data.doses import largest, per_label, phased_array, read_doses
from pycellbox.data.frames import from_frame, labelled_array
from pycellbox.data.kinds import NodeKind, groups_of, named_nodes, resolve_node_kinds
from pycellbox.data.orientation import check_doses, check_orientation
from pycellbox.data.schema import validate
from pycellbox.data.variables import check_not_empty
from pycellbox.errors import DataError, OptionError

_PLAIN = (Sequence, np.ndarray)
Table: TypeAlias = pd.DataFrame | xr.DataArray | npt.NDArray[Any] | Sequence[Any]


BESIDE = {
    "time_units": optional(text()),
    "attrs": optional(instance(Mapping, "a mapping of names to values")),
}


@checked(**BESIDE)
def from_tables(
    perturbation: Table,
    response: Table,
    sigma: Table | None = None,
    node_kind: NodeKind = None,
    time: Sequence[float] | npt.NDArray[Any] | None = None,
    *,
    conditions: Sequence[Any] | None = None,
    nodes: Sequence[Any] | None = None,
    time_units: str | None = None,
    attrs: Mapping[str, Any] | None = None,
    held: Table | None = None,
    held_fitted: Table | bool | None = None,
    initial_state: Table | None = None,
    initial_fitted: Table | bool | None = None,
    replicate_of: Any = None,
    subject: Any = None,
    group: Any = None,
) -> xr.Dataset:
    """Make a checked dataset from tables of perturbations and responses.

    Parameters
    ----------
    perturbation : DataFrame, DataArray or array, shape (condition, node)
        Perturbations, dimensionless, finite; 0 where nothing was applied. Inputs that change have a
        row for each condition and start, from which on they hold: a DataFrame with a (condition,
        start) MultiIndex, or with a column ``start``, ``start (min)``, which is −inf or ``pre``
        for a pre-treatment that has settled; or a DataArray (condition, phase, node) with the
        coordinate ``phase_start``.
        A start without a unit is in that of the response. Columns ``subject`` and ``replicate_of``
        are no nodes.
    response : DataFrame, DataArray or array, shape (condition, node) or (condition, time, node)
        Log-ratio to the unperturbed control, NaN where not measured. A DataFrame with a
        (condition, time) MultiIndex, or with a column of times beside its labels, is a time
        course; what it leaves out counts as not measured.
    sigma : as ``response``, optional
        Standard deviation of the response, in its unit, positive wherever it is measured.
    node_kind : mapping, Series, DataArray or sequence, optional
        ``{node: kind}``; or one kind for each node in node order; or ``{kind: count}`` in node
        order; or ``{kind: [nodes]}``. Integers are labels where the tables have such labels, and
        positions otherwise. Kinds are ``protein``, ``phenotype``, ``drug`` and ``hidden``. A
        DataFrame with the columns node and kind may have a column group. By
        default the coordinate ``node_kind`` of a DataArray that has one, else all are proteins.
    time : sequence of float, optional
        Time points of a plain (condition, time, node) array. Labelled tables have their own.
    conditions, nodes : sequence of str, optional
        Labels of plain arrays, which need both. Labelled tables have their own.
    time_units : str, optional
        Unit of time of a time course. By default that of the table, from the heading of its times
        (``Time (min)``) or the attribute ``units`` of a DataArray's ``time``, else ``"h"``.
    attrs : mapping, optional
        Provenance to keep with the dataset, text and numbers. ``transform`` says how the
        response was made, by default ``"log-ratio to unperturbed control"``.
    held : DataFrame, DataArray or array, shape (condition, node), optional
        Levels at which nodes are held; NaN elsewhere. Conditions and nodes of which nothing is said
        may be left out.
    held_fitted : bool or a table like it, optional
        Which of them are fitted; True for all.
    initial_state : DataFrame, DataArray or array, shape (condition, node), optional
        States where conditions start; else as ``held``.
    initial_fitted : bool or a table like it, optional
        Which of them are fitted; True for all.
    replicate_of, subject : mapping, Series or sequence of str, optional
        ``{condition: text}``, or one text for each condition in order; see `validate`.
    group : mapping, Series or sequence of str, optional
        ``{node: text}``, or one text for each node in order.

    Returns
    -------
    xarray.Dataset
        As described by `validate`, in float64. Tables are aligned by label: conditions and
        nodes come in the order of ``perturbation``. Labels are compared as text, whole numbers
        without ``.0``.

    Raises
    ------
    DataError
        A table breaks the schema, or a label is in one table and not in another; a table is
        transposed; a column may be labels, times or a node; a node has a spreadsheet's date for
        its name. The message names what, where, and how to fix it.

    Notes
    -----
    The labels of a DataFrame are its index. Where that only counts the rows, as after
    ``pandas.read_csv`` without ``index_col``, they are the one column of text; an index that was
    written as a column is left out.

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
    said = Said(held_fitted, initial_fitted, replicate_of, subject, group)
    given |= said.tables(held=held, initial_state=initial_state)
    beside = Beside(conditions, nodes, time)
    return assemble(given, node_kind, beside, said, time_units=time_units, attrs=attrs)


@dataclass(frozen=True)
class Said:
    """What is said of conditions and nodes beside the tables; see `from_tables`."""

    held_fitted: Table | bool | None = None
    initial_fitted: Table | bool | None = None
    replicate_of: Any = None
    subject: Any = None
    group: Any = None

    def tables(self, **levels: Table | None) -> dict[str, Table]:
        """Return the tables among what is given, by name."""
        fitted = {"held_fitted": self.held_fitted, "initial_fitted": self.initial_fitted}
        tables = {name: table for name, table in levels.items() if table is not None}
        for name, table in fitted.items():
            if table is not None and not isinstance(table, bool | np.bool_):
                tables[name] = table
        return tables

    def everywhere(self, data: xr.Dataset) -> xr.Dataset:
        """Fit all levels that there are where True stands for a table."""
        for name, of, asked in (
            ("held_fitted", "held", self.held_fitted),
            ("initial_fitted", "initial_state", self.initial_fitted),
        ):
            if isinstance(asked, bool | np.bool_) and asked:
                if of not in data:
                    raise DataError(f"{name} is True, and no {of} is given; give the levels.")
                data = data.assign({name: data[of].notnull()})
        return data


def assemble(
    given: Mapping[str, Table],
    node_kind: NodeKind,
    beside: Beside,
    said: Said,
    *,
    time_units: str | None,
    attrs: Mapping[str, Any] | None,
    files: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Make a checked dataset from tables by name, and the files that they stand in, if any."""
    if node_kind is None:
        node_kind = _carried_kinds(given)
    named = named_nodes(node_kind)
    tables, texts = labelled(given, beside, named, files or {})
    check_table_dims(tables)
    first = largest(tables["perturbation"])
    whole = {name: table for name, table in tables.items() if name not in PARTIAL}
    check_orientation({**whole, "perturbation": first}, named)
    together = {
        name: (spread if name in PARTIAL else aligned)(table, name, first)
        for name, table in tables.items()
    }
    if "sigma" in together and "time" in together["response"].dims:
        together["sigma"] = aligned_in_time(together["sigma"], together["response"])
    kinds = resolve_node_kinds(node_kind, first["node"].values)
    if not named or not has_labels(given["perturbation"]):
        check_doses(first, kinds)

    units = one_unit(together, time_units)
    dataset = xr.Dataset(together, attrs=dict(attrs or {}))
    dataset = said.everywhere(dataset.assign_coords(node_kind=("node", kinds)))
    group = groups_of(node_kind) if said.group is None else said.group
    for name, dimension, given_texts in (
        ("replicate_of", "condition", texts.get("replicate_of", said.replicate_of)),
        ("subject", "condition", texts.get("subject", said.subject)),
        ("group", "node", group),
    ):
        if given_texts is not None:
            cells = per_label(given_texts, name, first[dimension].values.tolist(), dimension)
            dataset = dataset.assign_coords({name: (dimension, np.array(cells, dtype=object))})
    if "time" in dataset.dims:
        dataset["time"].attrs["units"] = units
        if "phase_start" in dataset.coords:
            dataset["phase_start"].attrs.setdefault("units", units)
    return validate(dataset)


def labelled(
    given: Mapping[str, Table], beside: Beside, named: Set[str], files: Mapping[str, str]
) -> tuple[dict[str, xr.DataArray], dict[str, dict[str, Any]]]:
    """Turn tables of any kind into float64 DataArrays with canonical dims and string labels.

    Beside them is what columns of the perturbation say of conditions: ``subject``, say.
    """
    for name, table in given.items():
        if isinstance(table, str) or not (has_labels(table) or isinstance(table, _PLAIN)):
            raise OptionError(
                f"{name} is a {type(table).__name__}; give a pandas DataFrame, an xarray.DataArray "
                "or a NumPy array (pcb.read_csv reads files)."
            )
    beside.check_use(given)
    columns = {name: _columns_of(table) for name, table in given.items()}
    result: dict[str, xr.DataArray] = {}
    texts: dict[str, dict[str, Any]] = {}
    for name, table in given.items():
        others = set().union(*(columns[other] for other in given if other != name))
        around = Surroundings(named, others, from_file=name in files)
        owner = files.get(name, name)
        if name == "perturbation" and isinstance(table, pd.DataFrame):
            result[name], texts = read_doses(table, owner, around)
        elif name == "perturbation" and isinstance(table, xr.DataArray) and "phase" in table.dims:
            result[name] = phased_array(table, owner)
        else:
            result[name] = _labelled(table, owner, beside, around)
    return result, texts


@dataclass(frozen=True)
class Beside:
    """Labels given beside the tables, for those that have none of their own."""

    conditions: Sequence[Any] | None
    nodes: Sequence[Any] | None
    time: Sequence[float] | npt.NDArray[Any] | None

    def check_use(self, tables: Mapping[str, Table]) -> None:
        """Raise a `DataError` if labels are given that no table would use, or are missing."""
        for name, labels in (("conditions", self.conditions), ("nodes", self.nodes)):
            if isinstance(labels, str) or not (labels is None or np.iterable(labels)):
                raise OptionError(
                    f"{name} is {shown(labels)}; give a sequence with one label for each."
                )
        plain = [name for name, table in tables.items() if not has_labels(table)]
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
        if self.time is not None and not any(unmasked(tables[name]).ndim == 3 for name in plain):
            raise DataError(
                "time was given, and no table is a plain (condition, time, node) array; for a "
                "time course in a DataFrame put time into a (condition, time) MultiIndex."
            )


def has_labels(table: object) -> bool:
    """Whether a table has labels of its own."""
    return isinstance(table, pd.DataFrame | xr.DataArray)


def _columns_of(table: Table) -> set[str]:
    if isinstance(table, pd.DataFrame):
        return {label_text(column) for column in table.columns}
    if isinstance(table, xr.DataArray) and "node" in table.coords:
        return {label_text(node) for node in table["node"].values}
    return set()


def _labelled(table: Table, name: str, beside: Beside, around: Surroundings) -> xr.DataArray:
    if isinstance(table, pd.DataFrame):
        return from_frame(table, name, around)
    if isinstance(table, xr.DataArray):
        return _from_dataarray(table, name)
    return _from_array(unmasked(table), name, beside)


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
    result = labelled_array(table.transpose(*dims).values, name, axes)
    result.attrs = dict(table.attrs)
    if "time" in dims:
        result["time"].attrs = dict(table["time"].attrs)
    return result


def _from_array(array: npt.NDArray[Any], name: str, beside: Beside) -> xr.DataArray:
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
            turned = array.T.shape == tuple(len(labels) for labels in axes.values())
            hint = f": give {name}.T" if turned else ""
            raise DataError(
                f"{name} has the shape {array.shape}, that is {array.shape[axis]} along "
                f"{dimension}, and {len(labels)} labels are given for it; the numbers must "
                f"agree (rows are conditions, columns are nodes{hint})."
            )
    return labelled_array(array, name, axes)


def _given_times(name: str, beside: Beside) -> npt.NDArray[Any]:
    if beside.time is None:
        raise DataError(f"{name} is a time course; give its time points with time=[...].")
    times = unmasked(beside.time)
    if times.ndim != 1:
        raise DataError(f"time has {times.ndim} dimensions; it needs one, a number per time point.")
    return as_numbers(times, lambda index: f"time point {index[0] + 1}")


def _dims_like(dims: set[Any]) -> tuple[str, ...] | None:
    return next((known for known in (STEADY, COURSE) if set(known) == dims), None)


def _carried_kinds(tables: Mapping[str, Table]) -> xr.DataArray | None:
    """Return the coordinate node_kind of the first DataArray that has one."""
    for table in tables.values():
        if isinstance(table, xr.DataArray) and "node_kind" in table.coords:
            kinds: xr.DataArray = table["node_kind"]
            if kinds.dims == ("node",):
                return kinds
    return None
