"""The CellBox model family: which equation, which edges, which parametrization.

A model is a declaration. It holds no data and computes nothing; backends turn it into numbers.

Sources: Yuan et al., Cell Systems 12:128 (2021) for the equation, its forms, degrees and
envelopes; Ji et al., arXiv 2104.06467, for the two variants of the Julia port.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox.common.arrays import unmasked
from pycellbox.common.labels import label_text
from pycellbox.common.options import (
    Value,
    checked,
    choice,
    either,
    flag,
    integer,
    number,
    optional,
    settle,
)
from pycellbox.errors import ModelError
from pycellbox.models.aligning import aligned
from pycellbox.models.layout import Array, Parameter
from pycellbox.models.model import Model
from pycellbox.models.structure import Structure

Envelope = Literal["tanh", "polynomial", "hill", "linear", "clip", "sigmoid"]
Form = Literal[0, 1, 2, "ji", "ji-code"]

ENVELOPES: tuple[Envelope, ...] = ("tanh", "polynomial", "hill", "linear", "clip", "sigmoid")
FORMS: tuple[Form, ...] = (0, 1, 2, "ji", "ji-code")
_WITH_ORDER = ("polynomial", "hill")

_EQUATIONS: dict[Form, str] = {
    0: "dx/dt = ε∘φ(Wx + u) − α∘x",
    1: "dx/dt = ε∘(φ(Wx) + u) − α∘x",
    2: "dx/dt = ε∘φ(Wx) + ψ∘u − α∘x",
    "ji": "dx/dt = α∘(φ(Wx − u) − x)",
    "ji-code": "dx/dt = α∘φ(Wx − u) − x",
}


_KAPPA = 0.25  # where nothing chooses it
_MOST_NODES = 20_000  # whose W takes 3.2 GB


def _as_mask(mask: Any) -> xr.DataArray | np.ndarray:
    """Make a boolean copy of the user's mask that cannot be written to, labelled if it was."""
    labelled: xr.DataArray | None = None
    if isinstance(mask, xr.DataArray):
        if set(mask.dims) != {"target", "source"}:
            raise ValueError(f"its dims are {mask.dims}")
        labelled = mask.transpose("target", "source")
    elif isinstance(mask, pd.DataFrame):
        labelled = xr.DataArray(
            mask.to_numpy(),
            dims=("target", "source"),
            coords={
                "target": list(map(label_text, mask.index)),
                "source": list(map(label_text, mask.columns)),
            },
        )
    values = unmasked(mask) if labelled is None else labelled.values
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"its shape is {values.shape}")
    if values.shape[0] > _MOST_NODES:  # a view of one number has any shape, and a copy none
        raise ValueError(f"its shape is {values.shape}, and at most {_MOST_NODES:,} nodes can be")
    if values.dtype != bool:
        numeric = values.dtype.kind in "iuf"
        if not numeric or not np.isin(values, (0, 1)).all():
            raise ValueError("it holds something else than True and False, or 0 and 1")
        values = values.astype(bool)
    values = values.copy()
    values.flags.writeable = False
    return values if labelled is None else labelled.copy(deep=True, data=values)


