"""What was perturbed in each condition, and a name for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.arrays import unmasked
from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked
from pycellbox.data.cells import as_labels, as_numbers, cell_namer
from pycellbox.data.dims import STEADY
from pycellbox.data.given import check_labels
from pycellbox.data.phases import phases_of
from pycellbox.data.schema import DATASET
from pycellbox.errors import DataError


@checked()
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
    names = as_labels(nodes, "node", "nodes")
    values = unmasked(perturbation)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise DataError(
            f"perturbation has the shape {values.shape}; it needs (condition, node) with one "
            f"column for each of the {len(names)} nodes."
        )
    axes = {"row": np.arange(len(values)), "node": names}
    values = as_numbers(values, cell_namer("perturbation", axes))
    seen: dict[str, int] = {}
    labels = []
    for row in values:
        applied = row != 0
        doses = zip(names[applied], row[applied], strict=True)
        label = "+".join(f"{node}={dose:.6g}" for node, dose in doses) or "control"
        seen[label] = seen.get(label, 0) + 1
        labels.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return labels


@checked(dataset=DATASET)
def drugs_of(dataset: xr.Dataset) -> list[tuple[str, ...]]:
    """List the perturbed nodes of every condition, those with a nonzero perturbation.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset with ``perturbation(condition[, phase], node)``.

    Returns
    -------
    list of tuple of str
        For each condition the labels of the nodes that are perturbed in any of its phases, in
        node order; an empty tuple for a control.

    Raises
    ------
    DataError
        The dataset has no perturbation.

    Examples
    --------
    >>> drugs_of(dataset)[:2]  # doctest: +SKIP
    [('aMEK',), ('aMEK', 'aHDAC')]
    """
    perturbed = phases_of(dataset).perturbed
    check_labels(dataset["perturbation"], "perturbation", *STEADY)
    nodes = np.array(labels_along(dataset, "node"))
    return [tuple(nodes[applied].tolist()) for applied in perturbed]
