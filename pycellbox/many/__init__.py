"""Many tasks of one kind, such as fits: one after the other, or side by side on any engine."""

from __future__ import annotations

from pycellbox.backends.numpy.setting import one_thread
from pycellbox.many.store import Store, digest
from pycellbox.many.tasks import Outcome, outcomes, seeds
from pycellbox.many.workers import WORKERS, Engine, GivenExecutor, workers

__all__ = [
    "WORKERS",
    "Engine",
    "GivenExecutor",
    "Outcome",
    "Store",
    "digest",
    "one_thread",
    "outcomes",
    "seeds",
    "workers",
]
