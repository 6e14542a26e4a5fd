"""The setting of an evaluation: BLAS threads, and what linear algebra may raise."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import labelled
from pycellbox.problem import Array, Problem

# Multiply-adds of one product of states and M below which threads cost more than they give; at
# 99 nodes × 89 conditions (9e5) a second thread gains nothing on an idle machine, and on a busy one
# threads that wait for each other made a fit five times slower.
_WORTH_THREADS = 2e7


class _Turns:
    """Lets evaluations with one BLAS thread, or evaluations with all of them, run side by side.

    Never both: the number of threads is one for the whole process, and decides the last bits of a
    large product. The first evaluation with one thread limits BLAS, the last one lifts the limit.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # By thread, so that one that an interrupt kept from leaving does not block itself.
        self._running: set[int] = set()
        self._waiting = [0, 0]
        self._single = False
        self._holds = 0  # that nothing has more than one thread
        # Threads of each BLAS library before they were limited to one.
        self._before: dict[str, int] = {}

    def enter(self, single: bool) -> None:
        me = threading.get_ident()

        def my_turn() -> bool:
            others = self._running - {me}
            if self._holds or not others:
                return True
            # Not for ever with one's own kind, while the other waits.
            return self._single == single and not self._waiting[not single]

        with self._changed:
            self._waiting[single] += 1
            try:
                self._changed.wait_for(my_turn)
            finally:
                self._waiting[single] -= 1
            single = single or self._holds > 0
            if single:
                self._limit()
            else:
                self.lift()
            self._single = single
            self._running.add(me)

    def leave(self) -> None:
        with self._changed:
            self._running.discard(threading.get_ident())
            if not self._running and not self._holds:
                self.lift()
            self._changed.notify_all()

    def hold(self) -> None:
        """Let nothing have more than one thread, until `release`."""
        if not self._holds:
            _libraries.cache_clear()  # others may have been loaded
        self.enter(True)
        with self._changed:
            self._holds += 1
        self.leave()

    def release(self) -> None:
        with self._changed:
            self._holds -= 1
        self.leave()

    def _limit(self) -> None:
        for library in _libraries():
            if library.filepath not in self._before:
                self._before[library.filepath] = library.num_threads
                _set_threads(library, 1)

    def lift(self) -> None:
        """Give BLAS its threads back."""
        for library in _libraries() if self._before else ():
            if library.filepath in self._before:
                _set_threads(library, self._before.pop(library.filepath))


_turns = _Turns()


def _begin_anew() -> None:
    """Forget, in a forked process, the threads that were not taken along."""
    global _turns
    _turns.lift()
    _turns = _Turns()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def evaluation(conditions: int, nodes: int) -> Iterator[None]:
    """Give BLAS one thread if the problem is small, else as many as the process has set.

    Evaluations of the two kinds in different threads wait for each other, so that the same problem
    has the same bits whatever runs beside it.

    Raises
    ------
    DivergenceError
        Eigenvalues or a solution were not found: the numbers have become too large for it.
    """
    try:
        _turns.enter(conditions * nodes * nodes < _WORTH_THREADS)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
            yield
    except np.linalg.LinAlgError as error:
        raise DivergenceError(
            f"the linear algebra of an evaluation failed ({error}): parameters or states have "
            "grown too large; use smaller learning rates or W."
        ) from error
    finally:
        _turns.leave()


@contextmanager
def evaluation_of(problem: Problem, rows: Sequence[int] | Array | None = None) -> Iterator[None]:
    """As `evaluation`, of a problem or some of its conditions, which are named by their labels."""
    index = None if rows is None else np.asarray(rows)
    with labelled(problem.conditions, index), evaluation(*problem.perturbation.shape):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Give BLAS one thread in this process, whatever is computed.

    Of evaluations that have all threads already, the end is waited for.
    """
    import scipy.linalg  # noqa: F401  # has a BLAS of its own, which is limited if it is loaded

    turns = _turns
    turns.hold()
    try:
        yield
    finally:
        turns.release()


def _set_threads(library: Any, count: int) -> None:
    # From 3.8 on, threadpoolctl lets only the thread that came first set anything: here the turns
    # see to that, and whoever comes next shall be free to.
    clear = getattr(library, "clear_controlling_thread", lambda force: None)
    clear(force=True)
    library.set_num_threads(count)
    clear(force=True)


@cache
def _libraries() -> list[Any]:
    # Looks through the loaded libraries, which takes milliseconds: once is enough.
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
