"""One profile: a parameter is moved step by step, and all others are fitted again at each."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.posterior import Entry, Lowest, Posterior, Setting
from pycellbox.problem import Array

BETTER = 0.1
"""Of twice the log likelihood: what lies lower by more is another optimum."""
_PARTS = 5  # steps from the optimum to the threshold, about
_MOST = 100  # steps in a direction
_ENDS = 6  # steps with which an end is found
_EXACT = 1e-3  # of the root of the threshold: where an end is good enough
_RESTARTS = 5
_ITERATIONS = 50  # of a point
_HALVINGS = 12
OUT = "out of reach"


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes
    ----------
    z : float
        Where the parameter is held, on the scale on which it is stepped.
    lowest : Lowest
        Where the others ended.
    rise : float
        Of −2 log likelihood above the optimum.
    """

    z: float
    lowest: Lowest
    rise: float

    @property
    def root(self) -> float:
        """Root of the rise, along which a curve is nearly a line."""
        return math.sqrt(max(self.rise, 0.0))


@dataclass
class Side:
    """One direction.

    Attributes
    ----------
    points : list of Point
        From the optimum on.
    end : float or None
        Value at the threshold; None where the curve stays below.
    why : str
        Why it ends where it does, where it has no end by the threshold.
    """

    points: list[Point]
    end: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Curve:
    """A profile, in time scales.

    Attributes
    ----------
    center : Lowest
        The optimum.
    points : list of Point
        By value.
    lower, upper : Side
    gain : float
        By how much the optimum is better than where it was looked for.
    """

    center: Lowest
    points: list[Point]
    lower: Side
    upper: Side
    gain: float


class _BetterError(Exception):
    """A better optimum was found on the way."""

    def __init__(self, found: Lowest) -> None:
        self.found = found


