"""A network and its rates: the truth behind a simulated experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import views
from pycellbox.common.labels import labels_along, listed
from pycellbox.common.options import as_text, checked, flag, instance, optional, settle
from pycellbox.data import NODE_KINDS
from pycellbox.errors import ModelError
from pycellbox.models import CellBox, Structure

RATES = ("alpha", "epsilon", "psi")
SHIFTS = ("b", "common")
_DIMS: dict[str, tuple[str, ...]] = {
    "node_kind": ("node",),
    "W": ("target", "source"),
    **{name: ("node",) for name in (*RATES, *SHIFTS)},
}
_EVERY: Any = None  # a rate that is left out is 1 for every node, a shift 0


_EACH = instance(xr.DataArray, "a DataArray (node), with labels")


@checked(
    W=instance(xr.DataArray, "a DataArray (target, source), with labels"),
    node_kind=_EACH,
    alpha=_EACH,
    epsilon=optional(_EACH),
    psi=optional(_EACH),
    b=optional(_EACH),
    common=optional(_EACH),
    self_interaction=flag(),
    drugs_on_phenotypes=flag(),
)
@dataclass(frozen=True, eq=False)
class Network:
    """A network and its rates: the parameters of dx/dt = ε∘φ(Wx + u) − α∘x and its variants.

    Parameters
    ----------
    W : DataArray (target, source)
        Interactions, dimensionless; 0 is no edge.
    node_kind : DataArray of str (node)
        "protein", "phenotype" or "drug", labelled with the nodes, in the order of ``W``.
    alpha : DataArray (node)
        Decay rate, 1/time, positive; the only rate of the "ji" forms.
    epsilon, psi : DataArray (node), optional
        Strength of the regulation, and of the perturbation in form 2, response/time; positive.
        1 for every node where left out.
    self_interaction : bool
        Whether a node may act on itself, as in ``CellBox(self_interaction=True)``.
    b, common : DataArray (node), optional
        Operating point, as in ``CellBox(operating_point=True)``, and common effect of all that is
        given, as in ``CellBox(common_effect=True)``; 0 of drugs, and of every node where left out.
    drugs_on_phenotypes : bool
        Whether drugs may act on phenotypes, as in ``CellBox(drugs_on_phenotypes=True)``.

    Raises
    ------
    ModelError
        Labels or dims disagree, a number is not finite, a rate is not positive, a drug has an
        operating point or a common effect, or an edge is where CellBox allows none.
    """

    W: xr.DataArray
    node_kind: xr.DataArray
    alpha: xr.DataArray
    epsilon: xr.DataArray = _EVERY
    psi: xr.DataArray = _EVERY
    self_interaction: bool = False
    b: xr.DataArray = _EVERY
    common: xr.DataArray = _EVERY
    drugs_on_phenotypes: bool = False

    def __post_init__(self) -> None:
        for name, value in {"epsilon": 1.0, "psi": 1.0, "b": 0.0, "common": 0.0}.items():
            if getattr(self, name) is None:
                settle(self, name, xr.full_like(self.alpha, value, dtype=np.float64))
        for name, dims in _DIMS.items():
            if (array := getattr(self, name)).dims != dims:
                raise ModelError(f"{name} has dims {array.dims}; it needs {dims}.")
        for name in _DIMS:
            # Checked once, so that it may not change any more.
            array = getattr(self, name).copy(deep=True)
            array.values.flags.writeable = False
            settle(self, name, array)
        strange = {*map(as_text, self.node_kind.values)} - {*NODE_KINDS}
        if strange:
            raise ModelError(
                f"unknown node_kind {listed(sorted(strange))}; allowed: {', '.join(NODE_KINDS)}."
            )
        nodes = self.nodes
        if len(set(nodes)) < len(nodes):
            raise ModelError("node_kind names a node twice; every node needs a name of its own.")
        for name, dims in _DIMS.items():
            array = getattr(self, name)
            if array.dims != dims or any(
                dim not in array.coords or tuple(labels_along(array, dim)) != nodes for dim in dims
            ):
                raise ModelError(
                    f"{name} has dims {array.dims}; it needs {dims} with the labels of node_kind, "
                    "in the same order."
                )
            if name != "node_kind" and array.dtype.kind not in "biuf":
                raise ModelError(f"{name} has dtype {array.dtype}; it needs real numbers.")
            if name != "node_kind" and not np.isfinite(array.values).all():
                raise ModelError(f"{name} holds NaN or infinity.")
        for name in RATES:
            if not (getattr(self, name).values > 0).all():
                raise ModelError(f"{name} needs to be positive for every node.")
        for name in SHIFTS:
            if getattr(self, name).values[self.node_kind.values == "drug"].any():
                raise ModelError(f"{name} is not zero of every drug; drugs have none.")
        stray = np.argwhere((self.W.values != 0) & ~self.mask.values)
        if len(stray):
            target, source = (nodes[i] for i in stray[0])
            raise ModelError(
                f"W[{target!r}, {source!r}] is not zero, but a node does not act on itself "
                "(self_interaction=True allows it), nothing acts on a drug, a phenotype acts on "
                "nothing, and a drug acts on a phenotype only through proteins "
                "(drugs_on_phenotypes=True allows it)."
            )

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node names, in order."""
        return tuple(labels_along(self.node_kind, "node"))

    @property
    def drugs(self) -> tuple[str, ...]:
        """Names of the drug nodes, in order."""
        kinds = zip(self.nodes, self.node_kind.values, strict=True)
        return tuple(name for name, kind in kinds if kind == "drug")

    @property
    def mask(self) -> xr.DataArray:
        """Where an edge may exist, bool (target, source)."""
        structure = Structure.over(self.model, self.nodes, self.node_kind.values)
        mask: xr.DataArray = self.W.copy(data=structure.mask)
        return mask

    @property
    def model(self) -> CellBox:
        """A `CellBox` with the options that the network needs, and else the defaults."""
        return CellBox(
            self_interaction=self.self_interaction,
            drugs_on_phenotypes=self.drugs_on_phenotypes,
            operating_point=bool(self.b.values.any()) or None,
            common_effect=bool(self.common.values.any()) or None,
        )

    @property
    def parameters(self) -> xr.Dataset:
        """What `pycellbox.solve` takes: W (target, source); the rates, b and common (node)."""
        each = {name: getattr(self, name) for name in (*RATES, *SHIFTS)}
        kinds = {"node_kind": ("node", self.node_kind.values)}
        return xr.Dataset({"W": self.W, **each}, coords=kinds)

    def __repr__(self) -> str:
        return f"Network({self._kinds()}; {self._edges} edges)"

    def _repr_html_(self) -> str:
        shifts = [name for name in SHIFTS if getattr(self, name).values.any()]
        each = {name: getattr(self, name).values for name in (*RATES, *shifts)}
        rows = [
            (name, f"{r.min():.3g}" if r.min() == r.max() else f"{r.min():.3g} to {r.max():.3g}")
            for name, r in each.items()
        ]
        return views.card(
            f"Network: {self._edges} edges",
            [("nodes", self._kinds()), *rows],
            views.strongest(self.W),
        )

    @property
    def _edges(self) -> int:
        return int(np.count_nonzero(self.W.values))

    def _kinds(self) -> str:
        kinds = [str(kind) for kind in self.node_kind.values]
        number = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
        return f"{len(kinds)} nodes: {number}"


def make_network(
    W: npt.NDArray[np.float64],
    nodes: Sequence[str],
    kinds: Sequence[str] | None = None,
    *,
    alpha: npt.NDArray[np.float64] | None = None,
) -> Network:
    """Label arrays as a network; by default of proteins, with rates of 1.

    A node may act on itself if, and only if, some node of ``W`` does.
    """
    labels = list(nodes)
    rates = np.ones(len(labels)) if alpha is None else alpha
    coords = {"node": labels}
    kinds = ["protein"] * len(labels) if kinds is None else list(kinds)
    return Network(
        W=xr.DataArray(W, dims=("target", "source"), coords={"target": labels, "source": labels}),
        node_kind=xr.DataArray(kinds, dims=("node",), coords=coords),
        alpha=xr.DataArray(rates, dims=("node",), coords=coords),
        self_interaction=bool(np.diagonal(W).any()),
    )
