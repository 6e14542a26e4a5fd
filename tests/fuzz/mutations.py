"""How a valid call is spoilt: its arguments, their names, the files that they name."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import xarray as xr

from tests.fuzz.calls import Call
from tests.fuzz.hostile import POOL, spoil
from tests.fuzz.spoilt_files import spoilt_file


def mutation(calls: dict[str, Call], seed: int, number: int) -> tuple[str, Call]:
    """A call with one or two things spoilt, and what it is in words."""
    draw = random.Random(f"{seed} {number}")
    name = list(calls)[number % len(calls)]
    function, arguments = calls[name]
    changed, words = dict(arguments), []
    names = [key for key in arguments if key != "command"]
    for key in draw.sample(names, min(len(names), draw.choice((1, 1, 1, 2)))):
        what, value = _spoilt(arguments[key], draw, calls)
        words.append(f"{key}: {what[:60]}")
        if what == "left out":
            del changed[key]
        elif what == "misspelt":
            del changed[key]
            changed[typo(key, draw)] = arguments[key]
        else:
            changed[key] = value
    if draw.random() < 0.02:
        changed["unheard_of"] = 1
        words.append("one more")
    return f"{name}({', '.join(words)})", (function, changed)


def _spoilt(value: Any, draw: random.Random, calls: dict[str, Call]) -> tuple[str, Any]:
    chance = draw.random()
    if chance < 0.03:
        return "left out", None
    if chance < 0.06:
        return "misspelt", None
    if isinstance(value, xr.DataArray | xr.Dataset | xr.DataTree) and chance < 0.75:
        return spoil(value, draw)
    if isinstance(value, Path) and value.is_file() and chance < 0.8:
        return spoilt_file(value, draw)
    if isinstance(value, str) and value and chance < 0.3:
        return "a typo", typo(value, draw)
    if isinstance(value, dict) and value and chance < 0.5:
        key = draw.choice(list(value))
        what = draw.choice(list(POOL))
        other = typo(str(key), draw) if draw.random() < 0.3 else key
        return f"{key!r}: {what}", {**value, other: POOL[what]()}
    if isinstance(value, list | tuple) and value and chance < 0.4:
        what = draw.choice(list(POOL))
        return f"[0] {what}", type(value)([POOL[what](), *value[1:]])
    if chance < 0.85:
        what = draw.choice(list(POOL))
        return what, POOL[what]()
    other, (_, given) = draw.choice([call for call in calls.items() if call[1][1]])
    taken = draw.choice(list(given))
    return f"{taken} of {other}", given[taken]


def typo(word: str, draw: random.Random) -> str:
    """A word with a letter more, less, twice, changed places, or in the other case."""
    at = draw.randrange(len(word))
    return draw.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + "x" + word[at:],
            word[:at] + word[at:][::-1],
            word.swapcase(),
            f" {word}",
        ]
    )