class Path:
    """Steps along one parameter.

    Parameters
    ----------
    posterior : Posterior
    entry : Entry
    center : Lowest
        The optimum.
    threshold : float
        Of the rise.
    """

    def __init__(
        self, posterior: Posterior, entry: Entry, center: Lowest, threshold: float
    ) -> None:
        self.posterior, self.entry, self.center = posterior, entry, center
        self.threshold = threshold
        value = entry.value(center.raw)
        self.reach = entry.reach(value)
        self.z = min(max(entry.along(value), self.reach[0]), self.reach[1])
        self._tangent, self._error = self._first()

    def _first(self) -> tuple[Array, float]:
        """Change of θ with the parameter, and the error of it on its scale, to first order."""
        posterior, raw = self.posterior, self.posterior.inside(self.center.raw)
        free = posterior.pair.layout.free
        J = posterior.jacobian(raw)
        _, sizes, vectors = np.linalg.svd(J, full_matrices=False)
        some = sizes > 1e-8 * sizes.max(initial=0.0)
        directions = np.zeros((free.size, free.size))
        directions[: some.sum()] = vectors[some] / sizes[some, None]
        own = (free == self.entry.raw) | (free == self.entry.tie)
        covariance = directions.T @ (directions @ own)
        variance = float(covariance @ own)
        width = 1e-3 * (self.reach[1] - self.reach[0])
        tangent = np.zeros(raw.size)
        near = [min(max(self.z + dz, self.reach[0]), self.reach[1]) for dz in (-1e-4, 1e-4)]
        a, b = (self.entry.placed(raw, self.entry.back(z))[self.entry.raw] for z in near)
        slope = float(b - a) / (near[1] - near[0])
        if variance <= 0 or not math.isfinite(slope) or slope == 0:
            return tangent, width
        tangent[free] = covariance / variance * slope
        return tangent, min(math.sqrt(variance) / abs(slope), 10 * width)

    def refit(self, z: float, raw: Array, guess: Array) -> Point | None:
        """Fit the others at z, from the last or from a guess, whichever is better; None: neither.

        Raises
        ------
        _BetterError
        """
        posterior, value = self.posterior, self.entry.back(z)
        starts = []
        for start in (guess, raw):
            with suppress(DivergenceError, SolverError):
                placed = self.entry.placed(start, value)
                starts.append((posterior.value(placed), placed))
        for _, start in sorted(starts, key=lambda one: one[0]):
            with suppress(DivergenceError, SolverError):
                found = posterior.lowest(start, self.entry, _ITERATIONS)
                rise = found.value - self.center.value
                if rise < -BETTER:
                    raise _BetterError(found)
                return Point(z, found, rise)
        return None

    def side(self, sign: int) -> Side:
        """Go in one direction until the curve is above the threshold, or as far as it reaches."""
        limit, root = self.reach[(sign + 1) // 2], math.sqrt(self.threshold)
        last = Point(self.z, self.center, 0.0)
        side, before = Side([last]), None
        step = max(self._error * root / _PARTS, 1e-9 * abs(limit - self.z))
        while len(side.points) < _MOST:
            if last.z == limit:
                side.why = OUT
                return side
            point = None
            for _ in range(_HALVINGS):
                z = last.z + sign * step
                if (z - limit) * sign >= 0:
                    z = limit
                point = self.refit(z, last.lowest.raw, self._guess(before, last, z))
                if point is not None and point.root - last.root <= 2 * root / _PARTS:
                    break
                step = abs(z - last.z) / 2
            if point is None:
                side.why = "no fit could be made beyond"
                return side
            rose = point.root - last.root
            before, last = last, point
            side.points.append(last)
            if last.rise >= self.threshold:
                side.end = self._end(side, before, last)
                return side
            step = abs(last.z - before.z) * min(max(root / _PARTS / max(rose, 1e-9), 0.5), 3.0)
        side.why = f"{_MOST} steps did not suffice"
        return side

    def _guess(self, before: Point | None, last: Point, z: float) -> Array:
        """Extrapolate θ by the last two points, or by first order at the optimum."""
        raw = last.lowest.raw
        if before is None:
            return raw + self._tangent * (z - last.z)
        return raw + (raw - before.lowest.raw) * ((z - last.z) / (last.z - before.z))

    def _end(self, side: Side, inside: Point, outside: Point) -> float:
        """Find where the curve crosses the threshold between two points."""
        root = math.sqrt(self.threshold)
        for left in range(_ENDS, -1, -1):
            share = (root - inside.root) / (outside.root - inside.root)
            if not left or min(root - inside.root, outside.root - root) <= _EXACT * root:
                break
            # Not where one is already: a curve that bends would be approached from one side alone.
            z = inside.z + min(max(share, 0.01), 0.99) * (outside.z - inside.z)
            a, b = inside.lowest.raw, outside.lowest.raw
            point = self.refit(z, a, a + (b - a) * (z - inside.z) / (outside.z - inside.z))
            if point is None:
                break
            side.points.append(point)
            if point.rise >= self.threshold:
                outside = point
            else:
                inside = point
        return self.entry.back(inside.z + share * (outside.z - inside.z))


def curve(setting: Setting, name: str, center: Lowest, threshold: float) -> Curve:
    """Profile one parameter; where a better optimum is found on the way, around that.

    Raises
    ------
    DivergenceError
        Nothing can be fitted at the optimum.
    """
    posterior = setting.posterior()
    entry, gain = posterior.entry(name), 0.0
    for last in range(_RESTARTS, -1, -1):
        path = Path(posterior, entry, center, threshold)
        try:
            lower, upper = path.side(-1), path.side(1)
        except _BetterError as better:
            found = posterior.lowest(better.found.raw)
            gain += center.value - found.value
            center = found
            if not last:
                raise DivergenceError(
                    f"the profile of {name} finds ever better optima: the fit is far from one; fit "
                    "with pcb.LM() and several starts."
                ) from None
            continue
        break
    points = sorted(lower.points[1:] + upper.points, key=lambda point: point.z)
    return Curve(center, points, lower, upper, gain)
