"""Simple predictors that a network model has to beat.

Each is a linear map from doses, in every phase, and held levels to responses, fitted to a dataset
and applied to perturbations: ``baseline.fit(data).predict(perturbation)``. Predictions are labelled
like the responses. Nodes never perturbed in training have no effect on a prediction, and a node
never measured in training is predicted 0, no change from the control. Measurement errors
(``sigma``) are not used.

`Ridge` needs scikit-learn, which is loaded when it is fitted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.options import checked, flag, listed, number
from pycellbox.data.dims import COURSE, STEADY
from pycellbox.data.features import Features
from pycellbox.data.given import as_array, as_dataset, real_numbers
from pycellbox.errors import BackendError, DataError, ModelError

__all__ = ["AdditiveEffects", "Baseline", "MeanResponse", "Ridge", "all_baselines"]

_Floats: TypeAlias = npt.NDArray[np.float64]
_B = TypeVar("_B", bound="Baseline")

#: Half-decades from 10⁻³ to 10³. Doses are of order one, so that either end is no penalty at all
#: and nothing but penalty; on the melanoma data a finer grid changes the third digit of the MSE.
ALPHAS: tuple[float, ...] = tuple(float(a) for a in np.logspace(-3, 3, 13))


@dataclass(frozen=True)
class _Linear:
    """A fitted baseline: effects (input, output) and intercept (output), with its labels."""

    inputs: Features
    effects: _Floats
    intercept: _Floats
    template: xr.DataArray  # the response of one condition: dims and coords of a prediction


@dataclass(eq=False)
class Baseline(ABC):
    """What all baselines share: reading a dataset, and predicting from doses.

    Subclasses say how effects are estimated, in `_estimate`.
    """

    _fitted: _Linear | None = field(default=None, init=False, repr=False)

    @checked()
    def fit(self: _B, data: xr.Dataset) -> _B:
        """Estimate the baseline from a dataset.

        Parameters
        ----------
        data : Dataset
            With ``perturbation`` (condition[, phase], node) and ``response`` (condition[, time],
            node); NaN responses were not measured and are left out.

        Returns
        -------
        Baseline
            Itself, fitted.

        Raises
        ------
        DataError
            A variable is missing or has wrong dims, nothing was measured, or the baseline needs
            doses and no node is perturbed.
        BackendError
            The baseline needs scikit-learn, which is not installed.
        """
        as_dataset(data, "perturbation", "response")
        inputs = Features.of(data)
        doses = inputs(data)
        response = data["response"]
        dims = COURSE if "time" in response.dims else STEADY
        response = as_array(response, "response", *dims)
        response = response.copy(data=real_numbers(response, "response").astype(np.float64))
        if response.sizes["condition"] == 0:
            raise DataError("the dataset has no condition to learn from.")
        template = response.isel(condition=0, drop=True).copy(deep=True)
        # Time points of a node are outputs of their own.
        outputs = response.values.reshape(len(doses), -1)
        if np.isinf(outputs).any():
            raise DataError("response holds infinity; write NaN where nothing was measured.")
        if np.isnan(outputs).all():
            raise DataError("no response was measured in the training conditions.")
        effects, intercept = self._estimate(doses, outputs)
        self._fitted = _Linear(inputs, effects, intercept, template)
        return self

    @checked()
    def predict(self, perturbation: xr.DataArray | xr.Dataset) -> xr.DataArray:
        """Predict the responses to perturbations.

        Parameters
        ----------
        perturbation : DataArray (condition[, phase], node) or Dataset
            Doses, or a dataset with them and what is held, with the nodes of the training data in
            any order.

        Returns
        -------
        DataArray (condition[, time], node)
            In the node order and at the times of the training data.

        Raises
        ------
        ModelError
            The baseline is not fitted.
        DataError
            The nodes are not those of the training data.
        """
        fitted = self._fitted
        if fitted is None:
            raise ModelError(f"{self!r} is not fitted; call fit(data) first.")
        doses = fitted.inputs(perturbation)
        values = doses @ fitted.effects + fitted.intercept
        template = fitted.template
        coords: dict[Any, Any] = dict(template.copy(deep=True).coords)
        coords["condition"] = perturbation["condition"]
        return xr.DataArray(
            values.reshape(len(doses), *template.shape),
            dims=("condition", *template.dims),
            coords=coords,
            name="response",
            attrs=template.attrs,
        )

    @abstractmethod
    def _estimate(self, X: _Floats, Y: _Floats) -> tuple[_Floats, _Floats]:
        """Effects (drug, output) and intercept (output) from doses and outputs, NaN included."""


@dataclass(eq=False)
class MeanResponse(Baseline):
    """Predicts each node's mean training response, whatever the perturbation."""

    def _estimate(self, X: _Floats, Y: _Floats) -> tuple[_Floats, _Floats]:
        count = (~np.isnan(Y)).sum(axis=0)
        mean = np.nansum(Y, axis=0) / np.maximum(count, 1)
        return np.zeros((X.shape[1], Y.shape[1])), mean


