"""JSON from anywhere: read with bounds, and nothing in it passed over."""

from __future__ import annotations

import json
from typing import Any

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 30
MAX_DIGITS = 100


def read_json(text: str, *, constants: bool = False) -> Any:
    """Read JSON.

    Parameters
    ----------
    text : str
    constants : bool
        Whether NaN and Infinity, which are no JSON, may stand for numbers.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        It is no JSON, is longer or nested deeper than anything honest, repeats a key, or has a
        number of more than a hundred digits; the message says which, without a full stop.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, and at most {MAX_CHARACTERS} are read")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_repetition,
            parse_int=lambda digits: int(checked_number(digits)),
            parse_float=lambda digits: float(checked_number(digits)),
            parse_constant=float if constants else _refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"line {error.lineno}, column {error.colno}: this is no JSON ({error.msg})"
        ) from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    _check_depth(value)
    return value


def checked_number(digits: str) -> str:
    """Return a written number; ValueError if it has more digits than any number needs."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(
            f"the number {digits[:20]}… has {len(digits)} characters; at most {MAX_DIGITS} are read"
        )
    return digits


def repeated_key(key: object) -> ValueError:
    """Make the error for a key that is there twice."""
    return ValueError(f"the key {str(key)[:60]!r} is given more than once; keep one")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise repeated_key(key)
        found[key] = value
    return found


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON; write a finite number, or null")


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
