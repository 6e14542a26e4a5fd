"""Which conditions train, validate and test: the experiment types of CellBox.

The draws are those of the original, row for row: NumPy's legacy generator, seeded once, gives the
noise, then the order of the conditions, then the initial weights (``cellbox/dataset.py`` and
``model.py`` of sanderlab/CellBox). `pycellbox.splits` has the same partitions for users; here the
generator goes on to other draws, a test set may be empty, and replicates stay together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.errors import DataError

Rows: TypeAlias = npt.NDArray[np.intp]

RANDOM = "random partition"
REPLICATES = "random partition with replicates"
WITHOUT_SINGLES = "leave one out (w/o single)"
WITH_SINGLES = "leave one out (w/ single)"
FULL = "full data"
COMBINATIONS = "single to combo"
EXPERIMENTS = (RANDOM, REPLICATES, WITHOUT_SINGLES, WITH_SINGLES, FULL, COMBINATIONS)
LEAVE_ONE_OUT = (WITHOUT_SINGLES, WITH_SINGLES)


@dataclass(frozen=True)
class Partition:
    """Row numbers of the conditions, each part in the order drawn.

    Attributes
    ----------
    train, validation, test : ndarray of int
        Validation and test may be empty.
    """

    train: Rows
    validation: Rows
    test: Rows

    @property
    def fit(self) -> Rows:
        """What a fit may see: training, then validation."""
        return np.concatenate([self.train, self.validation])

    def roles(self, count: int) -> list[str]:
        """Role of each of ``count`` conditions."""
        roles = np.full(count, "unused", dtype=object)
        for role in ("train", "validation", "test"):
            roles[getattr(self, role)] = role
        return [str(role) for role in roles]


def partition(
    experiment: str,
    perturbed: npt.NDArray[np.bool_],
    draw: np.random.RandomState,
    fit_share: float,
    train_share: float,
    node: int | None = None,
) -> Partition:
    """Part the conditions.

    Parameters
    ----------
    experiment : str
        One of `EXPERIMENTS`.
    perturbed : ndarray of bool, (condition, node)
    draw : RandomState
        Is advanced by one permutation.
    fit_share : float
        Share of the conditions that is not for the test, in the random types.
    train_share : float
        Share of the others that trains; the rest validates.
    node : int, optional
        The drug to leave out, as a column of ``perturbed``.

    Returns
    -------
    Partition

    Raises
    ------
    DataError
        There is nothing to train with, or nothing to test in a type that is about its test.
    """
    count = len(perturbed)
    if experiment in (RANDOM, FULL):
        order = draw.permutation(count)
        at = int(count * fit_share)
        parts = _divide(order[:at], order[at:], train_share)
    elif experiment == REPLICATES:
        parts = _replicates(perturbed, draw, fit_share, train_share)
    else:
        test = _tested(experiment, perturbed, node)
        if not test.any():
            what = "combination of perturbed nodes" if node is None else "condition of that drug"
            raise DataError(f"{experiment!r}: the data has no {what} to test with.")
        rest = np.flatnonzero(~test)
        order = rest[draw.permutation(rest.size)]
        parts = _divide(order, np.flatnonzero(test), train_share)
    if not parts.train.size:
        raise DataError(
            f"{experiment!r} leaves none of the {count} conditions for training "
            f"({parts.validation.size} for validation, {parts.test.size} for the test)."
        )
    return parts


def _tested(experiment: str, perturbed: npt.NDArray[np.bool_], node: int | None) -> Any:
    combination = perturbed.sum(axis=1) >= 2
    if experiment == COMBINATIONS:
        return combination
    drug = perturbed[:, node]
    return drug & combination if experiment == WITH_SINGLES else drug


def _divide(fit: Rows, test: Rows, train_share: float) -> Partition:
    at = int(fit.size * train_share)
    return Partition(fit[:at], fit[at:], test)


def _replicates(
    perturbed: npt.NDArray[np.bool_],
    draw: np.random.RandomState,
    fit_share: float,
    train_share: float,
) -> Partition:
    """Draw groups of conditions with the same perturbed nodes instead of conditions."""
    _, group = np.unique(perturbed, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = draw.permutation(int(group.max()) + 1)
    at = int(order.size * fit_share)
    split = int(at * train_share)

    def rows(groups: Rows) -> Rows:
        return np.flatnonzero(np.isin(group, groups))

    return Partition(rows(order[:split]), rows(order[split:at]), rows(order[at:]))
