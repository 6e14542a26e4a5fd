"""A clock of four genes whose promoters bind every transcription factor: 164 numbers to be found.

The circuit is that of Frank (bioRxiv 2022.07.05.498863), written anew in hours, tens of molecules
of mRNA and thousands of protein. Gene i makes its mRNA at the rate make_m·f, with f between 0 and 1
by what is bound to its promoter (thermodynamic equilibrium):

    f = Σ a_s w_s / Σ w_s ,   w_s = r_s Π (p_j/k_ij)^h_ij over the factors j that are bound in s,

over all 16 sets s of factors that may be bound at once, with r = 1 for none and for one alone: each
gene has 16 activities a, 11 cooperativities r, 4 constants k and 4 exponents h. mRNA is lost at the
rate lose_m; protein is made at the rate make_p times the mRNA, and lost at the rate lose_p. All
stay in the ranges that they have there, as logistic functions of what is fitted; with the 8 amounts
at the beginning these are 164. What has to follow the day is p₁²/(1 + p₁²), and what it has to be
is u²/(0.25 + u²) of a sine u between 0 and 1 with a period of 24 h, as there. Starts are random
around Frank's. Priors, twice as wide as the starts, are weighed against a tolerance of 0.05:
without them the logistic functions run to their ends, where nothing moves any more.

Free: four days are fitted, in windows that lengthen; six days are judged. Entrained: light makes
the second gene's protein too, fast, for 12 h in 24 from a random phase on, and the first two days
do not count; four phases are fitted over three days, 64 others are judged over six. Frank's light
rises with the sine instead, and comes and goes. Settings of the free circuit were chosen on starts
from 100 on; those of the entrained one were cut for time before any of its starts had ended.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

import pycellbox as pcb
from harness.report import Row
from works import Work
from works.tracking import TEST, TRAINING, light, middle, rhythm, timed, unexplained

GENES = 4
SETS = [s for size in range(GENES + 1) for s in combinations(range(GENES), size)]
TOGETHER = [s for s in SETS if len(s) > 1]
LEAST = 1e-6
"""Of a protein that counts; steps may go below 0."""
BY_LIGHT = 360.0
"""Thousands of molecules an hour."""

RATES, PAIRS = (GENES,), (GENES, GENES)
#: Smallest and largest value, linear from 0 on and else by factors; middle and spread of the starts
#: of what the logistic function is taken of; shape.
RANGES: dict[str, tuple[float, float, float, float, tuple[int, ...]]] = {
    "make_m": (0.036, 3.6, 0.0, 1.0, RATES),
    "lose_m": (0.36, 36.0, -2.6, 1.0, RATES),
    "make_p": (0.036, 36.0, 0.7, 1.0, RATES),
    "lose_p": (3.6, 3600.0, -3.4, 0.5, RATES),
    "k": (0.1, 10.0, -0.6, 1.0, PAIRS),
    "h": (0.0, 5.0, -0.4, 1.0, PAIRS),
    "a": (0.0, 1.0, 0.0, 1.5, (GENES, len(SETS))),
    "r": (0.0, 10.0, -2.2, 1.0, (GENES, len(TOGETHER))),
}
GOAL = "≤ 0.02 in ≥ 90 % of starts, in minutes"


def circuit(*inputs: str) -> pcb.ODE:
    """Write the equations, with or without light."""
    parameters = {
        name: pcb.Parameter(pcb.normal(mean, sd), shape=shape, prior=pcb.normal(mean, 2 * sd))
        for name, (_, _, mean, sd, shape) in RANGES.items()
    }
    amount = pcb.Parameter(pcb.loguniform(0.1, 10), scale="log", prior=pcb.lognormal(1, 2))
    initial = {f"{kind}{gene + 1}": amount for kind in "mp" for gene in range(GENES)}

    def rates(x: Any, p: Any, *u: Any) -> Any:
        value = {name: _between(*ends[:2], getattr(p, name)) for name, ends in RANGES.items()}
        m, protein = x[:GENES], x[GENES:]
        amounts = pcb.log(pcb.maximum(protein, LEAST))
        factors = pcb.exp(value["h"] * (amounts[None, :] - pcb.log(value["k"])))
        bound: dict[tuple[int, ...], Any] = {(): np.ones(GENES)}
        active, every = value["a"][:, 0], bound[()]
        for number, s in enumerate(SETS[1:], 1):
            bound[s] = weight = bound[s[:-1]] * factors[:, s[-1]]
            if s in TOGETHER:
                weight = weight * value["r"][:, TOGETHER.index(s)]
            active, every = active + value["a"][:, number] * weight, every + weight
        made = value["make_p"] * m + (BY_LIGHT * np.eye(GENES)[1] * u[0][0] if u else 0.0)
        transcribed = value["make_m"] * active / every
        lost = np.concatenate([value["lose_m"] * m, value["lose_p"] * protein])
        return np.concatenate([transcribed, made]) - lost

    return pcb.ODE(
        rates, list(initial), parameters, initial=initial, inputs=inputs,
        observe={"x1": "p1**2/(1 + p1**2)"},
    )  # fmt: skip


def _between(low: float, high: float, raw: Any) -> Any:
    share = pcb.expit(raw)
    return low * pcb.exp(np.log(high / low) * share) if low else high * share


def _switched(u: Any) -> Any:
    return u**2 / (0.25 + u**2)


AIM: dict[str, Any] = {"tolerance": 0.05, "transform": _switched}
STEPS = pcb.RK4(0.25)


def free(start: int, backend: Any) -> Row:
    """Fit it in constant conditions."""
    schedule = [
        pcb.Grow(pcb.LM(1e-3), windows=[24, 36, 48, 60, 72, 84], iterations=25),
        pcb.Stage(20, optimizer=pcb.LM(1e-5)),
    ]
    fit, row = timed(
        rhythm(4, **AIM), circuit(), schedule=schedule, solver=STEPS, seed=start, backend=backend
    )
    fitted, all_days = (unexplained(fit, rhythm(days, **AIM), backend) for days in (4, 6))
    return row | {"value": all_days, "fitted": fitted}


def entrained(start: int, backend: Any) -> Row:
    """Fit it under days of light."""
    schedule = [
        pcb.Grow(pcb.LM(1e-3), windows=[60], iterations=12),
        pcb.Stage(18, optimizer=pcb.LM(1e-4)),
    ]
    fit, row = timed(
        light(4, TRAINING, 3, **AIM), circuit("light"), schedule=schedule, solver=pcb.RK4(0.4),
        seed=start, backend=backend,
    )  # fmt: skip
    return row | {"value": unexplained(fit, light(64, TEST, 6, **AIM), backend)}


WORKS = [
    Work(
        f"circuit-{name}",
        f"circuit of Frank's size, 4 genes, thermodynamic binding, 164 parameters, {title}; error "
        "as a fraction of the variance",
        GOAL,
        work,
        lambda row: row["value"] <= 0.02,
        middle,
    )
    for name, title, work in (
        ("free", "free; 4 days fitted, 6 judged", free),
        ("entrained", "entrained; unseen phases", entrained),
    )
]
