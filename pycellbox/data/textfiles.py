"""Tables in CSV and TSV files, read cell by cell so that an error can say where."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.spreadsheet import unescaped
from pycellbox.data.cells import as_labels, as_numbers, counted
from pycellbox.data.conditions import condition_labels
from pycellbox.data.kinds import NodeKind
from pycellbox.data.tables import from_tables
from pycellbox.errors import DataError

FilePath: TypeAlias = str | os.PathLike[str]

# What spreadsheets and R write for a value that is not there.
_MISSING = frozenset({"", "na", "nan"})


def read_csv(
    perturbation: FilePath,
    response: FilePath,
    *,
    sigma: FilePath | None = None,
    nodes: FilePath | Sequence[str] | None = None,
    node_kind: FilePath | NodeKind = None,
    conditions: FilePath | Sequence[str] | None = None,
    time: Sequence[float] | npt.NDArray[Any] | None = None,
    time_units: str = "h",
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read a dataset from CSV files, or from tab-separated ones by the suffix ``.tsv``.

    Parameters
    ----------
    perturbation : path
        Table (condition, node), dimensionless. By default its first line names the nodes and
        its first column the conditions.
    response : path
        Table (condition, node), log-ratio to the unperturbed control; an empty cell, ``NA`` or
        ``NaN`` means not measured. A time course has a row for each condition and time, and
        ``time`` as its second column.
    sigma : path, optional
        Standard deviation of the response, a table like it.
    nodes : path or sequence of str, optional
        Node labels, or a file with one on each line. Giving it says that the tables are bare
        matrices, without header and without a column of labels.
    node_kind : path, mapping, Series or sequence, optional
        As for `from_tables`, or the path of a file with the two columns node and kind.
    conditions : path or sequence of str, optional
        Condition labels of bare matrices. By default `condition_labels` makes them from the
        perturbed nodes.
    time : sequence of float, optional
        Time points of bare matrices: the response then has the rows of the first condition at
        all times, then those of the second, and so on.
    time_units : str
        Unit of time of a time course.
    attrs : mapping, optional
        Provenance to keep with the dataset, text and numbers.

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
    if sigma is not None:
        paths["sigma"] = sigma
    files = {name: _read(path) for name, path in paths.items()}
    if isinstance(node_kind, str | os.PathLike):
        node_kind = _read_node_kinds(node_kind)
    if nodes is None:
        if conditions is not None:
            raise DataError(
                "conditions was given without nodes; tables that name their conditions need "
                "neither, bare matrices need nodes."
            )
        frames = {name: _labelled_frame(file) for name, file in files.items()}
        return from_tables(
            frames["perturbation"],
            frames["response"],
            frames.get("sigma"),
            node_kind,
            time,
            time_units=time_units,
            attrs=attrs,
        )

    names = _names(nodes, "node")
    arrays = {name: _bare_matrix(file, names) for name, file in files.items()}
    if conditions is None:
        conditions = condition_labels(arrays["perturbation"], names)
    labels = _names(conditions, "condition")
    if time is not None:
        for name in arrays.keys() - {"perturbation"}:
            arrays[name] = _split_times(arrays[name], files[name], len(labels), len(time))
    return from_tables(
        arrays["perturbation"],
        arrays["response"],
        arrays.get("sigma"),
        node_kind,
        time,
        conditions=labels,
        nodes=names,
        time_units=time_units,
        attrs=attrs,
    )


@dataclass(frozen=True)
class _File:
    """The cells of a file, every row of the same length, with the line each row stands on."""

    path: Path
    rows: list[list[str]]
    lines: list[int]

    def numbers(self, first_row: int, first_column: int, hint: str = "") -> npt.NDArray[Any]:
        """Read the block of cells from a row and a column on as numbers, NaN where empty."""
        texts = [row[first_column:] for row in self.rows[first_row:]]
        cells = np.array(
            [["nan" if text.lower() in _MISSING else text for text in row] for row in texts],
            dtype=object,
        )
        try:
            # Python's own reading of numbers gives back exactly what was written.
            return cells.astype(np.float64)
        except ValueError:
            pass

        def describe(index: tuple[int, ...]) -> str:
            row, column = index[0] + first_row, index[1] + first_column
            labels = ""
            if first_row:
                labels = f" (row {self.rows[row][0]!r}, column {self.rows[0][column]!r})"
            place = f"line {self.lines[row]}, column {column + 1}{labels}"
            return f"{self.path}, {place}{hint}: the cell"

        return as_numbers(cells, describe)


def _read(path: FilePath) -> _File:
    """Read a file into equally long rows of cells."""
    source = Path(path)
    if not source.is_file():
        raise DataError(f"there is no file {str(source)!r}; check the path.")
    separator = "\t" if source.suffix.lower() in (".tsv", ".tab") else ","
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(_text(source), newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if row:  # an empty line
                rows.append([unescaped(cell.strip()) for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{source}, line {reader.line_num}: this is no table ({error}).") from error
    if not rows:
        raise DataError(f"{source} is empty; it needs a table.")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{source}, line {line} has {counted(len(row), 'cell')} and line {lines[0]} has "
                f"{len(rows[0])}; every line of a table needs as many."
            )
    return _File(source, rows, lines)


def _text(source: Path) -> str:
    try:
        raw = source.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {str(source)!r}: {error}.") from error
    try:
        text = raw.decode("utf-8-sig")  # spreadsheets put a mark before the first character
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{source}, line {line}: this is no text in UTF-8; save the table as CSV in UTF-8 "
            "(a spreadsheet file itself cannot be read)."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{source}, line {line}: this is no text; save the table as CSV.")
    return text


def _labelled_frame(file: _File) -> pd.DataFrame:
    """Read a table with a header and a column of condition labels, and maybe one of times."""
    header = file.rows[0]
    _check_header(file)
    is_time_course = header[1].lower() == "time"
    label_columns = 2 if is_time_course else 1
    if len(file.rows) == 1 or len(header) == label_columns:
        missing = "rows below its header" if len(file.rows) == 1 else "columns of nodes"
        raise DataError(f"{file.path} is empty: it has no {missing}; at least one is needed.")
    # Times are read along with the rest, so that an error in them has its place as well.
    values = file.numbers(first_row=1, first_column=1)
    conditions = [row[0] for row in file.rows[1:]]
    index = pd.Index(conditions, name="condition")
    if is_time_course:
        index = pd.MultiIndex.from_arrays([conditions, values[:, 0]], names=["condition", "time"])
        values = values[:, 1:]
    frame: pd.DataFrame = pd.DataFrame(values, index=index, columns=header[label_columns:])
    return frame


def _check_header(file: _File) -> None:
    header = file.rows[0]
    if len(header) == 1:
        raise DataError(
            f"{file.path}, line {file.lines[0]} has a single cell; columns are separated by "
            "commas, in files named .tsv by tabs."
        )
    if all(_is_number(cell) for cell in header):
        raise DataError(
            f"{file.path}, line {file.lines[0]} has only numbers where the node names are "
            "expected; if the file has no header, give the names with nodes=."
        )


def _bare_matrix(file: _File, nodes: Sequence[str]) -> npt.NDArray[Any]:
    width = len(file.rows[0])
    if width != len(nodes):
        raise DataError(
            f"{file.path} has {counted(width, 'column')} and nodes has "
            f"{counted(len(nodes), 'name')}; a table read with nodes= has one column for each "
            "node, without header and without a column of labels."
        )
    return file.numbers(0, 0, hint=" (a table read with nodes= has no header)")


def _split_times(
    matrix: npt.NDArray[Any], file: _File, conditions: int, times: int
) -> npt.NDArray[Any]:
    if len(matrix) != conditions * times:
        raise DataError(
            f"{file.path} has {counted(len(matrix), 'row')}; {counted(conditions, 'condition')} "
            f"at {counted(times, 'time point')} need {conditions * times}."
        )
    return matrix.reshape(conditions, times, -1)


def _names(names: FilePath | Sequence[str], dimension: str) -> list[str]:
    """Labels as given, or from a file with one on each line."""
    if not isinstance(names, str | os.PathLike):
        return [str(name) for name in as_labels(names, dimension, f"{dimension}s")]
    file = _read(names)
    if len(file.rows[0]) != 1:
        raise DataError(
            f"{file.path}, line {file.lines[0]} has {len(file.rows[0])} cells; a file of "
            f"{dimension} names has one on each line."
        )
    return [row[0] for row in file.rows]


def _read_node_kinds(path: FilePath) -> pd.Series:
    """Read a file with the columns node and kind; a first line that says just so is a header."""
    file = _read(path)
    if len(file.rows[0]) != 2:
        raise DataError(
            f"{file.path}, line {file.lines[0]} has {counted(len(file.rows[0]), 'cell')}; a file "
            "of node kinds has two columns, node and kind."
        )
    rows = file.rows
    if rows[0][1].lower() in ("kind", "node_kind"):
        rows = rows[1:]
    return pd.Series([kind for _, kind in rows], index=[node for node, _ in rows], dtype=object)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
