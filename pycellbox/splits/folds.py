"""Folds: every condition is left out once, with all that belongs together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import listed
from pycellbox.common.options import SEED, checked, did_you_mean, integer, optional, text
from pycellbox.data.replicates import twins_of
from pycellbox.errors import DataError, OptionError
from pycellbox.splits.published import drugs_given
from pycellbox.splits.split import Split, labels_of

FOLDS = 5
"""Where no number is given, and drugs are not left out."""
_Rows = npt.NDArray[np.intp]


@checked(folds=optional(integer(2)), by=text(), seed=SEED)
def k_fold(
    data: xr.Dataset, folds: int | None = None, *, by: str = "replicate", seed: int = 0
) -> list[Split]:
    """Part conditions into folds, each of which is the test of one split.

    Parameters
    ----------
    data : Dataset
        With ``perturbation`` (condition[, phase], node).
    folds : int, optional
        How many; 5 by default, or as many as there are groups if these are fewer. By drug one for
        each drug by default, else so many groups of drugs.
    by : str
        What stays in one fold. "replicate": conditions that ``replicate_of`` joins or that are
        treated alike, of which whoever has seen one has seen the answer for the others; where there
        are none each condition by itself. "condition": each condition by itself, replicates or not.
        "drug": all conditions with a drug, and replicates of them; combinations are left out with
        each of their drugs, and conditions without a drug never; a drug that all other conditions
        have as well has no fold. Or the name of a coordinate (condition), such as "subject": all
        with the same label, while those whose label is empty stand by themselves.
    seed : int
        Of the draw of groups.

    Returns
    -------
    list of Split
        One for each fold, without validation conditions; conditions are in the order of the data.

    Raises
    ------
    OptionError
        ``by`` names nothing that there is, or there are more folds than groups.
    DataError
        There is but one group, so that nothing is left to fit.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> data = pcb.datasets.melanoma()
    >>> [len(split.test) for split in pcb.splits.k_fold(data)]
    [18, 18, 18, 18, 17]
    >>> pcb.splits.k_fold(data, by="drug")[0].name
    'without aMEK'
    """
    labels = labels_of(data, "condition")
    if by == "drug":
        return _by_drug(data, labels, folds, seed)
    group = _groups(data, labels, by)
    count = int(group.max(initial=-1)) + 1
    if count < 2:
        kind = {"condition": "condition", "replicate": "group of replicates"}.get(by, by)
        raise DataError(
            f"there is {'no' if count == 0 else 'one'} {kind} in the data, so that folds by {by} "
            "leave nothing to fit: it takes two or more."
        )
    folds = min(FOLDS, count) if folds is None else integer(2, count)("k_fold: folds", folds)
    fold = _drawn(group, folds, seed)
    return [
        _split(f"fold {k + 1} of {folds}", labels, np.flatnonzero(fold == k)) for k in range(folds)
    ]


def _by_drug(data: xr.Dataset, labels: list[str], folds: int | None, seed: int) -> list[Split]:
    given, drugs = drugs_given(data)
    if not drugs:
        raise DataError("no node is perturbed in any condition; there is no drug to leave out.")
    twins = twins_of(data)
    if folds is None:
        fold = np.arange(len(drugs))
    else:
        folds = integer(2, len(drugs))("k_fold: folds", folds)
        fold = _drawn(np.arange(len(drugs)), folds, seed)
    found = []
    for k in range(int(fold.max()) + 1):
        test = given[:, fold == k].any(axis=1)
        rows = np.flatnonzero(np.isin(twins, twins[test]))
        if rows.size < len(labels):
            names = [drug for drug, own in zip(drugs, fold, strict=True) if own == k]
            found.append(_split(f"without {', '.join(names)}", labels, rows))
    if not found:
        raise DataError(
            "each condition has all drugs, so that nothing is left to fit without one: use "
            "by='replicate'."
        )
    return found


def _groups(data: xr.Dataset, labels: list[str], by: str) -> _Rows:
    """Give each condition a number, one for those that belong together."""
    if by == "condition":
        return np.arange(len(labels))
    if by == "replicate":
        return twins_of(data)
    known = [str(n) for n, c in data.coords.items() if c.dims == ("condition",)]
    known = [name for name in known if name not in ("condition", "role")]
    if by not in known:
        words = ["condition", "drug", "replicate", *known]
        raise OptionError(
            f"by={by!r} is nothing to make folds by{did_you_mean(by, words)}; there are "
            f"{listed(words)}."
        )
    own = [str(label) for label in data[by].values]
    names = [(label, "") if label else ("", one) for label, one in zip(own, labels, strict=True)]
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.intp)


def _drawn(group: _Rows, folds: int, seed: int) -> _Rows:
    """Draw a fold for each entry, the same for those of one group."""
    order = np.random.default_rng(seed).permutation(group.size)
    place = np.full(int(group.max()) + 1, group.size)
    np.minimum.at(place, group, order)  # of a group, that of its first member
    rank: _Rows = place.argsort().argsort()
    return rank[group] % folds


def _split(name: str, labels: list[str], test: _Rows) -> Split:
    left = np.setdiff1d(np.arange(len(labels)), test)
    return Split(name, tuple(labels[i] for i in left), (), tuple(labels[i] for i in test))
