"""Labels, wherever they come from: the text by which they match, and lists of them in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_WHOLE = re.compile(r"-?\d+\.0+")


def label_text(label: object) -> str:
    """Write a label as the text by which it is matched: a whole number without ``.0``.

    An identifier is an integer in one table, text in another, and a float where pandas met a
    missing cell beside it: 5604, ``"5604"`` and 5604.0 are one label.
    """
    text = _said(label)
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def labels_along(array: Any, dim: str) -> list[str]:
    """Return the labels of a DataArray or Dataset along a dimension as text."""
    return [label_text(label) for label in array.get_index(dim).values]


def listed(items: Iterable[object], limit: int = 5) -> str:
    """Write out the first few items, and how many more there are."""
    texts = [repr(_said(item)) for item in items]
    shown = ", ".join(texts[:limit])
    return shown if len(texts) <= limit else f"{shown} and {len(texts) - limit} more"


def counted(count: int, noun: str) -> str:
    """Give a count with its noun: ``1 node``, ``2 nodes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _said(item: object) -> str:
    try:
        return str(item)
    except Exception:  # of an object of the user's, or a list without end
        return f"a {type(item).__name__}"
