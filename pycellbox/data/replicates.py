"""Replicates: conditions treated alike, which belong on one side of every split.

Whoever has seen one of them has seen the answer for the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.data.dims import STEADY
from pycellbox.data.joining import joined, treatments
from pycellbox.data.phases import phases_of
from pycellbox.data.signals import same_kind
from pycellbox.errors import DataWarning, warn

# Doses that came through a text file, float32 or a sum (0.1 + 0.2) are still the same dose:
# numpy.allclose's relative tolerance. What is this small beside the largest dose is rounded 0.
_SAME_DOSE = 1e-5
_ROUNDED_ZERO = 1e-12


def dose_levels(perturbation: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Give every dose of a node a number, one for doses that differ by rounding alone.

    Parameters
    ----------
    perturbation : array_like, shape (condition, node)
        Finite perturbations, dimensionless.

    Returns
    -------
    numpy.ndarray of int, shape (condition, node)
        0 where the node is not perturbed, 1, 2, … for its rising positive doses, −1, −2, … for
        its falling negative ones. Neighbouring doses have one number if they differ by at most
        1e-5 of the larger or 1e-12 of the node's largest.
    """
    values = np.asarray(perturbation, dtype=np.float64)
    values = np.concatenate([values, np.zeros((1, values.shape[1]))])  # the last row has level 0
    order = np.argsort(values, axis=0, kind="stable")
    rising = np.take_along_axis(values, order, axis=0)
    size = np.maximum(np.abs(rising[1:]), np.abs(rising[:-1]))
    rounding = _SAME_DOSE * size + _ROUNDED_ZERO * np.abs(values).max(axis=0)
    number = np.zeros(values.shape, dtype=np.intp)
    np.cumsum(np.diff(rising, axis=0) > rounding, axis=0, out=number[1:])
    levels = np.empty_like(number)
    np.put_along_axis(levels, order, number, axis=0)
    levels -= levels[-1]
    return levels[:-1]


def twins_of(data: xr.Dataset) -> npt.NDArray[np.intp]:
    """Give every condition a number, one for conditions that are replicates of each other.

    Parameters
    ----------
    data : Dataset
        With ``perturbation`` (condition[, phase], node), finite, and what else says how conditions
        were treated. Two are replicates if ``replicate_of`` joins them, or if they are treated
        alike: in no phase does a node's dose differ by more than rounding, as `dose_levels` says,
        phases start together, the same nodes are held at the same levels, and the initial state,
        the subject and the driving signals are the same. Controls are.

    Returns
    -------
    numpy.ndarray of int, shape (condition,)
    """
    phases = phases_of(data)
    inputs, waiting = phases.on(phases.grid())
    before = np.where(phases.pretreated[:, None], phases.inputs[:, 0], 0)
    columns = [dose_levels(before), phases.pretreated[:, None], waiting]
    columns += [dose_levels(inputs[:, segment]) for segment in range(inputs.shape[1])]
    for name in ("held", "initial_state"):
        if name in data.variables:
            levels = data[name].transpose(*STEADY).values
            columns += [np.isnan(levels), dose_levels(np.nan_to_num(levels))]
    if "drive" in data.variables:
        signals = data["drive"].transpose("condition", ...).values
        columns.append(dose_levels(signals.reshape(len(signals), -1)))
    if "held_fitted" in data.variables:
        columns.append(data["held_fitted"].transpose(*STEADY).values.astype(bool))
    if "subject" in data.variables:
        subjects = np.array([str(subject) for subject in data["subject"].values])
        columns.append(np.unique(subjects, return_inverse=True)[1].reshape(-1, 1))
    _, alike = np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)
    alike = alike.reshape(-1)  # NumPy 2.0.0 gave it a second axis
    if "replicate_of" not in data.variables:
        return alike
    names = [str(name) for name in data["replicate_of"].values]
    links: list[list[Hashable]] = [[int(number)] for number in alike]
    for keys, name, label in zip(links, names, labels_along(data, "condition"), strict=True):
        # With those of its name, and with the condition whose label that name is.
        keys += [name] * (name != "") + [label] * (label in names)
    return _connected(links)


def _connected(links: Sequence[Sequence[Hashable]]) -> npt.NDArray[np.intp]:
    """Give entries that share a key, directly or through others, one number."""
    number = np.arange(len(links))
    first: dict[Hashable, int] = {}
    for entry, keys in enumerate(links):
        for key in keys:
            other = number[first.setdefault(key, entry)]
            number[number == number[entry]] = other
    return np.unique(number, return_inverse=True)[1].reshape(-1)


def take_whole(
    order: npt.NDArray[np.intp], group: npt.NDArray[np.intp], count: int
) -> npt.NDArray[np.bool_]:
    """Take about ``count`` conditions, and of no group a part.

    Parameters
    ----------
    order : numpy.ndarray of int
        Positions in ``group``, in the order drawn.
    group : numpy.ndarray of int
        What belongs together, a number for each condition, as from `twins_of`.
    count : int
        How many to take.

    Returns
    -------
    numpy.ndarray of bool, as long as ``order``
        Which of ``order`` are taken: groups in the order of their first member, each if there is
        room for it, but at least one (of a ``count`` of 0 none). The first ``count`` where no two
        belong together.
    """
    drawn = group[order]
    numbers, first, size = np.unique(drawn, return_index=True, return_counts=True)
    taken: list[int] = []
    room = count
    for i in np.argsort(first):
        if size[i] <= room or (count and not taken):
            taken.append(numbers[i])
            room -= int(size[i])
    return np.isin(drawn, taken)


def replicates_across(
    one: xr.Dataset, other: xr.Dataset
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Give conditions of two valid datasets numbers, one for conditions that are replicates.

    Parameters
    ----------
    one, other : Dataset
        Of the same nodes, in any order, and the same unit of time.

    Returns
    -------
    tuple of numpy.ndarray of int
        Of each dataset, a number for each condition.
    """
    count = one.sizes["condition"]
    if not same_kind(one, other):
        return twins_of(one), count + twins_of(other)
    group = twins_of(joined(treatments(one), treatments(other)))
    return group[:count], group[count:]


def warn_of_replicates(judging: xr.Dataset, fitted: xr.Dataset) -> None:
    """Warn if validation conditions are replicates of fitted ones: they judge too kindly."""
    judged, seen = replicates_across(judging, fitted)
    twins = np.flatnonzero(np.isin(judged, seen))
    if not twins.size:
        return
    pairs = [
        f"{judging['condition'].values[i]!s} (perturbed as "
        f"{fitted['condition'].values[seen == judged[i]][0]!s})"
        for i in twins[:5]
    ]
    more = f" and {twins.size - 5} more" if twins.size > 5 else ""
    warn(
        f"{twins.size} of {judged.size} validation conditions are replicates of fitted ones: "
        f"{', '.join(pairs)}{more}. The fit has seen the answer for them, so they judge it too "
        "kindly: put replicates on one side, as validation=0.2 and pcb.splits do.",
        DataWarning,
    )
