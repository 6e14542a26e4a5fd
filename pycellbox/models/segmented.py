"""Equations whose courses are cut into segments, with states of their own where these begin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.graph import symbol
from pycellbox.graph.building import add, join, mul, sub, take
from pycellbox.graph.nodes import constant
from pycellbox.graph.substitution import substitute
from pycellbox.models.declared import Parameter
from pycellbox.models.formulas import INPUTS

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE


def segmented(model: ODE, free: Collection[str]) -> tuple[ODE, str, dict[str, str]]:
    """Return a model that begins where it does, or where a segment does.

    Parameters
    ----------
    model : ODE
    free : collection of str
        States that segments begin with; the others are given.

    Returns
    -------
    model : ODE
        With one more input, 1 where a condition begins and 0 where another segment does.
    node : str
        Of that input.
    parameters : dict of str to str
        Where segments begin, by state.
    """
    from pycellbox.models.ode import ODE

    m = len(model.inputs)
    taken = {*model.parameters, *model.states, *model.own_nodes, *model.inputs}
    taken |= {*model.inputs.values()}

    def new(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    node = new("is_first")
    names = {state: new(f"begin_{k}") for k, state in enumerate(model.states) if state in free}
    u = symbol(INPUTS, (m + 1,))
    given = join([take(u, np.array(i)) for i in range(m)]) if m else constant(np.zeros(0))
    formulas = model.rates
    outputs = [formulas.rates, formulas.start, formulas.observed]
    rates, start, observed = substitute(outputs, {symbol(INPUTS, (m,)): given})
    first = take(u, np.array(m))
    begin = []
    for k, state in enumerate(model.states):
        own = mul(first, take(start, np.array(k)))
        if state in names:
            own = add(own, mul(sub(constant(1.0), first), symbol(f".{names[state]}", ())))
        begin.append(own)
    made: ODE = object.__new__(ODE)  # of neural ones too
    ODE.__init__(
        made, replace(formulas, rates=rates, start=join(begin), observed=observed), model.states,
        {**model.parameters, **{name: Parameter(0.0) for name in names.values()}}, model.observe,
        model.initial, {**model.inputs, node: node}, model.at_rest,
    )  # fmt: skip
    return made, node, names
