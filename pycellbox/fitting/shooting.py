"""Multiple shooting: segments of courses fitted with the states where they begin, and joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pycellbox.backends import Session
from pycellbox.errors import DivergenceError, NumericsWarning, OptionError, SolverError, warn
from pycellbox.fitting import lm
from pycellbox.fitting.objective import Objective
from pycellbox.fitting.segments import Segments, cut
from pycellbox.models import ODE, Structure
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.priors import Priors
from pycellbox.objective import Loss
from pycellbox.problem import Array, Problem
from pycellbox.recipe import Recipe
from pycellbox.schedule import LM, Stage
from pycellbox.shooting import GAPS, PARTS

_ROUGH = 1e-3
"""Tolerance until the last weight of gaps: each minimum is but the start of the next."""
_AS_GOOD = 1.1
"""One trajectory may have so many times the objective of the segments, ..."""
_NOTHING = 1e-6
"""... and this share of how much responses vary, which is no error at all."""
_FAR = 0.5
"""Of a standard deviation of the responses: further off, a trajectory follows no more."""
_CLOSED = 1e-3
"""Gaps, in standard deviations of the state, that only chaos makes much of."""
_HUGE = 1e3
"""As many times its range may a trajectory reach for segments to begin there."""

Report = Callable[[Array, float, float, float], bool]


def check(recipe: Recipe, structure: Structure) -> None:
    """Refuse segments of what has no states that could be fitted.

    Raises
    ------
    OptionError
    """
    if any(stage.segments for stage in recipe.stages) and not isinstance(structure.model, ODE):
        raise OptionError(
            "segments are of equations of your own, pcb.ODE or pcb.NeuralODE, and this is a "
            f"{type(structure.model).__name__}: fit windows that grow, schedule=pcb.Grow()."
        )


def doubt_joined(said: Mapping[str, Any], end: float) -> None:
    """Say that the courses of a fit are segments which no one trajectory joins, where it is so.

    Warns
    -----
    NumericsWarning
    """
    if said and not said["joined"]:
        warn(
            f"the courses are fitted in {said['segments']} segments, and one trajectory from their "
            f"beginning follows these only up to t = {said['follows_until']:g} of {end:g} (largest "
            f"gap between segments: {said['largest_gap']:.1g} standard deviations): over so long a "
            "time the system is chaotic or unstable, or the equations do not fit. Parameters are "
            "those of the segments; predictions are of use up to that time.",
            NumericsWarning,
        )


@dataclass(frozen=True)
class Shot:
    """What segments came to.

    Attributes
    ----------
    raw : ndarray, (θ,)
        Of the model, without where segments begin.
    objective, loss : float
        With the gaps that are left, and of the measurements alone.
    gap : float
        The largest, in standard deviations of the state.
    states : ndarray, (training conditions, t, n)
        At the times of the problem.
    segments : int
        Of each condition.
    """

    raw: Array
    objective: float
    loss: float
    gap: float
    states: Array
    segments: int

    @property
    def closed(self) -> bool:
        """Whether there are no gaps: what one trajectory then does, more steps do not change."""
        return self.gap < _CLOSED

    def as_good(self, objective: float, problem: Problem) -> bool:
        """Whether one trajectory with an objective is as good."""
        return objective <= _AS_GOOD * self.objective + _NOTHING * _variance(problem)

    def followed(self, states: Array, problem: Problem) -> float:
        """Return the last time up to which states of trajectories, as these, follow the segments.

        ``problem`` is that of the training conditions; 0 where they do not follow at all.
        """
        spread = _spread(problem)
        with np.errstate(over="ignore", invalid="ignore"):
            off = np.abs(states - self.states) * (problem.weight > 0) > _FAR * spread
        lost = (off | ~np.isfinite(states)).any(axis=(0, 2))
        kept = int(lost.argmax()) if lost.any() else lost.size
        return float(problem.times[kept - 1]) if kept else 0.0


class _Joined(lm.Squares):
    """Residuals of segments, and of the gaps between them, each state's times a scale."""

    def __init__(
        self, objective: Objective, loss: Loss, segments: Segments, scale: Array, raw: Array
    ) -> None:
        super().__init__(objective, loss, segments.problem, ~segments.ends, raw)
        self._ends, self._by = segments.ends, scale[segments.state]
        layout = objective.parametrization.layout
        begins = np.array([layout.places[name].start for name in segments.names.values()], int)
        self._begin = begins[segments.state] + segments.row + 1  # of the segment that follows
        self._column = np.searchsorted(self.free, self._begin)

    def differences(self, ends: Array, point: Array) -> Array:
        """Gaps between states where segments end, and where the next ones begin."""
        gaps: Array = ends - point[self._begin]
        return gaps

    def _gaps(self, r: Array, point: Array) -> Array:
        return self._by * self.differences(r[self._ends], point)

    def _gap_slopes(self, J: Array) -> Array:
        slopes = J[self._ends]
        slopes[np.arange(len(slopes)), self._column] -= 1
        scaled: Array = self._by[:, None] * slopes
        return scaled


