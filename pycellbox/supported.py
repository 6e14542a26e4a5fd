"""Which blocks of a fit its data support: figures, and words for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pycellbox import views
from pycellbox.metrics import format_table, html_table

KEPT = "support"
"""Under this name in the provenance of a fit."""
HOW = "not looked at: fit.support() says which blocks the data support"
_LEVEL = 0.05  # of what is more than chance, by convention
_KINDS: dict[str, type | tuple[type, ...]] = {
    "block": str, "what": str, "with": (int, float), "without": (int, float),
    "difference": (int, float), "standard_error": (int, float), "p": (int, float), "folds": int,
    "failure": str,
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Support:
    """Errors of conditions left out, with and without each block of a fit.

    Parameters
    ----------
    table : DataFrame
        A row for each block, by name. ``what``: what it is, in words. ``with`` and ``without``:
        mean squared error of the conditions left out, without the nodes of drugs where others are
        measured. ``difference``: with minus without, mean over conditions, below 0 where the block
        helps; its ``standard_error``; ``p``, how often chance alone would give one at least as far
        from 0 (Student's t, paired by condition). ``folds``: how many were fitted both with and
        without; ``failure``: the first fold that was not, and why, empty where there is none.
    by : str
        What was left out together.
    """

    table: pd.DataFrame
    by: str

    @property
    def words(self) -> tuple[str, ...]:
        """What the table says, a sentence for each block."""
        return tuple(_sentence(row) for row in self.table.to_dict("records"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for provenance.

        Returns
        -------
        dict
            By name.
        """
        rows = self.table.rename_axis("block").reset_index().to_dict("records")
        return {"by": self.by, "blocks": [{str(k): v for k, v in row.items()} for row in rows]}

    def __repr__(self) -> str:
        title = f"<pycellbox.Support: {len(self.table)} blocks, by {self.by}>"
        return "\n".join([title, *(f"  {text}" for text in self.words)])

    def _repr_html_(self) -> str:
        rows = [("", text) for text in self.words]
        return views.card(f"Support, by {self.by}", rows, html_table(self._figures))

    @property
    def _figures(self) -> pd.DataFrame:
        return self.table.drop(columns=["what", "failure"])

    def __str__(self) -> str:
        return f"{self!r}\n{format_table(self._figures)}"


def support_in(provenance: Mapping[str, Any]) -> Support | None:
    """Return what a fit has kept, or None.

    Raises
    ------
    ValueError
        It is not what was kept.
    """
    kept = provenance.get(KEPT)
    if kept is None:
        return None
    rows = kept["blocks"]
    for row in rows:
        if set(row) != set(_KINDS) or not all(isinstance(row[n], k) for n, k in _KINDS.items()):
            raise ValueError(f"provenance has a block {row!r:.60}")
    table = pd.DataFrame(rows, columns=list(_KINDS)).set_index("block")
    return Support(table, str(kept["by"]))


def lines_of(provenance: Mapping[str, Any], network: bool, how: str = HOW) -> list[tuple[str, str]]:
    """Return what is to be printed of a fit: words, or how to get them; nothing of equations."""
    found = support_in(provenance)
    if found is None:
        return [("support", how)] if network else []
    return [("" if k else "support", text) for k, text in enumerate(found.words)]


def _sentence(row: Mapping[Any, Any]) -> str:
    what, one, other = row["what"], row["with"], row["without"]
    several = what.endswith("s")
    if not row["folds"]:
        return f"{what}: no fold could be fitted with and without, {row['failure']}"
    figures = f"{_figure(one)} with, {_figure(other)} without"
    if row["failure"]:
        figures += f"; not in all folds, {row['failure']}"
    real = row["p"] < _LEVEL  # not where it is not a number
    if real and one != other:
        better = one < other
        verb = (
            ("improve" if several else "improves") if better else ("make" if several else "makes")
        )
        return f"{what} {verb} prediction {'' if better else 'worse '}on these data: {figures}"
    verb = "do not improve" if several else "does not improve"
    chance = " by more than chance" if one < other and _figure(one) != _figure(other) else ""
    return f"{what} {verb} prediction on these data{chance}: {figures}"


def _figure(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-3 or value == 0 else f"{value:.3g}"
