"""What carries tasks out: an executor, processes of joblib's, a cluster of Dask's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from typing import Any, Protocol, TypeAlias

from pycellbox.common.options import Value, optional
from pycellbox.common.plain import as_integer
from pycellbox.errors import OptionError

#: One thread a worker, for libraries that look here when they are loaded.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
     "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1",
)  # fmt: skip


class HasExecutor(Protocol):
    """A client of a cluster, such as ``distributed.Client``."""

    def get_executor(self, **options: Any) -> Executor:
        """Return an executor whose tasks the cluster carries out."""
        ...


class Engine:
    """An executor of any kind, and what becomes of tasks whose worker is lost.

    Those of a ``ProcessPoolExecutor``, which takes no more tasks once a worker is lost, are run
    again in another one like it.

    Parameters
    ----------
    executor : Executor

    Attributes
    ----------
    executor : Executor
    lost : tuple of exception types
        Raised where a worker was lost.
    """

    lost: tuple[type[BaseException], ...] = (BrokenExecutor, CancelledError)

    def __init__(self, executor: Executor) -> None:
        self.executor, self._own = executor, False

    @property
    def at_once(self) -> int | None:
        """How many tasks to hand over at a time, where lost ones are run again; None: all."""
        return 2 * self._workers if self._workers else None

    @property
    def _workers(self) -> int:
        count: int = getattr(self.executor, "_max_workers", 1)
        return count if isinstance(self.executor, ProcessPoolExecutor) else 0

    def begin(self, count: int) -> None:
        """Make ready for so many tasks."""

    def packed(self, shared: Any) -> bytes:
        """Pickle what tasks share."""
        return pickle.dumps(shared)

    def sent(self, content: bytes) -> Any:
        """Send what tasks share to the workers, once; None where there is no way."""
        return None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand a task over; where nobody takes it any more, it is lost."""
        try:
            return self.executor.submit(function, *arguments)
        except BrokenExecutor as error:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def renewed(self) -> bool:
        """Take another executor in place of one that is broken, if there is a way to make it."""
        if not self._workers:
            return False
        broken: Any = self.executor
        self.end(abandon=True)
        names = ("_mp_context", "_initializer", "_initargs")
        context, initializer, given = (getattr(broken, name, None) for name in names)
        self.executor = ProcessPoolExecutor(self._workers, context, initializer, given or ())
        self._own = True
        return True

    def end(self, *, abandon: bool) -> None:
        """Shut down what was made here; abandon: also what runs."""
        if self._own:
            self.executor.shutdown(wait=not abandon, cancel_futures=abandon)


class _Processes(Engine):
    """Processes of joblib's (loky), which stay a while for the next call."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    @property
    def _workers(self) -> int:
        return self._jobs

    def begin(self, count: int) -> None:
        self._jobs = min(self._jobs, max(count, 1))
        self.renewed()

    def packed(self, shared: Any) -> bytes:
        from joblib.externals.loky.backend.reduction import dumps

        return bytes(dumps(shared))  # classes of a notebook too

    def renewed(self) -> bool:
        from joblib.externals.loky import get_reusable_executor

        self.executor = get_reusable_executor(self._jobs, env=_ONE_THREAD, timeout=60)
        return True

    def end(self, *, abandon: bool) -> None:
        if abandon:
            self.executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


class _Cluster(Engine):
    """A cluster of Dask's, which runs tasks of lost workers again by itself."""

    def __init__(self, executor: Any) -> None:
        from distributed.scheduler import KilledWorker

        super().__init__(executor)
        self.lost = (*Engine.lost, KilledWorker)
        self._client = executor._client
        if self._client.asynchronous or self._client.status != "running":
            raise OptionError(
                f"executor={self._client!r}: the client is "
                f"{'asynchronous' if self._client.asynchronous else self._client.status}; it needs "
                "one that is connected, as distributed.Client(cluster) is."
            )

    def packed(self, shared: Any) -> bytes:
        from distributed.protocol.pickle import dumps

        return bytes(dumps(shared))

    def sent(self, content: bytes) -> Any:
        # A task, not data that are scattered: where the last worker that has them is lost, Dask
        # makes them again.
        return self._client.submit(pickle.loads, content, pure=False)


def _read_executor(given: object) -> object:
    there = callable(getattr(given, "get_executor", None)) and not isinstance(given, type)
    if isinstance(given, Executor) or there:
        return given
    if isinstance(given, type) and issubclass(given, Executor):
        raise ValueError(f"the class; make one: {given.__name__}(...)")
    raise ValueError


def _read_jobs(given: object) -> int:
    found = as_integer(given)
    if not found or abs(found) > 10_000:
        raise ValueError
    return found


EXECUTOR = Value(
    _read_executor,
    "an executor, such as concurrent.futures.ProcessPoolExecutor(4), or a distributed.Client",
)
#: Of a function that makes many fits.
WORKERS = {
    "executor": optional(EXECUTOR),
    "n_jobs": optional(Value(_read_jobs, "a number of processes, or -1 for one on every core")),
}

GivenExecutor: TypeAlias = Executor | HasExecutor | None


def workers(executor: GivenExecutor, n_jobs: int | None = None) -> Engine | None:
    """Return what carries tasks out, or None: they are carried out here, one after the other.

    Parameters
    ----------
    executor : Executor or distributed.Client, optional
    n_jobs : int, optional
        So many processes of joblib's; -1, one on every core that this process may use, -2, on all
        but one; 1, here.

    Raises
    ------
    OptionError
        Both are given; joblib is absent; the client is not connected.
    """
    if executor is not None and n_jobs is not None:
        raise OptionError(
            f"n_jobs={n_jobs} beside an executor, which has workers of its own: give one of the "
            "two."
        )
    if executor is not None:
        if not isinstance(executor, Executor):
            executor = executor.get_executor(pure=False)
        dask = type(executor).__module__.split(".")[0] == "distributed"
        return _Cluster(executor) if dask else Engine(executor)
    if n_jobs is None or n_jobs == 1:
        return None
    try:
        from joblib import effective_n_jobs
    except ImportError:
        raise OptionError(
            f"n_jobs={n_jobs} needs joblib, which is not installed: pip install "
            "'pycellbox[parallel]', or give an executor=, such as "
            "concurrent.futures.ProcessPoolExecutor(4)."
        ) from None
    jobs = effective_n_jobs(n_jobs)
    return _Processes(jobs) if jobs > 1 else None
