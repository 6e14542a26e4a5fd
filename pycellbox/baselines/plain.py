"""Baselines with nothing to choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.baselines.baseline import (
    Baseline,
    Bools,
    Floats,
    Inputs,
    Linear,
    by_pattern,
    need_doses,
)


@dataclass(eq=False)
class NoChange(Baseline):
    """Predicts 0 everywhere, the response of the control."""

    def _estimate(self, doses: Floats, sizes: Floats, outputs: Floats, drugs: Bools) -> Linear:
        return _constant(doses, np.zeros(outputs.shape[1]))


@dataclass(eq=False)
class MeanResponse(Baseline):
    """Predicts each node's mean training response, whatever the perturbation."""

    def _estimate(self, doses: Floats, sizes: Floats, outputs: Floats, drugs: Bools) -> Linear:
        count = (~np.isnan(outputs)).sum(axis=0)
        return _constant(doses, np.nansum(outputs, axis=0) / np.maximum(count, 1))


@dataclass(eq=False)
class AdditiveEffects(Baseline):
    """Predicts a combination as the sum of its drugs' effects, each linear in its dose.

    A drug's effect on a node is the least-squares line through zero over the conditions in which
    it is perturbed alone. For a drug without such conditions it is the least-squares solution
    over the combinations with it, after the effects known from singles are taken off.
    """

    def _estimate(self, doses: Floats, sizes: Floats, outputs: Floats, drugs: Bools) -> Linear:
        need_doses(doses)
        effects = np.zeros((doses.shape[1], outputs.shape[1]))
        for rows, columns in by_pattern(outputs):
            x, y = doses[rows], outputs[np.ix_(rows, columns)]
            alone = (x != 0).sum(axis=1) == 1
            power = (x[alone] ** 2).sum(axis=0)
            known = power > 0
            b = np.zeros((x.shape[1], columns.size))
            b[known] = (x[alone].T @ y[alone])[known] / power[known, None]
            rest = ~known & (x != 0).any(axis=0)
            if rest.any():
                combos = (x[:, rest] != 0).any(axis=1)
                left = y[combos] - x[combos] @ b
                b[rest] = np.linalg.lstsq(x[np.ix_(combos, rest)], left, rcond=None)[0]
            effects[:, columns] = b
        return Linear(Inputs(), effects, np.zeros(outputs.shape[1]))


def _constant(doses: Floats, values: Floats) -> Linear:
    return Linear(Inputs(), np.zeros((doses.shape[1], values.size)), values)
