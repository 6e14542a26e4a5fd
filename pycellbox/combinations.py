"""Directions of parameters that data do not determine, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pycellbox.common.labels import counted
from pycellbox.problem import Array

_NEAR = 0.02  # of an entry to a whole number, or to nothing
_LARGEST = 3
_MOST_NAMED = 6


def in_words(
    directions: Array, names: Sequence[str], by_factors: Array, sizes: Array, values: Array
) -> tuple[str, ...]:
    """Say what directions leave open.

    Parameters
    ----------
    directions : ndarray, (k, p)
        Orthonormal, in logarithms of the parameters ``by_factors``, in multiples of the ``sizes``
        of the others.
    names : sequence of str, (p,)
    by_factors : ndarray of bool, (p,)
    sizes : ndarray, (p,)
        Positive.
    values : ndarray, (p,)
        Of the parameters.

    Returns
    -------
    tuple of str
        A sentence for each set of parameters that nothing ties to others.
    """
    rows = _reduced(directions)
    return tuple(
        _of_group(
            rows[group][:, at],
            [names[i] for i in at],
            bool(by_factors[at].all()),
            sizes[at],
            values[at],
        )
        for group, at in _groups(rows)
    )


def _reduced(directions: Array) -> Array:
    """Rows that span the same, with as many zeros as can be had by elimination."""
    rows = directions.copy()
    used = np.zeros(rows.shape[1], bool)
    for k in range(len(rows)):
        left = np.abs(rows[k:]) * ~used
        i, j = divmod(int(left.argmax()), left.shape[1])
        rows[[k, k + i]] = rows[[k + i, k]]
        rows[k] /= rows[k, j]
        others = np.arange(len(rows)) != k
        rows[others] -= rows[others, j][:, None] * rows[k]
        used[j] = True
    rows[np.abs(rows) < _NEAR] = 0
    return rows


def _groups(rows: Array) -> list[tuple[Array, Array]]:
    """Rows that share parameters, and these."""
    share: Array = rows != 0
    left, found = list(range(len(rows))), list[tuple[Array, Array]]()
    while left:
        group = [left.pop(0)]
        while more := [k for k in left if (share[group].any(axis=0) & share[k]).any()]:
            group += more
            left = [k for k in left if k not in more]
        at: Array = np.array(group)
        found.append((at, np.flatnonzero(share[at].any(axis=0))))
    return sorted(found, key=lambda one: int(one[1][0]))


def _of_group(
    rows: Array, names: Sequence[str], by_factors: bool, sizes: Array, values: Array
) -> str:
    if len(rows) == len(names):
        verb = "has" if len(names) == 1 else "have"
        return f"{_listed(names)} {verb} no effect that could be told from the noise"
    if len(rows) == len(names) - 1:
        # One combination is left: that which no row changes.
        kept = np.linalg.svd(rows)[2][-1]
        vectors = [(_product, kept * values / sizes), (_sum, kept / sizes)]
        for most in (1, _LARGEST):  # the simplest that fits, for others may fit here by chance
            for text, vector in vectors if by_factors else vectors[::-1]:
                if (numbers := _whole(vector, most)) is not None:
                    return f"{_listed(names)} only as {text(names, numbers)}"
        return f"{_listed(names)} only in one combination"
    open_ones = f"{counted(len(rows), 'direction')} of {_listed(names)}"
    if len(rows) > 1:
        return open_ones
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = _whole(rows[0] * sizes / values, _LARGEST)
    if powers is not None:
        each = [f"{'*' if n > 0 else '/'}{_power('f', abs(n))}" for n in powers]
        steps = ", ".join(f"{name}{step}" for name, step in zip(names, each, strict=True))
        return f"{_listed(names)} only up to a factor f, as in {steps}"
    largest = np.argsort(-np.abs(rows[0]))[:_MOST_NAMED]
    steps = ", ".join(f"{names[i]} {rows[0, i]:+.2g}" for i in largest)
    return f"{open_ones}, which change together ({steps}{', …' * (len(names) > _MOST_NAMED)})"


def _whole(vector: Array, largest: int) -> Array | None:
    """Return it as whole numbers up to the largest, if it is a multiple of such."""
    if not vector.any() or not np.isfinite(vector).all():
        return None
    for most in range(1, largest + 1):
        scaled = vector / np.abs(vector).max() * most
        near = np.round(scaled)
        if (np.abs(scaled - near) < _NEAR).all() and near.all():
            first: Array = near * np.sign(near[0])
            return first
    return None


def _product(names: Sequence[str], powers: Array) -> str:
    def side(sign: int) -> list[str]:
        each = zip(names, powers * sign, strict=True)
        return [_power(name, n) for name, n in each if n > 0]

    above, below = side(1), side(-1)
    what = "the product" if not below else "the ratio" if len(names) == 2 else ""
    under = f"({'*'.join(below)})" if len(below) > 1 else "".join(below)
    return f"{what} {'*'.join(above)}{'/' * bool(below)}{under}".strip()


def _power(name: str, exponent: float) -> str:
    return name if exponent == 1 else f"{name}**{exponent:.0f}"


def _sum(names: Sequence[str], numbers: Array) -> str:
    text = ""
    for name, n in zip(names, numbers, strict=True):
        times = "" if abs(n) == 1 else f"{abs(n):.0f}*"
        text += f"{' + ' if n > 0 else ' - '}{times}{name}"
    what = "the sum" if (numbers > 0).all() else "the difference" if len(names) == 2 else ""
    return f"{what} {text.removeprefix(' + ')}".strip()


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        return f"{', '.join(shown)} and {len(names) - _MOST_NAMED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
