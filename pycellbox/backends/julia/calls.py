"""Calls into Julia: one at a time, without Python's lock, and open to Ctrl-C.

A call is an errand: Python's values become Julia's while Python's lock is held, the work is done by
a C call, for which ctypes lets go of the lock, and the result is fetched with the lock again. So a
thread that comes back waits for the lock outside of Julia. Inside, Julia's garbage collector would
wait for it, for ever if who holds the lock waits for the collector.
"""

from __future__ import annotations

import ctypes
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pycellbox.common import interrupts
from pycellbox.errors import BackendError, DivergenceError, ModelError, SolverError
from pycellbox.problem import Array

# Julia's own threads share one evaluation; a second one beside it would gain nothing.
_ONE_AT_A_TIME = threading.RLock()
# Calls that take less, in seconds, are made by the thread that wants them: Ctrl-C can wait so long.
_QUICK = 0.05


class _Bridge:
    """What Python calls by address.

    Parameters
    ----------
    core : Julia module
    """

    def __init__(self, core: Any) -> None:
        self.core = core
        run, flag = (int(address) for address in core.python_addresses())
        self.run: Callable[[int], int] = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(run)
        self.flag = ctypes.c_int64.from_address(flag)
        self._errands: queue.SimpleQueue[tuple[int, list[int], threading.Event]] | None = None

    def run_aside(self, address: int) -> int:
        """Run an errand in another thread, so that Ctrl-C can end it; raises KeyboardInterrupt."""
        if self._errands is None:
            self._errands = queue.SimpleQueue()
            threading.Thread(target=self._serve, name="pycellbox-julia", daemon=True).start()
        outcome: list[int] = []
        done = threading.Event()
        self._errands.put((address, outcome, done))
        interrupt: KeyboardInterrupt | None = None
        while not done.is_set():
            try:
                done.wait(_QUICK)
                interrupts.check()
            except KeyboardInterrupt as error:
                # The arrays are in use until the errand has come back.
                interrupt, self.flag.value = error, 1
        self.flag.value = 0
        if interrupt is not None:
            raise interrupt
        return outcome[0]

    def _serve(self) -> None:
        assert self._errands is not None
        while True:
            address, outcome, done = self._errands.get()
            outcome.append(self.run(address))
            done.set()


def leave_first_thread(main: Any) -> bool:
    """Let Julia's garbage collector run while the thread in which Julia was started is in Python.

    That thread counts as inside of Julia for ever otherwise, and the collector waits for it. False
    if this is another thread: it can be done by the thread itself alone.
    """
    enter, number = main.seval("UInt(cglobal(:jl_gc_safe_enter)), Threads.threadid()")
    if int(number) != 1:
        return False
    # PYFUNCTYPE keeps Python's lock, so that nothing comes between.
    ctypes.PYFUNCTYPE(ctypes.c_int8)(int(enter))()
    return True


_bridge: _Bridge | None = None


def connect(core: Any) -> None:
    """Make ready for calls."""
    global _bridge
    _bridge = _Bridge(core)


class Errand:
    """A Julia call that can be made again and again.

    Parameters
    ----------
    function : Julia function
        It may not touch Python objects.
    *arguments
        Numbers, strings, tuples of them, Julia objects.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        assert _bridge is not None
        self._bridge, self._seconds = _bridge, float("inf")
        self._errand, address = call_locked(_bridge.core.python_errand, function, *arguments)
        self._address = int(address)

    def run(self) -> None:
        """Make the call, without Python's lock.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C; the call was given up.
        PycellboxError
            What went wrong in Julia.
        """
        with _ONE_AT_A_TIME:
            began = time.perf_counter()
            here = threading.current_thread() is threading.main_thread()
            if here and self._seconds > _QUICK:
                failed = self._bridge.run_aside(self._address)
            else:
                failed = self._bridge.run(self._address)
            self._seconds = time.perf_counter() - began
        if failed:
            self.result()

    def result(self) -> Any:
        """Return what the last call brought."""
        return call_locked(self._bridge.core.python_result, self._errand)


def call(function: Any, *arguments: Any) -> Any:
    """Call Julia without Python's lock, open to Ctrl-C, and translate what goes wrong."""
    errand = Errand(function, *arguments)
    errand.run()
    return errand.result()


def call_locked(function: Any, *arguments: Any) -> Any:
    """Call Julia with Python's lock, for what takes no time, and translate what goes wrong."""
    try:
        with _ONE_AT_A_TIME:
            return function(*arguments)
    except Exception as error:
        if type(error).__name__ != "JuliaError":
            raise
        raise translate(error) from error


def translate(error: BaseException) -> BaseException:
    """Turn a Julia error into one readable sentence of ours, with the Julia message attached."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else "no message."
    if "InterruptException" in first:
        return KeyboardInterrupt()
    for name, ours in (
        ("DivergenceError", DivergenceError),
        ("SolverError", SolverError),
        ("ModelError", ModelError),
    ):
        # An error of another thread has that of its task further down.
        for line in text.splitlines():
            start, _, message = line.strip().removeprefix("nested task error: ").partition(": ")
            if start.rpartition(".")[2] == name:
                return ours(message.strip())
    return BackendError(f"Julia failed: {useful_lines(text)}")


def useful_lines(text: str) -> str:
    """Return the lines of a Julia error that say what went wrong, as one sentence."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    telling = ("ERROR", "caused by", "nested task error", "Error:", "error:")
    picked = [line for i, line in enumerate(lines) if line and (i == 0 or _tells(line, telling))]
    return " | ".join(picked[:6])[:2000] or "no message."


def _tells(line: str, telling: tuple[str, ...]) -> bool:
    return any(word in line for word in telling)


def located(rows: Array | None) -> tuple[int, int]:
    """Address and number of rows; -1 of them are all."""
    return (0, -1) if rows is None else (address(rows), int(rows.size))


def address(array: Array) -> int:
    """Address of the first entry of a C-contiguous array."""
    assert array.flags.c_contiguous
    return int(array.ctypes.data)


def row_numbers(rows: Sequence[int] | Array | None) -> Array | None:
    """Rows as Julia takes them; None are all."""
    return None if rows is None else np.ascontiguousarray(rows, dtype=np.int64)
