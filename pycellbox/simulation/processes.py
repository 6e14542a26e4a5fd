"""Signals that change by chance, one realization at a time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from pycellbox.errors import OptionError

Array = npt.NDArray[np.float64]


class Process:
    """A kind of signal, a dataclass; its fields are its options."""

    interpolation: ClassVar[Literal["linear", "step"]] = "linear"

    @classmethod
    def options(cls) -> dict[str, bool]:
        """Return the names of its options, and whether each is needed."""
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        return {field.name: field.default is dataclasses.MISSING for field in fields}

    def draw(self, rng: np.random.Generator, grid: Array, asked: Array) -> tuple[Array, Array]:
        """Draw it.

        Parameters
        ----------
        rng : Generator
        grid : ndarray, (t,)
            Times from 0 on, increasing.
        asked : ndarray, (k,)
            Others, increasing, which may be before 0.

        Returns
        -------
        driving : ndarray, (t,)
            At the times of the grid, or from each of them to the next.
        followed : ndarray, (k,)
            At the others.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Walk(Process):
    """Brownian motion, which begins at the first of all times."""

    mean: float = 0.0
    sd: float = 1.0

    def draw(self, rng: np.random.Generator, grid: Array, asked: Array) -> tuple[Array, Array]:
        """See `Process.draw`."""
        times, of_grid, of_asked = _together(grid, asked)
        steps = self.sd * np.sqrt(np.diff(times)) * rng.standard_normal(times.size - 1)
        values = self.mean + np.concatenate([[0.0], np.cumsum(steps)])
        return values[of_grid], values[of_asked]


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Process):
    """dx = (mean − x) dt/τ + sd·√(2/τ) dW, stationary, in its exact steps."""

    correlation_time: float
    mean: float = 0.0
    sd: float = 1.0

    def draw(self, rng: np.random.Generator, grid: Array, asked: Array) -> tuple[Array, Array]:
        """See `Process.draw`."""
        times, of_grid, of_asked = _together(grid, asked)
        kept = np.exp(-np.diff(times) / self.correlation_time)
        normal = rng.standard_normal(times.size)
        values = np.empty(times.size)
        values[0] = normal[0]
        for k, (part, new) in enumerate(zip(kept, normal[1:], strict=True)):
            values[k + 1] = part * values[k] + np.sqrt(1 - part**2) * new
        values = self.mean + self.sd * values
        return values[of_grid], values[of_asked]


@dataclass(frozen=True)
class Periodic(Process):
    """A sine between two values, cycle by cycle."""

    period: float
    low: float = 0.0
    high: float = 1.0
    period_jitter: float = 0.0
    phase_jitter: float = 0.0
    random_phase: bool = True

    def __post_init__(self) -> None:
        _below("low", self.low, self.high, "high")
        for name in ("period_jitter", "phase_jitter"):
            _at_most(name, getattr(self, name), self.period / 2, "half the period")

    def draw(self, rng: np.random.Generator, grid: Array, asked: Array) -> tuple[Array, Array]:
        """See `Process.draw`."""
        begins = self.begins(rng, min(grid[0], asked[0]), max(grid[-1], asked[-1]))
        return self.wave(begins, grid, 0.25), self.wave(begins, asked, 0.25)

    def begins(self, rng: np.random.Generator, first: float, last: float) -> Array:
        """Draw when cycles begin, from two before the first of the times to two after the last."""
        period, jitter = self.period, self.period_jitter
        many = 8 + int(np.ceil(1.5 * (last - first) / period))
        # As many as are needed even where all cycles are short, drawn before any other numbers.
        if jitter:
            shape, scale = (period / jitter) ** 2, jitter**2 / period
            after = rng.gamma(shape, scale, 2 * many)
            before = rng.gamma(shape, scale, 2 * many)
            # The cycle that covers a given time is a long one more often than others.
            covering = rng.gamma(shape + 1, scale) if self.random_phase else after[0]
        else:
            before = after = np.full(2 * many, period)
            covering = period
        begin = -covering * rng.random() if self.random_phase else 0.0
        later = begin + covering + np.concatenate([[0.0], np.cumsum(after[1:])])
        earlier = begin - np.cumsum(before)[::-1]
        begins = np.concatenate([earlier, [begin], later])
        begins = begins + self.phase_jitter * rng.standard_normal(begins.size)
        return np.sort(begins)

    def wave(self, begins: Array, times: Array, highest: float) -> Array:
        """Return a sine of the cycles, highest at this part of each."""
        cycle = np.searchsorted(begins, times, side="right") - 1
        phase = (times - begins[cycle]) / (begins[cycle + 1] - begins[cycle])
        middle, height = (self.high + self.low) / 2, (self.high - self.low) / 2
        found: Array = middle + height * np.cos(2 * np.pi * (phase - highest))
        return found


