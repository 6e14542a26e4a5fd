"""The Julia port as published, in the Julia that pycellbox's own backend runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.case import Case
from peers import AbsentError, Array, Calls, Contender, Gradient
from pycellbox.backends import get_backend
from pycellbox.errors import BackendError


def contenders() -> list[Contender]:
    return [
        Contender("port", "the port's way, Tsit5, a condition at a time", "continuous", prepare)
    ]


def prepare(case: Case) -> Calls:
    try:
        get_backend("julia")
    except BackendError as error:
        raise AbsentError(str(error)) from error
    from juliacall import Main

    try:
        if not Main.seval("isdefined(Main, :Port)"):
            Main.include(str(Path(__file__).with_name("port.jl")))
    except Exception as error:
        raise AbsentError(
            "the Julia project lacks OrdinaryDiffEqTsit5, SciMLSensitivity or Zygote: "
            + str(error).strip().splitlines()[0]
        ) from error
    port: Any = Main.Port
    held = port.held(
        case.W, case.alpha, case.epsilon, case.u, case.y, case.horizon, case.rtol, case.atol
    )

    def gradient() -> Gradient:
        value, W, alpha, epsilon = port.gradient(held)
        arrays = {"W": np.asarray(W), "alpha": np.asarray(alpha), "epsilon": np.asarray(epsilon)}
        return float(value), arrays

    def solve() -> Array:
        return np.asarray(port.states(held)).T

    return Calls(gradient, solve)
