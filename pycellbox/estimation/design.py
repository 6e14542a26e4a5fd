"""What doses are to the nodes: saturated, in units of their size, with what all have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.baselines.baseline import by_pattern
from pycellbox.baselines.ridge import RidgePath
from pycellbox.problem import Array

SATURATIONS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""κ of d(u) = tanh(κu)/κ to choose from, per unit of dose."""
_ALPHAS = np.logspace(-3, 3, 25)

DRUG, COMMON, SHARED = 0, 1, 2
"""Kinds of columns: one drug's own effect, that of any treatment, and that of the total dose."""


@dataclass(frozen=True)
class Design:
    """The inputs of a screen.

    Attributes
    ----------
    saturation : float
        κ, 0 for doses as they are.
    unit : float
        Root mean square of the saturated doses that are not 0.
    seen : ndarray of bool, (drug,)
        Drugs with a dose in the screen. The others have no column.
    sign : ndarray, (drug,)
        1 or −1: that of a drug's doses, so that for what drugs have in common the sign that a
        table gives to doses does not matter. Drugs not seen have that of most.
    """

    saturation: float
    unit: float
    seen: Array
    sign: Array

    @classmethod
    def of(cls, doses: Array, outputs: Array) -> Design:
        """Choose κ, and take units and signs from doses (c, drug) of which one at least is not 0.

        κ is that of the ridge regression of ``outputs``, (c, node), NaN where not measured, with
        the least squared error of leaving conditions out; 0 where all doses are equal, which says
        nothing of κ.
        """
        seen = (doses != 0).any(axis=0)
        several = np.unique(np.abs(doses[doses != 0])).size > 1
        candidates = SATURATIONS if several else (0.0,)
        kappa = min(candidates, key=lambda k: left_out(saturated(doses[:, seen], k), outputs))
        units = saturated(doses, kappa)
        total = np.sign(units.sum(axis=0))
        most = 1.0 if total.sum() >= 0 else -1.0
        unit = float(np.sqrt((units[units != 0] ** 2).mean()))
        return cls(kappa, unit, seen, np.where(total == 0, most, total))

    @property
    def kinds(self) -> Array:
        """Kind of each column, (p,): seen drugs, the common effect, the shared column."""
        return np.repeat([DRUG, COMMON, SHARED], [int(self.seen.sum()), 1, 1])

    def __call__(self, doses: Array) -> Array:
        """Columns (c, p) of doses (c, drug)."""
        units = saturated(doses, self.saturation) / self.unit
        treated = (doses != 0).any(axis=1)
        total = (units * self.sign)[:, self.seen].sum(axis=1)
        return np.column_stack([units[:, self.seen], treated, total])


def saturated(doses: Array, kappa: float) -> Array:
    """d(u) = tanh(κu)/κ, u for κ = 0."""
    return np.tanh(kappa * doses) / kappa if kappa else doses


def left_out(doses: Array, outputs: Array) -> float:
    """Squared error of ridge regression on conditions left out one by one, at its best strength."""
    errors = np.zeros(_ALPHAS.size)
    for rows, columns in by_pattern(outputs):
        path = RidgePath(doses[rows], outputs[np.ix_(rows, columns)])
        errors += [float((path.left_out(alpha) ** 2).sum()) for alpha in _ALPHAS]
    return float(errors.min())
