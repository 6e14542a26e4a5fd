"""Rounds of minimizing, leaving out, and following more of the trajectories."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pycellbox.problem import Array
from pycellbox.refinement.criterion import (
    criterion,
    price_of_an_edge,
    robust_scale,
    variance_of,
)
from pycellbox.refinement.elimination import eliminate as eliminate_weights
from pycellbox.refinement.elimination import inverse
from pycellbox.refinement.levenberg import LeastSquares, minimize
from pycellbox.refinement.trajectories import Trajectories

# A response further off than this many standard deviations of the noise is not followed.
_FAR = 10.0

# How many times dearer than others an interaction may be that leads a condition astray.
_DEAR = 5.0

# What weights are held to unless the data say otherwise: one of 2 drives tanh to its limit.
_SIZE = 2.0


@dataclass
class Rounds:
    """Where the rounds stand.

    Attributes
    ----------
    trajectories : Trajectories
    theta : ndarray, (θ,)
        Start, and in the end the result.
    support : ndarray of bool, (n, n)
        Interactions in θ.
    tolerance : float
        Of a response that is followed, in units of the response.
    ridge : float or None
        None: half of the noise as estimated.
    iterations : int
        Steps that are left.
    noise : float
        Standard deviation of a residual, in units of sigma where the data has one.
    followed : float
        Share of the measured responses that count.
    """

    trajectories: Trajectories
    theta: Array
    support: Array
    tolerance: float
    ridge: float | None
    iterations: int
    noise: float = math.nan
    followed: float = 0.0
    losses: list[float] = field(default_factory=list)
    edges: list[int] = field(default_factory=list)
    noises: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        problem = self.trajectories.problem
        self._price = price_of_an_edge(problem)
        self._others = self.theta[int(self.support.sum()) :]
        start = self.trajectories.unpack(self.theta, self.support)
        self.noise = robust_scale(problem, self.trajectories.states(start))

    def go(self, eliminate: bool, rounds: int) -> bool:
        """Minimize and leave out until nothing changes; False if there is nothing to start from."""
        measured = self.trajectories.problem.weight > 0
        counted = self._kept(self.theta, self.support, 4 * self.tolerance)
        if not (counted & measured).any():
            return False
        found: LeastSquares | None = None
        for _ in range(rounds):
            if found is None:
                found = self._minimize(self.theta, self.support, counted)
                if found is None and not self.losses:
                    return False
                if found is None:
                    break
                self.theta = found.theta
                self.losses += found.losses
                self.noise = self._noise_of(found, counted)
            before = int(self.support.sum())
            if eliminate:
                found = self._leave_out(found, counted)
            follow = self._kept(self.theta, self.support)
            if eliminate and not follow.all() and self.support.sum() == before:
                follow = self._leave_out_one_more(found, follow)
            self.edges.append(int(self.support.sum()))
            self.noises.append(self.noise)
            same = bool((follow == counted).all()) and found.theta.size == self.theta.size
            if same and self.edges[-1] == before:
                break
            if not same:
                counted, found = follow, None
            if self.iterations <= 0:
                break
        self.followed = float(counted[measured].mean())
        if found is not None:
            self.noise = self._noise_of(found, counted)
        return True

    def _kept(self, theta: Array, support: Array, tolerance: float | None = None) -> Array:
        """Responses that count, bool (c, t, n): each condition until it goes astray."""
        problem = self.trajectories.problem
        x = self.trajectories.trial(theta, support)
        if x is None:
            return np.zeros(problem.response.shape, dtype=bool)
        off, weight = np.abs(x - problem.response), problem.weight
        limit = self.tolerance if tolerance is None else tolerance
        far = (weight > 0) & (off > limit) & (off * weight > _FAR * self.noise)
        near = np.logical_and.accumulate(~far.any(axis=2), axis=1)
        return np.broadcast_to(near[:, :, None], x.shape)

    def _minimize(self, theta: Array, support: Array, counted: Array) -> LeastSquares | None:
        weight = np.where(counted, self.trajectories.problem.weight, 0.0)
        ridge = self.noise / _SIZE if self.ridge is None else self.ridge
        anchor = np.concatenate([np.zeros(int(support.sum())), self._others])
        # Half of what is left: a minimum at the end of a long valley must not cost all the rounds.
        found = minimize(
            self.trajectories, theta, support, weight, ridge, anchor, (self.iterations + 1) // 2
        )
        if found is not None:
            self.iterations -= found.steps
        return found

    def _noise_of(self, found: LeastSquares, counted: Array) -> float:
        """Estimate the noise; as before where more parameters than responses leave none."""
        problem = self.trajectories.problem
        freedom = int(np.count_nonzero(problem.weight * counted)) - found.theta.size
        if freedom <= 0:
            return self.noise
        return math.sqrt(max(found.squares / freedom, variance_of(problem, 0.0)))

    def _leave_out(self, found: LeastSquares, counted: Array) -> LeastSquares:
        """Leave out what lowers the criterion, fewer at a time where that is too bold."""
        n_weights = int(self.support.sum())
        variance = self.noise**2
        value = criterion(found.squares, variance, n_weights, self._price)
        followed = self._kept(self.theta, self.support).sum()
        most = n_weights
        while most:
            theta, alive = eliminate_weights(
                self.theta, found.normal, n_weights, variance, self._price, most
            )
            gone = int(np.count_nonzero(~alive))
            support = self._without(alive)
            if gone and self._kept(theta[alive], support).sum() >= followed:
                less = self._minimize(theta[alive], support, counted)
                if (
                    less is not None
                    and criterion(less.squares, variance, n_weights - gone, self._price) <= value
                    and self._kept(less.theta, support).sum() >= followed
                ):
                    self.theta, self.support = less.theta, support
                    self.losses += less.losses
                    return less
            most = min(most, gone) // 2
        return found

    def _without(self, alive: Array) -> Array:
        support: Array = self.support.copy()
        support[support] = alive[: int(self.support.sum())]
        return support

    def _leave_out_one_more(self, found: LeastSquares, follow: Array) -> Array:
        """Leave out the one interaction without which most more is followed, if there is one.

        What remains astray may do so by a single weight that is not quite zero, and by chance a
        little dearer than the threshold.
        """
        n_weights = int(self.support.sum())
        best, chosen = int(follow.sum()), None
        C = inverse(found.normal)
        price = self.theta[:n_weights] ** 2 / np.diag(C)[:n_weights] / self.noise**2
        for q in np.flatnonzero(price < _DEAR * self._price):
            theta = self.theta - C[:, q] * (self.theta[q] / C[q, q])
            alive = np.arange(theta.size) != q
            support = self._without(alive)
            kept = self._kept(theta[alive], support)
            if kept.sum() > best:
                best, chosen, follow = int(kept.sum()), (theta[alive], support), kept
        if chosen is not None:
            self.theta, self.support = chosen
        return follow
