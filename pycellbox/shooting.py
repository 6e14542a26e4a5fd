"""Multiple shooting: time courses fitted in segments that are joined little by little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from pycellbox.common.options import Value, checked, instance, integer, listed, number, shown
from pycellbox.common.plain import as_integer
from pycellbox.data import validate
from pycellbox.errors import OptionError
from pycellbox.schedule import LM, MOST_ITERATIONS, Stage, stage_from_dict

GAPS = (1.0, 1e1, 1e2, 1e3, 1e4)
"""Weights of gaps, one after the other; there are none in the end."""
PARTS = len(GAPS) + 1


def count_or_times(least: int) -> Callable[[object], Any]:
    """Read how many parts a course has, at least so many, or times of theirs, increasing."""

    def read(given: object) -> Any:
        if as_integer(given) is not None or isinstance(given, str):
            return integer(least, 10_000).read(given)
        times = listed(number(0, above=True), most=10_000).read(given)
        if list(times) != sorted(set(times)):
            raise ValueError("they do not increase")
        return times

    return read


@checked(
    optimizer=instance(LM, "pcb.LM()"),
    segments=Value(
        count_or_times(2), "a number of segments, at least 2, or times where they begin, increasing"
    ),
    iterations=integer(1, MOST_ITERATIONS),
)
@dataclass(frozen=True)
class Shooting:
    """Multiple shooting: courses of equations of one's own, cut into segments.

    Over a long time, and where a system is chaotic, a course depends so much on the parameters that
    a fit of it as one trajectory finds nothing. Over a short time it does not: a course is cut into
    segments, each of which begins at states of its own. These are fitted too, hidden states as
    well, and the gaps between the end of a segment and the beginning of the next are residuals,
    whose weight rises until there are none.

    In the end the course is fitted as one trajectory again. Where that gets no better than the
    segments (in chaos a trajectory is lost some time after it begins), the fit keeps what the
    segments have found, says so with a warning, and ``fit.provenance["shooting"]`` has the largest
    gap that is left and the time up to which one trajectory follows the segments.

    Parameters
    ----------
    optimizer : LM
        Which minimizes residuals and gaps.
    segments : int or sequence of float
        How many, each with as many measured times as the others, or times where the second and all
        others begin, in the unit of the data.
    iterations : int
        At most so many for each weight of the gaps, of which there are five, and as many in the
        end for the one trajectory.

    Attributes
    ----------
    optimizer, segments, iterations
        As given.

    Notes
    -----
    Bock, in: Numerical treatment of inverse problems in differential and integral equations, 1983,
    with the constraints as residuals: a gap counts as a residual, in standard deviations, times 1,
    10, 100, 1000 and 10,000. States begin at what was measured there, hidden ones on the trajectory
    of the start.

    It is for `ODE` and `NeuralODE` with initial states given, fitted, expressions or at rest;
    missing values, several conditions, inputs, priors, penalties and bounds are as in every fit.
    Segments of about the time over which the system forgets its state (one over the largest
    Lyapunov exponent) are a good first try, with a few measured times in each. In chaos one
    trajectory follows longer at narrower tolerances of the solver.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> schedule = pcb.Shooting(segments=20)
    """

    optimizer: LM = field(default_factory=LM)
    segments: Any = 10
    iterations: int = 20

    @checked(data=instance(xr.Dataset, "a dataset"))
    def over(self, data: xr.Dataset) -> tuple[Stage, ...]:
        """Return the stage for data.

        Parameters
        ----------
        data : Dataset
            Time courses.

        Returns
        -------
        tuple of Stage
            One, with the times at which segments begin.

        Raises
        ------
        OptionError, DataError
            The data are steady states, or a segment begins after the last measured time.
        """
        times = measured_times(data, "Shooting")
        if isinstance(self.segments, int):
            count = min(self.segments, times.size - 1)
            begins = [float(times[times.size * k // count]) for k in range(1, count)]
        else:
            begins = list(self.segments)
        if not begins or begins[-1] >= times[-1]:
            raise OptionError(
                f"Shooting: segments={shown(self.segments)}, and there are {times.size} measured "
                f"time(s), the last {times[-1]:g}: segments begin before it, and it takes three "
                "times to cut them by number."
            )
        return (Stage(PARTS * self.iterations, optimizer=self.optimizer, segments=begins),)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for provenance.

        Returns
        -------
        dict
            By name.
        """
        segments = self.segments if isinstance(self.segments, int) else list(self.segments)
        optimizer = Stage(1, optimizer=self.optimizer).to_dict()["optimizer"]
        return {"optimizer": optimizer, "iterations": self.iterations, "shooting": segments}


def measured_times(data: xr.Dataset, what: str) -> Any:
    """Return the times of courses, (t,).

    Raises
    ------
    DataError
        It is no dataset of this package.
    OptionError
        It has steady states, which ``what`` is not for.
    """
    data = validate(data)
    if "time" not in data["response"].dims:
        raise OptionError(f"{what} is for time courses, and these data are steady states.")
    return data["time"].values


def shooting_from_dict(options: Mapping[str, Any]) -> Shooting:
    """Rebuild one from what its `to_dict` made."""
    given = dict(options)
    segments = given.pop("shooting")
    stage = stage_from_dict(given)
    return Shooting(stage.optimizer, segments, stage.iterations)  # type: ignore[arg-type]
