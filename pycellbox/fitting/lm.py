"""Levenberg–Marquardt (SciPy's trust region) on residuals of raw parameters, full batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np

from pycellbox.errors import DivergenceError, OptionError, SolverError
from pycellbox.fitting.objective import Objective
from pycellbox.models import Structure
from pycellbox.objective import Loss, Penalty
from pycellbox.problem import Array, Problem
from pycellbox.recipe import Recipe
from pycellbox.schedule import LM

_LONGEST = 2.0
"""Change of a logarithm in one step: e² times as large."""


class _EnoughError(Exception):
    """Ends SciPy's loop."""


def check(recipe: Recipe, structure: Structure) -> None:
    """Refuse what is no sum of squares, where a stage is to minimize one.

    Raises
    ------
    OptionError
    """
    for number, stage in enumerate(recipe.stages):
        if not isinstance(stage.optimizer, LM):
            continue
        where = f"stage {number} has the optimizer LM, which minimizes sums of squares"
        if recipe.measure.name == "mae":
            raise OptionError(f"{where}: use loss='mse' or 'huber' with it, not 'mae'.")
        penalty = stage.penalty or recipe.penalty or Penalty()
        l1 = penalty.strengths("l1")
        if structure.layout.spread(l1).any() or any(l1.get(name) for name in penalty.named):
            raise OptionError(f"{where}: a penalty l1 is none; use l2, or pcb.Penalty() for none.")
        if structure.levels:
            raise OptionError(f"{where}: fitted levels have no exact Jacobian; use AdamW or LBFGS.")


class Squares:
    """Residuals of training conditions, penalty and priors, as functions of the free entries of θ.

    Parameters
    ----------
    objective : Objective
    loss : Loss
        "mse" or "huber".
    problem : Problem
        That of the objective's session.
    rows : ndarray of bool, (m,)
        Which of the measured entries count.
    raw : ndarray, (θ,)
        With what is fixed.
    span : ndarray, (free, x), optional
        Directions from ``raw`` along which its free entries may go; by default they are x.

    Attributes
    ----------
    per : float
        What makes of the objective the sum of squares; of Huber's loss, of twice its values.
    """

    def __init__(
        self,
        objective: Objective,
        loss: Loss,
        problem: Problem,
        rows: Array,
        raw: Array,
        span: Array | None = None,
    ) -> None:
        self.objective, self.loss, self.problem, self._raw = objective, loss, problem, raw
        self.free = objective.parametrization.layout.free
        self._span = span
        self._logarithms = objective.parametrization.logarithms[self.free]
        self._at = raw[self.free].astype(np.float64)
        self._measured = problem.weight > 0
        self._rows = rows
        self._count = max(int(self._rows.sum()), 1)
        # SciPy minimizes half the sum of squares: this makes of it the mean that the loss is.
        self.per = self._count * (1.0 if loss.name == "mse" else 2.0)
        strengths = objective.strengths[1].astype(np.float64)
        self._some = np.flatnonzero(strengths)
        self._roots = np.sqrt(strengths[self._some] * self.per)
        self._of_priors = np.sqrt(objective.of_priors * self.per)

    @property
    def start(self) -> Array:
        """Where x begins: at ``raw``."""
        if self._span is not None:
            return np.zeros(self._span.shape[1])
        return self._raw[self.free].astype(np.float64)

    def point(self, x: Array) -> Array:
        """θ of x."""
        point = self._raw.copy()
        if self._span is None:
            point[self.free] = x
        else:
            point[self.free] += self._span @ x
        return point

    def residuals(self, x: Array) -> Array:
        """Return all of them; NaN where a trajectory blows up: the next step is shorter then.

        So it is where a step is too long for anybody to believe in: on the way a rate that the
        data hardly determine may become so fast that its trajectory takes minutes.
        """
        point, problem = self.point(x), self.problem
        states = np.full(problem.response.shape, np.nan)
        step = np.abs(point[self.free] - self._at)[self._logarithms]
        if not (step > _LONGEST).any():
            with contextlib.suppress(DivergenceError, SolverError):
                parameters = self.objective.parametrization.constrain(point)
                states = self.objective.session.solution(parameters).states
        with np.errstate(over="ignore", invalid="ignore"):
            r = ((states - problem.response) * problem.weight)[self._measured]
            beside = self._beside(point), self._gaps(r, point)
            return np.concatenate([r[self._rows], *beside], dtype=np.float64)

    def jacobian(self, x: Array) -> tuple[Array, float, float, float]:
        """Return that of the residuals, the objective, its loss, and the norm of the gradient."""
        point = self.point(x)
        self._at = point[self.free]
        r, J = self.objective.residuals_and_jacobian(point)
        value, near = self._loss(r[self._rows])
        beside = np.concatenate([self._beside(point), self._gaps(r, point)])
        whole = np.concatenate([J[self._rows], self._beside_slopes(point), self._gap_slopes(J)])
        gradient = whole.T @ np.concatenate([near, 2 * beside * self._count / self.per])
        if self._span is not None:
            whole = whole @ self._span
        total = value + float(beside @ beside) / self.per
        if self.objective.steepness is not None:
            exact = np.zeros(point.size)
            exact[self.free] = gradient / self._count
            self.objective.steepness.look(point, total, exact)
        return whole, total, value, float(np.linalg.norm(gradient)) / self._count

    def _loss(self, r: Array) -> tuple[float, Array]:
        """Mean loss of residuals, and the derivative of its sum."""
        if self.loss.name == "mse":
            return float(r @ r) / self._count, 2 * r
        near = np.clip(r, -self.loss.delta, self.loss.delta)
        return float(near @ (r - near / 2)) / self._count, near

    def robust(self, squares: Array) -> Array:
        """Huber's function of squared residuals and its derivative, as SciPy asks for them, (3, m).

        What is beside the measurements, penalty and priors, stays square. The second derivative is
        given as zero, so that residuals far off weigh little: with its true value they would weigh
        nothing, for which SciPy puts a number next to rounding, and steps lose their digits.
        """
        found = np.stack([squares, np.ones_like(squares), np.zeros_like(squares)])
        far = squares > self.loss.delta**2
        far[int(self._rows.sum()) :] = False
        root = np.sqrt(squares[far])
        found[0, far] = self.loss.delta * (2 * root - self.loss.delta)
        found[1, far] = self.loss.delta / root
        return found

    def _gaps(self, r: Array, point: Array) -> Array:
        """Gaps between segments, of all residuals; see `pycellbox.fitting.shooting`."""
        return np.zeros(0)

    def _gap_slopes(self, J: Array) -> Array:
        return np.zeros((0, J.shape[1]))

    def _beside(self, point: Array) -> Array:
        """Residuals of the penalty and of priors."""
        off = np.zeros(0)
        if self.objective.priors.size:
            off = self.objective.priors.distances(self.objective.parametrization.constrain(point))
        return np.concatenate([self._roots * self._penalized(point), self._of_priors * off])

    def _beside_slopes(self, point: Array) -> Array:
        pair, priors = self.objective.parametrization, self.objective.priors
        slopes = self._roots[:, None] * self._slopes(point)
        if priors.size:
            of_priors = pair.pull_back(point, priors.jacobian(pair.constrain(point)))
            slopes = np.concatenate([slopes, self._of_priors * of_priors[:, self.free]])
        return slopes

    def _penalized(self, point: Array) -> Array:
        pair = self.objective.parametrization
        if not self.objective.raw:
            point = pair.structure.layout.join(pair.constrain(point))
        return point[self._some]

    def _slopes(self, point: Array) -> Array:
        """Differentiate what is penalized by the free entries."""
        pair = self.objective.parametrization
        if self.objective.raw:
            return np.eye(point.size)[self._some][:, self.free]
        layout = pair.structure.layout
        slopes = pair.pull_back(point, layout.split(np.eye(layout.size)[self._some]))
        return slopes[:, self.free]


