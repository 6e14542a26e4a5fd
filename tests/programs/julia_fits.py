"""Many Julia fits in one process: in threads, in a pool, under asyncio, and what memory they take.

    python -m tests.programs.julia_fits                     # 200 fits a way, 1,000 for the memory
    python -m tests.programs.julia_fits --fits 20 --memory 0

Each way runs in a process of its own, which is ended where it hangs. Prints what was measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

COMMON = """
import sys, threading, asyncio, resource
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pycellbox as pcb
from tests.support.problems import dataset
DATA = dataset(np.random.default_rng(0))
N = {fits}

def work(seed):
    return pcb.fit(DATA, schedule=pcb.Stage(6, batch_size=5), seed=seed, backend="julia",
                   progress=False)

def joined():
    fits = []
    thread = threading.Thread(target=lambda: fits.extend(work(k) for k in range(N)))
    thread.start()
    thread.join()
    return fits

def check(fits):
    for seed, fit in enumerate(fits):
        again = work(seed)
        assert fit.parameters.identical(again.parameters), seed
    print("done", len(fits))
"""

WAYS = {
    "one thread that the main thread joins": """
        work(0)
        check(joined())
    """,
    "a pool of four": """
        work(0)
        with ThreadPoolExecutor(4) as pool:
            check(list(pool.map(work, range(N))))
    """,
    "asyncio.to_thread": """
        async def main():
            ticks = 0
            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.005)
                    ticks += 1
            ticker = asyncio.create_task(tick())
            fits = await asyncio.gather(*(asyncio.to_thread(work, k) for k in range(N)))
            assert ticks > 1, "the event loop stood still"
            ticker.cancel()
            return fits
        check(asyncio.run(main()))
    """,
    "Julia started by a pool's thread, then used in the main one": """
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(3)))
            fits = [work(k) for k in range(N)]
            list(pool.map(work, range(3)))
        check(fits)
    """,
    "another package's Julia, used in a thread that the main one joins": """
        import juliacall
        from pycellbox.backends import get_backend
        get_backend("julia")  # as the warning that comes without it says
        check(joined())
    """,
    "Julia's objects freed on other threads": """
        from pycellbox.backends import get_backend
        from tests.support.problems import random_problem, random_parameters
        julia = get_backend("julia")
        problem = random_problem(pcb.CellBox(), np.random.default_rng(0))
        parameters = random_parameters(pcb.CellBox(), np.random.default_rng(0))
        def make():
            return julia.session(problem, pcb.Heun(0.1), pcb.Loss())
        wanted = make().loss_and_gradient(parameters)[0]
        def free(box):
            while box:
                box.pop()
        boxes = [[make() for _ in range(10)] for _ in range(4)]
        threads = [threading.Thread(target=free, args=(box,)) for box in boxes]
        for thread in threads:
            thread.start()
        for _ in range(N):
            assert make().loss_and_gradient(parameters)[0] == wanted
        for thread in threads:
            thread.join()
        print("done", N)
    """,
}

MEMORY = """
network = pcb.networks.erdos_renyi(60, 0.05)
data = pcb.simulate(network, 100, times=[1.0, 2.0, 4.0], noise=0.1, backend="julia")
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
for k in range(1, N + 1):
    pcb.fit(data, schedule=pcb.Stage(3), backend="julia", progress=False)
    if k % 100 == 0:
        print(f"{k} fits: {resident():.0f} MB", flush=True)
print("done", N)
"""


def run(code: str, seconds: float, **options: str) -> tuple[str, float]:
    """Output of a process that runs the code, and its seconds; raises where it hangs or fails."""
    began = time.perf_counter()
    environment = dict(os.environ, **options)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=environment, text=True,
        capture_output=True, timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout, time.perf_counter() - began


def fits_in(way: str, fits: int, seconds: float = 600) -> tuple[str, float]:
    """Run one of `WAYS`."""
    return run(COMMON.format(fits=fits) + textwrap.dedent(WAYS[way]), seconds)


def memory(fits: int, seconds: float = 3600) -> tuple[str, float]:
    """Resident memory after every hundred fits of 100 conditions × 60 nodes × 3 times."""
    return run(COMMON.format(fits=fits) + MEMORY, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=200, help="fits a way (default 200)")
    parser.add_argument("--memory", type=int, default=1000, help="fits for the memory; 0: none")
    args = parser.parse_args()
    for way in WAYS:
        out, seconds = fits_in(way, args.fits)
        print(f"{way}: {out.strip()} in {seconds:.1f} s", flush=True)
    if args.memory:
        out, seconds = memory(args.memory)
        print(f"memory, in {seconds:.0f} s:\n{out.strip()}")


if __name__ == "__main__":
    main()
