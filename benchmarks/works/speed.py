"""How fast one loss and gradient of a small system is, beside other libraries, and the first one.

All contenders take turns in one process, so that whatever the machine does meanwhile, it does to
everybody; `--backend` is not looked at. Beside each time stands the error of the gradient, so that
nobody is fast by being wrong.
"""

from __future__ import annotations

import statistics
import time

from harness.clock import interleaved
from harness.report import Row, shown
from peers import AbsentError
from peers.repressilator import CONTENDERS, Trial, error, exact
from works import Work

SECONDS = 10.0  # of each contender's turns
FIRST = 2  # equations, each of which nobody has seen


def gradients(conditions: int) -> Row:
    """Milliseconds and error of each contender."""
    trial = Trial(conditions)
    data, calls, once, row = trial.data(), {}, {}, {"absent": {}, "ms": {}, "errors": {}}
    reference = exact(trial, data)
    for name, prepare in CONTENDERS.items():
        try:
            call = prepare(trial, data)
            call()
        except (AbsentError, ImportError) as why:
            row["absent"][name] = str(why)
            continue
        began = time.perf_counter()
        row["errors"][name] = error(call()[1], reference)
        calls[name], once[name] = call, time.perf_counter() - began
    release = dict.fromkeys(calls, lambda: None)
    for name, seconds in interleaved(calls, release, once, repeats=200, seconds=SECONDS):
        row["ms"][name] = 1e3 * statistics.median(seconds)
    row["value"] = min(row["ms"].values())
    return row


def first_gradients(start: int, backend: str) -> Row:
    """Seconds from an equation to its first gradient, where the library has seen others."""
    found: Row = {"absent": {}, "seconds_first": {}}
    for name, prepare in CONTENDERS.items():
        seconds = []
        for k in range(FIRST + 1):
            trial = Trial(1, variant=1 + 0.01 * k)
            data = trial.data()
            began = time.perf_counter()
            try:
                prepare(trial, data)()
            except (AbsentError, ImportError) as why:
                found["absent"][name] = str(why)
                break
            seconds.append(time.perf_counter() - began)
        else:
            found["seconds_first"][name] = statistics.median(seconds[1:])
    return found | {"value": min(found["seconds_first"].values())}


def timed(rows: list[Row]) -> str:
    """Milliseconds and errors in words, and how much faster Julia is."""
    row = rows[-1]
    words = [f"{n} {shown(ms)} ms (error {row['errors'][n]:.0e})" for n, ms in row["ms"].items()]
    if "Julia" in row["ms"]:
        julia = row["ms"]["Julia"]
        words += [f"Julia {shown(ms / julia)} × faster than {n}"
                  for n, ms in row["ms"].items() if n not in ("Julia", "NumPy", "JAX")]  # fmt: skip
    return "; ".join([*words, *(f"{name}: {why}" for name, why in row["absent"].items())])


def firsts(rows: list[Row]) -> str:
    """Seconds in words."""
    row = rows[-1]
    words = [f"{name} {shown(seconds)} s" for name, seconds in row["seconds_first"].items()]
    return "; ".join([*words, *(f"{name}: {why}" for name, why in row["absent"].items())])


_WHAT = "one loss and gradient, repressilator of 6 states, 100 times, tolerances 1e-6"

WORKS = [
    Work(
        "gradient-1",
        f"{_WHAT}, 1 condition",
        "Julia ≥ 20 × diffrax's default adjoint, ≥ 30 × AMICI",
        lambda start, backend: gradients(1),
        measured=timed,
        once=True,
    ),
    Work(
        "gradient-64",
        f"{_WHAT}, 64 conditions",
        "Julia ≥ 5 × diffrax's default adjoint",
        lambda start, backend: gradients(64),
        measured=timed,
        once=True,
    ),
    Work(
        "first-gradient",
        "from an equation not seen before to its first gradient, in a process that had others",
        "≤ 1 s, no compiler",
        first_gradients,
        measured=firsts,
        once=True,
    ),
]
