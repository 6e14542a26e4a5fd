"""Files of separated cells: bytes to text, text to rows, whichever separator and encoding."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pycellbox.common.labels import counted
from pycellbox.common.spreadsheet import unescaped
from pycellbox.data.cells import is_numeric
from pycellbox.data.headings import is_blank, names_labels
from pycellbox.data.numerals import is_missing_text
from pycellbox.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}

_PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_LARGEST = 500_000_000  # bytes once unpacked, where a small file may hold anything
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),  # spreadsheets put a mark before the first character
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class Rows:
    """The cells of a file, every row of the same length, with the line each row stands on."""

    path: Path
    rows: list[list[str]]
    lines: list[int]
    separator: str


def read_rows(path: Path, *, header: bool = True, columns: int | None = None) -> Rows:
    """Read a file into equally long rows of cells.

    Parameters
    ----------
    path : Path
        File of cells separated by commas, semicolons, tabs, vertical bars or blanks, as text or
        packed by gzip, bzip2 or xz.
    header : bool
        Whether the first row has names. Then it may lack that of the first column, as R writes.
    columns : int, optional
        Number of columns, where it is known; 1 for a list, whose cells may hold any separator.

    Raises
    ------
    DataError
        The file is missing, no text, or no table; with the line.
    """
    text = _text(path)
    said = re.match(r'"?sep=(.)"?[ \t,;|]*\r?\n?', text)  # what Excel heeds
    if said:
        text = text[said.end(1) :].lstrip('" \t,;|')
    lines, notes, heading = _without_notes(text)
    default = "\t" if set(path.suffixes) & {".tsv", ".tab"} else ","
    if said:
        candidates = [said[1]]
    elif columns == 1:
        candidates = [default]
    else:
        candidates = [default, *(s for s in SEPARATORS if s != default and s in text)]
    tables = {s: _Table(path, s, lines, notes, heading, header) for s in candidates}
    best = max(candidates, key=lambda separator: tables[separator].score)
    table = tables[best]
    if table.fault:
        raise DataError(table.fault)
    return Rows(path, table.rows, table.lines, best)


class _Table:
    """The rows of a text under one separator, and how well they make a table."""

    def __init__(
        self,
        path: Path,
        separator: str,
        lines: list[str],
        notes: set[int],
        heading: str,
        header: bool,
    ) -> None:
        self.path, self.separator, self.header = path, separator, header
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        self.fault = self._parse(lines, notes) or self._square(heading)

    @property
    def score(self) -> tuple[bool, bool, bool, int]:
        """Whether it is a table, of columns, with a whole header, and how much is numbers."""
        if self.fault:
            # Of what is no table, the one with the most columns explains the most; blanks do not.
            columns = len(self.rows[0]) if self.rows and self.separator != " " else 0
            return False, False, False, columns
        whole = not self.header or bool(self.rows[0][0])
        numbers = sum(is_numeric(cell) for row in self.rows[:50] for cell in row)
        return True, len(self.rows[0]) > 1, whole, numbers

    def _parse(self, lines: list[str], notes: set[int]) -> str:
        if self.separator == " ":
            lines = [re.sub(r"[ \t]+(?=\r?\n?$)", "", line) for line in lines]
            lines = [line.lstrip(" ") for line in lines]
        reader = csv.reader(
            lines, delimiter=self.separator, strict=True, skipinitialspace=self.separator == " "
        )
        try:
            for row in reader:
                if not row or (len(row) == 1 and not row[0].strip()):  # an empty line
                    continue
                if reader.line_num in notes:
                    if len(row) != len(self.rows[0]):
                        continue
                    return (
                        f"{self.path}, line {reader.line_num} begins with '#' and has as many "
                        "cells as a row; remove it if it is a comment, or write its label in "
                        "another way."
                    )
                self.rows.append([unescaped(cell.strip()) for cell in row])
                self.lines.append(reader.line_num)
        except csv.Error as error:
            return f"{self.path}, line {reader.line_num}: this is no table ({error})."
        return "" if self.rows else f"{self.path} is empty; it needs a table."

    def _square(self, heading: str) -> str:
        """Make all rows as long as the first, where that only takes cells that are empty."""
        first, body = self.rows[0], self.rows[1:]
        if heading and self.header:
            names = next(csv.reader([heading], delimiter=self.separator))
            numbers = all(is_numeric(cell) or is_missing_text(cell) for cell in first[1:])
            if len(names) == len(first) > 1 and numbers:
                self.rows.insert(0, [unescaped(name.strip()) for name in names])
                self.lines.insert(0, self.lines[0] - 1)
                first, body = self.rows[0], self.rows[1:]
        longer = [row for row in body if len(row) == len(first) + 1]
        if self.header and body and len(longer) == len(body):
            trailing = not any(row[-1] for row in body)
            labels = is_blank(first[0]) or names_labels(first[0])
            if trailing and not labels and not is_numeric(body[0][0]):
                return (
                    f"{self.path}, line {self.lines[0]} has one cell less than the rows below, "
                    "which all end in an empty one: begin it with a name for the first column, "
                    "such as condition, or remove the last separator of the rows."
                )
            if not trailing:  # R leaves out the name of the first column
                first.insert(0, "")
        for row in body:
            while len(row) > len(first) and not row[-1]:
                row.pop()
        for row, line in zip(self.rows, self.lines, strict=True):
            if len(row) != len(first):
                comma = (
                    "; write numbers with a decimal point, or separate columns by semicolons"
                    if self.separator == "," and len(row) > len(first)
                    else ""
                )
                return (
                    f"{self.path}, line {line} has {counted(len(row), 'cell')} and line "
                    f"{self.lines[0]} has {len(first)} (separated by "
                    f"{SEPARATORS.get(self.separator, repr(self.separator))}); every line of a "
                    f"table needs as many{comma}."
                )
        return ""


def _without_notes(text: str) -> tuple[list[str], set[int], str]:
    """Split text into lines; empty the comments above the table, and list those further down.

    The last comment above the table is returned as well: it may hold the names of the columns.
    """
    lines = list(io.StringIO(text, newline=""))
    notes: set[int] = set()
    heading, begun, quotes = "", False, 0
    for i, line in enumerate(lines):
        if line.lstrip().startswith("#") and quotes % 2 == 0:
            if begun:
                notes.add(i + 1)
            else:
                heading, lines[i] = line.lstrip().lstrip("#").strip(), "\n"
            continue
        begun = begun or bool(line.strip())
        quotes += line.count('"')
    return lines, notes, heading


def _text(path: Path) -> str:
    raw = _bytes(path)
    marked = (encoding for mark, encoding in _MARKS if raw.startswith(mark))
    encoding = next(marked, None) or _unmarked(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        byte = raw[error.start : error.start + 1]
        raise DataError(
            f"{path}, line {line}: this is no text in UTF-8 (the byte 0x{byte.hex()}, which may "
            f"be {byte.decode('cp1252', errors='replace')!r} of Windows-1252 or Latin-1); save the "
            "table as CSV in UTF-8."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}, line {line}: this is no text; save the table as CSV.")
    return text


def _unmarked(raw: bytes) -> str:
    """Tell UTF-16 without a mark by the zero that every other byte of plain text then is."""
    start = raw[:2000]
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(zeros) > 1 and zeros.count(0) > 0.7 * len(zeros):
            return encoding
    return "utf-8"


def _bytes(path: Path) -> bytes:
    if not os.path.isfile(path):
        raise DataError(f"there is no file {str(path)!r}; check the path.")
    try:
        raw = path.read_bytes()
        if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise DataError(
                f"{path} is a spreadsheet file or a zip archive; save the table as CSV, or unpack "
                "it."
            )
        for mark, unpack in _PACKED.items():
            if raw.startswith(mark):
                raw = _unpacked(unpack(io.BytesIO(raw)), path)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"cannot read {str(path)!r}: {error}.") from error
    return raw


def _unpacked(file: Any, path: Path) -> bytes:
    raw: bytes = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise DataError(
            f"{path} holds more than {_LARGEST:,} bytes once unpacked; unpack it first."
        )
    return raw
