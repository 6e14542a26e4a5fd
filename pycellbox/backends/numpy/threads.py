"""BLAS threads: one where a second would only get in the way."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

# Multiply-adds of one product of states and M below which threads cost more than they give; at
# 99 nodes × 89 conditions (9e5) a second thread gains nothing on an idle machine, and on a busy one
# threads that wait for each other made a fit five times slower.
_WORTH_THREADS = 2e7


def blas_threads(conditions: int, nodes: int) -> AbstractContextManager[Any]:
    """Return a context in which BLAS has one thread if the problem is small."""
    if conditions * nodes * nodes >= _WORTH_THREADS:
        return nullcontext()
    context: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return context


@cache
def _controller() -> Any:
    # Looks through the loaded libraries, which takes milliseconds: once is enough.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
