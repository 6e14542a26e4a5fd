"""A model laid over named nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.common.labels import label_text
from pycellbox.models.layout import Array, Layout


@dataclass(frozen=True)
class Structure:
    """A model laid over named nodes: everything a backend must know besides numbers.

    Attributes
    ----------
    model : Model
    nodes, node_kind : tuple of str, length n
    layout : Layout
        Of the effective parameters.
    """

    model: Any
    nodes: tuple[str, ...]
    node_kind: tuple[str, ...]
    layout: Layout

    @classmethod
    def over(cls, model: Any, nodes: Iterable[Any], node_kind: Iterable[Any]) -> Structure:
        """Lay ``model`` over nodes of the given kinds.

        Raises
        ------
        ModelError
            The model cannot be laid over them.
        """
        names = tuple(label_text(n) for n in nodes)
        kinds = tuple(str(k) for k in node_kind)
        return cls(model, names, kinds, Layout(model.declare(names, kinds)))

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
