"""What doses are to the nodes: saturated, in units of their size, with what all have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.baselines.baseline import by_pattern
from pycellbox.baselines.ridge import RidgePath
from pycellbox.problem import Array

SATURATIONS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""κ of d(u) = tanh(κu)/κ to choose from, per root mean square of the doses given."""
_ALPHAS = np.logspace(-3, 3, 25)

DRUG, COMMON, SHARED = "drugs", "common", "shared"
"""Kinds of columns, by the names of their strengths: one drug's own effect, that of any treatment,
and that of the total dose of a class of drugs. With classes "drugs of x", "shared of x"."""


@dataclass(frozen=True)
class Parts:
    """What an estimate has beside drugs' own effects.

    Attributes
    ----------
    operating_point, common, shared : bool
        Whether nodes have operating points, all treatments a common effect, drugs a shared column.
    drugs, read : bool
        Whether drugs act on nodes at all, and whether phenotypes are read from other nodes.
    robust : bool
        Whether responses far off count less.
    saturation : float, optional
        κ of the doses; None: to be chosen.
    """

    operating_point: bool = True
    common: bool = True
    shared: bool = True
    drugs: bool = True
    read: bool = True
    robust: bool = True
    saturation: float | None = None


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
        table gives to doses does not matter. Drugs not seen have that of most of their class.
    classes : ndarray of str, (drug,)
        Drugs of one class share; "" of all where there are no classes.
    parts : Parts
        What there is beside drugs' own effects.
    """

    saturation: float
    unit: float
    seen: Array
    sign: Array
    classes: Array
    parts: Parts

    @classmethod
    def of(
        cls,
        doses: Array,
        outputs: Array,
        parts: Parts | None = None,
        classes: Array | None = None,
    ) -> Design:
        """Choose κ, and take units and signs from doses (c, drug) of which one at least is not 0.

        κ is that of the ridge regression of ``outputs``, (c, node), NaN where not measured, with
        the least squared error of leaving conditions out; 0 where all doses are equal, which says
        nothing of κ. ``parts`` may say another.
        """
        parts = parts or Parts()
        classes = np.full(doses.shape[1], "") if classes is None else classes
        seen, given = (doses != 0).any(axis=0), doses[doses != 0]
        several = np.unique(np.abs(given)).size > 1
        candidates = [0.0]
        if parts.saturation is not None:
            candidates = [parts.saturation]
        elif several:
            candidates = [k / root_mean_square(given) for k in SATURATIONS]
        kappa = min(candidates, key=lambda k: left_out(saturated(doses[:, seen], k), outputs))
        units = saturated(doses, kappa)
        sign = np.sign(units.sum(axis=0))
        for one in np.unique(classes):
            most = 1.0 if sign[classes == one].sum() >= 0 else -1.0
            sign[(classes == one) & (sign == 0)] = most
        return cls(kappa, root_mean_square(units[units != 0]), seen, sign, classes, parts)

    @property
    def kinds(self) -> Array:
        """Kind of each column, (p,): seen drugs, the common effect, the shared columns."""
        drugs = [kind_of(DRUG, one) for one in self.classes[self.seen & self.parts.drugs]]
        common = [COMMON] if self.parts.common else []
        return np.array([*drugs, *common, *(kind_of(SHARED, one) for one in self.sharing)])

    @property
    def sharing(self) -> list[str]:
        """Classes whose drugs share a column: two or more were seen, or it is the only class."""
        if not (self.parts.shared and self.parts.drugs):
            return []
        names, counts = np.unique(self.classes[self.seen], return_counts=True)
        return [str(name) for name, n in zip(names, counts, strict=True) if n > 1 or not name]

    def __call__(self, doses: Array) -> Array:
        """Columns (c, p) of doses (c, drug)."""
        units = saturated(doses, self.saturation) / self.unit
        columns = [units[:, self.seen & self.parts.drugs]]
        if self.parts.common:
            columns.append(treated(doses)[:, None])
        for one in self.sharing:
            of_class = self.seen & (self.classes == one)
            columns.append((units * self.sign)[:, of_class].sum(axis=1, keepdims=True))
        return np.concatenate(columns, axis=1)

    def effects(self, theta: Array) -> Array:
        """Effects z per d(u) of the drugs seen, (m, seen), from coefficients (m, p) of columns."""
        kinds, classes = self.kinds, self.classes[self.seen]
        if not self.parts.drugs:
            return np.zeros((len(theta), classes.size))
        V: Array = theta[:, : classes.size].copy()
        for one in self.sharing:
            of_class = classes == one
            shared = theta[:, kinds == kind_of(SHARED, one)]
            V[:, of_class] += shared * self.sign[self.seen][of_class]
        return V / self.unit


def base(kind: str) -> str:
    """Return the kind without the class."""
    return kind.partition(" of ")[0]


def kind_of(kind: str, one: str) -> str:
    """Return the kind of a column of a class of drugs."""
    return f"{kind} of {one}" if one else kind


def root_mean_square(values: Array) -> float:
    """Return the size of numbers."""
    return float(np.sqrt((values**2).mean()))


def treated(doses: Array) -> Array:
    """Return 1 of conditions (c,) with any dose, else 0."""
    return np.where((doses != 0).any(axis=1), 1.0, 0.0)


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
