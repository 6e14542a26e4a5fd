"""Labels and numbers out of whatever a table holds, with errors that name the cell."""

from __future__ import annotations

import datetime
import numbers
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from pycellbox.common.labels import counted, label_text, listed
from pycellbox.common.options import Value, shown
from pycellbox.common.plain import as_number, several
from pycellbox.errors import DataError

Labels: TypeAlias = npt.NDArray[np.str_]
Index: TypeAlias = tuple[int, ...]

_MINUS = str.maketrans("\u2212\u2013", "--")  # what word processors make of a minus sign
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


def as_labels(labels: Iterable[object], dimension: str, owner: str) -> Labels:
    """Turn the labels of one dimension into strings; none may be missing.

    Parameters
    ----------
    labels : iterable of str or number
        One label per position.
    dimension : str
        What is labelled, ``"condition"`` or ``"node"``, for messages.
    owner : str
        The table that carries the labels, for messages.

    Returns
    -------
    numpy.ndarray of str, shape (size,)

    Raises
    ------
    DataError
        A label is missing, blank, or neither text nor a number.
    """
    texts: list[str] = []
    given = Value(several, "a list of labels")(f"{owner}: the {dimension} labels", labels)
    for position, label in enumerate(given):
        hint = ""
        if is_missing(label):
            text = ""
            hint = (
                " (pandas reads names such as None, NA and null as missing: "
                "read them with keep_default_na=False)"
            )
        elif isinstance(label, str | numbers.Real | np.bool_):
            text = label_text(label)
        else:
            fix = "labels are text, so write it as one string"
            if isinstance(label, datetime.date | np.datetime64):
                fix = "labels are text; was it a name that a spreadsheet made into a date?"
            raise DataError(
                f"{owner}: {dimension} label {shown(label)} at position {position + 1} is a "
                f"{type(label).__name__}; {fix.rstrip('.')}."
            )
        if not text.strip():
            raise DataError(
                f"{owner}: the {dimension} label at position {position + 1} is missing; "
                f"give every {dimension} a name{hint}."
            )
        texts.append(text)
    return np.array(texts, dtype=np.str_)


def check_unique(labels: Labels, dimension: str, owner: str) -> None:
    """Raise a `DataError` that names the labels occurring more than once."""
    unique, counts = np.unique(labels, return_counts=True)
    repeated = unique[counts > 1]
    if len(repeated):
        fix = "rename them"
        if dimension == "condition":
            fix = "rename the replicates, or average them and give their spread as sigma"
        if any(number_in(str(label)) is not None for label in repeated):
            fix += " (5, 5.0 and '5' are one label)"
        raise DataError(
            f"{owner}: {counted(len(repeated), f'{dimension} label')} duplicated: "
            f"{listed(repeated)}; labels must be unique: {fix}."
        )


def as_numbers(values: npt.NDArray[Any], describe: Callable[[Index], str]) -> npt.NDArray[Any]:
    """Read an array of cells as real numbers; a missing cell becomes NaN.

    Parameters
    ----------
    values : numpy.ndarray
        Numbers, or Python objects such as the cells of a mixed column. Text that reads as a
        number is taken as that number, so that the error names the one cell that does not.
    describe : callable
        Name of the cell at an index, for messages.

    Returns
    -------
    numpy.ndarray of float
        float32 stays float32, every other type becomes float64.

    Raises
    ------
    DataError
        A cell is not a real number; the message has its place and its text.
    """
    if values.dtype == np.float32:
        return values
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    result = np.empty(values.shape, dtype=np.float64)
    for index in np.ndindex(values.shape):
        number = number_in(values[index])
        if number is None:
            cell = values[index]
            text = repr(str(cell)) if pd.api.types.is_scalar(cell) else shown(cell)
            raise DataError(
                f"{describe(index)} is {text}, which is not a real number; {_fix_of(cell)}."
            )
        result[index] = number
    return result


def is_missing(cell: object) -> bool:
    """Whether a cell is None, NaN or NaT, which of them depends on where a table came from."""
    if isinstance(cell, Decimal):  # pandas may raise at one that is signalling
        return cell.is_nan()
    return cell is None or (pd.api.types.is_scalar(cell) and bool(pd.isna(cast(Any, cell))))


def is_numeric(cell: object) -> bool:
    """Whether a cell is a number, or text that was meant as one, a decimal comma included."""
    return number_in(cell) is not None or (
        isinstance(cell, str)
        and _DECIMAL_COMMA.fullmatch(cell.strip().translate(_MINUS)) is not None
    )


def _fix_of(cell: object) -> str:
    if isinstance(cell, str) and "," in cell:
        return "write a decimal point, no comma (pandas.read_csv reads commas with decimal=',')"
    return (
        "write a number with a decimal point, or leave the cell empty (NaN) where nothing was "
        "measured"
    )


def first_of(bad: npt.NDArray[np.bool_], describe: Callable[[Index], str]) -> str:
    """Name the first marked cell, and say how many more there are."""
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    others = int(np.count_nonzero(bad)) - 1
    more = f" (and {counted(others, 'more cell')})" if others else ""
    return f"{describe(index)}{more}"


def cell_namer(name: str, axes: dict[str, npt.NDArray[Any]]) -> Callable[[Index], str]:
    """Return a function that names a cell of ``name`` by its label on every axis."""

    def describe(index: Index) -> str:
        where = (
            f"{dimension} {labels[i].item()!r}"
            for (dimension, labels), i in zip(axes.items(), index, strict=True)
        )
        return f"{name} at {', '.join(where)}"

    return describe


def number_in(cell: object) -> float | None:
    """Read one cell as a number: NaN where it is missing, None where it is something else."""
    if cell is None or cell is pd.NA:
        return float("nan")
    # NumPy counts a timedelta among the integers.
    if isinstance(cell, numbers.Real | Decimal | np.bool_) and not isinstance(cell, np.timedelta64):
        return float(cell) if isinstance(cell, bool | np.bool_) else as_number(cell)
    # float() also reads digit groups like 1_000, which no table means as a number.
    if isinstance(cell, str) and "_" not in cell:
        try:
            return float(cell.translate(_MINUS))
        except ValueError:
            return None
    return None
