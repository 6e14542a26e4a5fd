"""What every backend refuses to return: states that only the steps made, gradients that blew up."""

from __future__ import annotations

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep


def check_steps(solver: FixedStep, longest: float, decay: Array) -> None:
    """Raise if a step is too long for the decay rates c, (n,).

    Far from rest the envelope is flat and −c∘x all that is left. Beyond the method's reach the
    computed states grow there where the equation's fall, often without becoming infinite.

    Raises
    ------
    DivergenceError
        A node decays too fast for the steps.
    """
    fastest = float(decay.max(initial=0.0))
    # Rounding of (end − start)/count.
    if longest * fastest > solver.reach * (1 + 1e-9):
        raise DivergenceError(
            f"node number {int(decay.argmax()) + 1} decays at the rate {fastest:.4g}, for which "
            f"{type(solver).__name__}'s steps of {longest:.4g} are unstable: use dt ≤ "
            f"{solver.reach / fastest:.3g}, Tsit5, or smaller rates."
        )


def check_gradient(gradient: Parameters, why: str) -> None:
    """Raise if an entry is not finite.

    Raises
    ------
    DivergenceError
        With the parameter's name, and ``why`` as the likely reason and its mending.
    """
    for name, array in gradient.items():
        if not np.isfinite(array).all():
            raise DivergenceError(f"the gradient with respect to {name} is not finite: {why}")


UNSTABLE = "the network is unstable over this horizon; shorten it, use a smaller step, or shrink W."
