"""Processes that were forked from one in which a runtime with threads of its own was running."""

from __future__ import annotations

import os
import sys

from pycellbox.errors import BackendError

# Names of the runtimes that ran in the process from which this one was forked.
_inherited: set[str] = set()
# Those that run in this process, as backends report them.
_running: set[str] = set()


def started(name: str) -> None:
    """Note that a runtime runs in this process now."""
    _running.add(name)


def running(name: str) -> bool:
    """Whether a runtime runs in this process, as its backend has reported."""
    return name in _running


def refusal(name: str) -> str:
    """Say why a runtime cannot be used in this process, and what to do; empty if it can.

    If it ran in the process from which this one was forked, it would hang.
    """
    if name not in _inherited:
        return ""
    return (
        f"this process was forked from one in which {name} runs, and {name} does not survive a "
        "fork: start workers with multiprocessing.get_context('spawn'), or use backend='numpy' in "
        "them"
    )


def refuse_after_fork(name: str) -> None:
    """Raise a `BackendError` if a runtime cannot be used in this process."""
    if why := refusal(name):
        raise BackendError(f"{why}.")


def _jax_runs() -> bool:
    """Whether JAX runs here, started by us or by the user's own code."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    initialized = getattr(bridge, "backends_are_initialized", None)
    return bool(initialized()) if callable(initialized) else "JAX" in _running


def _after_fork() -> None:
    if _jax_runs():
        _running.add("JAX")
    _inherited.update(_running)
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