@checked(
    envelope=choice(*ENVELOPES),
    form=choice(*FORMS),
    degree=choice(1, 2),
    order=optional(integer(2)),
    drugs=choice("input", "clamped"),
    dose_saturation=optional(either("auto", number(0))),
    response_range=choice("free", "held"),
    drug_columns=choice("free", "shared"),
    operating_point=optional(flag()),
    common_effect=optional(flag()),
    drugs_on_phenotypes=flag(),
    self_interaction=flag(),
    mask=optional(Value(_as_mask, "True or False, (target, source), of n nodes × n nodes")),
)
@dataclass(frozen=True)
class CellBox(Model):
    """An interpretable ODE network, dx/dt = ε∘φ(Wx + u) − α∘x with x(0) = 0.

    Parameters
    ----------
    envelope : {"tanh", "polynomial", "hill", "linear", "clip", "sigmoid"}
        The saturating function φ. With k the ``order``: polynomial is
        ``sign(x)·|x|ᵏ/(1+|x|ᵏ)``; hill is 2(1−1/(1+max(x+1,0)ᵏ))−1; clip limits to [−1, 1];
        sigmoid is 1/(1+e⁻ˣ), which is not zero at rest, so that an unperturbed node moves.
    form : {0, 1, 2, "ji", "ji-code"}
        Where the perturbation u enters. 0: inside φ. 1: outside, scaled by ε, ε∘(φ(Wx)+u) − α∘x.
        2: outside with a strength of its own, ε∘φ(Wx) + ψ∘u − α∘x. "ji": the equation of the
        Julia port's paper, α∘(φ(Wx−u) − x). "ji-code": the one its code solves, α∘φ(Wx−u) − x, in
        which every node decays at the rate 1 in whatever unit of time the data have.
    degree : {1, 2}
        2 adds rowsum(W)∘x to Wx.
    order : int, optional
        k of the polynomial and hill envelopes, at least 2; default 2.
    drugs : {"input", "clamped"}
        "input": drug nodes obey the equation like every node. "clamped": a drug node is held at
        its perturbation for all time and the equation acts on the other nodes.
    dose_saturation : float, "auto" or None
        κ of the dose mapping d(u) = tanh(κu)/κ through which drug nodes see their dose, in
        1/(unit of u). Values near zero let the dose pass almost linearly; 0 is the linear limit
        d(u) = u. "auto": a fit that estimates its nodes (see `Recipe`) chooses it; elsewhere 0.25.
        None: the published equation, in which φ saturates the dose of a drug node like any other
        input (κ = 1 for tanh). Without drug nodes it has no effect.
    response_range : {"free", "held"}
        How far a node can go, ε/α. "free": ε and α are both fitted, from a start at which ε/α
        covers the data. "held": ε = r∘α with r fixed from the training data; not for the "ji"
        variants, which have no ε.
    drug_columns : {"shared", "free"}
        A matter of the fit alone. "shared": drugs have effects in common, so that one that the fit
        has not seen acts like the others instead of not at all. Training writes each drug's effects
        as W[:, j] = b₀ + B_j, one column common to all drugs plus the drug's own deviation; an
        estimate (see `Recipe`) has an input that drugs of a class share, and takes the typical one
        of its class for a drug not seen. "free" fits every column by itself.
    operating_point : bool, optional
        Whether each node has a resting input b of its own, on whose part of φ it stands:
        ε∘(φ(Wx + u + b) − φ(b)) − α∘x. An unperturbed network stays at rest whatever b is; where b
        is far from 0, a node falls farther than it rises, or the other way round. Form 0 alone;
        drug nodes have none. None: in fits that estimate their nodes (see `Recipe`).
    common_effect : bool, optional
        Whether all that is treated in any way has an input in common, such as that of the vehicle
        or of handling: ``common`` is added to Wx + u in conditions where u is not 0. Form 0 alone;
        drug nodes have none. None: in fits that estimate their nodes.
    drugs_on_phenotypes : bool
        Whether drugs may act on phenotypes directly. The published model says no.
    self_interaction : bool
        Whether a node may act on itself, W[i, i] ≠ 0. The published model says no.
    mask : array-like of bool, optional
        Prior knowledge: (target, source) with True where an edge may exist. A labelled DataArray
        (dims target, source) or DataFrame (index target, columns source) is aligned by label; a
        plain (n, n) array is taken in node order. It only removes edges: the structural mask
        (nothing into drugs, nothing out of phenotypes; no self-interaction and no drug → phenotype
        edge, unless asked for) always holds.

    Raises
    ------
    OptionError
        An option is not what is needed.
    ModelError
        Two options contradict each other.

    Notes
    -----
    α, ε and ψ are positive: training sees them through softplus. b and ``common`` have any sign and
    start at 0; learning rates know them as the groups ``operating_point`` and ``common_effect``.
    All quantities are dimensionless log-ratios; time is in the unit of the data, or arbitrary for
    steady states.
    """

    envelope: Envelope = "tanh"
    form: Form = 0
    degree: Literal[1, 2] = 1
    order: int | None = None
    drugs: Literal["input", "clamped"] = "input"
    dose_saturation: float | Literal["auto"] | None = "auto"
    response_range: Literal["free", "held"] = "free"
    drug_columns: Literal["free", "shared"] = "shared"
    operating_point: bool | None = None
    common_effect: bool | None = None
    drugs_on_phenotypes: bool = False
    self_interaction: bool = False
    mask: Any = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.envelope in _WITH_ORDER:
            settle(self, "order", 2 if self.order is None else self.order)
        elif self.order is not None:
            raise ModelError(
                f"order={self.order} has no meaning for the {self.envelope} envelope; "
                f"leave it out or choose one of {', '.join(_WITH_ORDER)}."
            )
        if self.response_range == "held" and "epsilon" not in self.rates:
            raise ModelError(
                f'response_range="held" ties ε to α, but form {self.form!r} has no ε; '
                'use response_range="free".'
            )
        for name in ("operating_point", "common_effect"):
            if getattr(self, name) and self.form != 0:
                raise ModelError(
                    f"{name}=True is an input inside φ, beside u, which is there in form 0 alone; "
                    f"this is form {self.form!r}: use form=0, or {name}=False."
                )

    @property
    def kappa(self) -> float | None:
        """The κ of the doses; None where φ saturates them."""
        return _KAPPA if self.dose_saturation == "auto" else self.dose_saturation

    @property
    def rates(self) -> tuple[str, ...]:
        """Names of the positive per-node parameters of this form, in storage order."""
        if self.form in ("ji", "ji-code"):
            return ("alpha",)
        return ("alpha", "epsilon", "psi") if self.form == 2 else ("alpha", "epsilon")

    @property
    def shifts(self) -> dict[str, str]:
        """Parameters of any sign beside Wx + u, by name: the group of each, in storage order."""
        has = {"b": "operating_point", "common": "common_effect"}
        return {name: option for name, option in has.items() if getattr(self, option)}

    @property
    def equation(self) -> str:
        """The equation in one line, for reports."""
        if not self.shifts:
            return _EQUATIONS[self.form]
        inside = " + ".join(["Wx", "u", *({"b": "b", "common": "c·[u≠0]"}[s] for s in self.shifts)])
        if self.operating_point:
            return f"dx/dt = ε∘(φ({inside}) − φ(b)) − α∘x"
        return f"dx/dt = ε∘φ({inside}) − α∘x"

    @property
    def summary(self) -> str:
        """The equation, and its envelope."""
        return f"{self.equation}, φ = {self.envelope}"

    def declare(self, nodes: Sequence[str], node_kind: Sequence[str]) -> tuple[Parameter, ...]:
        """Return W, the rates, and the shifts."""
        is_drug = np.array([k == "drug" for k in node_kind], dtype=bool)
        is_phenotype = np.array([k == "phenotype" for k in node_kind], dtype=bool)
        if self.drugs == "clamped" and not is_drug.any():
            raise ModelError(
                'drugs="clamped" holds drug nodes at their perturbation, but no node is of kind '
                '"drug"; give node_kind, or use drugs="input".'
            )
        mask = self._structural_mask(is_drug, is_phenotype)
        if self.mask is not None:
            mask &= prior_mask(self.mask, nodes)
        n = len(nodes)
        groups = np.full((n, n), "node_to_node", dtype=object)
        groups[is_phenotype, :] = "node_to_phenotype"
        groups[:, is_drug] = "drug_to_node"
        W = Parameter("W", ("target", "source"), (n, n), groups, fixed=~mask)
        return (
            W,
            *(
                Parameter(
                    name, ("node",), (n,), lower=0.0, start=1.0, per_time=self.form != "ji-code"
                )
                for name in self.rates
            ),
            *(
                Parameter(name, ("node",), (n,), group, fixed=is_drug)
                for name, group in self.shifts.items()
            ),
        )

    def _structural_mask(self, is_drug: Array, is_phenotype: Array) -> Array:
        return structural_mask(
            is_drug, is_phenotype, self.self_interaction, self.drugs_on_phenotypes
        )

    def check(self, structure: Structure) -> None:
        """Refuse a network without a single edge."""
        if structure.mask.any():
            return
        kinds, node_kind = structure.is_drug, structure.node_kind
        if self._structural_mask(kinds, structure.is_phenotype).any():
            raise ModelError(
                "the model's mask allows no interaction that the node kinds allow, so that there "
                "is nothing to fit: allow some in CellBox(mask=...), or leave the mask out."
            )
        counts = ", ".join(f"{node_kind.count(k)} {k}" for k in sorted(set(node_kind)))
        raise ModelError(
            f"nodes of these kinds ({counts}) allow no interaction, so that there is nothing to "
            "fit: nothing acts on a drug, a phenotype acts on nothing, a drug acts on a phenotype "
            "only through proteins unless drugs_on_phenotypes=True, and a node on itself only with "
            "self_interaction=True. Measure proteins too, or give the measured nodes the node_kind "
            "'protein'."
        )


