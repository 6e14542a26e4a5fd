"""Tasks that share something large: carried out, counted, and run again where a worker is lost."""

from __future__ import annotations

import logging
import pickle
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from pycellbox.backends.numpy.setting import one_thread
from pycellbox.common import interrupts
from pycellbox.errors import OptionError, PycellboxError, Said, collected, say_again
from pycellbox.many.workers import Engine, GivenExecutor, workers

S = TypeVar("S")
T = TypeVar("T")

log = logging.getLogger("pycellbox")

_BETWEEN_LOOKS = 0.1  # seconds, at an interrupt while workers work
_TRIES = 3  # of a task whose worker is lost each time
_FAILURES = (PycellboxError, ArithmeticError, np.linalg.LinAlgError, MemoryError)
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
    warnings : tuple
        Of pycellbox, that it gave.
    """

    number: int
    seconds: float
    value: T | None
    failure: str = ""
    warnings: tuple[Said, ...] = ()


class Keeping(Protocol[T]):
    """See `pycellbox.many.store.Store`."""

    def read(self, count: int) -> dict[int, Outcome[T]]:
        """Return what is there of so many tasks, by number."""
        ...

    def write(self, one: Outcome[T]) -> None:
        """Keep what came of a task."""
        ...


@dataclass(frozen=True)
class _Parcel:
    """What all tasks share, pickled once: a worker reads its file once, or is sent the content."""

    name: str
    path: Path
    content: bytes | None = None

    def open(self) -> Any:
        """Return what is in it; FileNotFoundError where the file is on another machine."""
        if self.name in _held:
            return _held[self.name]
        content = self.path.read_bytes() if self.content is None else self.content
        _held.clear()  # of tasks that are over
        _held[self.name] = found = pickle.loads(content)
        return found


def seeds(seed: int, count: int) -> list[int]:
    """Return different seeds: the given one, and others that follow from it, always the same."""
    spawned = np.random.SeedSequence(seed).spawn(count - 1)
    return [seed, *(int(one.generate_state(1)[0]) for one in spawned)]


def outcomes(
    task: Callable[[S, int], T],
    shared: S,
    count: int,
    engine: Engine | GivenExecutor = None,
    store: Keeping[T] | None = None,
) -> Iterator[Outcome[T]]:
    """Carry out ``task(shared, k)`` for k = 0 … count − 1, and yield what comes of each.

    Parameters
    ----------
    task : callable
        With an executor of processes, a function of a module.
    shared : object
        What all tasks need; it is not sent with each of them. Tasks do not change it.
    count : int
    engine : Engine, Executor or distributed.Client, optional
        An engine is what `workers` makes. None: here, one after the other.
    store : Store, optional
        What is there is not made again; what is not is written as soon as it is.

    Yields
    ------
    Outcome
        Those of the store, and the others in the order in which they end. A task that raises a
        `PycellboxError`, or an error of arithmetic or memory, has failed; whatever else one raises
        is raised here. A task whose worker is lost is run again where the engine can do so, and
        has failed where it was lost with three of them. What tasks warn of is said here, each sort
        once. Tasks that have not begun are given up when the iterator is closed, or an interrupt is
        raised in it.

    Raises
    ------
    OptionError
        What tasks share cannot be sent to other processes.
    ResultFileError
        A file of the store is damaged, or does not belong to it.

    Notes
    -----
    Until the iterator ends, BLAS has one thread, here and in every worker, so that a task gives
    the same bits wherever it is carried out.
    """
    found = store.read(count) if store else {}
    yield from found.values()
    todo = [number for number in range(count) if number not in found]
    said: set[Any] = set()
    with one_thread():
        for one in _ended(task, shared, todo, engine):
            if store:
                store.write(one)
            for warning in one.warnings:
                if warning.place not in said:
                    said.add(warning.place)
                    say_again(warning)
            yield one


def _ended(
    task: Callable[[S, int], T], shared: S, todo: list[int], engine: Engine | GivenExecutor
) -> Iterator[Outcome[T]]:
    if engine is None or not todo:
        for number in todo:
            interrupts.check()
            yield _carried_out(task, shared, number)
        return
    if not isinstance(engine, Engine):
        engine = workers(engine)
        assert engine is not None
    engine.begin(len(todo))
    with tempfile.TemporaryDirectory(prefix="pycellbox-") as folder:
        try:
            content = engine.packed((task, shared))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise OptionError(
                f"what the tasks share cannot be sent to other processes ({error}): keep what is "
                "given to modules that these can import, or leave the executor out."
            ) from error
        parcel = _Parcel(uuid.uuid4().hex, Path(folder) / "shared")
        _held[parcel.name] = task, shared  # for threads
        run = _Run(engine, parcel, content, todo)
        try:
            yield from run.outcomes()
        finally:
            for future in run.pending:
                future.cancel()
            engine.end(abandon=bool(run.pending))
            _held.pop(parcel.name, None)


class _Run:
    """Tasks on an engine: those to be handed over, and those that are."""

    def __init__(self, engine: Engine, parcel: _Parcel, content: bytes, todo: list[int]) -> None:
        self.engine, self.content, self.parcel = engine, content, parcel
        self.sent = engine.sent(content)
        if self.sent is None:
            parcel.path.write_bytes(content)
        self.todo = todo
        self.lost: dict[int, BaseException] = {}  # to be run again
        self.losses: Counter[int] = Counter()
        self.pending: dict[Future[Any], int] = {}

    def outcomes(self) -> Iterator[Outcome[Any]]:
        while self.todo or self.pending:
            while self._may_hand_over():
                self._hand_over(self.todo.pop(0), self.parcel)
            ended, _ = wait(self.pending, timeout=_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
            interrupts.check()
            for future in ended:
                yield from self._taken(future, self.pending.pop(future))
            if self.lost and not self.pending:
                yield from self._again()

    def _may_hand_over(self) -> bool:
        most = self.engine.at_once
        if not self.todo or self.lost:
            return False
        if self.losses[self.todo[0]] == _TRIES - 1:  # alone, so that a loss is its own
            return not self.pending
        return most is None or len(self.pending) < most

    def _hand_over(self, number: int, parcel: _Parcel) -> None:
        function, shared = (_opened, parcel) if self.sent is None else (_unpacked, self.sent)
        self.pending[self.engine.submit(function, shared, number)] = number

    def _taken(self, future: Future[Any], number: int) -> Iterator[Outcome[Any]]:
        try:
            found = future.result()
        except BrokenExecutor as error:  # as all that are pending
            self.lost[number] = error
        except self.engine.lost as error:
            yield _lost(number, error)
        else:
            if found is not None:
                yield found
            else:  # its worker cannot read the file
                self._hand_over(number, replace(self.parcel, content=self.content))

    def _again(self) -> Iterator[Outcome[Any]]:
        """Put tasks whose executor is broken back, where there is another one."""
        lost, self.lost = self.lost, {}
        renewed = self.engine.renewed()
        for number, error in lost.items():
            self.losses[number] += 1
            if renewed and self.losses[number] < _TRIES:
                self.todo.append(number)
            else:
                yield _lost(number, error)
        self.todo.sort(key=lambda number: (self.losses[number], number))
        if renewed:
            log.warning("a worker was lost: what it worked at is run again")


def _lost(number: int, error: BaseException) -> Outcome[Any]:
    return Outcome(number, 0.0, None, f"its worker was lost ({type(error).__name__})")


def _opened(parcel: _Parcel, number: int) -> Outcome[Any] | None:
    with suppress(FileNotFoundError):
        task, shared = parcel.open()
        return _carried_out(task, shared, number)
    return None


def _unpacked(content: tuple[Callable[[S, int], T], S], number: int) -> Outcome[T]:
    return _carried_out(*content, number)


def _carried_out(task: Callable[[S, int], T], shared: S, number: int) -> Outcome[T]:
    value, failure = None, ""
    with one_thread(), collected() as said:
        began = time.perf_counter()
        try:
            value = task(shared, number)
        except _FAILURES as error:
            failure = f"{type(error).__name__}: {error}"
        return Outcome(number, time.perf_counter() - began, value, failure, tuple(said))
