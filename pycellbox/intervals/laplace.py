"""How far parameters may be off where a sum of squares has its minimum, by Laplace's method.

Near the minimum residuals are linear: with their derivative J, the weights w of a robust loss, and
the matrix P of penalties and priors, estimates are off by A⁻¹(Jᵀwe − Pθ), A = JᵀwJ + P, e the error
of the measurements. Penalties and priors stand for what is known before: a prior's own variance,
and a penalty's relative to that of the noise, s². So

    Cov = A⁻¹ (Jᵀw D wJ + s² P₁ + P₂) A⁻¹,

with the noise D of each node, penalties P₁ and priors P₂: s² A⁻¹ where all nodes have the same.
A direction that nothing determines has a faint prior of its own: a response of which that is the
most there is to know may be anything.
"""

from __future__ import annotations

import numpy as np

from pycellbox.problem import Array

_FAINT = 1e-10
"""Information of the faint prior, relative to that of each parameter's own measurements."""
_LEAST_COLUMN = 1e-5  # of the largest: columns below count for less, those of rounding for nothing
_FEW = 10.0  # degrees of freedom below which nodes borrow from all
_LEAST_FREE = 0.1  # of a node's measurements: degrees of freedom it has at least
_LEAST_SHARE = 0.02  # of itself that a condition leaves to the others, at least
_RANK = 1e-3  # of directions, beside the largest


class Laplace:
    """Parameters at a minimum, and what they are uncertain by.

    Parameters
    ----------
    jacobian : ndarray, (m, p)
        Derivative of the residuals, over sigma where there is one.
    residuals : ndarray, (m,)
    counts : ndarray, (m,)
        Weights w of a robust loss, at most 1.
    nodes : ndarray of int, (m,)
        Of each residual.
    squares : ndarray, (n,)
        Size of the noise of nodes relative to each other, by which they borrow.
    sizes : ndarray, (p,)
        Of the parameters.
    penalties, priors : ndarray, (p, p)
        P₁ and P₂.

    Attributes
    ----------
    noise : ndarray, (n,)
        Variance of a measurement of weight 1; NaN of nodes that were not measured.
    freedom : ndarray, (n,)
        Degrees of freedom of that.
    free : float
        Of all residuals together.
    """

    def __init__(
        self,
        jacobian: Array,
        residuals: Array,
        counts: Array,
        nodes: Array,
        squares: Array,
        sizes: Array,
        penalties: Array,
        priors: Array,
    ) -> None:
        self._residuals, self._root, self._nodes = residuals, np.sqrt(counts), nodes
        # In multiples of the sizes first: what has gone to nothing has derivatives beyond squares.
        J = jacobian * self._root[:, None] * sizes
        outer = sizes[:, None] * sizes
        A = J.T @ J + (penalties + priors) * outer
        by_size = np.sqrt(np.diag(A))
        # Then in units of what measurements tell of each parameter.
        self._per_size = 1 / np.maximum(by_size, _LEAST_COLUMN * (by_size.max(initial=0.0) or 1.0))
        self._unit = sizes * self._per_size
        J *= self._per_size
        each = self._per_size[:, None] * self._per_size
        A *= each
        outer *= each
        p = np.arange(len(A))
        A[p, p] += _FAINT
        half = np.linalg.inv(np.linalg.cholesky(A))
        self._whitened = J @ half.T
        left = 1 - np.minimum((self._whitened**2).sum(axis=1), 1)
        self.free = float(left.sum())
        self.noise, self.freedom = noise_of(residuals**2, left, nodes, squares)
        of_rows = self.noise[nodes]
        common = float(of_rows.mean()) if of_rows.size else 0.0
        middle = (J * (counts * of_rows)[:, None]).T @ J
        middle += (common * penalties + priors) * outer
        self._faint = common * _FAINT
        middle[p, p] += self._faint
        self._inverse = half.T @ half
        self._middle = middle

    def variance(self, slopes: Array) -> tuple[Array, Array]:
        """Variance of what has these derivatives by the parameters, (k, p).

        Returns
        -------
        variance : ndarray, (k,)
            Infinite where it hangs on what nothing determines.
        off : ndarray, (k, p)
            Which step of the parameters each hangs on, in their units.
        """
        off = (slopes * self._unit) @ self._inverse
        variance = ((off @ self._middle) * off).sum(axis=1)
        faint = self._faint * (off**2).sum(axis=1)
        found: Array = np.where(faint > variance / 2, np.inf, variance)
        return found, off

    def open_directions(self, off: Array) -> Array:
        """Return directions of steps that are open, in multiples of the sizes, (k, p) orthonormal.

        Parameters
        ----------
        off : ndarray, (q, p)
            Of what hangs on them, from `variance`.
        """
        length = np.linalg.norm(off, axis=1, keepdims=True)
        steps = off / np.where(length > 0, length, 1) * self._per_size
        steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-300)
        _, values, directions = np.linalg.svd(steps, full_matrices=False)
        found: Array = directions[values > _RANK * values[0]]
        return found

    def left_out(self, groups: Array) -> Array:
        """Errors of leaving out groups of residuals one by one, over their standard deviations.

        Parameters
        ----------
        groups : ndarray of int, (m,)
            The group of each residual.
        """
        found = np.empty(len(groups))
        sd = np.sqrt(self.noise[self._nodes])
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            Z, root = self._whitened[rows], self._root[rows]
            values, vectors = np.linalg.eigh(np.eye(rows.size) - Z @ Z.T)
            inverse = (vectors / np.maximum(values, _LEAST_SHARE)) @ vectors.T
            errors = inverse @ (root * self._residuals[rows])
            found[rows] = errors / (sd[rows] * np.sqrt(np.diag(inverse)))
        return found


def noise_of(squares: Array, left: Array, nodes: Array, relative: Array) -> tuple[Array, Array]:
    """Variance of the noise of nodes, and its degrees of freedom.

    A node with few degrees of freedom borrows what it lacks from all nodes together.

    Parameters
    ----------
    squares : ndarray, (m,)
        Of residuals.
    left : ndarray, (m,)
        Degree of freedom of each: 1 minus its leverage.
    nodes : ndarray of int, (m,)
    relative : ndarray, (n,)
        What the variances of nodes are taken to be in proportion to where they borrow.
    """
    n = len(relative)
    total, free, count = (
        np.bincount(nodes, weights, n) for weights in (squares, left, np.ones(len(nodes)))
    )
    free = np.maximum(free, _LEAST_FREE * count)
    measured = count > 0
    shared = total.sum() / (free * relative).sum()  # not a mean of ratios: fits mix residuals
    borrowed = np.maximum(_FEW - free, 0)
    noise = (total + borrowed * shared * relative) / (free + borrowed)
    return (np.where(measured, noise, np.nan), np.minimum(free + borrowed, free.sum()))
