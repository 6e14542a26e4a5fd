"""Ctrl-C that waits until nothing is half done.

While something that must not be lost is held, the first Ctrl-C is only noted: `check`, called where
nothing is half done, raises the KeyboardInterrupt. A second one raises it at once. Python handles
signals in the main thread alone, so that in other threads all of this does nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_depth = 0  # of holds within holds, in the main thread
_count = 0  # of interrupts since the outermost hold began
_due = False  # noted, and not yet raised


class Hold:
    """Holds Ctrl-C back from `begin` to `end`, which may be called more than once."""

    def __init__(self) -> None:
        self._began = self._installed = False
        self._outer = 0

    def begin(self) -> None:
        """Note the first Ctrl-C from now on; a handler that the user has set stays as it is."""
        global _depth, _count, _due
        if self._began or not _in_main_thread():
            return
        if _depth == 0:
            _count, _due = 0, False
        self._outer = _depth
        self._began = True
        _depth = self._outer + 1
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._installed = True
            signal.signal(signal.SIGINT, request)

    def end(self) -> None:
        """Give back the handler that was there, and forget what was not raised by now."""
        global _depth, _due
        if not self._began:
            return
        # Each line may be the last one, and is then done again by the next call.
        if self._installed and signal.getsignal(signal.SIGINT) is request:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _depth = self._outer
        _due = _due and _depth > 0
        self._began = False

    @property
    def insisted(self) -> bool:
        """Whether there was a second interrupt."""
        return self._began and _count > 1


@contextmanager
def held() -> Iterator[None]:
    """Hold Ctrl-C back within a block, and raise it at the end if `check` has not done so."""
    hold = Hold()
    hold.begin()
    try:
        yield
    except BaseException:
        hold.end()
        raise
    try:
        check()
    finally:
        hold.end()


def check() -> None:
    """Raise the KeyboardInterrupt that was held back, if there is one.

    To be called where nothing is half done, and often enough that nobody loses patience.
    """
    global _due
    if _due and _in_main_thread():
        _due = False
        raise KeyboardInterrupt


def request(number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
    """Do what Ctrl-C does; a handler of signals."""
    global _count, _due
    _count += 1
    if _depth == 0 or _count > 1:
        _due = False
        raise KeyboardInterrupt
    _due = True


@contextmanager
def terminable() -> Iterator[list[int]]:
    """Let SIGTERM do what Ctrl-C does; the list has its number once it came."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        request()

    if not _in_main_thread():
        yield came
        return
    before: Any = signal.signal(signal.SIGTERM, handle)
    try:
        yield came
    finally:
        # None: a handler that was not set from Python, which cannot be set from it either.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
