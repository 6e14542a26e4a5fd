"""Cases, in forked workers that may take only so long and so much."""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import resource
import tempfile
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pycellbox as pcb
from pycellbox import baselines, ji, simulation
from tests.fuzz.calls import Call
from tests.fuzz.command_line import command_lines
from tests.fuzz.mutations import mutation
from tests.fuzz.python_calls import python_calls

SECONDS = 20
BYTES = 4 << 30
STATM = Path("/proc/self/statm")
HOUSE = str(Path(pcb.__file__).parent)
ROOMS: tuple[ModuleType, ...] = (
    pcb, pcb.data, pcb.datasets, pcb.metrics, pcb.networks, pcb.plot, pcb.splits, baselines, ji,
    simulation,
)  # fmt: skip
# Results, which nobody makes; what solvers and fits ask of a model; a recovery, which makes several
# fits, each with a thousand iterations.
EXEMPT = {
    "Baseline", "CellBox.check", "CellBox.declare", "CellBox.driven", "CellBox.equations", "Ending",
    "CrossValidation", "Evaluation", "Identifiability",
    "NeuralODE.check", "NeuralODE.declare", "NeuralODE.driven", "NeuralODE.equations",
    "ODE.check", "ODE.declare", "ODE.driven", "ODE.equations",
    "Pruned", "Recovery", "Support", "recover_beeline",
}  # fmt: skip


class Outcome(NamedTuple):
    """How a case ended, where in pycellbox, and with which words."""

    number: int
    call: str
    end: str
    place: str = ""
    words: str = ""


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Whatever public can be called, by name; methods too."""
    for room in ROOMS:
        for name in room.__all__:
            found = getattr(room, name)
            if inspect.isfunction(found):
                yield name, found
            elif inspect.isclass(found) and not issubclass(found, BaseException):
                yield name, found
                if name not in EXEMPT:
                    for one, method in inspect.getmembers(found, inspect.isroutine):
                        if not one.startswith("_"):
                            yield f"{name}.{one}", method


def uncalled() -> list[str]:
    """Every argument of whatever is public that is in no valid call here."""
    given: dict[Any, set[str]] = defaultdict(set)
    with tempfile.TemporaryDirectory() as place:
        for function, arguments in valid_calls(Path(place)).values():
            given[_plain(function)] |= set(arguments)
    return sorted(
        f"{name}({parameter.name})"
        for name, function in public()
        if name not in EXEMPT
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and parameter.name not in given[_plain(function)]
    )


def _plain(function: Any) -> Any:
    return getattr(function, "__func__", function)


def valid_calls(folder: Path) -> dict[str, Call]:
    """One valid call, or more, of everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return python_calls(folder) | command_lines(folder)


def make(number: int, words: str, call: Call) -> Outcome:
    """Make a call, and say how that ends."""
    function, arguments = call
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(**arguments)
            repr(result)
        if words.startswith("pycellbox ") and result not in (0, 1, 2):
            return Outcome(number, words, "inside", "cli", f"exit code {result!r}")
        return Outcome(number, words, "ok")
    except pcb.PycellboxError as error:
        return Outcome(number, words, "refused", type(error).__name__, str(error))
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if HOUSE in f.filename]
        place = "the call"
        if frames:
            place = f"{frames[-1].filename.removeprefix(HOUSE + '/')}:{frames[-1].lineno}"
        with contextlib.suppress(Exception):
            said = f"{type(error).__name__}: {error}"[:300]
            return Outcome(number, words, "inside", place, said)
        return Outcome(number, words, "inside", place, type(error).__name__)


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
        words, call = mutation(calls, seed, number)
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        results.send(words)
        results.send(make(number, words, call))
    os._exit(0)


def trial(numbers: Sequence[int], seed: int = 0, only: Sequence[str] = ()) -> list[Outcome]:
    """Try the cases of these numbers, of some calls ``only``, and return how they ended."""
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
            if worker.exitcode == 1:
                raise RuntimeError(f"case {numbers[len(outcomes)]} of seed {seed} cannot be made")
            if words:  # of a call that has not come back
                hung = worker.exitcode in (-24, -9)  # SIGXCPU, or ours
                how = "hang" if hung else "crash"
                outcomes.append(Outcome(numbers[len(outcomes)], words, how, f"{worker.exitcode}"))
    return outcomes
