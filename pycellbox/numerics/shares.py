"""Which entries of the parameters each condition has, where some differ by subject or condition."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.models import Structure
from pycellbox.problem import Array, Parameters


class Shares:
    """Takes parameters to those of each condition, and derivatives back to all.

    A parameter that differs by subject is an array (subjects, *shape); equations see it as *shape,
    as if it were that of their condition alone. A problem has the number of each condition's
    subject behind the perturbation of its nodes.

    Parameters
    ----------
    structure : Structure
    """

    def __init__(self, structure: Structure) -> None:
        self.layout = structure.plain.layout
        self._dims = structure.members
        self._behind = slice(structure.n_nodes - len(self._dims), structure.n_nodes)

    @cached_property
    def along(self) -> dict[str, str]:
        """The dimension by which parameters differ, of those that do."""
        return {p.name: p.along for p in self.layout.parameters if p.along}

    def members(self, perturbation: Any) -> Any:
        """Return the numbers, (c, dims), that the perturbation of a problem, (c, n), has."""
        return perturbation[:, self._behind]

    def numbers(self, members: Any) -> dict[str, Any]:
        """Return which label each condition has, (c,), of what each parameter differs by.

        Parameters
        ----------
        members : array, (c, dims)
            Of NumPy or a library like it.
        """
        place = {dim: members[:, k].astype(np.int32) for k, dim in enumerate(self._dims)}
        return {name: place[dim] for name, dim in self.along.items()}

    def index(self, members: Array) -> Array:
        """Return which entries of θ, (size,), are those of each condition: (c, P) integers.

        They are in the order of the layout, a parameter that differs with the entries of one label
        in place of all; the same for all conditions where nothing differs.
        """
        rows, numbers = [np.zeros((len(members), 0), np.intp)], self.numbers(members)
        for p in self.layout.parameters:
            begin = np.full(len(members), self.layout.places[p.name].start)
            each = p.size // p.shape[0] if p.along else p.size
            if p.along:
                begin += each * numbers[p.name]
            rows.append(begin[:, None] + np.arange(each))
        return np.concatenate(rows, axis=1)

    def gather(self, parameters: Parameters, index: Array) -> Array:
        """Return all parameters of each condition, (c, P).

        Parameters
        ----------
        parameters : dict of ndarray
            Effective ones.
        index : ndarray of int, (c, P)
            What `index` says of the conditions.
        """
        return self.layout.join(parameters)[index]

    def scatter(self, gradient: Array, index: Array) -> Parameters:
        """Return derivatives by all parameters, in their shapes, of those by condition, (c, P).

        What conditions share is summed; entries that are fixed have none.
        """
        total = np.zeros(self.layout.size, gradient.dtype)
        np.add.at(total, index, gradient)
        total[self.layout.fixed] = 0
        return self.layout.split(total)
