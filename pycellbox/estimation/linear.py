"""The linear model inside the family, where leaving conditions out has a closed form."""

from __future__ import annotations

import numpy as np

from pycellbox.estimation.design import COMMON, SHARED, base
from pycellbox.estimation.nodes import Nodes
from pycellbox.estimation.priors import PRIORS
from pycellbox.problem import Array

LEAST_SHARE = 0.02
"""Of itself that a response leaves to the others, at least: leave-one-out errors divide by it."""

_OWN = np.arange(-9, 6.1, 0.75)  # log strengths of single nodes
_COMMON = np.array([-1.5, 0.0, 1.5, 3.0, 4.5])
_SCALE = 1.0  # of the Cauchy prior of a node's own log strength about that of all
_HUBER, _OF_RMS = 2.0, 0.75
_MAD_TO_DEVIATION = 1.4826
_SMALLEST = 1e-6


def left_out(nodes: Nodes, penalties: Array) -> Array:
    """Errors of predicting each response from the others, (m, c), 0 where not measured.

    By ridge regression with penalties (m, p).
    """
    D, weights = nodes.columns, nodes.weights
    gram = np.einsum("in,np,nq->ipq", weights, D, D, optimize=True)
    k = np.arange(D.shape[1])
    gram[:, k, k] += penalties
    inverse = np.linalg.inv(gram)
    effects = np.einsum("ipq,iq->ip", inverse, (weights * nodes.outputs) @ D)
    leverage = np.einsum("np,inp->in", D, np.swapaxes(inverse @ D.T, 1, 2)) * weights
    residual = (nodes.outputs - effects @ D.T) * nodes.measured
    errors: Array = residual / np.maximum(1 - leverage, LEAST_SHARE)
    return errors


def effective_number(squares: Array) -> Array:
    """(Σe)²/Σe², over the last axis: how many of the squared errors make up their sum."""
    total = squares.sum(axis=-1)
    number: Array = total**2 / np.maximum((squares**2).sum(axis=-1), 1e-300)
    return number


def own_strengths(nodes: Nodes, kinds: Array, counted: Array) -> Array:
    """Logarithm of how much more each node is penalized than the others, (m,).

    On a grid of strengths, with the leave-one-out errors of each node: the mean of what its errors
    and a Cauchy prior about the strength of all together say.

    Parameters
    ----------
    nodes : Nodes
    kinds : ndarray, (p,)
        Of the columns; those of other kinds than common and shared have the strengths.
    counted : ndarray of bool, (c,)
        Conditions whose errors count.
    """
    m, p = nodes.theta.shape[0], nodes.columns.shape[1]
    bases = np.array([base(kind) for kind in kinds])
    squares = np.empty((_COMMON.size, _OWN.size, m))
    middle = None
    for a, common in enumerate(_COMMON):
        for k, own in enumerate(_OWN):
            log = np.select([bases == COMMON, bases == SHARED], [common, 0.0], own)
            errors = left_out(nodes, np.broadcast_to(np.exp(log), (m, p)))
            each = (nodes.weights * errors**2)[:, counted]
            squares[a, k] = each.sum(axis=1)
            if (a, k) == (_COMMON.size // 2, _OWN.size // 2):
                middle = each
    assert middle is not None
    number, numbers = effective_number(middle.ravel()), effective_number(middle)
    cost = 0.5 * number * np.log(squares.sum(axis=2))
    cost += PRIORS["drugs"].cost(_OWN) + PRIORS["common"].cost(_COMMON)[:, None]
    a, k = np.unravel_index(cost.argmin(), cost.shape)
    apart = _OWN - _OWN[k]
    costs = 0.5 * numbers * np.log(np.maximum(squares[a], 1e-300))
    costs += np.log1p((apart / _SCALE) ** 2)[:, None]
    weight = np.exp(costs.min(axis=0) - costs)
    mean: Array = (weight * apart[:, None]).sum(axis=0) / weight.sum(axis=0)
    return mean


def thresholds(nodes: Nodes, penalties: Array) -> Array:
    """Beyond which residual a node's responses count less, (m, 1).

    Twice the standard deviation of its leave-one-out errors, as that of a normal distribution with
    the same median of their sizes, but not below three quarters of their root mean square: of a
    node that few conditions move, the median says nothing of what they do.
    """
    errors = np.where(nodes.measured, left_out(nodes, penalties), np.nan)
    middle = _MAD_TO_DEVIATION * np.nanmedian(np.abs(errors), axis=1)
    rms = np.sqrt(np.nanmean(errors**2, axis=1))
    least = _SMALLEST * nodes.size
    found: Array = np.maximum(_HUBER * np.maximum(middle, _OF_RMS * rms), least)[:, None]
    return found
