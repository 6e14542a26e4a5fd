"""Parameters that only decide when something happens: derivatives by them are zero."""

from __future__ import annotations

from collections.abc import Collection

from pycellbox.graph.influence import Entry, entries, parts
from pycellbox.models.formulas import STATE, Formulas


def switches(formulas: Formulas, states: Collection[int], observed: Collection[int]) -> list[Entry]:
    """Return entries of parameters that change what is measured, but never its derivative.

    Parameters
    ----------
    formulas : Formulas
    states, observed : collection of int
        Numbers of those that are measured.

    Returns
    -------
    list of (str, int)
        Symbols of parameters, and numbers of entries.
    """
    whole, derived = (_reaching(formulas, states, observed, kind) for kind in (False, True))
    return sorted(whole - derived)


def _reaching(
    formulas: Formulas, states: Collection[int], observed: Collection[int], derived: bool
) -> set[Entry]:
    """Return entries of parameters that reach a measured node, through other states too."""
    rates, starts, seen = (
        parts(vector) for vector in (formulas.rates, formulas.start, formulas.observed)
    )
    found = entries([seen[i] for i in observed], derived=derived)
    waiting, reached = set(states), set[int]()
    while True:
        waiting = (waiting | {i for name, i in found if name == STATE}) - reached
        if not waiting:
            return {(name, i) for name, i in found if name.startswith(".")}
        reached |= waiting
        found |= entries([v[i] for i in waiting for v in (rates, starts)], derived=derived)
