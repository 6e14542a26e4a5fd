"""Equations of one's own laid over the nodes of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pycellbox.common.options import did_you_mean
from pycellbox.errors import ModelError
from pycellbox.models import layout
from pycellbox.models.declared import starts_of
from pycellbox.models.naming import dims_of

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE


def check_nodes(model: ODE, nodes: Sequence[str]) -> None:
    """Refuse nodes that the equations do not have, or lack.

    Raises
    ------
    ModelError
    """
    known = set(model.own_nodes) | set(model.inputs.values())
    for node in nodes:
        if node not in known:
            raise ModelError(
                f"the data have the node {node!r}, and the equations have none of that name"
                f"{did_you_mean(node, known)}: add a state, an observable or an input, or "
                "leave the node out of the data."
            )
    lacking = [node for node in known if node not in nodes]
    if lacking:
        hint = ""
        if set(lacking) <= set(model.inputs.values()):
            hint = " Inputs are nodes with a perturbation, or driving signals: see pcb.drive."
        raise ModelError(
            f"the data lack the node(s) {', '.join(sorted(lacking))} of the equations.{hint}"
        )


def declared_by(model: ODE, name: str) -> layout.Parameter:
    """Return a parameter of a model as layouts have it."""
    one = model.parameters[name]
    labels = tuple(
        model.states if size == len(model.states) else tuple(map(str, range(size)))
        for size in one.shape
    )
    (lower, upper), held = one.bounds, one.held
    return layout.Parameter(
        name, dims_of(name, one.shape), one.shape, "rates", lower, upper,
        held if held.any() else None, starts_of(one), labels=labels, scale=one.scale,
        prior=one.prior,
        along=one.dims or "",
    )  # fmt: skip
