"""The text by which a label is matched, wherever it comes from."""

from __future__ import annotations

import re
from typing import Any

_WHOLE = re.compile(r"-?\d+\.0+")


def label_text(label: object) -> str:
    """Write a label as the text by which it is matched: a whole number without ``.0``.

    An identifier is an integer in one table, text in another, and a float where pandas met a
    missing cell beside it: 5604, ``"5604"`` and 5604.0 are one label.
    """
    text = str(label)
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def labels_along(array: Any, dim: str) -> list[str]:
    """Return the labels of a DataArray or Dataset along a dimension as text."""
    return [label_text(label) for label in array[dim].values]
