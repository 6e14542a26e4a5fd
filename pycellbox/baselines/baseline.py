"""What all baselines share: reading a dataset, and predicting from doses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.options import checked
from pycellbox.data.dims import COURSE, STEADY
from pycellbox.data.features import Features
from pycellbox.data.given import as_array, as_dataset, real_numbers
from pycellbox.errors import DataError, ModelError

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Map: TypeAlias = Callable[[Floats, Floats], Floats]
"""Predicts outputs (condition, output) for doses and sizes, as for `Inputs`."""

_B = TypeVar("_B", bound="Baseline")


@dataclass(frozen=True)
class Inputs:
    """What a linear map sees of doses.

    Parameters
    ----------
    saturation : float
        κ of d(u) = tanh(κu)/κ, per unit of dose; 0 leaves doses as they are.
    common : float
        Value of one more input in every condition in which anything is perturbed; 0 for none.
        With a value of 1/√r the strength of its effect in a ridge is r times that of the others.
    shared : float
        As much of one more input for a unit of dose of any node, seen in training or not,
        whatever its sign; 0 for none.
    """

    saturation: float = 0.0
    common: float = 0.0
    shared: float = 0.0

    def __call__(self, doses: Floats, sizes: Floats) -> Floats:
        """Make the matrix of inputs (condition, input) of doses.

        Parameters
        ----------
        doses : ndarray, (condition, dose)
            Those that vary in training.
        sizes : ndarray, (condition, node)
            The largest of every node, seen in training or not, without sign.
        """
        columns = [self._saturated(doses)]
        if self.common:
            treated = (doses != 0).any(axis=1) | (sizes != 0).any(axis=1)
            columns.append(self.common * treated[:, None])
        if self.shared:
            columns.append(self.shared * self._saturated(sizes).sum(axis=1, keepdims=True))
        return np.hstack(columns)

    def _saturated(self, doses: Floats) -> Floats:
        if not self.saturation:
            return doses
        with np.errstate(over="ignore"):
            d: Floats = np.tanh(self.saturation * doses) / self.saturation
        return d


@dataclass(frozen=True)
class Linear:
    """A linear map: effects (input, output) and intercept (output)."""

    inputs: Inputs
    effects: Floats
    intercept: Floats

    def __call__(self, doses: Floats, sizes: Floats) -> Floats:
        """Predict outputs (condition, output) for doses, as for `Inputs`."""
        outputs: Floats = self.inputs(doses, sizes) @ self.effects + self.intercept
        return outputs


@dataclass(eq=False)
class Baseline(ABC):
    """A map from doses to responses that a dataset is enough to estimate.

    Subclasses say how, in `_estimate`.
    """

    _fitted: _Fitted | None = field(default=None, init=False, repr=False)

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
        """
        as_dataset(data, "perturbation", "response")
        features = Features.of(data)
        doses, sizes = features(data)
        response = data["response"]
        dims = COURSE if "time" in response.dims else STEADY
        response = as_array(response, "response", *dims)
        response = response.copy(data=real_numbers(response, "response").astype(np.float64))
        if response.sizes["condition"] == 0:
            raise DataError("the dataset has no condition to learn from.")
        template = response.isel(condition=0, drop=True).copy(deep=True)
        # Time points of a node are outputs of their own.
        outputs = response.values.reshape(len(doses), -1)
        kinds = template["node_kind"].values if "node_kind" in template.coords else ""
        drugs = np.broadcast_to(np.asarray(kinds) == "drug", template.shape).ravel()
        if np.isinf(outputs).any():
            raise DataError("response holds infinity; write NaN where nothing was measured.")
        if np.isnan(outputs).all():
            raise DataError("no response was measured in the training conditions.")
        found = self._estimate(doses, sizes, outputs, drugs)
        self._fitted = _Fitted(features, found, template)
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
        values = fitted.map(*fitted.features(perturbation))
        template = fitted.template
        coords: dict[Any, Any] = dict(template.copy(deep=True).coords)
        coords["condition"] = perturbation["condition"]
        return xr.DataArray(
            values.reshape(len(values), *template.shape),
            dims=("condition", *template.dims),
            coords=coords,
            name="response",
            attrs=template.attrs,
        )

    @abstractmethod
    def _estimate(self, doses: Floats, sizes: Floats, outputs: Floats, drugs: Bools) -> Map:
        """Estimate from doses, as for `Inputs`, and outputs (condition, output), NaN included.

        ``drugs``, (output,), are those that follow from the dose: of drug nodes.
        """


def need_doses(doses: Floats) -> None:
    """Refuse training conditions without any.

    Raises
    ------
    DataError
    """
    if doses.shape[1] == 0:
        raise DataError("no node is perturbed in the training conditions: there is no dose effect.")


def by_pattern(outputs: Floats) -> Iterator[tuple[Bools, npt.NDArray[np.intp]]]:
    """Yield (measured rows, output columns) for each group of outputs measured in the same rows."""
    measured = ~np.isnan(outputs)
    groups: dict[bytes, list[int]] = {}
    for j, pattern in enumerate(measured.T):
        groups.setdefault(pattern.tobytes(), []).append(j)
    for columns in groups.values():
        rows = measured[:, columns[0]]
        if rows.any():
            yield rows, np.array(columns)


@dataclass(frozen=True)
class _Fitted:
    """A fitted baseline with its labels."""

    features: Features
    map: Map
    template: xr.DataArray  # the response of one condition: dims and coords of a prediction
