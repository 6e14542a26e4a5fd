"""What a fit minimizes: a loss over the measured entries, and penalties on the interactions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pycellbox.common.frozen import Frozen
from pycellbox.common.options import (
    Value,
    checked,
    choice,
    did_you_mean,
    instance,
    number,
    settle,
    shown,
)

LossName = Literal["mse", "mae", "huber"]
LOSSES: tuple[LossName, ...] = ("mse", "mae", "huber")

EDGE_GROUPS = ("drug_to_node", "drug_shared", "node_to_node", "node_to_phenotype")
"""The groups of W that have strengths and learning rates of their own.

``drug_to_node`` is W[:, drug], or each drug's deviation B_j with shared drug columns;
``drug_shared`` the common column b₀; ``node_to_phenotype`` the rows of phenotypes;
``node_to_node`` the rest.
"""

SHIFT_GROUPS = ("operating_point", "common_effect")
"""The groups of inputs inside the envelope that a CellBox may have beside W."""

PENALIZED = (*EDGE_GROUPS, *SHIFT_GROUPS)


@checked(name=choice(*LOSSES), delta=number(0, above=True))
@dataclass(frozen=True)
class Loss:
    """Mean of ℓ(r) over the measured entries, r = (predicted − observed)/sigma.

    Parameters
    ----------
    name : {"mse", "mae", "huber"}
        r², ``|r|``, or Huber's r²/2 up to ``delta`` and ``δ(|r| − δ/2)`` beyond.
    delta : float
        Huber's threshold, in units of r: of sigma where the data has one, else of the response.
    """

    name: LossName = "mse"
    delta: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for provenance.

        Returns
        -------
        dict
            By name.
        """
        return dataclasses.asdict(self)


LOSS = Value(
    lambda given: given if isinstance(given, Loss) else Loss(choice(*LOSSES).read(given)),
    f"one of {', '.join(map(repr, LOSSES))}, or a pcb.Loss",
)


def _read_strengths(given: object) -> Any:
    """Read a number, or numbers by group of edges or by name of a parameter."""
    if not isinstance(given, Mapping):
        return number(0).read(given)
    for name in given:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{shown(name)} is no name")
        if name not in PENALIZED and (hint := did_you_mean(name, PENALIZED)):
            raise ValueError(f"{shown(name)} is unknown{hint}")
    return Frozen({str(name): number(0).read(one) for name, one in given.items()})


_STRENGTH = Value(
    _read_strengths,
    f"{number(0).needs}, or a mapping to such from some of {', '.join(PENALIZED)} or from names of "
    "parameters",
)


@checked(l1=_STRENGTH, l2=_STRENGTH, scale=choice("mean", "sum"), of=choice("raw", "effective"))
@dataclass(frozen=True)
class Penalty:
    """L1 and L2 penalties on W, by group of edges, on shifts, and on parameters by name.

    The objective is ``loss + s·Σ_g (l1_g·Σ|W| + l2_g·ΣW²)`` over the edges of each group g, and
    likewise over the operating points b and common effects of models that have them.

    Parameters
    ----------
    l1, l2 : float or mapping
        One strength for the whole of W, or one for each of the groups ``drug_to_node``,
        ``drug_shared``, ``node_to_node``, ``node_to_phenotype``; groups left out are not
        penalized, but ``drug_shared`` and ``node_to_phenotype`` follow ``drug_to_node`` and
        ``node_to_node`` when only those two are named. ``operating_point`` and ``common_effect``
        are penalized only where they are named. Parameters of equations of one's own are penalized
        by their names, ``{"A": 0.1}``: all of their entries that are fitted, by their values.
    scale : {"mean", "sum"}
        "mean": s = 1, the strengths stand beside the mean loss, as in CellBox's configurations.
        "sum": s = 1/(number of measured training entries), the strengths stand beside the *sum*
        of losses, as in ridge regression, and keep their meaning when data is added.
    of : {"raw", "effective"}
        Which W is meant where drugs share a column: "raw", the common column b₀ and each drug's
        deviation B_j by themselves; "effective", the sum of the two, W itself. With parameters by
        name it is "effective".
    """

    l1: float | Mapping[str, float] = field(default=0.0, compare=False)
    l2: float | Mapping[str, float] = field(default=0.0, compare=False)
    scale: Literal["mean", "sum"] = "mean"
    of: Literal["raw", "effective"] = "raw"
    _l1: Frozen[float] = field(init=False, repr=False)
    _l2: Frozen[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for kind in ("l1", "l2"):
            settle(self, f"_{kind}", Frozen(by_group(getattr(self, kind))))

    @property
    def named(self) -> tuple[str, ...]:
        """Parameters that are penalized by their names."""
        return tuple(sorted({*self._l1, *self._l2} - {*PENALIZED}))

    @property
    def sees_raw(self) -> bool:
        """Whether it is of raw parameters, and not of effective ones."""
        return self.of == "raw" and not self.named

    @checked(kind=choice("l1", "l2"))
    def strengths(self, kind: Literal["l1", "l2"]) -> dict[str, float]:
        """Strength of every group, before scaling.

        Parameters
        ----------
        kind : {"l1", "l2"}
            Which of the two.

        Returns
        -------
        dict of str to float
            By group: all of edges, and those of shifts and parameters that are penalized.
        """
        return dict(self._l1 if kind == "l1" else self._l2)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for provenance.

        Returns
        -------
        dict
            By name.
        """
        return {
            "l1": self.strengths("l1"),
            "l2": self.strengths("l2"),
            "scale": self.scale,
            "of": self.of,
        }


PENALTY = instance(Penalty, "a penalty, such as pcb.Penalty(l1=0.01)")


def by_group(value: float | Mapping[str, float]) -> dict[str, float]:
    """Spread a number over the edge groups, or complete a mapping."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(EDGE_GROUPS, value)
    said = {group: each for group, each in value.items() if group in EDGE_GROUPS or each}
    full = dict.fromkeys(EDGE_GROUPS, 0.0) | said
    if set(value) <= {"drug_to_node", "node_to_node"}:
        full["drug_shared"] = full["drug_to_node"]
        full["node_to_phenotype"] = full["node_to_node"]
    return full
