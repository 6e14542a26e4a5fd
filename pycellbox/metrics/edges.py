"""How well a fitted network recovers a known one.

Areas and early precision rank the interactions by |W| and ask which of them exist, as benchmarks
of gene regulatory networks do (BEELINE: Pratapa et al., Nature Methods 17:147, 2020).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pycellbox.common.options import checked, flag
from pycellbox.data.given import as_array, real_numbers
from pycellbox.data.schema import DATASET
from pycellbox.errors import DataError
from pycellbox.metrics.agreement import pearson
from pycellbox.metrics.labels import Bools, Floats, aligned, pearson_rows

_OF_NODES = ("alpha", "epsilon", "psi", "b", "common")
_NAN = float("nan")


@checked(self_loops=flag())
def recovery(
    W: xr.DataArray,
    truth: xr.DataArray,
    *,
    self_loops: bool = False,
    mask: xr.DataArray | None = None,
) -> dict[str, float]:
    """How well a fitted network recovers a known one.

    Parameters
    ----------
    W, truth : DataArray (target, source)
        Fitted and true interactions, with the same labels in any order. A true edge is where
        ``truth`` is not zero; fitted interactions are ranked by their size ``|W|``.
    self_loops : bool
        Whether interactions of a node with itself count.
    mask : DataArray of bool (target, source), optional
        True where an edge may exist (`pycellbox.Network.mask`); entries that the model
        holds at zero would flatter the fit. What it forbids does not count, on neither side.

    Returns
    -------
    dict
        Over the entries that count, of which a share d (``edge_density``) are true edges:

        ``pearson``, ``spearman`` : correlation of fitted and true weights, signs included; NaN
        when either is constant.

        ``auroc`` : chance that a true edge ranks above an entry that is none, a tie counting
        half; NaN without true edges or without others. By chance 0.5.

        ``auprc`` : average precision, the mean of precision over the steps in recall, tied
        entries taken together; NaN without true edges. By chance d; ``auprc_ratio`` is auprc/d.

        ``early_precision_ratio`` : precision among the k highest ranked entries over d, k being
        the number of true edges. Where the k-th place is tied, the expectation over all orders
        of the tie. NaN without true edges; by chance 1.

        ``sign_accuracy`` : fraction of true edges whose fitted weight has the true sign, zero
        being wrong; NaN without true edges.

        A W of one size everywhere ranks nothing and scores as chance does.

    Raises
    ------
    DataError
        Dims or labels differ, or an entry that counts is NaN or infinite.

    Notes
    -----
    BEELINE leaves self-loops out, takes the area under precision and recall by trapezoids and, at
    a tie for the k-th place, all entries of the tie; without ties the differences are small.
    """
    fitted, true = aligned(W, as_array(truth, "truth", "target", "source"), "W", "truth")
    counts = np.ones(true.shape, dtype=bool)
    if not self_loops:
        counts &= true["target"].values[:, None] != true["source"].values[None, :]
    if mask is not None:
        counts &= real_numbers(aligned(mask, true, "mask", "truth")[0], "mask") != 0
    f = real_numbers(fitted, "W").astype(np.float64)[counts]
    t = real_numbers(true, "truth").astype(np.float64)[counts]
    for name, values in (("W", f), ("truth", t)):
        if not np.isfinite(values).all():
            raise DataError(f"{name} is NaN or infinite at {np.sum(~np.isfinite(values))} entries.")
    edge = t != 0
    density = float(edge.mean()) if edge.size else _NAN
    chance = density if edge.any() else _NAN
    auprc = _average_precision(np.abs(f), edge)
    correct = np.sign(f[edge]) == np.sign(t[edge])
    return {
        "pearson": _correlation(f, t),
        "spearman": _correlation(_ranks(f), _ranks(t)),
        "auroc": _auroc(np.abs(f), edge),
        "auprc": auprc,
        "auprc_ratio": auprc / chance,
        "early_precision_ratio": _early_precision(np.abs(f), edge) / chance,
        "sign_accuracy": float(correct.mean()) if correct.size else _NAN,
        "edge_density": density,
    }


@checked(parameters=DATASET, truth=DATASET)
def rate_recovery(parameters: xr.Dataset, truth: xr.Dataset) -> dict[str, float]:
    """Pearson correlation over the nodes of each fitted rate or shift with the true one.

    Parameters
    ----------
    parameters, truth : Dataset
        With some of alpha, epsilon, psi, b, common (node), such as ``fit.parameters`` and what
        `pycellbox.simulation.truth` gives; the same nodes in any order.

    Returns
    -------
    dict
        Of each that both have; NaN where either is the same for all nodes.

    Raises
    ------
    DataError
        They have none in common, nodes differ, or a fitted one is NaN or infinite.
    """
    shared = [name for name in _OF_NODES if name in parameters and name in truth]
    if not shared:
        raise DataError(f"parameters and truth share none of {', '.join(_OF_NODES)}.")
    return {name: pearson(parameters[name], truth[name]) for name in shared}


def _correlation(a: Floats, b: Floats) -> float:
    everything = np.ones((1, a.size), dtype=bool)
    return float(pearson_rows(a[None], b[None], everything)[0])


def _ranks(values: Floats) -> Floats:
    """Rank of each value from 1, the mean rank where values are equal."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    ranks: Floats = (last - (sizes - 1) / 2)[group.reshape(-1)]
    return ranks


def _auroc(score: Floats, edge: Bools) -> float:
    """Area under the receiver operating characteristic, from the rank sum of Mann and Whitney."""
    n_edges = int(edge.sum())
    n_others = edge.size - n_edges
    if n_edges == 0 or n_others == 0:
        return _NAN
    above = _ranks(score)[edge].sum() - n_edges * (n_edges + 1) / 2
    return float(above / (n_edges * n_others))


def _average_precision(score: Floats, edge: Bools) -> float:
    if not edge.any():
        return _NAN
    edges, entries = _by_descending_score(score, edge)
    precision = np.cumsum(edges) / np.cumsum(entries)
    return float(np.sum(precision * edges) / edges.sum())


def _early_precision(score: Floats, edge: Bools) -> float:
    """Precision among the k highest scores, k the number of edges."""
    k = int(edge.sum())
    if k == 0:
        return _NAN
    edges, entries = _by_descending_score(score, edge)
    # Of the tie at the k-th place as many entries count as there are places left.
    before = np.cumsum(entries) - entries
    share = np.clip((k - before) / entries, 0.0, 1.0)
    return float(np.sum(share * edges) / k)


def _by_descending_score(score: Floats, edge: Bools) -> tuple[Floats, Floats]:
    """Count edges, and all entries, at each distinct score, the highest first."""
    _, group, entries = np.unique(score, return_inverse=True, return_counts=True)
    edges = np.bincount(group.reshape(-1)[edge], minlength=entries.size)
    return edges[::-1].astype(np.float64), entries[::-1].astype(np.float64)