def check_network(model: object, done: str) -> CellBox:
    """Refuse equations that are no networks of interactions W, and say what is not ``done``.

    Raises
    ------
    ModelError
    """
    if not isinstance(model, CellBox):
        raise ModelError(
            f"the model is a {type(model).__name__}; only networks of interactions, pcb.CellBox, "
            f"can be {done}."
        )
    return model


def structural_mask(
    is_drug: Array,
    is_phenotype: Array,
    self_interaction: bool,
    drugs_on_phenotypes: bool = False,
) -> Array:
    """Where node kinds allow an interaction; bool, (n, n), [target, source]."""
    n = is_drug.size
    mask = np.ones((n, n), dtype=bool) if self_interaction else ~np.eye(n, dtype=bool)
    mask[is_drug, :] = False
    mask[:, is_phenotype] = False
    if not drugs_on_phenotypes:
        mask[np.ix_(is_phenotype, is_drug)] = False
    return mask


def prior_mask(mask: xr.DataArray | Array, nodes: Sequence[str]) -> Array:
    """Return a model's own mask in node order, bool (n, n)."""
    if isinstance(mask, xr.DataArray):
        return aligned("mask", mask, {"target": nodes, "source": nodes}).astype(bool)
    if mask.shape[0] != len(nodes):
        raise ModelError(f"mask has shape {mask.shape}; the data has {len(nodes)} nodes.")
    return mask
