"""Numbers as spreadsheets of many countries write them: decimal commas, missing values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pycellbox.data.cells import Index
from pycellbox.errors import DataError

# What pandas reads as missing, in any case.
_MISSING = frozenset(
    {"", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>"}
) | {"n/a", "na", "nan", "none", "null"}
_COMMA = re.compile(r"[+-]?\d*,\d*([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d*([eE][+-]?\d+)?")
# 1,234.5 or 1.234,5 or 1,234,567 or 1'234 or 1 234
_GROUPED = re.compile(
    r"[+-]?\d{1,3}((,\d{3})+\.\d*|(\.\d{3})+,\d*|(,\d{3}){2,}|(\.\d{3}){2,}|"
    r"(['’ \u00a0\u2009\u202f]\d{3})+([.,]\d*)?)"
)
_MAYBE_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def is_missing_text(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().lower() in _MISSING


def plain_numerals(
    texts: Sequence[Sequence[str]], describe: Callable[[Index], str]
) -> list[list[str]]:
    """Write the numbers of a table with decimal points, and ``nan`` for what is missing.

    Raises
    ------
    DataError
        A number has thousands separators, or commas may be those; the message has its cell.
    """
    commas: list[Index] = []
    points: list[Index] = []
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            if _GROUPED.fullmatch(text):
                raise DataError(
                    f"{describe((i, j))} is {text!r}, which has thousands separators; write "
                    "numbers without them."
                )
            if "," in text and _COMMA.fullmatch(text):
                commas.append((i, j))
            elif "." in text and _POINT.fullmatch(text):
                points.append((i, j))
    if commas:
        first = commas[0]
        text = texts[first[0]][first[1]]
        if points:
            other = texts[points[0][0]][points[0][1]]
            raise DataError(
                f"{describe(first)} is {text!r}, and another is {other!r}: one of comma and point "
                "separates decimals and the other thousands; write all numbers in one way, without "
                "thousands separators."
            )
        if all(_MAYBE_GROUPED.fullmatch(texts[i][j]) for i, j in commas):
            raise DataError(
                f"{describe(first)} is {text!r}, whose comma may separate decimals or thousands; "
                "write numbers with a decimal point and without thousands separators."
            )
    decimal = {text for i, j in commas for text in [texts[i][j]]}
    return [
        ["nan" if is_missing_text(t) else t.replace(",", ".") if t in decimal else t for t in row]
        for row in texts
    ]
