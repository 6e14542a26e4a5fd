"""The machine's own limit: the products and tanh that Heun's steps cannot do without.

A step has two stages. Forward, a stage needs (n × n)·(n × c) and tanh of n·c numbers; backward, the
transposed product for the states and (n × c)·(c × n) for the weights, which may be collected over
stages into fewer, longer products. Each is timed alone, on matrices that stay in the same memory,
by everything at hand; the fastest counts. No program that does this work on this machine with
these libraries can be faster, but for what its overlap or its caches save.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.case import Array, Case

PARTS = ("forward", "states", "weights", "tanh")
# Up to this many nodes a loop of one's own may beat a library's product.
SMALL = 32
# Bytes of the stages that are collected for one product of the weights.
COLLECTED = 32e6


def best(call: Callable[[], object], seconds: float = 0.1) -> float:
    """Shortest time of a call, each sample long enough for the clock."""
    call()
    began = time.perf_counter()
    call()
    once = time.perf_counter() - began
    count = max(1, min(10_000, int(1e-3 / max(once, 1e-9))))
    shortest, end = once, time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        for _ in range(count):
            call()
        now = time.perf_counter()
        shortest = min(shortest, (now - began) / count)
        if now > end:
            return shortest


def measure(case: Case, seconds: float = 0.1) -> dict[str, dict[str, Any]]:
    """Seconds of each part, by the fastest that could be found, and by whom.

    Returns
    -------
    dict
        For every part: ``seconds``, ``by``, and ``all`` with everybody's time.
    """
    times: dict[str, dict[str, float]] = {part: {} for part in PARTS}
    for source in (_numpy, _torch, _jax, _numexpr, _numba, _julia):
        for part, name, value in source(case, seconds):
            times[part][name] = min(value, times[part].get(name, np.inf))
    result = {}
    for part, by in times.items():
        winner = min(by, key=lambda k: by[k])
        result[part] = {"seconds": by[winner], "by": winner, "all": by}
    return result


def join(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Keep the faster of two measurements, part by part."""
    return {k: min(first[k], second[k], key=lambda m: float(m["seconds"])) for k in first}


def gradient_limit(limit: dict[str, Any], steps: int) -> float:
    """Seconds that one loss and gradient cannot fall below."""
    return 2 * steps * sum(float(limit[part]["seconds"]) for part in PARTS)


def solve_limit(limit: dict[str, Any], steps: int) -> float:
    """Seconds that one solve cannot fall below."""
    return 2 * steps * (float(limit["forward"]["seconds"]) + float(limit["tanh"]["seconds"]))


def missing() -> list[str]:
    """Name what could have been tried and is not here."""
    import importlib.util

    found = [n for n in ("torch", "jax", "numexpr", "numba") if not importlib.util.find_spec(n)]
    return found if _julia_runs() else [*found, "julia"]


Found = Iterator[tuple[str, str, float]]


def _stages(case: Case) -> int:
    return max(2, min(2 * case.steps, int(COLLECTED / (2 * case.u.nbytes))))


def _products(case: Case, multiply: Callable[[Any, Any, Any], object], make: Any) -> Iterator[Any]:
    """Every product as a call: conditions as rows or as columns, weights singly or collected."""
    n, c, k = case.nodes, case.conditions, _stages(case)
    dtype = case.W.dtype
    W, x, g = make(case.W), make(case.u), make(case.y)
    xt, gt = make(np.ascontiguousarray(case.u.T)), make(np.ascontiguousarray(case.y.T))
    rows, columns = make(np.empty((c, n), dtype)), make(np.empty((n, c), dtype))
    square = make(np.empty((n, n), dtype))
    long_x, long_g = make(np.tile(case.u, (k, 1))), make(np.tile(case.y, (k, 1)))
    yield "forward", 1, lambda: multiply(x, W.T, rows)
    yield "forward", 1, lambda: multiply(W, xt, columns)
    yield "states", 1, lambda: multiply(g, W, rows)
    yield "states", 1, lambda: multiply(W.T, gt, columns)
    yield "weights", 1, lambda: multiply(g.T, x, square)
    yield "weights", 1, lambda: multiply(gt, xt.T, square)
    yield "weights", k, lambda: multiply(long_g.T, long_x, square)


