"""Windows that lengthen: time courses fitted from their beginning on, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

from pycellbox.common.options import (
    NAMED,
    Value,
    checked,
    choice,
    instance,
    integer,
    listed,
    shown,
)
from pycellbox.errors import OptionError
from pycellbox.schedule import LM, MOST_ITERATIONS, OPTIMIZER, Optimizer, Stage, stage_from_dict
from pycellbox.shooting import Shooting, count_or_times, measured_times, shooting_from_dict


@checked(
    optimizer=OPTIMIZER,
    windows=Value(count_or_times(1), "a number of windows, or times at which they end, increasing"),
    iterations=integer(1, MOST_ITERATIONS),
    learning_rate=instance(float | int | Mapping, "a learning rate, as pcb.Stage takes it"),
    weighting=choice("sharp", "smooth"),
)
@dataclass(frozen=True)
class Grow:
    """Stages that fit longer and longer windows of time courses.

    A fit of a whole course that begins far from its parameters seldom finds them: course and model
    are out of step. Its beginning alone is easy, and what was found there is the start for a longer
    window.

    Parameters
    ----------
    optimizer : AdamW, LBFGS or LM
        Of every window. By default LM with a tolerance of 1e-3: the minimum of a window is but the
        start of the next.
    windows : int or sequence of float
        How many, each with as many more measured times as the others, or times at which they end,
        in the unit of the data. The last window is the whole course in any case.
    iterations : int
        At most so many in each.
    learning_rate : float or mapping
        As of `Stage`.
    weighting : {"sharp", "smooth"}
        What counts beyond the end of a window: nothing, or residuals with weights that fall by a
        factor of e up to the end of the next one, see ``fade`` of `Stage`. So later times come in
        little by little (Frank, arXiv:2207.04487).

    Examples
    --------
    >>> import pycellbox as pcb
    >>> schedule = [pcb.Grow(windows=8), pcb.Stage(50, optimizer=pcb.LM())]
    """

    optimizer: Optimizer = field(default_factory=lambda: LM(tolerance=1e-3))
    windows: Any = 8
    iterations: int = 20
    learning_rate: Any = 0.01
    weighting: Literal["sharp", "smooth"] = "sharp"

    def __post_init__(self) -> None:
        self._stage(None)  # what a stage refuses is refused now

    def _stage(self, end: float | None, after: float = math.inf) -> Stage:
        return Stage(
            self.iterations,
            learning_rate=self.learning_rate,
            horizon=end,
            fade=None if end is None or self.weighting == "sharp" else after - end,
            optimizer=self.optimizer,
        )

    @checked(data=instance(xr.Dataset, "a dataset"))
    def over(self, data: xr.Dataset) -> tuple[Stage, ...]:
        """Return the stages for data.

        Parameters
        ----------
        data : Dataset
            Time courses.

        Returns
        -------
        tuple of Stage
            One for each window, the last without an end of its own.

        Raises
        ------
        OptionError, DataError
            The data are steady states, or a window ends before the first measured time.
        """
        times = measured_times(data, "Grow")
        if isinstance(self.windows, int):
            count = min(self.windows, times.size)
            ends = [float(times[-(-times.size * (i + 1) // count) - 1]) for i in range(count)]
        else:
            ends = list(self.windows)
        if ends[0] < times[0]:
            raise OptionError(
                f"Grow: windows={shown(self.windows)} begins before the first measured time, "
                f"{times[0]:g}."
            )
        ends = [end for end in ends if end < times[-1]]
        after = [*ends[1:], float(times[-1])]
        each = (self._stage(*pair) for pair in zip(ends, after, strict=False))
        return (*each, self._stage(None))

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for provenance.

        Returns
        -------
        dict
            By name.
        """
        stage = self._stage(None).to_dict()
        kept = {name: stage[name] for name in ("optimizer", "iterations", "learning_rate")}
        windows = self.windows if isinstance(self.windows, int) else list(self.windows)
        smooth = {} if self.weighting == "sharp" else {"weighting": self.weighting}
        return {**kept, "windows": windows, **smooth}


Entry = Stage | Grow | Shooting
"""Of a schedule."""


def entry_from_dict(options: Mapping[str, Any]) -> Entry:
    """Rebuild an entry of a schedule from what its `to_dict` made."""
    given = NAMED("Stage", options)
    if "shooting" in given:
        return shooting_from_dict(given)
    if "windows" not in given:
        return stage_from_dict(given)
    own = {name: given.pop(name) for name in ("windows", "weighting") if name in given}
    stage = stage_from_dict(given)
    return Grow(stage.optimizer, iterations=stage.iterations, learning_rate=stage.rates(), **own)


def _entries(given: object) -> tuple[Entry, ...]:
    found: tuple[Entry, ...] = listed(instance(Entry, "")).read(
        [given] if isinstance(given, Entry) else given
    )
    return found


SCHEDULE = Value(
    _entries,
    "a pcb.Stage(...), a pcb.Grow(...), a pcb.Shooting(...), or a non-empty list of them",
)
