"""JAX: Heun's steps by lax.scan, and diffrax's Tsit5 with two of its adjoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.case import Case
from peers import AbsentError, Array, Calls, Contender, Gradient


def contenders() -> list[Contender]:
    return [
        Contender("jax-scan", "JAX scan, Heun", "heun", scan),
        Contender(
            "diffrax-tsit5",
            "diffrax Tsit5, RecursiveCheckpointAdjoint",
            "continuous",
            lambda c: diffrax_tsit5(c, "RecursiveCheckpointAdjoint"),
        ),
        Contender(
            "diffrax-backsolve",
            "diffrax Tsit5, BacksolveAdjoint",
            "continuous",
            lambda c: diffrax_tsit5(c, "BacksolveAdjoint"),
        ),
    ]


def import_jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise AbsentError("JAX is not installed (pip install jax)") from error
    jax.config.update("jax_enable_x64", True)
    return jax


def slope(jax: Any, x: Any, u: Any, W: Any, alpha: Any, epsilon: Any) -> Any:
    return epsilon * jax.numpy.tanh(x @ W.T + u) - alpha * x


def scan(case: Case) -> Calls:
    jax = import_jax()
    dt, steps = case.dt, case.steps

    def states(u: Any, *parameters: Any) -> Any:
        def step(x: Any, _: None) -> Any:
            first = slope(jax, x, u, *parameters)
            second = slope(jax, x + dt * first, u, *parameters)
            return x + (0.5 * dt) * (first + second), None

        return jax.lax.scan(step, jax.numpy.zeros_like(u), None, length=steps)[0]

    return calls(case, states)


def diffrax_tsit5(case: Case, adjoint: str) -> Calls:
    jax = import_jax()
    try:
        import diffrax
    except ImportError as error:
        raise AbsentError("diffrax is not installed (pip install diffrax)") from error
    # The controller computes in the state's precision.
    zero, horizon, rtol, atol = (
        np.asarray(v, case.u.dtype) for v in (0, case.horizon, case.rtol, case.atol)
    )

    def states(u: Any, *parameters: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, args: slope(jax, x, *args)),
            diffrax.Tsit5(),
            zero,
            horizon,
            None,
            jax.numpy.zeros_like(u),
            args=(u, *parameters),
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            adjoint=getattr(diffrax, adjoint)(),
        )
        return found.ys[-1]

    # Forward, the adjoints do the same.
    return calls(case, states, solves=adjoint == "RecursiveCheckpointAdjoint")


def calls(case: Case, states: Callable[..., Any], solves: bool = True) -> Calls:
    jax = import_jax()
    parameters = [jax.device_put(a) for a in case.parameters.values()]
    u, y = jax.device_put(case.u), jax.device_put(case.y)

    def loss(parameters: list[Any], u: Any, y: Any) -> Any:
        return ((states(u, *parameters) - y) ** 2).mean()

    compiled = jax.jit(jax.value_and_grad(loss))
    solution = jax.jit(lambda u, *parameters: states(u, *parameters))

    def gradient() -> Gradient:
        value, grads = compiled(parameters, u, y)
        arrays = (np.asarray(g) for g in grads)
        return float(value), dict(zip(case.parameters, arrays, strict=True))

    def solve() -> Array:
        return np.asarray(solution(u, *parameters))

    return Calls(gradient, solve if solves else None)
