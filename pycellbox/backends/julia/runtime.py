"""Starting Julia once, on request, and never downloading anything while doing so.

juliacall reads its options when it is first imported, so they are set here, before that, and only
where the user has not set them. Sources: juliacall 0.9 (`juliacall/__init__.py`), juliapkg 0.1.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from pycellbox.backends.forks import refuse_after_fork, started
from pycellbox.backends.julia import calls
from pycellbox.backends.julia.project import (
    NOT_READY,
    Readiness,
    is_compiled,
    julia_version,
    option,
    readiness,
)
from pycellbox.errors import BackendError, BackendWarning, warn

log = logging.getLogger("pycellbox")

# Julia's threads stop for its garbage collector by a signal (SIGSEGV at a safepoint): with more
# than one of them the process crashes unless Julia handles signals. The user's handlers are put
# back afterwards: our calls let go of Python's lock, so Python's own Ctrl-C works.
OPTIONS = {
    "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
    "PYTHON_JULIACALL_STARTUP_FILE": "no",
    "PYTHON_JULIACALL_THREADS": "auto",
}
_starting = threading.Lock()
_NO_SIGNALS = (
    "Julia computes on one thread here, because it does not handle signals: with more, the process "
    "would crash in a garbage collection. {remedy}"
)
_OTHER_THREAD = (
    "another package has started Julia, in another thread: while that thread waits in Python, "
    "calls into Julia can hang. Call pycellbox.backends.get_backend('julia') in that thread before."
)


def start() -> Any:
    """Start Julia, or return the Julia that runs: the module PycellboxCore.

    Raises
    ------
    BackendError
        Julia is not ready, does not start, or cannot be used here (a forked process).
    """
    refuse_after_fork("Julia")
    with _starting:
        return _start()


@functools.cache
def _start() -> Any:
    runs = "juliacall" in sys.modules
    state = readiness()
    if not runs:
        _check(state)
    ours = _options(runs)
    if "torch" in sys.modules and not runs:
        log.warning(
            "torch was imported before Julia was started, which can crash; import pycellbox and "
            "call pycellbox.backends.get_backend('julia') before importing torch."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch was imported before juliacall")
            keep = "PYTHON_JULIACALL_HANDLE_SIGNALS" in ours
            with _handlers_kept() if keep else contextlib.nullcontext():
                import juliacall

            if not calls.leave_first_thread(juliacall.Main):
                warn(_OTHER_THREAD, BackendWarning)
            juliacall.Main.seval("import PycellboxCore")
            # Now and then Ctrl-C reaches Julia's own waiting thread all the same: it shall raise
            # InterruptException in our call (see `translate`) and not end the process.
            juliacall.Main.seval("Base.exit_on_sigint(false)")
        module = juliacall.Main.PycellboxCore
        calls.connect(module)
    except Exception as error:
        raise BackendError(
            f"Julia did not start: {calls.useful_lines(str(error))} Check it with `pycellbox "
            "julia status`."
        ) from error
    finally:
        # They have been read. A child process that found them would take them for the user's.
        for name in ours:
            os.environ.pop(name, None)
    if not module.python_handles_signals() and module.python_one_thread() > 1:
        remedy = "Import pycellbox and use backend='julia' before the package that started Julia."
        warn(_NO_SIGNALS.format(remedy=remedy), BackendWarning)
    started("Julia")
    return module


def _check(state: Readiness) -> None:
    """Raise if Julia cannot be started, and say so if that will take long."""
    if not state.ready or state.executable is None or state.project is None:
        raise BackendError(f"{NOT_READY.format(state.missing)}.")
    version = julia_version(state.executable)
    if not version:
        why = f"{state.executable} is not a Julia (it does not say its version)"
        raise BackendError(f"{NOT_READY.format(why)}.")
    if not is_compiled(version):
        log.warning(
            "Julia %s compiles PycellboxCore and the packages that it needs, once for this depot: "
            "about a minute, or some five with those of SciML.",
            version,
        )


def _options(runs: bool) -> list[str]:
    """Set the options of juliacall that the user has not set; return their names."""
    ours = []
    for name, value in OPTIONS.items():
        if option(name) is None and name not in os.environ:
            if name.endswith("THREADS") and "JULIA_NUM_THREADS" in os.environ:
                continue
            os.environ[name] = value
            ours.append(name)
    if option("PYTHON_JULIACALL_HANDLE_SIGNALS") == "no" and not runs:
        if "PYTHON_JULIACALL_THREADS" in ours:
            os.environ["PYTHON_JULIACALL_THREADS"] = "1"
        remedy = "Unset PYTHON_JULIACALL_HANDLE_SIGNALS."
        warn(_NO_SIGNALS.format(remedy=remedy), BackendWarning)
    return ours


# What comes of an instruction, Julia's garbage collector included, is for Julia.
_OF_INSTRUCTIONS = {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGABRT", "SIGSYS"}


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep the user's signal handlers when Julia starts, in whichever thread.

    Julia puts in handlers of its own, blocks signals, and has a thread wait for them: SIGINT,
    SIGTERM and SIGQUIT, and SIGUSR1 and SIGUSR2, with which batch systems announce the end.
    """
    # Python's `signal` sets handlers in the main thread only; what it calls does in any.
    handler = ctypes.pythonapi.PyOS_getsig
    handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_int]
    install = ctypes.pythonapi.PyOS_setsig
    install.restype, install.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    users = {
        number
        for number in signal.valid_signals()
        if callable(signal.getsignal(number))
        and getattr(number, "name", "") not in _OF_INSTRUCTIONS
    }
    before = {number: handler(number) for number in users | {signal.SIGINT}}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if os.name == "posix" else set()
    try:
        yield
    finally:
        for number, value in before.items():
            install(number, value)
        if os.name == "posix":
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