def of_conditions(problem: Problem, train: Array) -> Array:
    """Return which of the measured entries of a problem are those of some conditions, (m,)."""
    return np.isin(np.argwhere(problem.weight > 0)[:, 0], train)


def minimize(
    squares: Squares,
    options: LM,
    raw: Array,
    iterations: int,
    report: Callable[[Array, float, float, float], bool],
) -> bool:
    """Minimize from ``raw``, and return whether it ended by the tolerance.

    ``report`` sees every accepted iterate (raw parameters, objective, loss, norm of the gradient)
    and returns True to stop.

    Raises
    ------
    DivergenceError
        The start itself blows up.
    """
    from scipy.optimize import least_squares

    done = 0

    def jacobian(x: Array) -> Array:
        nonlocal done
        J, *figures = squares.jacobian(x)
        if report(squares.point(x), *figures) or done == iterations:
            raise _EnoughError
        done += 1
        return J

    problem, pair = squares.problem, squares.objective.parametrization
    found = squares.objective.session.solution(pair.constrain(raw))
    found.check(problem.conditions, problem.times)
    robust = {} if squares.loss.name == "mse" else {"loss": squares.robust}
    # A trial step may lead anywhere; SciPy takes what is not finite for a step too long.
    with contextlib.suppress(_EnoughError), np.errstate(over="ignore", invalid="ignore"):
        ended = least_squares(
            squares.residuals,
            squares.start,
            jacobian,
            x_scale="jac",
            ftol=options.tolerance,
            xtol=options.tolerance,
            gtol=options.tolerance,
            max_nfev=20 * iterations,
            **robust,
        )
        return bool(ended.status > 0)
    return False
