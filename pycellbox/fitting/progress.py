"""A progress bar, or none."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any


class Progress:
    """tqdm's bar in terminals and notebooks; nothing at all when not wanted.

    Parameters
    ----------
    total : int
        Iterations at most.
    show : bool
    """

    def __init__(self, total: int, show: bool) -> None:
        self._total, self._show = total, show
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self._show:
            # The import costs time that a silent fit need not spend.
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._total, desc="fit", unit="it", leave=True)
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
        if self._bar is None:
            return
        text = f"stage {stage} loss {loss:.4g}"
        if math.isfinite(validation):
            text += f" validation {validation:.4g}"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()
