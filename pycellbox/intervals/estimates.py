"""How far all nodes of an estimate may be from what it predicts, those read from others too."""

from __future__ import annotations

import numpy as np

from pycellbox.estimation.design import COMMON, saturated, treated
from pycellbox.estimation.estimate import Estimate
from pycellbox.estimation.spread import Spread
from pycellbox.problem import Array


class EstimateSpread:
    """Of an estimate.

    Parameters
    ----------
    found : Estimate

    Attributes
    ----------
    parts : tuple of Spread
        Of nodes on which drugs act, and of phenotypes that are read from these, if there are any.
    """

    def __init__(self, found: Estimate) -> None:
        self._found = found
        self.parts = tuple(Spread(one) for one in (found.acted, found.read) if one is not None)

    def variances(self, doses: Array, predicted: Array) -> tuple[Array, Array]:
        """Variance of the states of conditions (c, drug), (c, m), and of their noise, (m,).

        ``predicted`` (c, m) is what the estimate predicts for them.
        """
        found, read = self._found, self._found.is_read
        state, noise = np.empty_like(predicted), np.empty(len(read))
        acted, _ = self.parts[0].of_states(found.design(doses))
        acted = acted + self._of_new_drugs(doses, predicted[:, ~read].T)
        state[:, ~read], noise[~read] = acted.T, self.parts[0].noise
        if found.read is not None:
            columns = predicted[:, ~read] @ found.basis
            if COMMON in found.read.kinds:
                columns = np.column_stack([columns, treated(doses)])
            of_read, slopes = self.parts[1].of_states(columns)
            through = slopes[:, :, : found.basis.shape[1]] @ found.basis.T
            of_read += np.einsum("icj,jc->ic", through**2, acted)
            state[:, read], noise[read] = of_read.T, self.parts[1].noise
        return state, noise

    def _of_new_drugs(self, doses: Array, states: Array) -> Array:
        """Variance of states, (m, c), by what drugs that were not seen may do by themselves."""
        design, nodes = self._found.design, self._found.acted.nodes
        phi = states / nodes.ranges[:, None] + np.tanh(nodes.theta[:, -1:])
        slope = 1 - np.clip(phi, -1, 1) ** 2
        squares = np.where(design.seen, 0, saturated(doses, design.saturation) / design.unit) ** 2
        found = np.zeros_like(states)
        for one in np.unique(design.classes[~design.seen]):
            of_class = squares[:, design.classes == one].sum(axis=1)
            found += np.outer(self.parts[0].of_a_drug(str(one)), of_class) * slope**2
        return found
