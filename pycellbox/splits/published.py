"""The three published ways to part the conditions of a perturbation experiment.

Drugs are read from the perturbation itself: every node that is
perturbed in some condition, in whichever of its phases, counts as a drug.

Source of the partitions: ``cellbox/dataset.py`` of sanderlab/CellBox (Yuan et al., Cell Systems
12:128, 2021), which draws with NumPy's legacy generator; so does this module, and
``RandomState(seed).permutation(n)`` is the same draw as its ``choice(range(n), n, replace=False)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, overload

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import label_text
from pycellbox.common.options import checked, did_you_mean, flag, integer, number
from pycellbox.data.designs import as_design
from pycellbox.data.dims import STEADY
from pycellbox.data.given import check_labels
from pycellbox.data.phases import phases_of
from pycellbox.data.replicates import dose_levels, take_whole, twins_of
from pycellbox.data.treatments import DIMS
from pycellbox.errors import DataError, OptionError
from pycellbox.splits.split import Split, labels_of

_Rows: TypeAlias = npt.NDArray[np.intp]


_OPTIONS = {
    "seed": integer(0, 2**32 - 1),  # of NumPy's generator of old
    "train_fraction": number(0, 1, above=True, up_to=True),
    "together": flag(),
}


@checked(**_OPTIONS, fit_fraction=number(0, 1, above=True))
def random(
    data: xr.Dataset,
    *,
    seed: int,
    fit_fraction: float = 0.7,
    train_fraction: float = 0.8,
    together: bool = True,
) -> Split:
    """Part all conditions at random.

    The first ``int(n·fit_fraction)`` conditions of ``RandomState(seed).permutation(n)`` are for
    fitting, the rest for the test; of the former the first ``int(·train_fraction)`` train and the
    rest validate. This is the published draw, from which ``together`` departs where it would
    put replicates into different parts.

    Parameters
    ----------
    data : Dataset
        With ``perturbation`` (condition[, phase], node).
    seed : int
        Seed of the draw.
    fit_fraction : float
        Fraction of all conditions for training and validation; 0.7 is ``trainset_ratio`` of the
        CellBox configurations (62 of the 89 melanoma conditions).
    train_fraction : float
        Fraction of those for training; 0.8 is ``validset_ratio``; 1 leaves no validation set.
    together : bool
        Whether replicates, conditions that ``replicate_of`` joins or that are treated alike (equal
        up to rounding in every phase, in what is held, initial state and subject), stay in one
        part: a fit that has seen one of them has seen the answer for the others. They follow the
        one drawn first if there is room for all of them, so that parts may be a little smaller or
        larger than asked. Without replicates both are the same; False is the published draw.

    Returns
    -------
    Split
        Labels of all conditions, each in one part.

    Raises
    ------
    DataError
        A fraction is out of range, or so few conditions (or, with ``together``, different
        perturbations) that a part would be empty.
    """
    labels, _, group, _ = _read(data, together)
    n = len(labels)
    rows = np.random.RandomState(seed).permutation(n)
    name = f"random, seed {seed}"
    fit, test = _part(rows, group, int(n * fit_fraction))
    if fit.size and not test.size:
        raise DataError(
            f"all {n} conditions are replicates of each other, one perturbation, so that none can "
            "be held out; together=False splits replicates."
        )
    train, validation = _train_and_validation(fit, group, train_fraction, name)
    return _split(name, labels, train, validation, test)


@overload
def leave_one_drug_out(
    data: xr.Dataset,
    *,
    keep_singles: bool,
    drug: None = None,
    seed: int = 0,
    train_fraction: float = 0.8,
    together: bool = True,
) -> list[Split]: ...


@overload
def leave_one_drug_out(
    data: xr.Dataset,
    *,
    keep_singles: bool,
    drug: str,
    seed: int = 0,
    train_fraction: float = 0.8,
    together: bool = True,
) -> Split: ...


@checked(**_OPTIONS, keep_singles=flag())
def leave_one_drug_out(
    data: xr.Dataset,
    *,
    keep_singles: bool,
    drug: str | None = None,
    seed: int = 0,
    train_fraction: float = 0.8,
    together: bool = True,
) -> list[Split] | Split:
    """Predict a drug from the others, one split for each drug.

    Parameters
    ----------
    data : Dataset
        With ``perturbation`` (condition[, phase], node).
    keep_singles : bool
        True, "leave one out (w/ single)": the test holds the combinations with the drug, and
        its single-drug conditions stay for fitting. False, "(w/o single)": every condition with
        the drug is for the test, and the fit never sees the drug.
    drug : str, optional
        Only this drug.
    seed : int
        Seed with which the fitting conditions are parted into training and validation.
    train_fraction : float
        As in `random`.
    together : bool
        As in `random`. The test is chosen by perturbation, and has all that ``replicate_of`` joins
        with what is chosen.

    Returns
    -------
    list of Split, or Split
        In the order of the nodes; a single one when ``drug`` is named.

    Raises
    ------
    DataError
        The drug is perturbed in no condition, or a part would be empty: say, a drug in no
        combination with ``keep_singles=True``.
    """
    labels, perturbed, group, nodes = _read(data, together)
    drugs = [nodes[i] for i in np.flatnonzero(perturbed.any(axis=0))]
    if not drugs:
        raise DataError("no node is perturbed in any condition; there is no drug to leave out.")
    drug = None if drug is None else label_text(drug)
    if drug is not None and drug not in drugs:
        raise OptionError(
            f"drug={drug!r} is perturbed in no condition{did_you_mean(drug, drugs)}; the drugs "
            f"here are {', '.join(drugs)}."
        )
    combination = perturbed.sum(axis=1) >= 2
    kind = "with singles" if keep_singles else "without singles"
    splits = []
    for left_out in drugs if drug is None else [drug]:
        test = perturbed[:, nodes.index(left_out)]
        if keep_singles:
            test = test & combination
            if not test.any():
                raise DataError(
                    f"{left_out!r} is in no combination, so leaving it out with singles kept "
                    "tests nothing; use keep_singles=False, or name the drugs one by one."
                )
        name = f"leave {left_out} out, {kind}"
        splits.append(_by_mask(name, labels, test, group, seed, train_fraction))
    return splits if drug is None else splits[0]


@checked(**_OPTIONS)
def single_to_combo(
    data: xr.Dataset, *, seed: int = 0, train_fraction: float = 0.8, together: bool = True
) -> Split:
    """Predict combinations from single perturbations.

    Parameters
    ----------
    data : Dataset
        With ``perturbation`` (condition[, phase], node).
    seed, train_fraction, together : optional
        As in `leave_one_drug_out`.

    Returns
    -------
    Split
        Conditions with at most one perturbed node (controls among them) for fitting, all others
        for the test.

    Raises
    ------
    DataError
        There is no single-perturbation condition, or no combination.
    """
    labels, perturbed, group, _ = _read(data, together)
    number = perturbed.sum(axis=1)
    for there, what in (
        ((number == 1).any(), "single perturbation"),
        ((number >= 2).any(), "combination"),
    ):
        if not there:
            raise DataError(f"the dataset has no {what}, so singles cannot predict combinations.")
    return _by_mask("singles to combinations", labels, number >= 2, group, seed, train_fraction)


def _by_mask(
    name: str,
    labels: Sequence[str],
    test: npt.NDArray[np.bool_],
    group: _Rows,
    seed: int,
    train_fraction: float,
) -> Split:
    test = np.isin(group, group[test])  # replicates may be said to be of one
    rows = np.flatnonzero(~test)
    rows = rows[np.random.RandomState(seed).permutation(rows.size)]
    train, validation = _train_and_validation(rows, group, train_fraction, name)
    return _split(name, labels, train, validation, np.flatnonzero(test))


def _part(rows: _Rows, group: _Rows, count: int) -> tuple[_Rows, _Rows]:
    """About ``count`` of the rows and the others, each in the order drawn."""
    taken = take_whole(rows, group, count)
    return rows[taken], rows[~taken]


def _train_and_validation(
    rows: _Rows, group: _Rows, train_fraction: float, name: str
) -> tuple[_Rows, _Rows]:
    n_train = int(rows.size * train_fraction)
    if n_train == 0:
        raise DataError(
            f"split {name!r} leaves {rows.size} condition(s) for fitting, of which "
            f"train_fraction={train_fraction} gives none for training: too few conditions."
        )
    return _part(rows, group, n_train)


def _split(
    name: str,
    labels: Sequence[str],
    train: _Rows,
    validation: _Rows,
    test: _Rows,
) -> Split:
    parts = (tuple(labels[i] for i in rows) for rows in (train, validation, test))
    return Split(name, *parts)


def _read(
    data: xr.Dataset, together: bool
) -> tuple[list[str], npt.NDArray[np.bool_], _Rows, list[str]]:
    """Condition labels, which node is perturbed where, what stays together, and node labels."""
    data, perturbed = _perturbed(data)
    group = twins_of(data) if together else np.arange(len(perturbed))
    return labels_of(data, "condition"), perturbed, group, labels_of(data, "node")


def _perturbed(data: xr.Dataset) -> tuple[xr.Dataset, npt.NDArray[np.bool_]]:
    """Return what says how conditions are treated, and which node is perturbed in which."""
    phases = phases_of(data)
    check_labels(data["perturbation"], "perturbation", *STEADY)
    if told := [name for name in DIMS if name in data.variables]:
        data = as_design(data[["perturbation", *told]])
    # Of all phases together: a drug is one in whichever it is given.
    levels = dose_levels(phases.doses)
    return data, (levels != 0).reshape(phases.inputs.shape).any(axis=1)


def drugs_given(data: xr.Dataset) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Return which drug each condition has, (condition, drug), and their labels."""
    _, perturbed = _perturbed(data)
    nodes = labels_of(data, "node")
    there = np.flatnonzero(perturbed.any(axis=0))
    return perturbed[:, there], [nodes[i] for i in there]
