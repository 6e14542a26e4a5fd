"""Parameters that only decide when something happens: derivatives by them are zero."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.errors import ModelError
from pycellbox.graph.influence import Entry, entries, parts
from pycellbox.models.formulas import STATE, Formulas
from pycellbox.models.structure import Structure

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE


def refuse_switches(model: ODE, structure: Structure) -> None:
    """Refuse a fit of parameters that only decide when something happens.

    Raises
    ------
    ModelError
    """
    measured = {n for n, k in zip(structure.nodes, structure.node_kind, strict=True)
                if k != "hidden"}  # fmt: skip
    places = [
        [i for i, name in enumerate(names) if name in measured]
        for names in (model.states, model.observe)
    ]
    for symbol, entry in switches(model.rates, *places):
        name = symbol[1:]
        one = model.parameters[name]
        if one.held.ravel()[entry]:
            continue
        at = [str(i) for i in np.unravel_index(entry, one.shape)]
        which = f"{name}[{', '.join(at)}]" if at else name
        raise ModelError(
            f"{which} is in comparisons alone (where, >, sign): it decides when something "
            "happens, its derivative is zero, and a fit would leave it where it starts. "
            f"Write a smooth step, such as expit((t - {which})/width) in place of "
            f"t > {which}, or fix it: pcb.Parameter({one.middle if not at else '...'}, "
            "fixed=True)."
        )


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