@dataclass(frozen=True)
class Light(Periodic):
    """Light that is on from the beginning of a cycle for the length of a day."""

    interpolation = "step"

    day: float | None = None
    day_jitter: float = 0.0
    present: float | None = None
    absent: float | None = None
    follow: Literal["cycle", "light"] = "cycle"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.day is not None:
            _below("day", self.day, self.period, "period")
        if (self.present is None) != (self.absent is None):
            raise OptionError("environment: present and absent go together; give both or none.")

    def draw(self, rng: np.random.Generator, grid: Array, asked: Array) -> tuple[Array, Array]:
        """See `Process.draw`."""
        edges = np.append(grid, 2 * grid[-1] - grid[-2])
        begins = self.begins(rng, min(grid[0], asked[0]), edges[-1])
        cycles = np.diff(begins)
        length = self.period / 2 if self.day is None else self.day
        days = length + self.day_jitter * rng.standard_normal(cycles.size)
        ends = begins[:-1] + np.clip(days, 0, cycles)
        spells = self.spells(rng, edges[-1])

        def lit(times: Array) -> npt.NDArray[np.bool_]:
            cycle = np.searchsorted(begins, times, side="right") - 1
            on: npt.NDArray[np.bool_] = times < ends[cycle]
            return on

        # Lit time from one break to the next, summed up, is known at all times.
        breaks = np.sort(np.concatenate([begins[1:-1], ends[1:-1], spells]))
        middles = (breaks[1:] + breaks[:-1]) / 2
        there = np.searchsorted(spells, middles, side="right") % 2 == 1
        on = lit(middles) & there
        total = np.concatenate([[0.0], np.cumsum(np.diff(breaks) * on)])
        share = np.diff(np.interp(edges, breaks, total)) / np.diff(edges)
        # Steps at which nothing changes are none, if rounding does not part them.
        driving = self.low + (self.high - self.low) * share.round(12)
        if self.follow == "light":
            return driving, np.where(lit(asked), self.high, self.low)
        return driving, self.wave(begins, asked, length / self.period / 2)

    def spells(self, rng: np.random.Generator, last: float) -> Array:
        """Draw when light comes and goes in turn, from time 0 on; it may come at once, and stay."""
        if self.present is None or self.absent is None:
            return np.zeros(1)
        there = bool(rng.random() * (self.present + self.absent) < self.present)
        time, found = 0.0, [0.0] * there
        while True:
            time += rng.exponential(self.present if there else self.absent)
            if time > last:
                return np.array(found)
            found.append(time)
            there = not there


PROCESSES: dict[str, type[Process]] = {
    "walk": Walk,
    "ou": OrnsteinUhlenbeck,
    "periodic": Periodic,
    "light": Light,
}
"""By the names that `pycellbox.environment` knows."""


def _together(grid: Array, asked: Array) -> tuple[Array, Any, Any]:
    """Return all times, sorted, and the places of both among them."""
    times, place = np.unique(np.concatenate([grid, asked]), return_inverse=True)
    place = place.reshape(-1)
    return times, place[: grid.size], place[grid.size :]


def _below(name: str, value: float, limit: float, of: str) -> None:
    if not value < limit:
        raise OptionError(f"environment: {name}={value:g} needs to be below {of}={limit:g}.")


def _at_most(name: str, value: float, limit: float, of: str) -> None:
    if value > limit:
        raise OptionError(f"environment: {name}={value:g}; it needs to be at most {of}, {limit:g}.")
