"""pycellbox's backends, with every solver that a backend has."""

from __future__ import annotations

from typing import Any

import numpy as np

import pycellbox as pcb
from harness.case import Case
from peers import AbsentError, Array, Calls, Contender, Gradient
from pycellbox.backends import get_backend
from pycellbox.errors import BackendError, SolverError
from pycellbox.models import Structure
from pycellbox.problem import Problem

METHODS = {"heun": "heun", "tsit5": "continuous", "steady": "steady"}
WORDS = {"heun": "Heun", "tsit5": "Tsit5", "steady": "steady state"}


def contenders() -> list[Contender]:
    return [
        Contender(
            f"pycellbox-{backend}-{key}",
            f"pycellbox {backend}, {WORDS[key]}",
            method,  # type: ignore[arg-type]
            lambda case, backend=backend, key=key: prepare(case, backend, key),  # type: ignore[misc]
        )
        for backend in pcb.available_backends()
        for key, method in METHODS.items()
        if key != "steady" or hasattr(pcb, "SteadyState")
    ]


def solver_of(case: Case, key: str) -> Any:
    if key == "heun":
        return pcb.Heun(case.dt)
    if key == "tsit5":
        return pcb.Tsit5(rtol=case.rtol, atol=case.atol)
    return pcb.SteadyState()


def problem_of(case: Case) -> Problem:
    names = [str(i) for i in range(case.nodes)]
    model = pcb.CellBox(dose_saturation=None, drug_columns="free")
    structure = Structure.over(model, names, ["protein"] * case.nodes)
    y = np.ascontiguousarray(case.y[:, None, :])
    conditions = tuple(str(i) for i in range(case.conditions))
    times = np.array([case.horizon])
    return Problem(structure, conditions, case.u, y, np.ones_like(y), times, True)


def prepare(case: Case, name: str, key: str) -> Calls:
    problem, solver, parameters = problem_of(case), solver_of(case, key), case.parameters
    session: Any
    try:
        backend = get_backend(name)
        session = backend.session(problem, solver, pcb.Loss())
    except (BackendError, SolverError) as error:
        raise AbsentError(str(error)) from error

    def gradient() -> Gradient:
        nonlocal session
        # A steady-state session starts from what the last call found: here each starts from rest.
        if session is None or key == "steady":
            session = backend.session(problem, solver, pcb.Loss())
        return session.loss_and_gradient(parameters)  # type: ignore[no-any-return]

    def solve() -> Array:
        return backend.solve(problem.structure, solver, parameters, case.u, problem.times).final

    def release() -> None:
        nonlocal session
        session = None

    return Calls(gradient, solve, release)
