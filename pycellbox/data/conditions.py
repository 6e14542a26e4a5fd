"""What was perturbed in each condition, and a name for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.arrays import unmasked
from pycellbox.errors import DataError


def condition_labels(perturbation: npt.ArrayLike, nodes: Sequence[str]) -> list[str]:
    """Name every condition after its perturbed nodes and their strength.

    Parameters
    ----------
    perturbation : array_like, shape (condition, node)
        Perturbations, dimensionless.
    nodes : sequence of str
        Node labels.

    Returns
    -------
    list of str
        One label for each condition, such as ``"aMEK=-1.089+aAKT=-2.833"``, and ``"control"``
        where nothing was perturbed. A repeated condition gets the suffix ``#2``, ``#3``, …

    Raises
    ------
    DataError
        ``perturbation`` is no matrix with one column for each node.

    Examples
    --------
    >>> condition_labels([[0, 0.5], [0, 0], [0, 0.5]], ["MEK", "aMEK"])
    ['aMEK=0.5', 'control', 'aMEK=0.5#2']
    """
    values = unmasked(perturbation).astype(np.float64)
    if values.ndim != 2 or values.shape[1] != len(nodes):
        raise DataError(
            f"perturbation has the shape {values.shape}; it needs (condition, node) with one "
            f"column for each of the {len(nodes)} nodes."
        )
    names = np.asarray(nodes, dtype=np.str_)
    seen: dict[str, int] = {}
    labels = []
    for row in values:
        applied = row != 0
        doses = zip(names[applied], row[applied], strict=True)
        label = "+".join(f"{node}={dose:.6g}" for node, dose in doses) or "control"
        seen[label] = seen.get(label, 0) + 1
        labels.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return labels


def drugs_of(dataset: xr.Dataset) -> list[tuple[str, ...]]:
    """List the perturbed nodes of every condition, those with a nonzero perturbation.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset with ``perturbation(condition, node)``.

    Returns
    -------
    list of tuple of str
        For each condition the labels of its perturbed nodes, in node order; an empty tuple for
        a control.

    Raises
    ------
    DataError
        The dataset has no perturbation.

    Examples
    --------
    >>> drugs_of(dataset)[:2]  # doctest: +SKIP
    [('aMEK',), ('aMEK', 'aHDAC')]
    """
    if "perturbation" not in dataset.variables:
        raise DataError(
            "the dataset has no variable 'perturbation'; it tells which nodes were perturbed: "
            "pcb.from_tables makes a dataset with one."
        )
    perturbation = dataset["perturbation"].transpose("condition", "node").values
    nodes = np.asarray(dataset["node"].values, dtype=np.str_)
    return [tuple(nodes[row != 0].tolist()) for row in perturbation]
