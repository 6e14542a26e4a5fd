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
import re
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pycellbox.backends.forks import refuse_after_fork, started
from pycellbox.errors import BackendError, DivergenceError, ModelError, SolverError

log = logging.getLogger("pycellbox")

INSTALL_HINT = (
    "install it once with `pycellbox julia install` (needs the internet); on a machine without, "
    "prepare the environment elsewhere and set PYTHON_JULIACALL_EXE to its julia and "
    "PYTHON_JULIACALL_PROJECT to its project"
)
# Julia's threads stop for its garbage collector by a signal (SIGSEGV at a safepoint): with more
# than one of them the process crashes unless Julia handles signals. SIGINT is taken back from it:
# our calls release the GIL and return several times a second, so Python's own Ctrl-C works.
OPTIONS = {
    "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
    "PYTHON_JULIACALL_STARTUP_FILE": "no",
    "PYTHON_JULIACALL_THREADS": "auto",
}
# One thread at a time: a thread that comes back from Julia and waits for the GIL keeps Julia's
# garbage collector waiting, for ever if the one that holds the GIL waits for the collector.
ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Readiness:
    """Whether Julia can be started without a download.

    Attributes
    ----------
    ready : bool
    executable, project : str or None
        What would be started.
    missing : str
        What is missing, in words; empty when ready.
    """

    ready: bool
    executable: str | None
    project: str | None
    missing: str


def readiness() -> Readiness:
    """Look at files only: nothing is started, written or downloaded."""
    executable = _option("exe")
    project = _option("project")
    if (executable is None) != (project is None):
        lacking = "PROJECT" if project is None else "EXE"
        return Readiness(
            False, executable, project, f"PYTHON_JULIACALL_{lacking} is not set beside the other"
        )
    if executable is not None and project is not None:
        if shutil.which(executable) is None:
            return Readiness(False, executable, project, f"{executable} is not an executable")
        missing = _missing_packages(Path(project))
        return Readiness(not missing, executable, project, missing)
    return _juliapkg_readiness()


def _juliapkg_readiness() -> Readiness:
    try:
        from juliapkg import deps, state
    except ImportError:
        return Readiness(False, None, None, "the Python package juliacall is not installed")
    project = str(state.STATE["project"])
    # Compares the installed environment with what all packages ask for; no network.
    meta = deps.can_skip_resolve()
    if not meta:
        return Readiness(False, None, project, "Julia and its packages have not been installed")
    executable = str(meta["executable"])
    missing = _missing_packages(Path(project))
    # juliapkg takes a lock in its project at every start.
    if not missing and not os.access(project, os.W_OK):
        missing = (
            "the project folder is read-only; to start from it, set "
            f"PYTHON_JULIACALL_EXE={executable} and PYTHON_JULIACALL_PROJECT={project}"
        )
    return Readiness(not missing, executable, project, missing)


def _missing_packages(project: Path) -> str:
    """Say what a Julia project lacks for us; empty if nothing."""
    try:
        manifest = (project / "Manifest.toml").read_text(encoding="utf-8")
    except OSError:
        return f"the project {project} has no Manifest.toml"
    if "[[deps.CellBox]]" not in manifest:
        return f"the project {project} does not have the package CellBox"
    found = re.search(
        r'^\[\[deps\.PythonCall\]\]\n(?:[^\n]+\n)*?version = "([^"]+)"', manifest, re.MULTILINE
    )
    try:
        wanted = metadata.version("juliacall")
    except metadata.PackageNotFoundError:
        return "the Python package juliacall is not installed"
    if found is None or found[1] != wanted:
        has = "no PythonCall" if found is None else f"PythonCall {found[1]}"
        return f"the project {project} has {has}, but juliacall {wanted} needs PythonCall {wanted}"
    return ""


def _option(name: str) -> str | None:
    value = sys._xoptions.get(f"juliacall-{name}") or os.environ.get(
        f"PYTHON_JULIACALL_{name.upper()}"
    )
    return value if isinstance(value, str) else None


def start() -> Any:
    """Start Julia, or return the Julia that runs: the module CellBox.

    Raises
    ------
    BackendError
        Julia is not ready, does not start, or cannot be used here (a forked process).
    """
    refuse_after_fork("Julia")
    with ONE_AT_A_TIME:
        return _start()


@functools.cache
def _start() -> Any:
    state = readiness()
    if not state.ready and "juliacall" not in sys.modules:
        raise BackendError(f"the julia backend is not ready: {state.missing}; {INSTALL_HINT}.")
    ours = []
    for name, value in OPTIONS.items():
        xoption = "juliacall-" + name.removeprefix("PYTHON_JULIACALL_").lower().replace("_", "-")
        if name not in os.environ and xoption not in sys._xoptions:
            if name.endswith("THREADS") and "JULIA_NUM_THREADS" in os.environ:
                continue
            os.environ[name] = value
            ours.append(name)
    if "torch" in sys.modules and "juliacall" not in sys.modules:
        log.warning(
            "torch was imported before Julia was started, which can crash; import pycellbox and "
            "call pycellbox.backends.get_backend('julia') before importing torch."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch was imported before juliacall")
            starts = "juliacall" not in sys.modules
            keep = starts and "PYTHON_JULIACALL_HANDLE_SIGNALS" in ours
            with _interrupts_kept() if keep else contextlib.nullcontext():
                import juliacall

            juliacall.Main.seval("import CellBox")
            # Now and then Ctrl-C reaches Julia's own waiting thread all the same: it shall raise
            # InterruptException in our call (see `translate`) and not end the process.
            juliacall.Main.seval("Base.exit_on_sigint(false)")
        module = juliacall.Main.CellBox
    except Exception as error:
        raise BackendError(
            f"Julia did not start: {_first_line(str(error))} Check it with `pycellbox julia "
            "status`."
        ) from error
    finally:
        # They have been read. A child process that found them would take them for the user's.
        for name in ours:
            os.environ.pop(name, None)
    started("Julia")
    return module


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Keep SIGINT, SIGTERM and SIGQUIT Python's when Julia starts, in whichever thread."""
    # Julia puts in a handler of its own for SIGINT, blocks all three, and has a thread wait for
    # them. Python's `signal` sets handlers in the main thread only; what it calls does in any.
    handler = ctypes.pythonapi.PyOS_getsig
    handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_int]
    install = ctypes.pythonapi.PyOS_setsig
    install.restype, install.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before = handler(signal.SIGINT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if os.name == "posix" else set()
    try:
        yield
    finally:
        install(signal.SIGINT, before)
        if os.name == "posix":
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def translate(error: BaseException) -> BaseException:
    """Turn a Julia error into one readable sentence of ours, with the Julia message attached."""
    text = _first_line(str(error))
    if "InterruptException" in text:
        return KeyboardInterrupt()
    for name, ours in (
        ("DivergenceError", DivergenceError),
        ("SolverError", SolverError),
        ("ModelError", ModelError),
    ):
        if text.startswith((name, f"CellBox.{name}")):
            return ours(text.split(":", 1)[-1].strip())
    return BackendError(f"Julia failed: {text}")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message."
