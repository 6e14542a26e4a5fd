"""Whether one model is better than another by more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pycellbox.common.options import checked, listed, number
from pycellbox.errors import DataError
from pycellbox.metrics.agreement import mse


@dataclass(frozen=True)
class Difference:
    """A mean difference of scores, and what chance has to do with it.

    Parameters
    ----------
    mean : float
        Of the differences: first minus second.
    error : float
        Its standard error; NaN for a single difference.
    p : float
        How often chance alone would give a mean at least as far from 0 (Student's t, two-sided);
        NaN where there is no error.
    below, count : int
        How many differences are below 0, of how many.
    """

    mean: float
    error: float
    p: float
    below: int
    count: int


@checked()
def paired_by_condition(
    predicted: xr.DataArray, other: xr.DataArray, observed: xr.DataArray
) -> Difference:
    """Compare the squared errors of two predictions, condition by condition.

    Parameters
    ----------
    predicted, other, observed : DataArray (condition[, time], node)
        With the same labels, in any order; NaN in ``observed`` is left out.

    Returns
    -------
    Difference
        Of the mean squared errors of each condition with a measurement, those of ``predicted``
        minus those of ``other``, in squared units of the response: the ``mean``, below 0 where
        ``predicted`` is better, its standard ``error``, and ``p``, how often chance alone would
        give one at least as far from 0; ``below`` 0 are that many, of ``count``. Conditions are the
        units of the test, since the nodes of one err together.

    Raises
    ------
    DataError
        Labels or dims differ, a prediction is not finite at a measured entry, or no condition has a
        measurement.
    """
    one, two = (mse(p, observed, by="condition").values for p in (predicted, other))
    differences = (one - two)[~np.isnan(one)]
    if not differences.size:
        raise DataError("no condition has a measurement to compare predictions by.")
    return difference_of(differences, 1 / differences.size)


@checked(differences=listed(number()), fitted=number(0, above=True), tested=number(0, above=True))
def over_splits(differences: Sequence[float], *, fitted: float, tested: float) -> Difference:
    """Summarize differences of scores over splits of the same conditions.

    Splits share conditions, so that their differences are not independent, and the usual standard
    error of their mean is too small. The corrected one, √((1/J + tested/fitted)·s²), with the
    variance s² of J differences, allows for that.

    Parameters
    ----------
    differences : sequence of float
        One of each split: score of one model minus that of another.
    fitted, tested : float
        How many conditions a split fits and tests, on average.

    Returns
    -------
    Difference
        As for `paired_by_condition`: its ``mean``, the ``error`` of that, ``p``, and how many are
        ``below`` 0 of how many (``count``).

    Raises
    ------
    OptionError
        No difference, one that is not finite, or a number that is not positive.

    References
    ----------
    Nadeau and Bengio, Machine Learning 52:239 (2003), the corrected resampled t-test.
    """
    values = np.array(differences, dtype=np.float64)
    return difference_of(values, 1 / values.size + tested / fitted)


def difference_of(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], factor: float
) -> Difference:
    """Summarize differences; the squared error of their mean is ``factor`` times their variance."""
    from scipy.special import stdtr  # not needed by an import of pycellbox

    mean, count = float(values.mean()), int(values.size)
    error = math.sqrt(factor * values.var(ddof=1)) if count > 1 else math.nan
    p = math.nan
    if error > 0:
        p = float(2 * stdtr(count - 1, -abs(mean) / error))
    elif error == 0:
        p = 1.0 if mean == 0 else 0.0
    return Difference(mean, error, p, int((values < 0).sum()), count)
