"""Ctrl-C while the command line starts: a line, not a traceback out of somebody's imports.

The package is imported before any word of the command line is read, which takes a second. There is
nothing to lose then, so the process ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_USUAL: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


def begin() -> None:
    """If this process is the command line, end it at once on Ctrl-C and SIGTERM, until `done`."""
    if _is_command_line() and threading.current_thread() is threading.main_thread():
        for number, usual in _USUAL.items():
            if signal.getsignal(number) is usual:
                signal.signal(number, _end)


def done() -> None:
    """Give the signals back to Python."""
    for number, usual in _USUAL.items():
        if signal.getsignal(number) is _end:
            signal.signal(number, usual)


def _end(number: int, frame: FrameType | None) -> None:
    how = b"interrupted" if number == signal.SIGINT else b"terminated"
    os.write(2, b"pycellbox: %b\n" % how)
    os._exit(128 + number)


def _is_command_line() -> bool:
    """Whether it was started as ``pycellbox`` or ``python -m pycellbox``."""
    if not getattr(sys, "argv", None):
        return False
    if sys.argv[0] == "-m":  # while the package of the module is imported
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "pycellbox"
    return os.path.basename(sys.argv[0]) in ("pycellbox", "pycellbox.exe")


begin()  # by its import, which stands before all others in `pycellbox`
