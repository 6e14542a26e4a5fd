"""Many tasks of one kind, such as fits: one after the other, or on any executor."""

from __future__ import annotations

import pickle
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from pycellbox.common import interrupts
from pycellbox.common.options import instance
from pycellbox.errors import OptionError, PycellboxError

S = TypeVar("S")
T = TypeVar("T")
EXECUTOR = instance(Executor, "an executor, such as concurrent.futures.ProcessPoolExecutor(4)")

_BETWEEN_LOOKS = 0.1  # seconds, at an interrupt while workers work
_held: dict[str, Any] = {}  # what tasks of this process share, by the name of its parcel


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How a task ended.

    Attributes
    ----------
    number : int
        Which task, counted from 0.
    seconds : float
        That it took; 0 where its worker was lost.
    value : object
        What it returned; None where it failed.
    failure : str
        Why it failed; empty where it did not.
    """

    number: int
    seconds: float
    value: T | None
    failure: str = ""


@dataclass(frozen=True)
class _Parcel:
    """What all tasks share, pickled once: a worker reads its file once, or is sent the content."""

    name: str
    path: Path
    content: bytes | None = None

    def open(self) -> Any:
        """Return what is in it; FileNotFoundError where the file is on another machine."""
        if self.name not in _held:
            content = self.path.read_bytes() if self.content is None else self.content
            _held.clear()  # of tasks that are over
            _held[self.name] = pickle.loads(content)
        return _held[self.name]


def seeds(seed: int, count: int) -> list[int]:
    """Return different seeds: the given one, and others that follow from it, always the same."""
    spawned = np.random.SeedSequence(seed).spawn(count - 1)
    return [seed, *(int(one.generate_state(1)[0]) for one in spawned)]


def outcomes(
    task: Callable[[S, int], T], shared: S, count: int, executor: Executor | None = None
) -> Iterator[Outcome[T]]:
    """Carry out ``task(shared, k)`` for k = 0 … count − 1, and yield what comes of each.

    Parameters
    ----------
    task : callable
        With an executor of processes, a function of a module.
    shared : object
        What all tasks need; it is not sent with each of them. Tasks do not change it.
    count : int
    executor : Executor, optional
        None: here, one after the other.

    Yields
    ------
    Outcome
        In the order in which they end. A task that raises a `PycellboxError`, and one whose worker
        is lost, has failed; whatever else one raises is raised here. Tasks that have not begun are
        given up when the iterator is closed, or an interrupt is raised in it.

    Raises
    ------
    OptionError
        What tasks share cannot be sent to other processes.
    """
    if executor is None:
        for number in range(count):
            interrupts.check()
            yield _carried_out(task, shared, number)
        return
    name = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="pycellbox-") as folder:
        path = Path(folder) / "shared"
        try:
            path.write_bytes(pickle.dumps((task, shared)))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise OptionError(
                f"what the tasks share cannot be sent to other processes ({error}): keep what is "
                "given to modules that these can import, or leave the executor out."
            ) from error
        parcel = _Parcel(name, path)
        _held[name] = task, shared  # for threads
        pending: dict[Future[Outcome[T] | None], int] = {}
        try:
            for number in range(count):
                pending[_submitted(executor, parcel, number)] = number
            while pending:
                ended, _ = wait(pending, timeout=_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                interrupts.check()
                for future in ended:
                    number = pending.pop(future)
                    found = _of(future, number)
                    if found is None:  # its worker cannot read the file
                        whole = _Parcel(name, path, path.read_bytes())
                        pending[_submitted(executor, whole, number)] = number
                    else:
                        yield found
        finally:
            for future in pending:
                future.cancel()
            _held.pop(name, None)


def _submitted(executor: Executor, parcel: _Parcel, number: int) -> Future[Outcome[Any] | None]:
    try:
        return executor.submit(_opened, parcel, number)
    except BrokenExecutor as error:  # a worker was lost before
        lost: Future[Outcome[Any] | None] = Future()
        lost.set_exception(error)
        return lost


def _of(future: Future[Outcome[T] | None], number: int) -> Outcome[T] | None:
    try:
        return future.result()
    except (BrokenExecutor, CancelledError) as error:
        return Outcome(number, 0.0, None, f"its worker was lost ({type(error).__name__})")


def _opened(parcel: _Parcel, number: int) -> Outcome[Any] | None:
    with suppress(FileNotFoundError):
        task, shared = parcel.open()
        return _carried_out(task, shared, number)
    return None


def _carried_out(task: Callable[[S, int], T], shared: S, number: int) -> Outcome[T]:
    began = time.perf_counter()

    def seconds() -> float:
        return time.perf_counter() - began

    try:
        value = task(shared, number)
        return Outcome(number, seconds(), value)
    except PycellboxError as error:
        return Outcome(number, seconds(), None, f"{type(error).__name__}: {error}")
