"""Tables of scores as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pycellbox import views
from pycellbox.common.options import checked, instance, optional, text

_HEADERS = {
    "pearson": "Pearson",
    "mse": "MSE",
    "pearson_without_drugs": "Pearson w/o drugs",
    "mse_without_drugs": "MSE w/o drugs",
    "pearson_by_node": "Pearson by node",
    "pearson_by_condition": "Pearson by condition",
}


_TABLE = instance(pd.DataFrame, "a DataFrame, such as pcb.metrics.compare returns")


@checked(table=_TABLE, title=optional(text()))
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
    labels, *columns = _columns(table)
    padded = [_justified(labels, str.ljust), *(_justified(c, str.rjust) for c in columns)]
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines if title is None else [title, *lines])


@checked(table=_TABLE)
def html_table(table: pd.DataFrame) -> str:
    """Write a table of scores as HTML.

    Parameters
    ----------
    table : DataFrame
        As for `format_table`.

    Returns
    -------
    str
        A ``<table>`` with the numbers of `format_table`.
    """
    names, *lines = zip(*_columns(table), strict=True)
    return views.table(names, lines)


def _columns(table: pd.DataFrame) -> list[list[str]]:
    """List the texts of every column, its header first; the first column is the index."""
    labels = [str(table.index.name or ""), *(str(label) for label in table.index)]
    columns = [
        [_HEADERS.get(str(name), str(name)), *_cells(str(name), table.iloc[:, i])]
        for i, name in enumerate(table.columns)
    ]
    return [labels, *columns]


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
