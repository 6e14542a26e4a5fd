"""Interleaved repeats: whatever the machine does meanwhile, it does to everybody."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

# A turn lasts about this long, so that a short call is timed many times in each.
TURN = 0.02
LONGEST_TURN = 50
# Calls longer than this need no call before them that brings their data into the caches.
LONG = 0.25


def interleaved(
    calls: dict[str, Callable[[], object]],
    release: dict[str, Callable[[], None]],
    once: dict[str, float],
    repeats: int,
    seconds: float,
) -> Iterator[tuple[str, list[float]]]:
    """Time every call in turn, round after round.

    Parameters
    ----------
    calls, release, once : dict
        By name: the call, what is done after its turn, and the seconds a call took before.
    repeats : int
        Rounds at most.
    seconds : float
        What the calls of one name may take together; each has one turn at least.

    Yields
    ------
    name : str
    times : list of float
        Of all calls, as soon as a name has had its last turn.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    waiting = list(calls)
    gc.disable()
    try:
        for turn in range(repeats):
            gc.collect()
            for name in list(waiting):
                call = calls[name]
                began = time.perf_counter()
                if once[name] < LONG or turn == 0:
                    call()
                for _ in range(max(1, min(LONGEST_TURN, int(TURN / once[name])))):
                    start = time.perf_counter()
                    call()
                    times[name].append(time.perf_counter() - start)
                spent[name] += time.perf_counter() - began
                release[name]()
                if spent[name] + spent[name] / (turn + 1) > seconds or turn == repeats - 1:
                    waiting.remove(name)
                    yield name, times[name]
    finally:
        gc.enable()
