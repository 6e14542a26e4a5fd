"""torchdiffeq: fixed steps and dopri5, through its steps or by its continuous adjoint."""

from __future__ import annotations

from typing import Any

from harness.case import Case
from peers import AbsentError, Calls, Contender
from peers.pytorch import calls, import_torch


def contenders() -> list[Contender]:
    return [
        Contender(
            "torchdiffeq-heun", "torchdiffeq heun2", "heun", lambda c: prepare(c, "heun2", False)
        ),
        Contender(
            "torchdiffeq-dopri5",
            "torchdiffeq dopri5, through its steps",
            "continuous",
            lambda c: prepare(c, "dopri5", False),
        ),
        Contender(
            "torchdiffeq-dopri5-adjoint",
            "torchdiffeq dopri5, adjoint",
            "continuous",
            lambda c: prepare(c, "dopri5", True),
        ),
    ]


def prepare(case: Case, method: str, adjoint: bool) -> Calls:
    torch = import_torch()
    try:
        import torchdiffeq
    except ImportError as error:
        raise AbsentError("torchdiffeq is not installed (pip install torchdiffeq)") from error
    times = torch.tensor([0.0, case.horizon], dtype=getattr(torch, case.u.dtype.name))
    options: dict[str, Any] = {"method": method}
    if method == "dopri5":
        options |= {"rtol": case.rtol, "atol": case.atol}
    else:
        options |= {"options": {"step_size": case.dt}}

    def states(u: Any, W: Any, alpha: Any, epsilon: Any) -> Any:
        def slope(t: Any, x: Any) -> Any:
            return epsilon * torch.tanh(torch.addmm(u, x, W.t())) - alpha * x

        start = torch.zeros_like(u)
        if adjoint:
            found = torchdiffeq.odeint_adjoint(
                slope, start, times, adjoint_params=(W, alpha, epsilon), **options
            )
        else:
            found = torchdiffeq.odeint(slope, start, times, **options)
        return found[-1]

    # Forward, the adjoint does the same as the other.
    return calls(case, states, solves=not adjoint)
