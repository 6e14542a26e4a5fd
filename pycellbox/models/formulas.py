"""What a model of one's own computes, as expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pycellbox.common.options import shown
from pycellbox.common.plain import as_number
from pycellbox.errors import ModelError
from pycellbox.graph import Named, Node, constant, parse, symbol, trace
from pycellbox.graph.building import join, reshape, take
from pycellbox.graph.nodes import symbols
from pycellbox.graph.symbolic import from_symbols, is_symbolic
from pycellbox.models.declared import Parameter

STATE, INPUTS = "x", "u"
"""Symbols of the states and inputs; a parameter's is its name after a dot."""


@dataclass(frozen=True)
class Formulas:
    """What a model computes, as expressions in `STATE`, `INPUTS` and parameters.

    Attributes
    ----------
    rates : Node, (n,)
        dx/dt.
    start : Node, (n,)
        x(0), from parameters and inputs.
    observed : Node, (k,)
        Observables.
    texts : tuple of str
        The equations as they were written; empty where they were traced.
    """

    rates: Node
    start: Node
    observed: Node
    texts: tuple[str, ...] = ()


def formulas_of(
    equations: Mapping[str, str] | Callable[..., Any],
    states: Sequence[str],
    parameters: Mapping[str, Parameter],
    observe: Mapping[str, Any],
    initial: Mapping[str, Any],
    inputs: Sequence[str],
) -> Formulas:
    """Read equations, starts and observables; see `pycellbox.ODE` for what they are.

    Raises
    ------
    ModelError
        One cannot be read, or has another shape.
    """
    n, given, texts = len(states), equations, tuple[str, ...]()
    x, u = symbol(STATE, (n,)), symbol(INPUTS, (len(inputs),))
    p = {name: symbol(f".{name}", one.shape) for name, one in parameters.items()}
    fixed = dict(p) | {name: take(u, np.array(i)) for i, name in enumerate(inputs)}
    names = {name: take(x, np.array(i)) for i, name in enumerate(states)} | fixed
    arguments: list[Any] = [x, Named(p)] + ([u] if inputs else [])

    def scalar(text: Any, names: Mapping[str, Node], what: str) -> Node:
        if is_symbolic(text):
            node = from_symbols(text, names, what)
        else:
            node = trace(text, *arguments) if callable(text) else parse(text, names, what)
        if node.size != 1:
            raise ModelError(f"{what} has the shape {node.shape}; it needs to be one number.")
        return reshape(node, ())

    if isinstance(given, Mapping):
        texts = tuple(str(given[state]) for state in states)
        rates = join([scalar(given[s], names, f"the equation of {s}") for s in states])
    else:
        rates = trace(given, *arguments)
        if rates.size != n:
            raise ModelError(
                f"the callable returns the shape {rates.shape}, and there are {n} states: "
                f"{', '.join(states)}."
            )
        rates = reshape(rates, (n,))
    begin = []
    for state in states:
        given, what = initial.get(state, 0.0), f"initial[{state!r}]"
        if isinstance(given, Parameter):
            begin.append(p[f"{state}_0"])
        elif isinstance(given, str) or is_symbolic(given):
            begin.append(scalar(given, fixed, what))
        elif (value := as_number(given)) is not None and np.isfinite(value):
            begin.append(constant(value))
        else:
            raise ModelError(f"{what} is {shown(given)}; it needs a number, a text or a Parameter.")
    seen = [scalar(one, names, f"observe[{name!r}]") for name, one in observe.items()]
    return Formulas(rates, join(begin), join(seen) if seen else constant(np.zeros(0)), texts)


def check_formulas(
    formulas: Formulas,
    states: Sequence[str],
    parameters: Mapping[str, Parameter],
    observe: Sequence[str],
    inputs: Sequence[str],
) -> None:
    """Refuse expressions, out of a file, that are not those of such a model.

    Raises
    ------
    ModelError
    """
    n = len(states)
    if len(formulas.texts) not in (0, n):
        raise ModelError(f"a stored model has {len(formulas.texts)} equations of {n} states.")
    wanted = {"rates": n, "start": n, "observed": len(observe)}
    for name, size in wanted.items():
        if getattr(formulas, name).shape != (size,):
            raise ModelError(f"{name} of a stored model do not have the shape {(size,)}.")
    known = {(f".{name}", one.shape) for name, one in parameters.items()}
    known |= {(STATE, (n,)), (INPUTS, (len(inputs),))}
    named = symbols((formulas.rates, formulas.start, formulas.observed))
    if strange := sorted(named - known):
        raise ModelError(f"a stored model names {shown(strange[0])}, which it does not declare.")
    if (STATE, (n,)) in symbols((formulas.start,)):
        raise ModelError("the start of a stored model depends on its states.")
