"""Heun's steps in PyTorch: an eager loop, and torch.compile of a step or of the whole loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.case import Case
from peers import AbsentError, Array, Calls, Contender, Gradient


def contenders() -> list[Contender]:
    return [
        Contender("torch-eager", "PyTorch eager, Heun", "heun", lambda c: prepare(c, "")),
        Contender(
            "torch-compile", "PyTorch, compiled step, Heun", "heun", lambda c: prepare(c, "step")
        ),
        Contender(
            "torch-compile-loop",
            "PyTorch, compiled loop, Heun",
            "heun",
            lambda c: prepare(c, "loop"),
            optional=True,  # every step becomes code of its own: minutes of compilation
        ),
    ]


def import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise AbsentError("PyTorch is not installed (pip install torch)") from error
    return torch


def prepare(case: Case, compiled: str) -> Calls:
    torch = import_torch()
    dt, steps = case.dt, case.steps

    def slope(x: Any, u: Any, W: Any, alpha: Any, epsilon: Any) -> Any:
        return epsilon * torch.tanh(torch.addmm(u, x, W.t())) - alpha * x

    def step(x: Any, *constants: Any) -> Any:
        first = slope(x, *constants)
        second = slope(x + dt * first, *constants)
        return x + (0.5 * dt) * (first + second)

    if compiled == "step":
        step = torch.compile(step, dynamic=False)

    def loop(u: Any, *parameters: Any) -> Any:
        x = torch.zeros_like(u)
        for _ in range(steps):
            x = step(x, u, *parameters)
        return x

    return calls(case, torch.compile(loop, dynamic=False) if compiled == "loop" else loop)


def calls(case: Case, states: Callable[..., Any], solves: bool = True) -> Calls:
    """Make the calls from ``states(u, W, alpha, epsilon)``, all tensors."""
    torch = import_torch()
    leaves = [torch.tensor(a, requires_grad=True) for a in case.parameters.values()]
    u, y = torch.tensor(case.u), torch.tensor(case.y)

    def gradient() -> Gradient:
        for leaf in leaves:
            leaf.grad = None
        loss = ((states(u, *leaves) - y) ** 2).mean()
        loss.backward()
        grads = (leaf.grad.numpy() for leaf in leaves)
        return float(loss.detach()), dict(zip(case.parameters, grads, strict=True))

    def solve() -> Array:
        with torch.no_grad():
            found: Array = states(u, *leaves).numpy()
        return found

    return Calls(gradient, solve if solves else None)
