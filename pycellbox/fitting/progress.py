"""A progress bar, lines in a log, or nothing."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pycellbox.views import kernel_shell

SECONDS_BETWEEN_LINES = 5.0
"""In files and pipes."""


class Progress:
    """tqdm's bar in terminals and notebooks, now and then a line in files and pipes.

    Parameters
    ----------
    total : int
        Iterations at most.
    show : bool
        False: nothing at all.
    name : str
        What goes on.
    """

    def __init__(self, total: int, show: bool, name: str = "fit") -> None:
        self._total, self._name = total, name
        self._show = show and sys.stderr is not None  # there is none in windowed programs
        self._bar: Any = None
        self.done = 0  # iterations, also before it began to be shown

    def __enter__(self) -> Progress:
        self._began = self._said = time.monotonic()
        if self._show and (kernel_shell() is not None or sys.stderr.isatty()):
            with warnings.catch_warnings():  # without ipywidgets the bar is text, which does
                warnings.simplefilter("ignore")
                # The import costs time that a silent fit need not spend.
                from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self._total, initial=self.done, desc=self._name, unit="it", leave=True
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, stage: int, loss: float, validation: float) -> None:
        """One more iteration."""

        def text() -> str:
            judged = f" validation {validation:.4g}" if math.isfinite(validation) else ""
            return f"stage {stage} loss {loss:.4g}{judged}"

        self.step(text)

    def step(self, text: Callable[[], str]) -> None:
        """One more, of which the text is made where it is shown."""
        if not self._show:
            return
        self.done += 1
        now = time.monotonic()
        if self._bar is None and now - self._said < SECONDS_BETWEEN_LINES:
            return
        if self._bar is not None:
            self._bar.set_postfix_str(text(), refresh=False)
            self._bar.update()
            return
        self._said = now
        line = f"{self._name}: {self.done}/{self._total}, {text()}, {now - self._began:.0f} s"
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # the disk is full or the reader gone: go on without
            self._show = False
