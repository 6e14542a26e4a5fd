"""Files that list names, or nodes with their kinds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

import pandas as pd

from pycellbox.common.files import PATH
from pycellbox.common.labels import counted, listed
from pycellbox.data.cells import as_labels
from pycellbox.data.delimited import read_rows
from pycellbox.data.headings import is_blank
from pycellbox.data.kinds import groups_of, kinds_of_frame
from pycellbox.errors import DataError

FilePath: TypeAlias = str | os.PathLike[str]

_LIST_HEADINGS = ("node", "nodes", "condition", "conditions", "name", "gene", "protein", "x", "0")


def read_names(names: FilePath | Sequence[str], dimension: str, wanted: int) -> list[str]:
    """Labels as given, or from a file with one on each line and maybe a header."""
    if not isinstance(names, str | os.PathLike):
        return [str(name) for name in as_labels(names, dimension, f"{dimension}s")]
    file = read_rows(PATH("names", names), header=False, columns=1)
    if len(file.rows[0]) != 1:
        raise DataError(
            f"{file.path}, line {file.lines[0]} has {len(file.rows[0])} cells; a file of "
            f"{dimension} names has one on each line."
        )
    labels = [row[0] for row in file.rows]
    # One line too many, the first of which is what R and pandas write above a list.
    if len(labels) == wanted + 1 and labels[0].lower() in _LIST_HEADINGS:
        labels = labels[1:]
    return labels


def read_node_kinds(path: FilePath) -> pd.Series | pd.DataFrame:
    """Read a file with the columns node and kind, with or without a header that says so.

    One with a header may have a column group too, and comes back as it is.
    """
    file = read_rows(PATH("path", path))
    try:
        frame = pd.DataFrame(file.rows[1:], columns=pd.Index(file.rows[0], dtype=object))
        frame = frame.loc[:, [not is_blank(c) for c in frame.columns]]
        kinds = kinds_of_frame(frame)
        return kinds if groups_of(frame) is None else frame
    except DataError:
        if len(file.rows[0]) == 2:
            rows = file.rows[1:] if is_blank(file.rows[0][0]) else file.rows
            return pd.Series([kind for _, kind in rows], index=[n for n, _ in rows], dtype=object)
    raise DataError(
        f"{file.path}, line {file.lines[0]} has {counted(len(file.rows[0]), 'cell')}; a file of "
        f"node kinds has two columns, node and kind (found: {listed(file.rows[0])})."
    )