@dataclass(eq=False)
class AdditiveEffects(Baseline):
    """Predicts a combination as the sum of its drugs' effects, each linear in its dose.

    A drug's effect on a node is the least-squares line through zero over the conditions in which
    it is perturbed alone. For a drug without such conditions it is the least-squares solution
    over the combinations with it, after the effects known from singles are taken off.
    """

    def _estimate(self, X: _Floats, Y: _Floats) -> tuple[_Floats, _Floats]:
        _need_doses(X)
        effects = np.zeros((X.shape[1], Y.shape[1]))
        for rows, columns in _by_pattern(Y):
            x, y = X[rows], Y[np.ix_(rows, columns)]
            alone = (x != 0).sum(axis=1) == 1
            power = (x[alone] ** 2).sum(axis=0)
            known = power > 0
            b = np.zeros((x.shape[1], columns.size))
            b[known] = (x[alone].T @ y[alone])[known] / power[known, None]
            rest = ~known & (x != 0).any(axis=0)
            if rest.any():
                combos = (x[:, rest] != 0).any(axis=1)
                left = y[combos] - x[combos] @ b
                b[rest] = np.linalg.lstsq(x[np.ix_(combos, rest)], left, rcond=None)[0]
            effects[:, columns] = b
        return effects, np.zeros(Y.shape[1])


@checked(fit_intercept=flag(), alphas=listed(number(0, above=True)))
@dataclass(eq=False)
class Ridge(Baseline):
    """Ridge regression of all responses on the doses, with one strength for all outputs.

    Parameters
    ----------
    fit_intercept : bool
        Whether the response to no perturbation is fitted, or 0 as the log-ratio to the control.
    alphas : sequence of float
        Strengths to choose from, by the squared error of leaving one training condition out.

    Attributes
    ----------
    alpha_ : float
        The strength chosen; NaN before `fit`.

    Raises
    ------
    OptionError
        No strength, or one that is not positive.

    Notes
    -----
    With an intercept on the twelve doses of the melanoma data this is the reference of the
    project's benchmark. Nodes are grouped by the conditions they were measured in, each group is
    solved on its own conditions, and the leave-one-out errors of all groups are added up.
    Conditions are left out one by one, replicates too, as in that benchmark.
    """

    fit_intercept: bool = False
    alphas: tuple[float, ...] = ALPHAS
    alpha_: float = field(default=float("nan"), init=False, repr=False)

    def _estimate(self, X: _Floats, Y: _Floats) -> tuple[_Floats, _Floats]:
        linear_model = _linear_model()
        _need_doses(X)
        groups = list(_by_pattern(Y))
        errors = np.zeros(len(self.alphas))
        for rows, columns in groups:
            if rows.sum() < 2:
                continue  # nothing is left to learn from when its only condition is left out
            # A list: scikit-learn writes into a sequence of one strength.
            cv = linear_model.RidgeCV(
                list(self.alphas), fit_intercept=self.fit_intercept, store_cv_results=True
            )
            cv.fit(X[rows], Y[np.ix_(rows, columns)])
            errors += cv.cv_results_.reshape(-1, len(self.alphas)).sum(axis=0)
        if all(rows.sum() < 2 for rows, _ in groups):
            raise DataError("ridge needs at least two training conditions to choose its strength.")
        alpha = self.alphas[int(errors.argmin())]
        effects, intercept = np.zeros((X.shape[1], Y.shape[1])), np.zeros(Y.shape[1])
        for rows, columns in groups:
            ridge = linear_model.Ridge(alpha, fit_intercept=self.fit_intercept)
            ridge.fit(X[rows], Y[np.ix_(rows, columns)])
            effects[:, columns] = ridge.coef_.reshape(columns.size, -1).T
            intercept[columns] = ridge.intercept_
        self.alpha_ = alpha
        return effects, intercept


def all_baselines() -> dict[str, Baseline]:
    """Make every baseline, unfitted, under the name that tables show.

    Returns
    -------
    dict of str to Baseline
        "mean response", "additive effects", "ridge" and "ridge with intercept".
    """
    return {
        "mean response": MeanResponse(),
        "additive effects": AdditiveEffects(),
        "ridge": Ridge(),
        "ridge with intercept": Ridge(fit_intercept=True),
    }


def _linear_model() -> Any:
    try:
        from sklearn import linear_model
    except ImportError as error:
        raise BackendError(
            "ridge regression needs scikit-learn, which is not installed: "
            'pip install "pycellbox[baselines]"'
        ) from error
    return linear_model


def _need_doses(X: _Floats) -> None:
    if X.shape[1] == 0:
        raise DataError("no node is perturbed in the training conditions: there is no dose effect.")


def _by_pattern(Y: _Floats) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]]:
    """Yield (measured rows, output columns) for each group of outputs measured in the same rows."""
    patterns, group = np.unique(~np.isnan(Y).T, axis=0, return_inverse=True)
    for i, rows in enumerate(patterns):
        if rows.any():
            # NumPy 2.0.0 returned the inverse with an extra axis.
            yield rows, np.flatnonzero(group.reshape(-1) == i)
