"""Which column of a table holds labels, which holds times, and which are nodes.

A table that was written with its index and read without it, or the other way round, has its
labels where its nodes belong. What is plainly labels or times is taken for that; a column that
might as well be a node is refused with both readings.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pycellbox.common.labels import counted, label_text, listed
from pycellbox.data.cells import is_missing, is_numeric
from pycellbox.data.headings import (
    TimeHeading,
    is_blank,
    is_written_index,
    names_labels,
    time_heading,
)
from pycellbox.errors import DataError

Cells = npt.NDArray[Any]


@dataclass(frozen=True)
class Surroundings:
    """What else is known when a table is read.

    Attributes
    ----------
    named : set of str
        Nodes that ``node_kind`` names.
    elsewhere : set of str
        Columns of the other tables.
    from_file : bool
        Whether the table is a file as it stands: its first column holds the labels, and ``.T``
        and ``set_index`` are no remedies.
    """

    named: Set[str] = field(default_factory=frozenset)
    elsewhere: Set[str] = field(default_factory=frozenset)
    from_file: bool = False


@dataclass
class Settled:
    """A table whose columns are nodes alone, with the condition and time of every row."""

    cells: pd.DataFrame
    conditions: Cells
    times: Cells | None = None
    unit: str | None = None


def settle(frame: pd.DataFrame, name: str, around: Surroundings) -> Settled:
    """Find the labels and times of a table; the columns left over are its nodes.

    Raises
    ------
    DataError
        A column may be labels, times or a node; or the labels of the conditions are missing.
    """
    return _Reading(frame, name, around).settled()


class _Reading:
    def __init__(self, frame: pd.DataFrame, name: str, around: Surroundings) -> None:
        self.name, self.around = name, around
        self.frame = frame
        empty = [
            i for i in range(frame.shape[1]) if is_blank(frame.columns[i]) and self._is_empty(i)
        ]
        self.left = [i for i in range(frame.shape[1]) if i not in empty]

    def settled(self) -> Settled:
        index = self.frame.index
        labels, heading = np.asarray(index, dtype=object), index.name
        times, unit = None, None
        if isinstance(index, pd.MultiIndex):
            labels, heading, times, unit = self._levels(index)
        elif heading is not None and _is_time(heading):
            raise DataError(
                f"{self.name} has times ({str(heading)!r}) and no conditions as its index; name "
                "the condition of every row, with set_index(['condition', 'time'])."
            )
        if times is None:
            times, unit = self._time_column()
        column = self._label_column()
        if column is not None:
            labels, heading = self._cells(column), self.frame.columns[column]
            self.left.remove(column)
        self._drop_copies(labels)
        self._check_rest()
        self._check_no_doses(labels, heading, repeated=times is not None)
        return Settled(self.frame.iloc[:, self.left], labels, times, unit)

    # ---- what a column is like
    def _cells(self, column: int) -> Cells:
        return self.frame.iloc[:, column].to_numpy(dtype=object)

    def _heading(self, column: int) -> str:
        return label_text(self.frame.columns[column])

    def _is_empty(self, column: int) -> bool:
        return bool(self.frame.iloc[:, column].isna().all())

    def _is_text(self, column: int) -> bool:
        """Whether a column holds names: no number in it, or not only numbers where names belong."""
        if pd.api.types.is_numeric_dtype(self.frame.dtypes.iloc[column]):
            return False
        there = [cell for cell in self._cells(column) if not is_missing(cell)]
        numeric = [is_numeric(cell) for cell in there]
        if not all(
            isinstance(cell, str) or number for cell, number in zip(there, numeric, strict=True)
        ):
            return False  # dates and the like are for the reader of numbers to name
        first_of_file = self.around.from_file and column == 0
        if first_of_file or names_labels(self.frame.columns[column]):
            return bool(there) and not all(numeric)
        return bool(there) and not any(numeric)

    def _is_count(self, column: int) -> bool:
        """Whether a column counts the rows from 0 or from 1, as an index does that was written."""
        cells = self._cells(column)
        if not all(is_numeric(cell) for cell in cells):
            return False
        rows = np.arange(len(cells))
        numbers = [label_text(cell) for cell in cells]
        return numbers in ([str(i) for i in rows], [str(i + 1) for i in rows])

    def _is_known_node(self, column: int) -> bool:
        """Whether node_kind names a column; made from the columns, it names nameless ones too."""
        heading = self._heading(column)
        return heading in self.around.named and not is_blank(heading)

    # ---- times
    def _levels(self, index: pd.MultiIndex) -> tuple[Cells, Any, Cells, str | None]:
        if index.nlevels != 2:
            raise DataError(
                f"{self.name} has an index of {index.nlevels} levels; a time course needs two, "
                "condition and time."
            )
        headings = [None if name is None else time_heading(name) for name in index.names]
        levels = [index.get_level_values(i).to_numpy(dtype=object) for i in range(2)]
        # Levels go by name; unnamed, by what they hold: times are numbers.
        first_is_time = headings[0] is not None and headings[1] is None
        if index.names[0] is None and index.names[1] is None:
            numeric = [all(is_numeric(cell) for cell in level) for level in levels]
            first_is_time = numeric == [True, False]
        time, condition = (0, 1) if first_is_time else (1, 0)
        heading = headings[time]
        unit = None if heading is None else heading.unit
        return levels[condition], index.names[condition], levels[time], unit

    def _time_column(self) -> tuple[Cells | None, str | None]:
        found: list[tuple[int, TimeHeading]] = []
        before = 0  # nodes, and labels that are numbers
        for column in self.left:
            heading = time_heading(self.frame.columns[column])
            if heading is None or self._is_known_node(column):
                index = is_written_index(self.frame.columns[column])
                before += not (index or self._is_text(column))
                continue
            if heading.may_be_node and (before > 1 or not self._may_be_times(column)):
                continue
            found.append((column, heading))
        if not found:
            return None, None
        column, heading = found[0]
        text = self._heading(column)
        if heading.may_be_node and text in self.around.elsewhere:
            raise DataError(
                f"the column {text!r} of {self.name} may be time, or a node: name a node in "
                "node_kind={node: kind}; leave time out of the perturbation, and call it 'time' in "
                "the response."
            )
        if len(found) > 1:
            raise DataError(
                f"{self.name} has {len(found)} columns of time: "
                f"{listed(self._heading(i) for i, _ in found)}; keep one."
            )
        self.left.remove(column)
        return self._cells(column), heading.unit

    def _may_be_times(self, column: int) -> bool:
        times = pd.to_numeric(self.frame.iloc[:, column], errors="coerce").to_numpy(dtype=float)
        return bool(np.all(times >= 0) and np.any(times > 0))

    # ---- labels
    def _label_column(self) -> int | None:
        """Return the column that holds the labels, None where the index does."""
        index = self.frame.index
        if isinstance(index, pd.MultiIndex) or index.name is not None:
            return None
        if not pd.api.types.is_integer_dtype(index.dtype):
            return None
        texts = [i for i in self.left if self._is_text(i)]
        if self.around.from_file and 0 in texts:
            return 0
        announced = [i for i in texts if names_labels(self.frame.columns[i])]
        if len(texts) == 1 or len(announced) == 1:
            return (announced or texts)[0]
        if texts:
            raise DataError(
                f"{self.name} has {counted(len(texts), 'column')} of text: "
                f"{listed(map(self._heading, texts))}; its labels may be in one of them: say which "
                "with set_index('...'), and leave the others out."
            )
        written = [
            i
            for i in self.left
            if is_written_index(self.frame.columns[i])
            and not self._is_known_node(i)
            and (self._is_count(i) or (is_blank(self.frame.columns[i]) and self._is_whole(i)))
        ]
        written.sort(key=self._is_count)  # an index written over labels is a count beside them
        if not self.around.from_file or written:
            return next(iter(written), None)
        if 0 in self.left:
            return 0
        raise DataError(
            f"{self.name} has times in its first column and no column of conditions; name the "
            "condition of every row in a column before the time."
        )

    def _is_whole(self, column: int) -> bool:
        numbers = [label_text(cell) for cell in self._cells(column)]
        return all(text.isdecimal() for text in numbers) and len(set(numbers)) == len(numbers)

    def _drop_copies(self, labels: Cells) -> None:
        """Leave out what the labels are there for already: an index written twice."""
        texts = [label_text(label) for label in labels]
        for column in list(self.left):
            if self._is_known_node(column):
                continue
            same = self._is_text(column) and [label_text(c) for c in self._cells(column)] == texts
            count = is_written_index(self.frame.columns[column]) and self._is_count(column)
            if same or count:
                self.left.remove(column)

    def _check_rest(self) -> None:
        """Refuse a column that is left among the nodes and looks like something else."""
        for column in self.left:
            heading = self._heading(column)
            if self._is_text(column):
                cell = next(cell for cell in self._cells(column) if not is_missing(cell))
                raise DataError(
                    f"the column {heading!r} of {self.name} holds text such as {str(cell)!r}, and "
                    f"a node needs numbers; {self._remedy(heading)}, or leave the column out."
                )
            known = self._is_known_node(column)
            if known and not (is_written_index(heading) and self._is_count(column)):
                continue
            if names_labels(heading) and (heading.strip() or self.around.from_file):
                node = "rename it" if known else "name it in node_kind={node: kind} or rename it"
                time = ", if it is time, call it 'time'" if is_blank(heading) else ""
                raise DataError(
                    f"the column {heading!r} of {self.name} may be labels of the rows, or a node "
                    f"of that name: if it is labels, {self._remedy(heading)}{time}; if it is a "
                    f"node, {node}; else leave it out."
                )

    def _remedy(self, heading: str) -> str:
        if self.around.from_file:
            return "put the labels of the conditions into the first column"
        return f"make labels the index with .set_index({heading!r}) or read_csv(..., index_col=...)"

    def _check_no_doses(self, labels: Cells, heading: Any, *, repeated: bool) -> None:
        """Refuse labels that are the numbers of a node: a table without a column of labels."""
        if heading is None or names_labels(heading) or time_heading(heading):
            return
        if not all(is_numeric(label) for label in labels):
            return
        texts = [label_text(label) for label in labels]
        node = label_text(heading)
        is_node = node in self.around.named or node in self.around.elsewhere
        counting = all(text.isdecimal() for text in texts)
        unique = repeated or len(set(texts)) == len(texts)
        if is_node or not counting or not unique:
            raise DataError(
                f"{self.name} has numbers ({listed(texts, 3)}) in the column {node!r}, where the "
                "labels of its conditions are expected"
                + (", and that is a node" if is_node else "")
                + ": if the table has no labels, put a column 'condition' before the first node"
                + ("" if is_node else "; if these are the labels, call their column 'condition'")
                + "."
            )


def _is_time(heading: object) -> bool:
    """Whether a heading can be nothing but time."""
    found = time_heading(heading)
    return found is not None and not found.may_be_node
