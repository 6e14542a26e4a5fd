"""Files that are nearly right: tables, configurations, datasets and fits."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pycellbox.data import container
from tests.fuzz.hostile import spoil

_CELLS = (
    "", "NaN", "inf", "-inf", "1e999", "1e-320", "1,5", "much", "0x10", "True", "1 000", "١", "−1",
    '"', "\0", "é\udc80", "a" * 5000, "2020-01-01", "1;2", "=1+1", " ", "NA", "1e", "--1", "1_000",
)  # fmt: skip
_JSON = (
    None, True, False, 0, -1, 1, 2.5, 1e300, -1e300, 10**30, 2**63, "", "a", "../x", "/", "é",
    "x" * 3000, [], [1], [[]], {}, {"a": 1}, [None], "None", "1", 1e-300, "no file", [{}], "\0",
)  # fmt: skip


def spoilt_file(path: Path, draw: random.Random) -> tuple[str, Path]:
    """Write a spoilt copy into the present folder, and say what was done."""
    kinds: dict[str, Callable[[Path, random.Random], tuple[str, bytes]]] = {
        ".csv": _table,
        ".json": _configuration,
        ".yaml": _configuration,
        ".nc": _datasets,
    }
    what, content = kinds.get(path.suffix, _bytes)(path, draw)
    if draw.random() < 0.15:
        what, content = _bytes(path, draw)
    copy = path.with_name(f"spoilt {path.name}")
    copy.write_bytes(content)
    return f"{path.name}: {what}", copy


def _bytes(path: Path, draw: random.Random) -> tuple[str, bytes]:
    """Change bytes, or how many there are."""
    content = bytearray(path.read_bytes())
    way = draw.choice(("cut", "flipped", "zeros", "twice", "empty", "noise", "other"))
    at = draw.randrange(len(content) or 1)
    if way == "cut":
        del content[at:]
    elif way == "flipped" and content:
        for _ in range(draw.choice((1, 3, 30))):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif way == "zeros":
        content[at : at + 64] = bytes(64)
    elif way == "twice":
        content += bytes(content)
    elif way == "empty":
        content.clear()
    elif way == "noise":
        content[at : at + 40] = draw.randbytes(40)
    else:
        content = bytearray("{'a': [1, é", "utf-16")
    if path.suffix == ".nc" and draw.random() < 0.7:  # a checksum that fits
        content = bytearray(_sealed(bytes(content)))
    return way, bytes(content)


def _sealed(content: bytes) -> bytes:
    bare = container._SEAL.sub(container._UNSEALED, content)
    return container._SEAL.sub(b"pycellbox sha256 " + container._digest(bare), content)


def _table(path: Path, draw: random.Random) -> tuple[str, bytes]:
    """Change cells, lines or columns of a table."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row = draw.randrange(len(rows))
    column = draw.randrange(len(rows[row]))
    way = draw.choice(
        ("cell", "cell", "cell", "line", "twice", "column", "turned", "signs", "text")
    )
    text = ""
    if way == "cell":
        rows[row][column] = draw.choice(_CELLS)
    elif way == "line":
        del rows[row]
    elif way == "twice":
        rows.insert(row, rows[row])
    elif way == "column":
        rows = [cells[:column] + cells[column + 1 :] for cells in rows]
    elif way == "turned":
        rows = [list(cells) for cells in zip(*rows, strict=False)]
    elif way == "signs":
        sign = draw.choice((";", "\t", "|", " ", ",,"))
        return f"separated by {sign!r}", "\n".join(map(sign.join, rows)).encode()
    else:
        text = draw.choice(("# note\n", "\n\n", "\ufeff", '"', "sep=;\n"))
    lines = text + "\n".join(map(",".join, rows)) + "\n"
    coding = draw.choice(("utf-8", "utf-8", "utf-16", "latin-1"))
    return f"{way} {row} {column}", lines.encode(coding, "replace")


def _configuration(path: Path, draw: random.Random) -> tuple[str, bytes]:
    """Change a key or a value of a configuration, at any depth."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    place, way = settings, draw.choice(("value", "value", "value", "gone", "more", "key"))
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key: Any = draw.choice(keys)
        deeper = isinstance(place[key], dict | list) and len(place[key])
        if not deeper or draw.random() < 0.3:
            break
        place = place[key]
    if way == "value":
        place[key] = draw.choice(_JSON)
    elif way == "gone":
        del place[key]
    elif isinstance(place, dict):
        place[draw.choice(("a", f"{key}x", "", "é"))] = place[key]
        if way == "key":
            del place[key]
    write = json.dumps if path.suffix == ".json" else yaml.safe_dump
    return f"{way} of {key}", write(settings).encode()


def _datasets(path: Path, draw: random.Random) -> tuple[str, bytes]:
    """Change a variable or an attribute of a group, and write it as pycellbox does."""
    groups = container.read_datasets(path)
    name = draw.choice(list(groups))
    group = groups[name]
    if group.attrs and draw.random() < 0.5:
        key = draw.choice(list(group.attrs))
        what = f"attribute {key}"
        value: Any = draw.choice((*_JSON, "gone"))
        text = group.attrs[key]
        if isinstance(text, str) and text.startswith("{") and draw.random() < 0.7:
            told = json.loads(text)
            inner = draw.choice(list(told))
            told[inner] = value
            what, value = f"{what}, {inner}", json.dumps(told)
        if value == "gone":
            del group.attrs[key]
        else:
            group.attrs[key] = value if isinstance(value, str | int | float) else json.dumps(value)
    elif group.variables:
        what, groups[name] = spoil(group, draw)
    else:
        what = "gone"
        del groups[name]
    try:
        return f"{name} {what}", container._sealed(container._image(groups))
    except Exception:  # nothing that a file holds
        return _bytes(path, draw)
