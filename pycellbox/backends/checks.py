"""What every backend refuses to return: states that only the steps made, gradients that blew up."""

from __future__ import annotations

import math
import os

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep, Solver, Tsit5

# Of one integration with fixed steps: seconds for the smallest networks.
MOST_STEPS = 1_000_000


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


def check_step_count(solver: FixedStep, end: float) -> None:
    """Raise if fixed steps are so many that their computation would not end in a useful time.

    Raises
    ------
    SolverError
        With the number of steps, and the step that would do.
    """
    if end / solver.dt > MOST_STEPS:
        raise SolverError(
            f"{solver!r} takes {end / solver.dt:,.0f} steps to t = {end:g}, and at most "
            f"{MOST_STEPS:,} are taken: use dt ≥ {end / MOST_STEPS:.2g}, or Tsit5."
        )


def check_adaptive(solver: Tsit5, longest: float, end: float) -> None:
    """Raise at once if even the longest stable steps are more than the solver may take.

    Raises
    ------
    DivergenceError
        With the number of steps.
    """
    if end > longest * solver.max_steps:
        raise DivergenceError(
            f"Tsit5 would give up: no step is stable beyond {longest:.3g}, so that t = {end:g} "
            f"takes {end / longest if longest else math.inf:.3g} steps or more, and max_steps is "
            f"{solver.max_steps:,}; the network is stiff or unstable: shorten the horizon, shrink "
            "W, or raise max_steps."
        )


def check_memory(solver: Solver, steps: int, size: float) -> None:
    """Raise if the records of the steps, in bytes, take more than half of the machine's memory.

    Raises
    ------
    SolverError
        With the number of steps and the bytes.
    """
    most = _memory() / 2
    if size > most:
        raise SolverError(
            f"{solver!r} takes {steps:,} steps, whose records take {size / 1e9:,.1f} GB for the "
            f"gradient, of the {most / 1e9:,.1f} GB that may be used here: use longer steps, "
            "Tsit5, or the julia or jax backend, which keep only some of them."
        )


def _memory() -> float:
    """Bytes of memory that the machine has."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 8e9


def check_gradient(gradient: Parameters, why: str) -> None:
    """Raise if an entry is not finite.

    Raises
    ------
    DivergenceError
        With the parameter's name, and ``why`` as the likely reason and its remedy.
    """
    for name, array in gradient.items():
        if not np.isfinite(array).all():
            raise DivergenceError(f"the gradient with respect to {name} is not finite: {why}")


UNSTABLE = "the network is unstable over this horizon; shorten it, use a smaller step, or shrink W."
