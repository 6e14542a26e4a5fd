"""Call everything that is public with what it is not made for; all must end in an error of ours.

    python -m tests.programs.calls --calls 2000 --seed 0

Calls are made in forked workers, each with 20 s of processor time and 4 GB of memory. A call ends

- well, or in a `PycellboxError` (on the command line, with a code that is documented);
- in an error from inside: any other exception;
- not at all: its time is over ("hang"), or its process dies ("crash").
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import pycellbox as pcb
from tests.programs.hostile import mutation
from tests.programs.valid_calls import Call, valid_calls

SECONDS = 20
BYTES = 4 << 30
STATM = Path("/proc/self/statm")
HOUSE = str(Path(pcb.__file__).parent)


class Outcome(NamedTuple):
    """How a call ended, where in pycellbox, and with which words."""

    call: str
    end: str
    place: str = ""
    words: str = ""


def make(words: str, call: Call) -> Outcome:
    """Call, and say how that ends."""
    function, arguments = call
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(**arguments)
        if words.startswith("pycellbox ") and result not in (0, 1, 2):
            return Outcome(words, "inside", "cli", f"exit code {result!r}")
        if function.__module__.startswith("pycellbox.plot"):
            import matplotlib.pyplot as plt

            plt.close("all")
        return Outcome(words, "ok")
    except pcb.PycellboxError as error:
        return Outcome(words, "refused", type(error).__name__, str(error))
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if HOUSE in f.filename]
        place = "the call"
        if frames:
            place = f"{frames[-1].filename.removeprefix(HOUSE + '/')}:{frames[-1].lineno}"
        with contextlib.suppress(Exception):
            return Outcome(words, "inside", place, f"{type(error).__name__}: {error}"[:300])
        return Outcome(words, "inside", place, type(error).__name__)


def work(calls: dict[str, Call], numbers: Sequence[int], seed: int, results: Connection) -> None:
    """Make calls in this process, a child, one after the other."""
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if STATM.exists():  # beyond what the parent has reserved: JAX and Julia reserve a lot
        most = int(STATM.read_text().split()[0]) * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for number in numbers:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        words, call = mutation(calls, seed, number)
        results.send(words)
        results.send(make(words, call))
    os._exit(0)


def trial(numbers: Sequence[int], seed: int = 0, only: Sequence[str] = ()) -> list[Outcome]:
    """Make the calls of these numbers, of some functions ``only``, and return how they ended."""
    fork = multiprocessing.get_context("fork")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        calls = valid_calls(Path(place))
        if only:
            calls = {name: calls[name] for name in only}
        while len(outcomes) < len(numbers):
            ours, theirs = fork.Pipe(duplex=False)
            rest = numbers[len(outcomes) :]
            worker = fork.Process(target=work, args=(calls, rest, seed, theirs), daemon=True)
            worker.start()
            theirs.close()
            words = ""
            with contextlib.suppress(EOFError):
                while ours.poll(6 * SECONDS):  # of the clock: what only waits uses no processor
                    received = ours.recv()
                    if isinstance(received, Outcome):
                        outcomes.append(received)
                        words = ""
                    else:
                        words = received
                worker.kill()
            worker.join()
            if words:  # of a call that has not come back
                hung = worker.exitcode in (-24, -9)  # SIGXCPU, or ours
                outcomes.append(Outcome(words, "hang" if hung else "crash", f"{worker.exitcode}"))
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=(), help="names of functions")
    parser.add_argument("--show", nargs="*", default=(), help="list all of ok, refused, …")
    options = parser.parse_args()
    outcomes = trial(range(options.calls), options.seed, options.only)
    print(dict(Counter(one.end for one in outcomes)))
    bad = [one for one in outcomes if one.end not in ("ok", "refused")]
    places = Counter((one.end, one.place) for one in bad)
    for (end, place), count in places.most_common():
        first = next(one for one in bad if (one.end, one.place) == (end, place))
        print(f"{count:4} {end:7} {place:32} {first.call}\n     {first.words}")
    for one in outcomes:
        if one.end in options.show:
            print(f"{one.end:8} {one.call}  {one.words[:200]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
