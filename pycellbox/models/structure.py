"""A model laid over named nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.common.labels import label_text, listed
from pycellbox.common.options import did_you_mean
from pycellbox.errors import DataError, ModelError
from pycellbox.models.layout import Array, Layout, Parameter

LEVEL, LEVEL_OF = "level", "level_of"
"""Name of the parameter that holds fitted levels, and its dimension."""
MEMBERS = ("condition", "subject")
"""What parameters may differ by."""
_NUMBER = "number of the {}"


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
        slopes and time, and for the numbers of what conditions are members of. Labelled results
        are without them.
    members : tuple of str
        Dimensions along which parameters differ, "condition" or "subject". The last nodes have the
        number of each condition's label along them, in place of a dose.
    """

    model: Any
    nodes: tuple[str, ...]
    node_kind: tuple[str, ...]
    layout: Layout
    levels: tuple[str, ...] = ()
    internal: int = 0
    members: tuple[str, ...] = ()

    @classmethod
    def over(
        cls,
        model: Any,
        nodes: Iterable[Any],
        node_kind: Iterable[Any],
        signals: Sequence[str] = (),
        *,
        linear: bool = False,
        labels: Mapping[str, Sequence[str]] | None = None,
    ) -> Structure:
        """Lay ``model`` over nodes of the given kinds, and driving signals; see `Model.driven`.

        Parameters
        ----------
        model : Model
        nodes, node_kind : iterable of str
        signals : sequence of str
            Labels of driving signals.
        linear : bool
            Whether they are lines.
        labels : mapping of str to sequence of str, optional
            Conditions and subjects, where parameters differ by these.

        Raises
        ------
        ModelError
            The model cannot be laid over them, or its parameters differ by what is not there.
        """
        known = tuple(label_text(n) for n in nodes)
        model, names, kinds, declared = declaration(
            model, known, list(map(str, node_kind)), signals, linear=linear
        )
        members = tuple(dict.fromkeys(p.along for p in declared if p.along))
        layout = Layout(tuple(_along(p, labels or {}, names) for p in declared))
        names, kinds = (*names, *map(_NUMBER.format, members)), (*kinds, *["hidden"] * len(members))
        internal = len(names) - len(known)
        return cls(model, names, kinds, layout, internal=internal, members=members)

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

    def name_of(self, parameter: Parameter, entry: int) -> str:
        """Return the name of an entry of a parameter, with its labels: ``A[Hare, Lynx]``."""
        if not parameter.dims:
            return parameter.name
        place = np.unravel_index(entry, parameter.shape)
        labels = [self.labels_of(d)[i] for d, i in zip(parameter.dims, place, strict=True)]
        return f"{parameter.name}[{', '.join(labels)}]"

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

    def numbers(self, conditions: Sequence[str], subjects: Sequence[str] | None) -> Array:
        """Return the number of each condition's label along each of `members`, (c, dims).

        Parameters
        ----------
        conditions : sequence of str
        subjects : sequence of str, optional
            Of each condition.

        Raises
        ------
        DataError
            A condition has a label for which there are no parameters.
        """
        columns = []
        for dim in self.members:
            labels, own = self.labels_of(dim), conditions if dim == "condition" else subjects
            names = ", ".join(p.name for p in self.layout.parameters if p.along == dim)
            if own is None:
                raise DataError(
                    f"parameters ({names}) differ by subject, and nothing says the subject of each "
                    f"condition: give a coordinate subject(condition) with labels among "
                    f"{listed(labels)}."
                )
            place = {label: i for i, label in enumerate(labels)}
            for condition, label in zip(conditions, own, strict=True):
                if label not in place:
                    of = "" if dim == "condition" else f" of condition {condition!r}"
                    raise DataError(
                        f"parameters ({names}) differ by {dim}, and there are none for the {dim} "
                        f"{label!r}{of}{did_you_mean(label, labels)}; there are for "
                        f"{listed(labels)}. Fit it too, or name the {dim} whose parameters it is "
                        "to have."
                    )
            columns.append([place[label] for label in own])
        return np.array(columns, np.float64).reshape(len(columns), len(conditions)).T

    def check(self) -> None:
        """Refuse a structure in which there is nothing to fit.

        Raises
        ------
        ModelError
        """
        self.model.check(self)


def declaration(
    model: Any, nodes: Sequence[str], kinds: Sequence[str], signals: Sequence[str], *, linear: bool
) -> tuple[Any, tuple[str, ...], tuple[str, ...], tuple[Parameter, ...]]:
    """Return a model under driving signals, with all nodes and their kinds, and its parameters.

    Raises
    ------
    ModelError
        It cannot be laid over them.
    """
    more: tuple[str, ...] = ()
    if signals:
        model, more = model.driven(signals, linear=linear)
    names, every = (*nodes, *more), (*kinds, *["hidden"] * len(more))
    return model, names, every, model.declare(names, every)


def _along(p: Parameter, labels: Mapping[str, Sequence[str]], nodes: tuple[str, ...]) -> Parameter:
    """Return a parameter with an entry for each label of what it differs by."""
    if not p.along:
        return p
    own = tuple(labels.get(p.along, ()))
    if not own or "" in own:
        lacks = "no such labels" if not own else "conditions without one"
        raise ModelError(
            f"the parameter {p.name} differs by {p.along}, and the data have {lacks}: give a "
            f"coordinate {p.along}(condition), or leave dims out of the parameter."
        )
    shape = (len(own), *p.shape)
    return replace(
        p,
        dims=(p.along, *p.dims),
        shape=shape,
        labels=(own, *(p.labels or (nodes,) * len(p.dims))),
        fixed=None if p.fixed is None else np.broadcast_to(p.fixed, shape).copy(),
    )
