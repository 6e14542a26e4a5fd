"""Ridge regression, with all that makes it hard to beat; strengths by leave-one-out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.baselines.baseline import (
    Baseline,
    Bools,
    Floats,
    Inputs,
    Linear,
    by_pattern,
    need_doses,
)
from pycellbox.common.options import checked, flag, listed, number, optional
from pycellbox.errors import DataError

# Rows in which some outputs were measured, and those outputs.
_Group: TypeAlias = tuple[Bools, npt.NDArray[np.intp]]

#: Half-decades from 10⁻³ to 10³. Doses are of order one, so that either end is no penalty at all
#: and nothing but penalty; on the melanoma data a finer grid changes the third digit of the MSE.
ALPHAS: tuple[float, ...] = tuple(float(a) for a in np.logspace(-3, 3, 13))

#: κ of d(u) = tanh(κu)/κ, per unit of dose: from a dose of 1 that acts as it is to one that acts
#: like any other.
SATURATIONS: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)

# Strengths of a common effect or a shared column, as multiples of that of a drug's own effect.
_MULTIPLES = (0.01, 0.1, 1.0, 10.0, 100.0)

_MAD_OF_A_NORMAL = 0.6745  # median of |z|
# Huber's threshold is at least this share of as many root mean squares. Of a node that few
# conditions move the median says nothing of its responses, and they are no outliers.
_OF_RMS = 0.75
_NO_DIVISION = 1e-10  # of a leave-one-out error where the row alone decides its prediction
_REWEIGHTINGS = 50


@checked(
    fit_intercept=flag(),
    alphas=listed(number(0, above=True)),
    per_output=flag(),
    common_effect=flag(),
    shared_column=flag(),
    saturations=listed(number(0)),
    huber=optional(number(0, above=True)),
)
@dataclass(eq=False)
class Ridge(Baseline):
    """Ridge regression of all responses on the doses.

    Parameters
    ----------
    fit_intercept : bool
        Whether the response to no perturbation is fitted, or 0 as the log-ratio to the control.
    alphas : sequence of float
        Strengths to choose from.
    per_output : bool
        A strength for each output, or one for all.
    common_effect : bool
        An effect of every condition in which anything is perturbed, as of a vehicle or of
        handling, with a strength of its own.
    shared_column : bool
        An effect of the total dose of a condition, with a strength of its own: what all drugs
        have in common, and what is predicted of a drug that was not seen. The sign of a dose does
        not matter for it.
    saturations : sequence of float
        κ to choose from, per unit of dose: effects are linear in tanh(κu)/κ, for 0 in u.
    huber : float, optional
        Huber's loss in place of squares, at the strengths chosen with squares: beyond this many
        standard deviations of an output's errors they count by their size. The deviation is that
        of a normal distribution with the median of the absolute leave-one-out errors, but not
        below three quarters of their root mean square.

    Attributes
    ----------
    alpha_ : float or ndarray, (output,)
        The strength chosen; NaN before `fit`.
    inputs_ : Inputs or None
        The κ chosen, and the inputs of common effect and shared column.

    Raises
    ------
    OptionError
        No strength, or one that is not positive; a κ that is negative.

    Notes
    -----
    Everything is chosen by the squared errors of leaving one training condition out, in closed
    form, added up over outputs. Outputs are grouped by the conditions they were measured in, and
    each group is solved on its own conditions. Conditions are left out one by one, replicates too.
    With an intercept on the twelve doses of the melanoma data this is the reference of the
    project's benchmark.
    """

    fit_intercept: bool = False
    alphas: tuple[float, ...] = ALPHAS
    per_output: bool = False
    common_effect: bool = False
    shared_column: bool = False
    saturations: tuple[float, ...] = (0.0,)
    huber: float | None = None
    alpha_: float | Floats = field(default=float("nan"), init=False, repr=False)
    inputs_: Inputs | None = field(default=None, init=False, repr=False)

    def _estimate(self, doses: Floats, sizes: Floats, outputs: Floats, drugs: Bools) -> Linear:
        need_doses(doses)
        groups = [(rows, columns) for rows, columns in by_pattern(outputs)]
        if all(rows.sum() < 2 for rows, _ in groups):
            raise DataError("ridge needs at least two training conditions to choose its strength.")
        alphas = np.array(self.alphas)
        best, least = None, np.inf
        for inputs in self._candidates():
            X = inputs(doses, sizes)
            errors = np.zeros((alphas.size, outputs.shape[1]))
            for rows, columns in groups:
                if rows.sum() < 2:
                    continue  # nothing is left to learn from when its only condition is left out
                solver = RidgePath(X[rows], outputs[np.ix_(rows, columns)], self.fit_intercept)
                for i, alpha in enumerate(alphas):
                    errors[i, columns] = (solver.left_out(alpha) ** 2).sum(axis=0)
            of_all = errors.sum(axis=1)
            found = float(errors.min(axis=0).sum() if self.per_output else of_all.min())
            if best is None or found < least:
                best, least = (inputs, errors), found
        assert best is not None  # there is a κ
        inputs, errors = best
        pooled = float(alphas[errors.sum(axis=1).argmin()])
        each = np.full(outputs.shape[1], pooled)
        if self.per_output:
            told = errors.max(axis=0) > 0  # of an output measured once there is no error
            each[told] = alphas[errors[:, told].argmin(axis=0)]
        self.alpha_, self.inputs_ = (each if self.per_output else pooled), inputs
        return self._solve(inputs, inputs(doses, sizes), outputs, each, groups)

    def _candidates(self) -> list[Inputs]:
        values = [1 / np.sqrt(r) for r in _MULTIPLES]
        return [
            Inputs(float(kappa), float(common), float(shared))
            for kappa, common, shared in itertools.product(
                self.saturations,
                values if self.common_effect else (0.0,),
                values if self.shared_column else (0.0,),
            )
        ]

    def _solve(
        self, inputs: Inputs, X: Floats, outputs: Floats, each: Floats, groups: list[_Group]
    ) -> Linear:
        effects, intercept = np.zeros((X.shape[1], outputs.shape[1])), np.zeros(outputs.shape[1])
        for rows, columns in groups:
            y = outputs[np.ix_(rows, columns)]
            solver = RidgePath(X[rows], y, self.fit_intercept)
            for alpha in np.unique(each[columns]):
                of_it = each[columns] == alpha
                some = columns[of_it]
                effects[:, some], intercept[some] = (part[..., of_it] for part in solver.fit(alpha))
                if self.huber is None:
                    continue
                errors = solver.left_out(alpha)[:, of_it]
                middle = np.median(np.abs(errors), axis=0) / _MAD_OF_A_NORMAL
                least = _OF_RMS * np.sqrt((errors**2).mean(axis=0))
                threshold = self.huber * np.maximum(middle, least)
                effects[:, some], intercept[some] = _robust(
                    X[rows], y[:, of_it], alpha, threshold, self.fit_intercept,
                    effects[:, some], intercept[some],
                )  # fmt: skip
        return Linear(inputs, effects, intercept)


class RidgePath:
    """Ridge solutions of one set of conditions for any strength, by one decomposition."""

    def __init__(self, X: Floats, Y: Floats, fit_intercept: bool = False) -> None:
        self._mean = X.mean(axis=0) if fit_intercept else np.zeros(X.shape[1])
        self._level = Y.mean(axis=0) if fit_intercept else np.zeros(Y.shape[1])
        # Leaving a condition out moves the means too.
        self._own = 1 / len(X) if fit_intercept else 0.0
        self._Y = Y - self._level
        self._U, self._s, self._Vt = np.linalg.svd(X - self._mean, full_matrices=False)
        self._along = self._U.T @ self._Y

    def fit(self, alpha: float) -> tuple[Floats, Floats]:
        """Effects (input, output) and intercept (output)."""
        effects = self._Vt.T @ ((self._s / (self._s**2 + alpha))[:, None] * self._along)
        return effects, self._level - self._mean @ effects

    def left_out(self, alpha: float) -> Floats:
        """Errors (condition, output) of predicting each condition from all others."""
        kept = self._s**2 / (self._s**2 + alpha)
        residuals = self._Y - self._U @ (kept[:, None] * self._along)
        share = 1 - self._own - self._U**2 @ kept
        errors: Floats = residuals / np.maximum(share, _NO_DIVISION)[:, None]
        return errors


def _robust(
    X: Floats, Y: Floats, alpha: float, threshold: Floats, fit_intercept: bool,
    effects: Floats, intercept: Floats,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Minimize Huber's loss by reweighted least squares, from the solution of plain ones."""
    X = np.hstack([X, np.ones((len(X), 1))]) if fit_intercept else X
    B = np.vstack([effects, intercept]) if fit_intercept else effects
    strength = np.full(X.shape[1], alpha)
    strength[effects.shape[0] :] = 0  # the intercept has none
    for _ in range(_REWEIGHTINGS):
        size = np.abs(Y - X @ B)
        weight = np.minimum(1, threshold / np.maximum(size, np.finfo(float).tiny))
        weight[:, threshold == 0] = 1  # without errors
        weighted = weight.T[:, :, None] * X
        normal = np.swapaxes(weighted, 1, 2) @ X + np.diag(strength)
        right = np.einsum("ocp,co->op", weighted, Y)
        new = np.linalg.solve(normal, right[:, :, None])[:, :, 0].T
        moved, B = np.abs(new - B).max(), new
        if moved <= 1e-9 * max(np.abs(B).max(), np.finfo(float).tiny):
            break
    return (B[:-1], B[-1]) if fit_intercept else (B, np.zeros(Y.shape[1]))
