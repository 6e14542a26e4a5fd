"""Steps and their bounds: how many, how long, and what is refused."""

from __future__ import annotations

import math

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.numerics.coefficients import Coefficients
from pycellbox.numerics.envelopes import EnvelopeKernel
from pycellbox.problem import Array
from pycellbox.solvers import Adaptive, FixedStep, Tsit5

IMPLICIT = "pcb.Adaptive('KenCarp4')"
"""What is recommended where equations are stiff."""
# Of one integration with fixed steps: seconds for the smallest networks.
MOST_STEPS = 1_000_000
# Tsit5's region of stability holds |hλ| up to the first within 72° of the negative real axis and up
# to the second within 87°: all decaying modes but the nearly undamped.
_REACH_72, REACH_87 = 3.3, 2.5
# Of the power method along a trajectory; they go on from one step to the next.
POWER_STEPS = 3
# Of the first step, h·|λ| is this times the fifth root of rtol.
_FIRST = 2.0
SETTLING_TIMES = 40.0
"""In units of the slowest decay time: enough for a network that settles at half the rate of its
slowest node (e⁻²⁰ is 2e-9)."""


def fixed_steps(solver: FixedStep, times: Array) -> list[tuple[int, float]]:
    """How many steps of which length lead from each requested time to the next, from 0 on.

    Raises
    ------
    SolverError
        They are too many.
    """
    check_step_count(solver, float(times[-1]))
    steps, now, dt = [], 0.0, solver.dt
    for end in map(float, times):
        # A hair of tolerance, so that 10.0/0.1 is a hundred steps and not a hundred and one.
        count = max(math.ceil((end - now) / dt * (1 - 1e-12)), int(end > now))
        steps.append((count, (end - now) / max(count, 1)))
        now = end
    return steps


def first_step(solver: Tsit5 | Adaptive, largest: float) -> float:
    """First step of an adaptive method of order 5 from a bound of |λ|.

    The trajectory starts at rest, where the usual estimate from x/f has nothing to go by. Along a
    mode e^λt, which leaves rest as hλ does, the relative error is of order (hλ)⁵. A
    method of order 4 is given the same, which its control shortens.
    """
    return _FIRST * math.pow(solver.rtol, 1 / 5) / largest


def longest_step(c: Coefficients, envelope: EnvelopeKernel) -> tuple[float, float]:
    """Longest step of Tsit5 that damps what decays, and a bound of |λ|, for every state.

    The Jacobian is diag(a∘φ')M − diag(c). Its eigenvalues are within r of the interval from −max c
    to −min c, with the smaller of two r for B = sup|φ'|·diag(a)M, both of which hold for every
    φ' ≤ sup|φ'|: the spectral norm ‖B‖₂, and the Perron root of |B|, which is itself bounded from
    above at every iterate v > 0 by max (|B|v)/v (Collatz-Wielandt). The first is much the smaller
    one for a network of many nodes without a pattern, the second for a sparse one whose strong
    edges do not form a loop. So |λ| ≤ max c + r; and where λ is more than 72° from the negative
    real axis, |λ| ≤ r/sin 72°, because its imaginary part is at most r.
    """
    B = np.asarray(c.M * (c.a * envelope.steepest)[:, None], dtype=np.float64)
    if not np.isfinite(B).all():
        return 0.0, math.inf
    # By a power of two, which changes no digit: squares must not leave the finite numbers.
    scale = math.ldexp(0.5, math.frexp(float(np.abs(B).max(initial=0.0)))[1])
    scaled = B / scale
    norm = scale * math.sqrt(max(float(np.linalg.eigvalsh(scaled.T @ scaled)[-1]), 0.0))
    np.abs(B, out=B)
    v = np.ones(B.shape[0])
    root = math.inf
    for _ in range(30):
        w = B @ v
        root = min(root, float((w / v).max()))
        # Zero rows would end the iteration; a little of everything keeps v positive.
        v = w + 1e-3 * max(float(w.max()), 1e-300)
        v /= v.max()
    tiny = float(np.finfo(float).tiny)
    radius = max(min(norm, root), tiny)
    largest = float(np.abs(c.c).max()) + radius
    return min(_REACH_72 / largest, REACH_87 * math.sin(math.radians(72)) / radius), largest


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


def check_adaptive(solver: Tsit5 | Adaptive, longest: float, end: float) -> None:
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
            f"W, raise max_steps, or use {IMPLICIT}, whose steps have no such bound."
        )
