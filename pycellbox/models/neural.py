"""Equations that are small neural networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pycellbox.common.options import checked, integer
from pycellbox.models.declared import Parameter
from pycellbox.models.draws import normal
from pycellbox.models.naming import INPUT_NAMES, NAMES
from pycellbox.models.ode import ODE


class NeuralODE(ODE):
    """An ODE whose right-hand side is a small neural network, dx/dt = V tanh(W x + b) + c.

    Parameters
    ----------
    states : sequence of str
        Names of the states; those that the data do not have are hidden nodes.
    hidden : int
        Units of the one hidden layer.
    initial : mapping, optional
        Where states start, as for `ODE`.
    inputs : sequence of str, or mapping
        Nodes whose perturbation enters the network, as for `ODE`.

    Notes
    -----
    W (hidden, states and inputs) and b start from a normal distribution with the variance of one
    over the number of states and inputs, V (states, hidden) from one with a tenth of the
    variance of one over ``hidden``, c at 0: the network begins slow.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> pcb.NeuralODE(["Hare", "Lynx"], hidden=20)
    <pycellbox.NeuralODE: dx/dt = f(x; W, b, V, c), x = Hare, Lynx>
    """

    @checked(hidden=integer(1, 10_000))
    def __init__(
        self, states: Sequence[str], hidden: int = 20, *, initial: Any = None, inputs: Any = ()
    ) -> None:
        names, entering = (
            NAMES("NeuralODE: states", states),
            INPUT_NAMES("NeuralODE: inputs", inputs),
        )
        width, n = len(names) + len(entering), len(names)

        def rates(x: Any, p: Any, *u: Any) -> Any:
            return p.V @ np.tanh(p.W @ np.concatenate([x, *u]) + p.b) + p.c

        wide, spread = Parameter, 1 / np.sqrt(width)
        parameters = {
            "W": wide(normal(0, spread), shape=(hidden, width)),
            "b": wide(normal(0, spread), shape=(hidden,)),
            "V": wide(normal(0, float(np.sqrt(0.1 / hidden))), shape=(n, hidden)),
            "c": wide(0.0, shape=(n,)),
        }
        super().__init__(rates, names, parameters, initial=initial or {}, inputs=entering)
