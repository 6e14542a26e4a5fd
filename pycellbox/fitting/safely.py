"""A training whose result outlives an interrupt in any line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pycellbox.common import interrupts

T = TypeVar("T")


def concluded(train: Callable[[], None], conclude: Callable[[], T]) -> T:
    """Train, and conclude from what was reached, also after a KeyboardInterrupt.

    A Ctrl-C waits for the next safe point of the training, and does nothing to a conclusion that
    is under way; a second one ends both. An interrupt that comes in another way, say by an
    exception that is thrown into the thread, ends the training where it is, and makes a conclusion
    begin again; so ``train`` may be left in any line.
    """
    interrupts.check()  # nothing has begun: from what was held back by a caller
    hold = interrupts.Hold()
    # Neither with nor finally: in their last lines a result could still be lost.
    try:
        hold.begin()
        train()
        result = conclude()
        hold.end()
        return result
    except KeyboardInterrupt:
        try:
            if hold.insisted:
                raise
            result = conclude()
        finally:
            hold.end()
        return result
    except BaseException:
        hold.end()
        raise
