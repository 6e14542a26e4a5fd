"""Treatments for tests, and the equations integrated through them once more, independently."""

from __future__ import annotations

import dataclasses
import math

import autograd.numpy as anp
import numpy as np
from scipy.integrate import solve_ivp

from pycellbox.models import FORMS, CellBox
from pycellbox.problem import Problem
from pycellbox.treatment import Treatment
from tests.support import reference
from tests.support.problems import random_problem

STARTS = (-0.7, 0.4, 1.3)
KINDS = {
    "phases": {},
    "waiting": {"waiting": True},
    "held": {"held": True},
    "initial": {"initial": True},
    "held alone": {"held": True, "starts": (0.0,)},
    "pretreated": {"pretreated": True},
    "all": {"waiting": True, "held": True, "initial": True, "pretreated": True},
}
MODELS = [
    *(CellBox(form=form) for form in FORMS),
    CellBox(drugs="clamped"),
    CellBox(form=2, drugs="clamped", dose_saturation=0.5, degree=2),
    CellBox(form=1, envelope="hill", order=3),
]
STEADY = {
    "phases": {"starts": (0.0, 1.0)},
    "held": {"held": True, "starts": (0.0,)},
    "pretreated": {"pretreated": True, "starts": (-1.0, 0.0)},
    "all": {"held": True, "initial": True, "pretreated": True, "waiting": True},
}


def treatment(
    problem: Problem,
    rng: np.random.Generator,
    *,
    starts: tuple[float, ...] = STARTS,
    waiting: bool = False,
    held: bool = False,
    initial: bool = False,
    pretreated: bool = False,
) -> Treatment:
    """Random inputs in each segment, and what else is asked for."""
    c, n = problem.perturbation.shape
    u = rng.normal(0, 1, (c, len(starts), n))
    if problem.structure.model.common_effect:
        u[3, len(starts) // 2] = 0  # it ends, and may come back
    begin = np.full((c, n), np.nan)
    stays = np.zeros((c, n), dtype=bool)
    if held:
        stays[0, 1] = stays[1, 0] = stays[1, 6] = True
    if initial:
        begin[:, :4] = rng.normal(0, 0.5, (c, 4))
    begin[stays] = rng.normal(0, 1, int(stays.sum()))
    moves = np.repeat(~stays[:, None], len(starts), axis=1)
    if waiting:
        moves[2, 0] = False
    before = np.zeros(c, dtype=bool)
    if pretreated:
        before[[0, 2]] = True
    dtype = problem.perturbation.dtype
    return Treatment(
        starts=np.array(starts),
        perturbation=u.astype(dtype),
        moves=None if moves.all() else moves,
        initial=begin.astype(dtype),
        pretreatment=rng.normal(0, 1, (c, n)).astype(dtype) if pretreated else None,
        pretreated=before,
        held=stays,
        fitted=np.full((c, n), -1),
    )


def treated_problem(model: CellBox, rng: np.random.Generator, times, **options) -> Problem:
    problem = random_problem(model, rng, times=times)
    found = treatment(problem, rng, **options)
    return dataclasses.replace(
        problem, treatment=found, perturbation=found.perturbation[:, -1].copy()
    )


def _dose(model: CellBox, u):
    kappa = model.kappa
    return u if not kappa else anp.tanh(kappa * u) / kappa


def through(model: CellBox, p, problem: Problem, advance, rest, x0=None, inputs=None, before=None):
    """States at the times of a problem, (t, c, n), by functions that integrate and settle.

    ``advance(f, x, width)`` and ``rest(f, x, moving)``; x₀, u and that before may be given, to
    differentiate by them.
    """
    t, is_drug = problem.treatment, problem.structure.is_drug
    clamped = is_drug & (model.drugs == "clamped")
    x0 = t.initial if x0 is None else x0
    inputs = t.perturbation if inputs is None else inputs
    before = t.pretreatment if before is None else before
    own = np.isnan(t.initial)

    def level(u):
        return anp.where(clamped, _dose(model, u), 0.0)

    x = anp.where(own, level(inputs[:, 0]), x0)
    if t.pretreated.any():
        begin = anp.where(own, level(before), x0)
        moving = ~t.held
        f = reference.right_hand_side(model, p, before, is_drug)
        settled = rest(lambda y: moving * f(y), begin, moving & ~clamped)
        x = anp.where(t.pretreated[:, None], settled, x)
    states = []
    for s, start in enumerate(t.starts):
        x = anp.where(own & clamped, level(inputs[:, s]), x)
        moves = 1.0 if t.moves is None else t.moves[:, s] * 1.0
        f = reference.right_hand_side(model, p, inputs[:, s], is_drug)
        g = lambda y, f=f, moves=moves: moves * f(y)  # noqa: E731
        end = t.starts[s + 1] if s + 1 < len(t.starts) else math.inf
        now = start
        for time in problem.times:
            if start <= time < end:
                x = advance(g, x, time - now)
                states.append(x)
                now = time
        if end < problem.times[-1] or (end == problem.times[-1]):
            x = advance(g, x, end - now)
        else:
            break
    return anp.stack(states)


def exactly(f, x, width):
    """Integrate by SciPy."""
    if width == 0:
        return x
    shape = x.shape
    found = solve_ivp(
        lambda _, y: f(y.reshape(shape)).ravel(), (0, width), x.ravel(), "DOP853",
        rtol=1e-12, atol=1e-13,
    )  # fmt: skip
    return found.y[:, -1].reshape(shape)


def settled(f, x, moving):
    """Follow the equation for a long time."""
    return exactly(f, x, 200.0)


def by_steps(method, dt):
    """Fixed steps of a Runge-Kutta method, as `reference.RK` has them."""
    A, b = reference.RK[method]

    def advance(f, x, width):
        count = max(math.ceil(width / dt * (1 - 1e-12)), int(width > 0))
        for _ in range(count):
            h, k = width / count, []
            for row in A:
                k.append(f(x + h * sum((w * ki for w, ki in zip(row, k, strict=False)), 0 * x)))
            x = x + h * sum(w * ki for w, ki in zip(b, k, strict=True))
        return x

    return advance


def by_newton(f, x, moving):
    """Integrate for a while, then Newton's method, whose last step has the derivative."""
    x = by_steps("RK4", 0.25)(f, x, 4.0)
    n = x.shape[1]
    for _ in range(5):
        at = bare(x)
        # Central differences will do: an error of J is one of the step alone, and that goes to 0.
        J = np.stack([(bare(f(at + h)) - bare(f(at - h))) / 2e-6 for h in 1e-6 * np.eye(n)], axis=2)
        system = np.where(moving[:, :, None], J, -np.eye(n))
        x = x - anp.einsum("cij,cj->ci", np.linalg.inv(system), f(x))
    return x


def bare(x):
    """Return the numbers in a traced array."""
    while hasattr(x, "_value"):
        x = x._value
    return x
