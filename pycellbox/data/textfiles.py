"""Tables in CSV and TSV files, read cell by cell so that an error can say where."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.files import PATH
from pycellbox.common.labels import counted, label_text
from pycellbox.common.options import checked, flag, optional
from pycellbox.data.cells import as_numbers, is_numeric
from pycellbox.data.conditions import condition_labels
from pycellbox.data.delimited import SEPARATORS, Rows, read_rows
from pycellbox.data.dims import STEADY
from pycellbox.data.doses import is_start, largest, start_cell
from pycellbox.data.kinds import NodeKind
from pycellbox.data.lists import FilePath, read_names, read_node_kinds
from pycellbox.data.numerals import is_missing_text, plain_numerals
from pycellbox.data.orientation import check_orientation
from pycellbox.data.tables import BESIDE, Beside, Said, Table, assemble, labelled
from pycellbox.data.variables import check_perturbation
from pycellbox.errors import DataError


@checked(
    perturbation=PATH,
    response=PATH,
    sigma=optional(PATH),
    held=optional(PATH),
    initial_state=optional(PATH),
    held_fitted=flag(),
    initial_fitted=flag(),
    **BESIDE,
)
def read_csv(
    perturbation: FilePath,
    response: FilePath,
    *,
    sigma: FilePath | None = None,
    nodes: FilePath | Sequence[str] | None = None,
    node_kind: FilePath | NodeKind = None,
    conditions: FilePath | Sequence[str] | None = None,
    time: Sequence[float] | npt.NDArray[Any] | None = None,
    time_units: str | None = None,
    attrs: Mapping[str, Any] | None = None,
    held: FilePath | None = None,
    held_fitted: bool = False,
    initial_state: FilePath | None = None,
    initial_fitted: bool = False,
) -> xr.Dataset:
    """Read a dataset from text files of tables, CSV or otherwise.

    Cells may be separated by commas, semicolons, tabs, vertical bars or blanks, whichever makes a
    table of the file; numbers may have decimal commas; the file may be packed by gzip, bzip2 or xz.

    Parameters
    ----------
    perturbation : path
        Table (condition, node), dimensionless. By default its first line names the nodes and
        its first column the conditions. Inputs that change have a row for each condition and
        start, and a column of starts such as ``start (min)``, with ``pre`` or ``-inf`` for a
        pre-treatment that has settled. Columns ``subject`` and ``replicate_of`` are no nodes.
    response : path
        Table (condition, node), log-ratio to the unperturbed control; an empty cell, ``NA``,
        ``NaN`` and what else pandas reads as missing mean not measured. A time course has a row
        for each condition and time, and a column of times beside the conditions, such as ``time``,
        ``Time (h)`` or ``time_min``.
    sigma : path, optional
        Standard deviation of the response, a table like it.
    nodes : path or sequence of str, optional
        Node labels, or a file with one on each line. Giving it says that the tables are bare
        matrices, without header and without a column of labels.
    node_kind : path, mapping, Series or sequence, optional
        As for `from_tables`, or the path of a file with the columns node and kind, maybe group.
    conditions : path or sequence of str, optional
        Condition labels of bare matrices. By default they are made from the perturbed
        nodes.
    time : sequence of float, optional
        Time points of bare matrices: the response then has the rows of the first condition at
        all times, then those of the second, and so on.
    time_units : str, optional
        Unit of time of a time course; by default what its heading says, else ``"h"``.
    attrs : mapping, optional
        Provenance to keep with the dataset, text and numbers.
    held : path, optional
        Table (condition, node) of levels at which nodes are held; empty elsewhere. Conditions and
        nodes without any may be left out.
    held_fitted : bool
        Whether these levels are fitted, from what the table says on.
    initial_state : path, optional
        Table of states where conditions start; else as ``held``.
    initial_fitted : bool
        Whether these states are fitted, from what the table says on.

    Returns
    -------
    xarray.Dataset
        As described by `validate`, in float64, in the order of the perturbation table.

    Raises
    ------
    DataError
        A file is missing or is no table (with the line), a cell is no number (with file, line
        and column), or the tables break the schema.

    Examples
    --------
    The melanoma data of Korkut et al. (eLife 2015), as published with CellBox:

    >>> dataset = pcb.read_csv(  # doctest: +SKIP
    ...     "pert.csv",
    ...     "expr.csv",
    ...     nodes="node_Index.csv",
    ...     node_kind={"protein": 82, "phenotype": 5, "drug": 12},
    ... )
    """
    paths = {"perturbation": perturbation, "response": response}
    more = {"sigma": sigma, "held": held, "initial_state": initial_state}
    paths |= {name: path for name, path in more.items() if path is not None}
    files = {name: read_rows(Path(path), header=nodes is None) for name, path in paths.items()}
    if isinstance(node_kind, str | os.PathLike):
        node_kind = read_node_kinds(node_kind)
    tables: dict[str, Table]
    if nodes is None:
        if conditions is not None:
            raise DataError(
                "conditions was given without nodes; tables that name their conditions need "
                "neither, bare matrices need nodes."
            )
        tables = {name: labelled_frame(file) for name, file in files.items()}
        beside = Beside(None, None, time)
    else:
        names, arrays = _bare_matrices(files, nodes)
        labels = _conditions(conditions, arrays["perturbation"], names)
        if time is not None:
            for name in arrays.keys() & {"response", "sigma"}:
                arrays[name] = _split_times(arrays[name], files[name], len(labels), len(time))
        tables = dict(arrays)
        beside = Beside(labels, names, time)
    owners = {name: str(path) for name, path in paths.items()} if nodes is None else None
    said = Said(held_fitted, initial_fitted)
    return assemble(
        tables, node_kind, beside, said, time_units=time_units, attrs=attrs, files=owners
    )


def read_perturbation(
    path: FilePath, nodes: FilePath | Sequence[str] | None, known: Set[str]
) -> xr.DataArray:
    """Read a table of perturbations that comes without responses.

    Parameters
    ----------
    path, nodes
        As for `read_csv`.
    known : set of str
        Nodes that may be perturbed, so that a table without labels is recognized.

    Returns
    -------
    xarray.DataArray
        (condition, node), float64.

    Raises
    ------
    DataError
        As for `read_csv`.
    """
    file = read_rows(PATH("path", path), header=nodes is None)
    table: Table
    if nodes is None:
        table, beside = labelled_frame(file), Beside(None, None, None)
    else:
        names, arrays = _bare_matrices({"perturbation": file}, nodes)
        table = arrays["perturbation"]
        beside = Beside(condition_labels(table, names), names, None)
    tables, _ = labelled({"perturbation": table}, beside, known, {"perturbation": str(path)})
    perturbation = tables["perturbation"]
    check_orientation({"perturbation": largest(perturbation)}, known)
    check_perturbation(perturbation.values, {d: perturbation[d].values for d in STEADY})
    return perturbation


def _numbers(
    file: Rows, texts: list[list[str]], first_row: int, columns: Sequence[int], hint: str = ""
) -> npt.NDArray[Any]:
    """Read a block of cells as numbers, NaN where empty; errors have the place in the file."""

    def describe(index: tuple[int, ...]) -> str:
        row, column = index[0] + first_row, columns[index[1]]
        labels = ""
        if first_row:
            labels = f" (row {file.rows[row][0]!r}, column {file.rows[0][column]!r})"
        place = f"line {file.lines[row]}, column {column + 1}{labels}"
        return f"{file.path}, {place}{hint}: the cell"

    if not any("_" in text for row in texts for text in row):  # 1_000 is a number in Python alone
        cells = [["nan" if is_missing_text(text) else text for text in row] for row in texts]
        try:
            # Python's own reading of numbers gives back exactly what was written.
            return np.array(cells, dtype=object).reshape(len(texts), -1).astype(np.float64)
        except ValueError:
            pass
    plain = np.array(plain_numerals(texts, describe), dtype=object).reshape(len(texts), -1)
    return as_numbers(plain, describe)


def labelled_frame(file: Rows) -> pd.DataFrame:
    """Read a table with a header as it stands: text columns as text, all others as numbers."""
    header = file.rows[0]
    _check_header(file)
    starts = [j for j, heading in enumerate(header) if j and is_start(heading)]
    for row in file.rows[1:]:
        for j in starts:
            row[j] = start_cell(row[j])
    body = [row for row in file.rows[1:] if any(row)]
    if not body or len(header) == 1:
        missing = "columns of nodes" if body else "rows below its header"
        raise DataError(f"{file.path} is empty: it has no {missing}; at least one is needed.")
    columns = [[row[j] for row in body] for j in range(len(header))]
    texts = [j for j, cells in enumerate(columns) if _is_text(cells, first=j == 0)]
    if 0 in texts and len(body) == 1:
        texts = [0]  # one cell of text beside its label is no column of names
    numeric = [j for j in range(len(header)) if j not in texts]
    rows = [[row[j] for j in numeric] for row in file.rows[1:]]
    numbers = _numbers(file, rows, 1, numeric)[[any(row) for row in file.rows[1:]]]
    series: list[Any] = [None] * len(header)
    for j in texts:
        series[j] = np.array(columns[j], dtype=object)
    for k, j in enumerate(numeric):
        series[j] = numbers[:, k]
    if 0 in numeric:
        series[0] = _as_written(columns[0], numbers[:, 0])
    frame = pd.DataFrame(dict(enumerate(series)))
    frame.columns = pd.Index(header, dtype=object)
    return frame


def _as_written(texts: Sequence[str], numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers that may be labels: as text where 007, 2E10 or twenty digits would change."""
    cells = numbers.astype(object)
    for i, text in enumerate(texts):
        decimal = "," in text or is_missing_text(text)
        if not decimal and label_text(text) != label_text(cells[i]):
            cells[i] = text
    return cells