def shoot(
    objective: Objective,
    problem: Problem,
    train: Array,
    session: Callable[[Problem], Session],
    stage: Stage,
    loss: Loss,
    raw: Array,
    report: Report,
) -> Shot:
    """Fit segments, with a weight of their gaps that rises.

    Parameters
    ----------
    objective : Objective
        Of courses as one trajectory each.
    problem : Problem
        Of its session.
    train : ndarray of int
        Training conditions.
    session : callable
        Which holds a problem.
    stage : Stage
    loss : Loss
    raw : ndarray, (θ,)
        Where it starts.
    report : callable
        As `lm.minimize` has it, of θ without where segments begin.

    Raises
    ------
    DivergenceError
        A segment blows up at the start.
    """
    assert stage.segments is not None
    assert isinstance(stage.optimizer, LM)
    part = problem.rows(train)
    segments = cut(part, np.array(stage.segments, np.float64))
    begun = trajectories(objective, problem, raw)[train]
    guess, spread, scale = _guesses(begun, part, segments)
    own = objective.parametrization.layout
    pair = equations_of(segments.problem.structure).parametrization({}, segments.problem)
    held = session(segments.problem)
    joined = replace(
        objective, session=held, parametrization=pair, priors=Priors(pair.structure.layout),
        steepness=None,
    )  # fmt: skip
    point = pair.layout.join({**own.split(raw), **guess})
    objective_now, loss_now = np.inf, np.inf

    def of_model(at: Array) -> Array:
        values = pair.layout.split(at)
        return own.join({p.name: values[p.name] for p in own.parameters})

    def seen(at: Array, value: float, of_data: float, length: float) -> bool:
        nonlocal point, objective_now, loss_now
        point, objective_now, loss_now = at, value, of_data
        return report(of_model(at), value, of_data, length)

    for weight in GAPS:
        options = stage.optimizer
        if weight < GAPS[-1]:
            options = LM(max(options.tolerance, _ROUGH))
        squares = _Joined(joined, loss, segments, weight * scale, point)
        lm.minimize(squares, options, point, part_of(stage), seen)
    states = held.solution(pair.constrain(point)).states
    ends = states[segments.problem.weight > 0][segments.ends]
    gaps = np.abs(squares.differences(ends, point)) / spread[segments.state]
    return Shot(
        raw=of_model(point),
        objective=objective_now,
        loss=loss_now,
        gap=float(gaps.max(initial=0.0)),
        states=segments.together(states)[..., : problem.response.shape[-1]],
        segments=segments.began.size,
    )


def part_of(stage: Stage) -> int:
    """Return how many of the iterations of a stage are for each weight, and for the end."""
    return max(stage.iterations // PARTS, 1)


def trajectories(objective: Objective, problem: Problem, raw: Array) -> Array:
    """Return states of whole courses, NaN where there are none."""
    try:
        return objective.session.solution(objective.parametrization.constrain(raw)).states
    except (DivergenceError, SolverError):
        return np.full(problem.response.shape, np.nan)


def _guesses(
    states: Array, problem: Problem, segments: Segments
) -> tuple[dict[str, Array], Array, Array]:
    """Return where segments begin at first, the spread of each state and the scale of its gaps.

    States begin at what was measured, with lines between; hidden ones on the trajectory.
    """
    measured, nodes = problem.weight > 0, problem.structure.nodes
    spreads = _spread(problem)
    weights = np.sqrt(_mean(problem.weight**2, measured))
    variation = float(np.median((spreads * weights)[measured.any(axis=(0, 1))])) or 1.0
    guess, spread, scale = dict[str, Array](), [], []
    for state, name in segments.names.items():
        j, begin = nodes.index(state), np.zeros((len(states), segments.began.size))
        for i, there in enumerate(measured[:, :, j]):
            course, at = _tame(states[i, :, j]), problem.times
            if there.any():
                course, at = problem.response[i, there, j], at[there]
            begin[i] = np.interp(segments.began, at, course)
        guess[name] = begin.ravel().astype(problem.response.dtype)
        spread.append(float(spreads[j] or begin.std() or 1.0))
        scale.append(float(weights[j] or variation / spread[-1]))
    return guess, np.array(spread), np.array(scale)


def _tame(course: Array) -> Array:
    """Return a trajectory that stays where it was before it went out of bounds."""
    with np.errstate(invalid="ignore"):
        wild = ~(np.abs(course) <= _HUGE * (1 + np.abs(course[0])))
    last = np.maximum.accumulate(np.where(wild, -1, np.arange(course.size)))
    return np.where(last < 0, 0.0, course[last])


def _mean(values: Array, measured: Array) -> Array:
    """Mean of what was measured of each node, 0 where nothing was."""
    mean: Array = np.where(measured, values, 0).sum(axis=(0, 1), dtype=np.float64)
    mean /= np.maximum(measured.sum(axis=(0, 1)), 1)
    return mean


def _spread(problem: Problem) -> Array:
    """Return the standard deviation of the responses of each node, 0 where none was measured."""
    measured = problem.weight > 0
    off = problem.response - _mean(problem.response, measured)
    return np.sqrt(_mean(off**2, measured))


def _variance(problem: Problem) -> float:
    """Mean square of responses around the mean of each node, in standard deviations of errors."""
    measured = problem.weight > 0
    off = (problem.response - _mean(problem.response, measured)) * problem.weight
    return float(np.mean(off[measured] ** 2)) if measured.any() else 0.0
