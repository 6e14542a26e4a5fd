"""A process with a fixed number of threads: ``python -m harness.worker TASK SPECIFICATION``.

TASK is time, memory or reference; SPECIFICATION a JSON file that `harness.run` wrote. Results are
lines on standard output that begin with @.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

Specification = dict[str, Any]


def tell(event: str, **values: object) -> None:
    print("@" + json.dumps({"event": event, **values}), flush=True)


def in_one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]


def bind(threads: int) -> None:
    """Keep to as many cores as there are threads; what a library starts beyond them waits."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[-threads:])


def start_julia() -> None:
    """First of all, because PyTorch's libraries must not be loaded before Julia's."""
    from pycellbox.backends import get_backend
    from pycellbox.backends.julia.project import readiness
    from pycellbox.errors import BackendError

    if readiness().ready:
        with contextlib.suppress(BackendError):
            get_backend("julia")


def limit_threads(threads: int) -> None:
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(threads)


def errors_of(
    value: float, gradient: dict[str, Any], method: str, reference: Any
) -> dict[str, Any]:
    """Errors against what the method approximates, and of Heun against Heun."""
    from peers import relative_error

    def against(key: str) -> tuple[float, float]:
        wanted = {k: reference[f"{key}_{k}"] for k in ("W", "alpha", "epsilon")}
        loss = float(reference[f"{key}_loss"])
        return abs(value - loss) / abs(loss), relative_error(gradient, wanted)

    exact = "steady" if method == "steady" else "continuous"
    found: dict[str, Any] = dict(zip(("loss_error", "gradient_error"), against(exact), strict=True))
    if method == "heun":
        found |= dict(zip(("discrete_loss_error", "discrete_error"), against("heun"), strict=True))
    return found


def prepared(
    specification: Specification, case: Any
) -> Iterator[tuple[str, Any, dict[str, float]]]:
    """Contenders that work here, with the seconds of their first and second calls."""
    import numpy as np

    from peers import AbsentError, all_contenders

    known = all_contenders()
    # Julia's first: see `start_julia`.
    names = sorted(specification["contenders"], key=lambda n: "julia" not in n and n != "port")
    path = specification.get("reference")
    reference = dict(np.load(path)) if path else None
    for name in names:
        tell("start", contender=name)
        contender = known[name]
        try:
            began = time.perf_counter()
            calls = contender.prepare(case)
            value, gradient = calls.gradient()
            first = time.perf_counter() - began
            began = time.perf_counter()
            calls.gradient()
            once = {"gradient": time.perf_counter() - began}
            if not np.isfinite(value):
                raise ArithmeticError(f"the loss is {value}")
            errors: dict[str, Any] = {"loss": value}
            if reference is not None:
                errors |= errors_of(value, gradient, contender.method, reference)
            if calls.solve is not None:
                began = time.perf_counter()
                calls.solve()
                first_solve = time.perf_counter() - began
                # A first call that was no compilation serves as the estimate.
                if first_solve > 0.1:
                    once["solve"] = min(first_solve, once["gradient"])
                else:
                    began = time.perf_counter()
                    calls.solve()
                    once["solve"] = time.perf_counter() - began
            calls.release()
        except AbsentError as error:
            tell("absent", contender=name, why=in_one_line(error))
        except Exception as error:
            tell("failed", contender=name, why=f"{type(error).__name__}: {in_one_line(error)}")
        else:
            tell("prepared", contender=name, first_seconds=first, **errors)
            yield name, calls, once


def time_task(specification: Specification) -> None:
    from harness import limit
    from harness.case import Case
    from harness.clock import interleaved

    start_julia()
    limit_threads(specification["threads"])
    case = Case.load(specification["case"]).astype(specification["dtype"])
    before = limit.measure(case) if specification["limit"] else None
    if before:
        tell("limit", when="before", parts=before, untried=limit.missing())
    held = {name: (calls, once) for name, calls, once in prepared(specification, case)}
    for what in ("gradient", "solve"):
        used = {n: getattr(c, what) for n, (c, _) in held.items() if getattr(c, what) is not None}
        results = interleaved(
            used,
            {n: held[n][0].release if case.u.nbytes * case.steps > 3e8 else _nothing for n in used},
            {n: held[n][1][what] for n in used},
            specification["repeats"],
            specification["seconds"],
        )
        for name, times in results:
            tell("times", contender=name, what=what, seconds=times)
    if before:
        # The machine may have been busier at the start than later: the better of both counts.
        after = limit.measure(case)
        tell("limit", when="both", parts=limit.join(before, after), untried=limit.missing())


def _nothing() -> None:
    return None


def memory_task(specification: Specification) -> None:
    """Peak of one contender above what data, libraries and a tiny case had taken."""
    from harness import memory
    from harness.case import Case, draw
    from peers import all_contenders

    (name,) = specification["contenders"]
    if "julia" in name or name == "port":
        start_julia()
    else:
        limit_threads(specification["threads"])
    contender = all_contenders()[name]
    case = Case.load(specification["case"]).astype(specification["dtype"])
    # Loads and compiles what does not depend on the sizes.
    contender.prepare(draw(4, 3, 20).astype(specification["dtype"])).gradient()
    reset = memory.forget_peak()
    baseline = memory.now()
    calls = contender.prepare(case)
    calls.gradient()
    first = memory.peak() - baseline
    if reset:
        memory.forget_peak()
    calls.gradient()
    calls.gradient()
    tell("memory", contender=name, first_mib=first, mib=memory.peak() - baseline, reset=reset)


def reference_task(specification: Specification) -> None:
    """Converged solutions by the NumPy backend in float64, written to a file."""
    import dataclasses

    import numpy as np

    import pycellbox as pcb
    from harness.case import Case
    from peers import relative_error
    from peers.ours import problem_of
    from pycellbox.backends import get_backend

    case = Case.load(specification["case"])
    problem, backend, found = problem_of(case), get_backend("numpy"), {}
    # RK4 keeps four states and four slopes a step for its gradient: a gigabyte of them at most.
    steps = int(np.clip(1e9 / (64 * case.u.size), case.steps, 4000))
    # Heun's fixed points are the exact ones, so a long way of coarse steps ends in the steady
    # state, and its exact gradient in that of the steady state.
    settled = dataclasses.replace(problem, times=np.array([100.0]))
    solvers: dict[str, tuple[Any, Any]] = {
        "heun": (problem, pcb.Heun(case.dt)),
        "coarse": (problem, pcb.RK4(2 * case.horizon / steps)),
        "continuous": (problem, pcb.RK4(case.horizon / steps)),
        "coarse_steady": (dataclasses.replace(problem, times=np.array([50.0])), pcb.Heun(0.4)),
        "steady": (settled, pcb.Heun(0.4)),
    }
    gradients = {}
    for key, (task, solver) in solvers.items():
        session = backend.session(task, solver, pcb.Loss())
        value, gradients[key] = session.loss_and_gradient(case.parameters)
        found |= {f"{key}_{k}": v for k, v in gradients[key].items()} | {f"{key}_loss": value}
    np.savez(specification["out"], **found)
    tell(
        "reference",
        steps=steps,
        # What is left of the coarser solution's error at half the step, by the order of RK4.
        continuous=relative_error(gradients["coarse"], gradients["continuous"]) / 16,
        # Half the time, so about the root of what is left.
        steady=relative_error(gradients["coarse_steady"], gradients["steady"]) ** 2,
    )


def main() -> None:
    task, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        specification = json.load(file)
    bind(specification["threads"])
    {"time": time_task, "memory": memory_task, "reference": reference_task}[task](specification)


if __name__ == "__main__":
    main()