def _is_text(cells: Sequence[str], *, first: bool) -> bool:
    """Whether a column is names: the first one if any cell is, another one if all cells are."""
    there = (cell for cell in cells if first or not is_missing_text(cell))
    numeric = (is_numeric(cell) for cell in there)
    return not all(numeric) if first else not next(numeric, True) and not any(numeric)


def _check_header(file: Rows) -> None:
    header = file.rows[0]
    if len(header) == 1:
        raise DataError(
            f"{file.path}, line {file.lines[0]} has a single cell; columns are separated by "
            f"{', '.join(SEPARATORS.values())}, all by the same."
        )
    names = [cell for cell in header[1:] if not is_missing_text(cell)]
    if all(is_numeric(cell) for cell in names) and (
        is_numeric(header[0])
        or len(set(names)) < len(names)
        or not all(cell.isdecimal() for cell in names)
    ):
        raise DataError(
            f"{file.path}, line {file.lines[0]} has only numbers where the node names are "
            "expected; if the file has no header, give the names with nodes=."
        )


def _bare_matrices(
    files: Mapping[str, Rows], nodes: FilePath | Sequence[str]
) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """Read bare matrices and the names of their columns."""
    width = len(files["perturbation"].rows[0])
    names = read_names(nodes, "node", width)
    return names, {name: _bare_matrix(file, names) for name, file in files.items()}


