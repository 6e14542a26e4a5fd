"""One loss and gradient through Heun steps: pycellbox's backends beside a PyTorch eager loop.

Repeats are interleaved, so that a machine whose speed drifts treats all alike; medians and their
ratio to the first are printed, with the largest difference between the gradients.

    python benchmarks/gradient.py --nodes 99 --conditions 89 --steps 100
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=99)
    parser.add_argument("--conditions", type=int, default=89)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--backends", nargs="+", default=["numpy"], help="numpy, julia")
    args = parser.parse_args()
    # Read when the libraries are first imported.
    for name in (
        "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHON_JULIACALL_THREADS",
    ):  # fmt: skip
        os.environ[name] = str(args.threads)

    import numpy as np

    import pycellbox as pcb
    from pycellbox.backends import get_backend
    from pycellbox.problem import Problem, Structure

    rng = np.random.default_rng(0)
    n, c, h = args.nodes, args.conditions, 0.1
    structure = Structure.over(pcb.CellBox(), map(str, range(n)), ["protein"] * n)
    W = (rng.normal(0, 1 / np.sqrt(n), (n, n)) * structure.mask).astype(args.dtype)
    alpha, epsilon = rng.uniform(0.5, 1.5, (2, n)).astype(args.dtype)
    parameters = {"W": W, "alpha": alpha, "epsilon": epsilon}
    u = rng.normal(0, 1, (c, n)).astype(args.dtype)
    y = rng.normal(0, 1, (c, 1, n)).astype(args.dtype)
    problem = Problem(
        structure,
        tuple(map(str, range(c))),
        u,
        y,
        np.ones_like(y),
        np.array([args.steps * h]),
        True,
    )
    print(f"Python {platform.python_version()}, {platform.machine()}")
    contenders: dict[str, Callable[[], object]] = {}
    for name in args.backends:
        backend = get_backend(name)
        tracemalloc.start()
        session = backend.session(problem, pcb.Heun(h), pcb.Loss(), "discrete")
        value, gradient = session.value_and_gradient(parameters)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        contenders[f"pycellbox {name}"] = functools.partial(session.value_and_gradient, parameters)
        print(f"{backend.version()}; {peak:.1f} MB above the data, traced by Python")

    print(
        f"{n} nodes × {c} conditions, {args.steps} Heun steps, {args.dtype}, "
        f"{args.threads} thread(s)"
    )
    try:
        import torch
    except ImportError:
        print("without PyTorch: it is not installed (pip install torch)")
    else:
        torch.set_num_threads(args.threads)
        print(f"PyTorch {torch.__version__}")
        leaves = [torch.tensor(a, requires_grad=True) for a in (W, alpha, epsilon)]
        ut, yt = torch.tensor(u), torch.tensor(y[:, 0])

        def eager() -> float:
            Wt, a, e = leaves
            for leaf in leaves:
                leaf.grad = None
            x = torch.zeros_like(ut)
            for _ in range(args.steps):
                k1 = e * torch.tanh(x @ Wt.T + ut) - a * x
                k2 = e * torch.tanh((x + h * k1) @ Wt.T + ut) - a * (x + h * k1)
                x = x + h * 0.5 * (k1 + k2)
            loss = ((x - yt) ** 2).mean()
            loss.backward()
            return float(loss.detach())

        print(f"difference of the losses {abs(eager() - value):.1e}, of the gradients ", end="")
        theirs = [leaf.grad.numpy() for leaf in leaves]
        theirs[0] = theirs[0] * structure.mask
        ours_g = [gradient[k] for k in ("W", "alpha", "epsilon")]
        print(f"{max(np.abs(a - b).max() for a, b in zip(ours_g, theirs, strict=True)):.1e}")
        contenders["PyTorch eager"] = eager

    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.repeats):
        for name, call in contenders.items():
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        first = statistics.median(next(iter(times.values())))
        print(f"{name:20s} median {median * 1e3:8.2f} ms, first/this {first / median:.2f}")


if __name__ == "__main__":
    sys.exit(main())