def _numpy(case: Case, seconds: float) -> Found:
    for part, stages, call in _products(case, lambda a, b, o: np.matmul(a, b, out=o), np.array):
        yield part, "NumPy", best(call, seconds) / stages
    out = np.empty_like(case.u)
    yield "tanh", "NumPy", best(lambda: np.tanh(case.u, out=out), seconds)


def _torch(case: Case, seconds: float) -> Found:
    try:
        import torch
    except ImportError:
        return
    with torch.inference_mode():
        make = torch.tensor
        for part, stages, call in _products(case, lambda a, b, o: torch.mm(a, b, out=o), make):
            yield part, "PyTorch", best(call, seconds) / stages
        x, out = torch.tensor(case.u), torch.tensor(case.u)
        yield "tanh", "PyTorch", best(lambda: torch.tanh(x, out=out), seconds)


def _jax(case: Case, seconds: float) -> Found:
    try:
        import jax
    except ImportError:
        return
    jax.config.update("jax_enable_x64", True)
    # Many in one call, whose price is then shared.
    count = max(1, min(100, int(2e6 / case.u.size)))
    many = jax.jit(lambda x: jax.lax.fori_loop(0, count, lambda _, v: jax.numpy.tanh(v), x))
    x = jax.device_put(case.u)
    yield "tanh", "JAX", best(lambda: many(x).block_until_ready(), seconds) / count


def _numexpr(case: Case, seconds: float) -> Found:
    try:
        import numexpr
    except ImportError:
        return
    x, out = case.u, np.empty_like(case.u)
    numexpr.evaluate("tanh(x)", local_dict={"x": x}, out=out)
    yield "tanh", "numexpr", best(lambda: numexpr.re_evaluate(local_dict={"x": x}), seconds)


def _numba(case: Case, seconds: float) -> Found:
    if case.nodes > SMALL:
        return
    try:
        import numba
    except ImportError:
        return

    # (i, j) += (i, k)·(k, j) over rows, the order in which memory lies; many in one call.
    def product(a: Array, b: Array, out: Array, count: int) -> None:
        for _ in range(count):
            out[:] = 0
            for i in range(a.shape[0]):
                for k in range(a.shape[1]):
                    for j in range(b.shape[1]):
                        out[i, j] += a[i, k] * b[k, j]

    compiled, count = numba.njit(product, fastmath=True), 1000
    dtype, n, c = case.W.dtype, case.nodes, case.conditions
    u, y = np.array(case.u), np.array(case.y)
    ut, yt = np.ascontiguousarray(u.T), np.ascontiguousarray(y.T)
    W, Wt = np.array(case.W), np.ascontiguousarray(case.W.T)
    rows, columns, square = (
        np.empty((c, n), dtype),
        np.empty((n, c), dtype),
        np.empty((n, n), dtype),
    )
    shapes: list[tuple[str, Array, Array, Array]] = [
        ("forward", u, Wt, rows), ("forward", W, ut, columns),
        ("states", y, W, rows), ("states", Wt, yt, columns), ("weights", yt, u, square),
    ]  # fmt: skip
    for part, a, b, out in shapes:
        call = lambda a=a, b=b, out=out: compiled(a, b, out, count)  # noqa: E731
        yield part, "own loop, numba", best(call, seconds) / count


def _julia_runs() -> bool:
    import sys

    # Started by the worker before anything that would be in its way; never from here.
    return "juliacall" in sys.modules and hasattr(sys.modules["juliacall"], "Main")


def _julia(case: Case, seconds: float) -> Found:
    if not _julia_runs():
        return
    from juliacall import Main

    if not Main.seval("isdefined(Main, :Limit)"):
        Main.include(str(Path(__file__).with_name("limit.jl")))
    found = Main.Limit.measure(case.W, case.u, case.y, _stages(case), case.nodes <= SMALL, seconds)
    for part, name, value in found:
        yield str(part), f"Julia {name}", float(value)
