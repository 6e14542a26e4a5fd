"""Equations whose inputs are driving signals: lines in time, of which no solver needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import ModelError
from pycellbox.graph import symbol
from pycellbox.graph.building import add, join, mul, take
from pycellbox.graph.nodes import constant
from pycellbox.graph.substitution import substitute
from pycellbox.models.formulas import INPUTS, STATE, Formulas

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE


def driven(model: ODE, signals: Sequence[str], *, linear: bool) -> tuple[Formulas, list[str]]:
    """Return what a model computes where signals are lines, and the nodes that this takes.

    A signal that is constant in a segment is the dose of a node of its name. A line is
    a + s·t: another node has the slope s, and t is one more state, with the equation 1 and 0 where
    a condition begins.

    Parameters
    ----------
    model : ODE
    signals : sequence of str
        Labels of signals, all of them.
    linear : bool
        Whether they are lines.

    Returns
    -------
    formulas : Formulas
        With one more state and, after the inputs, a slope for each signal, where they are lines.
    nodes : list of str
        Of the signals, and then their slopes and time.

    Raises
    ------
    ModelError
        The equations have no such input.
    """
    named = list(model.inputs.values())
    for label in signals:
        if label not in named:
            raise ModelError(
                f"the data have the driving signal {shown(label)}, and the equations no input of "
                f"that name{did_you_mean(label, named)}: name it in inputs=, or leave it out of "
                "the data, with .sel(input=[...]) or .drop_vars('drive')."
            )
    if not linear:
        return model.rates, list(signals)
    n, m = len(model.states), len(named)
    x, u = symbol(STATE, (n + 1,)), symbol(INPUTS, (m + len(signals),))
    old = {symbol(STATE, (n,)): take(x, np.arange(n))}
    given, time = symbol(INPUTS, (m,)), take(x, np.array(n))
    values = [take(u, np.array(i)) for i in range(m)]
    start = {given: join(values)}
    for k, label in enumerate(signals):
        for i in [i for i, name in enumerate(named) if name == label]:
            values[i] = add(values[i], mul(take(u, np.array(m + k)), time))
    old[given] = join(values)
    formulas = model.rates
    (begin,) = substitute([formulas.start], start)
    rates, observed = substitute([formulas.rates, formulas.observed], old)
    whole = Formulas(join([rates, constant(1.0)]), join([begin, constant(0.0)]), observed)
    taken = [*model.own_nodes, *named, *signals]
    for name in (*(f"slope of {label}" for label in signals), "time since the beginning"):
        while name in taken:
            name += "'"
        taken.append(name)
    texts = (*formulas.texts, "1") if formulas.texts else ()
    return replace(whole, texts=texts), [*signals, *taken[-len(signals) - 1 :]]
