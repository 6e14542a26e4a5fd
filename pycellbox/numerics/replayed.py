"""The expressions of an `ODE` as functions of states, in any array library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pycellbox.models.formulas import INPUTS, STATE
from pycellbox.numerics.replay import replay
from pycellbox.problem import Array

if TYPE_CHECKING:
    from pycellbox.numerics.expressed import Expressed

Values: TypeAlias = Mapping[str, Any]

ADJOINT = "adjoint"
"""Symbol of what is multiplied with derivatives on the way back."""


def tangent(name: str) -> str:
    """Return the symbol of what is multiplied with derivatives forward."""
    return f"d{name}"


def rate(
    equations: Expressed, space: Any, x: Any, drive: Any, parameters: Mapping[str, Any]
) -> Any:
    """dx/dt of all nodes; see `Equations.rate`."""
    values = _values(equations, x, drive, parameters)
    return _spread(space, equations.states, _run(equations, "value", space, values), x)


def observe(
    equations: Expressed, space: Any, states: Any, drive: Any, parameters: Mapping[str, Any]
) -> Any:
    """States with observables; see `Equations.observe`."""
    if not equations.observed.size:
        return states
    values = _values(equations, states, drive, parameters)
    found = _run(equations, "observed", space, values)
    return _spread(space, equations.observed, found, states, over=states)


def _values(
    equations: Expressed, x: Any, drive: Any, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    given = {name: parameters[name[1:]] for name in equations.programs.names}
    for name, numbers in equations.shares.numbers(drive.members).items():
        given[f".{name}"] = given[f".{name}"][numbers]
    return {STATE: x[:, equations.states], INPUTS: drive.inputs, **given}


def _run(equations: Expressed, name: str, space: Any, values: Values) -> Any:
    """Evaluate a program, with the derivatives that are made on its graph."""
    programs, names = equations.programs, (STATE, INPUTS, *equations.programs.names)

    def value(values: Values) -> Any:
        return replay(getattr(programs, name), space, values, values[STATE])[0]

    def back(values: Values, adjoint: Any) -> dict[str, Any]:
        program = getattr(programs, "pull_back" if name == "value" else f"{name}_back")
        found = replay(program, space, {**values, ADJOINT: adjoint}, values[STATE])
        return dict(zip(names, found, strict=True))

    def along(values: Values, tangents: Values) -> Any:
        program = getattr(programs, f"{name}_along")
        moved = {tangent(n): t for n, t in tangents.items()}
        return replay(program, space, {**values, **moved}, values[STATE])[0]

    derived = getattr(space, "derived", None)  # plain libraries have none
    return value(values) if derived is None else derived(value, back, along)(values)


def _spread(space: Any, places: Array, found: Any, like: Any, over: Any = None) -> Any:
    """Return values at their places among all nodes; elsewhere those of ``over``, or zeros."""
    nodes = like.shape[1]
    if nodes == len(places) and (places == np.arange(nodes)).all():
        return found
    other = space.zeros((len(like), 1), like.dtype) if over is None else over
    index = np.full(nodes, len(places)) if over is None else len(places) + np.arange(nodes)
    index[places] = np.arange(len(places))
    return space.take(space.concatenate([found, other], axis=1), index, axis=1)