def _bare_matrix(file: Rows, nodes: Sequence[str]) -> npt.NDArray[Any]:
    width, height = len(file.rows[0]), len(file.rows)
    if width != len(nodes):
        hint = ""
        if width == 2 * len(nodes) and file.separator == ",":
            hint = " (decimal commas need another separator than commas)"
        elif height == len(nodes):
            hint = " (it has as many rows: if they are the nodes, swap rows and columns)"
        raise DataError(
            f"{file.path} has {counted(width, 'column')} and nodes has "
            f"{counted(len(nodes), 'name')}; a table read with nodes= has one column for each "
            f"node, without header and without a column of labels{hint}."
        )
    return _numbers(
        file, file.rows, 0, range(width), hint=" (a table read with nodes= has no header)"
    )


def _conditions(
    conditions: FilePath | Sequence[str] | None,
    perturbation: npt.NDArray[Any],
    nodes: Sequence[str],
) -> list[str]:
    if conditions is None:
        return condition_labels(perturbation, nodes)
    return read_names(conditions, "condition", len(perturbation))


def _split_times(
    matrix: npt.NDArray[Any], file: Rows, conditions: int, times: int
) -> npt.NDArray[Any]:
    if len(matrix) != conditions * times:
        raise DataError(
            f"{file.path} has {counted(len(matrix), 'row')}; {counted(conditions, 'condition')} "
            f"at {counted(times, 'time point')} need {conditions * times}."
        )
    return matrix.reshape(conditions, times, -1)
