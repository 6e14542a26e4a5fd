"""HTML views for notebooks: small, without style sheets or scripts, in the colors of the page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import xarray as xr

MOST = 20
"""So many lines of a table are shown, at most."""

_CARD = "border-left:3px solid #888;padding-left:.8em;line-height:1.5;overflow-wrap:anywhere"
_ROWS = "display:grid;grid-template-columns:max-content auto;column-gap:1em"
_TABLE = "margin:0;border:0;font:inherit;color:inherit"
_CELL = "text-align:left;padding:0 1em 0 0;background:none;border:0"
_NUMBER = "text-align:right;padding:0 1em 0 0;background:none;border:0"


def kernel_shell() -> Any:
    """Return IPython's shell where its front end shows pictures and HTML, None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "kernel") else None


def card(title: str, rows: Iterable[tuple[str, str]], *parts: str) -> str:
    """Return a titled list of names and texts, which are escaped; ``parts`` are HTML already."""
    lines = "".join(
        f'<span style="opacity:.7">{escape(name)}</span><span>{escape(text)}</span>'
        for name, text in rows
    )
    head = f"<strong>{escape(title)}</strong>"
    return f'<div style="{_CARD}">{head}<div style="{_ROWS}">{lines}</div>{"".join(parts)}</div>'


def options(title: str, given: Mapping[str, object], unset: Mapping[str, str]) -> str:
    """Return a card of options by name; ``unset`` says what it means that one is None."""

    def words(name: str, value: object) -> str:
        if value is None:
            return unset[name]
        if isinstance(value, Mapping):
            return ", ".join(f"{group}: {number:g}" for group, number in value.items())
        return "; ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return card(title, [(name.replace("_", " "), words(name, v)) for name, v in given.items()])


def table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of texts, which are escaped; the first column holds names, others numbers."""

    def row(tag: str, texts: Sequence[str]) -> str:
        styles = [_CELL] + [_NUMBER] * (len(texts) - 1)
        cells = zip(styles, texts, strict=True)
        inner = "".join(f'<{tag} style="{style}">{escape(text)}</{tag}>' for style, text in cells)
        return f"<tr>{inner}</tr>"

    body = "".join(row("td", line) for line in lines[:MOST])
    left = f"<div>… and {len(lines) - MOST} more</div>" if len(lines) > MOST else ""
    return f'<table style="{_TABLE}">{row("th", names)}{body}</table>{left}'


def folded(summary: str, content: str) -> str:
    """Return HTML that opens when its summary, which is escaped, is clicked."""
    head = f'<summary style="cursor:pointer">{escape(summary)}</summary>'
    return f"<details>{head}{content}</details>"


def strongest(W: xr.DataArray) -> str:
    """Return the strongest interactions, folded; nothing where there is none."""
    ordered = W.transpose("target", "source")
    values = ordered.values
    targets, sources = np.nonzero(values)
    if not targets.size:
        return ""
    order = np.argsort(-np.abs(values[targets, sources]), kind="stable")[:MOST]
    lines = [
        (f"{ordered['source'].values[j]} → {ordered['target'].values[i]}", f"{values[i, j]:+.3g}")
        for i, j in zip(targets[order], sources[order], strict=True)
    ]
    title = f"{len(lines)} strongest interactions" if len(lines) < targets.size else "interactions"
    return folded(title, table(["source → target", "w"], lines))
