"""A model laid over named nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.common.labels import label_text
from pycellbox.models.layout import Array, Layout, Parameter

LEVEL, LEVEL_OF = "level", "level_of"
"""Name of the parameter that holds fitted levels, and its dimension."""


@dataclass(frozen=True)
class Structure:
    """A model laid over named nodes: everything a backend must know besides numbers.

    Attributes
    ----------
    model : Model
    nodes, node_kind : tuple of str, length n
    layout : Layout
        Of the effective parameters.
    levels : tuple of str
        Labels of the levels of an experiment that are fitted beside the model's parameters: where
        nodes are held, or states begin.
    internal : int
        How many of the nodes, the last ones, are there for driving signals alone: their values,
        slopes and time. Labelled results are without them.
    """

    model: Any
    nodes: tuple[str, ...]
    node_kind: tuple[str, ...]
    layout: Layout
    levels: tuple[str, ...] = ()
    internal: int = 0

    @classmethod
    def over(
        cls,
        model: Any,
        nodes: Iterable[Any],
        node_kind: Iterable[Any],
        signals: Sequence[str] = (),
        *,
        linear: bool = False,
    ) -> Structure:
        """Lay ``model`` over nodes of the given kinds, and driving signals; see `Model.driven`.

        Raises
        ------
        ModelError
            The model cannot be laid over them.
        """
        names = tuple(label_text(n) for n in nodes)
        kinds, more = tuple(str(k) for k in node_kind), tuple[str, ...]()
        if signals:
            model, more = model.driven(signals, linear=linear)
        names, kinds = (*names, *more), (*kinds, *["hidden"] * len(more))
        layout = Layout(model.declare(names, kinds))
        return cls(model, names, kinds, layout, internal=len(more))

    @property
    def known(self) -> slice:
        """Which of the nodes those of the data are."""
        return slice(0, len(self.nodes) - self.internal)

    def with_levels(self, labels: tuple[str, ...], starts: Array) -> Structure:
        """Return it with levels to be fitted, from these numbers on, (m,)."""
        level = Parameter(LEVEL, (LEVEL_OF,), (len(labels),), start=starts)
        return replace(self, layout=Layout((*self.layout.parameters, level)), levels=labels)

    @property
    def plain(self) -> Structure:
        """The model's parameters alone, as backends know them."""
        if not self.levels:
            return self
        kept = tuple(p for p in self.layout.parameters if p.name != LEVEL)
        return replace(self, layout=Layout(kept), levels=())

    def labels_of(self, dim: str) -> tuple[str, ...]:
        """Return the labels along a dimension of its parameters."""
        if dim == LEVEL_OF:
            return self.levels
        for p in self.layout.parameters:
            if dim in p.dims and p.labels:
                return p.labels[p.dims.index(dim)]
        return self.nodes

    @property
    def n_nodes(self) -> int:
        """Number of nodes, drugs and phenotypes included."""
        return len(self.nodes)

    @cached_property
    def is_drug(self) -> Array:
        """Bool, (n,)."""
        return np.array([k == "drug" for k in self.node_kind], dtype=bool)

    @cached_property
    def is_phenotype(self) -> Array:
        """Bool, (n,)."""
        return np.array([k == "phenotype" for k in self.node_kind], dtype=bool)

    @cached_property
    def mask(self) -> Array:
        """Where a network's W may differ from zero; bool, (n, n), [target, source]."""
        fixed = self.layout["W"].fixed
        assert fixed is not None
        return ~fixed

    def check(self) -> None:
        """Refuse a structure in which there is nothing to fit.

        Raises
        ------
        ModelError
        """
        self.model.check(self)
