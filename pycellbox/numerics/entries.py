"""Fitted entries of parameters one by one: their names, and derivatives by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pycellbox.models import Structure
from pycellbox.numerics.lowering import equations_of
from pycellbox.problem import Array, Parameters, Problem

_ROWS = 256  # of a Jacobian at a time: whole ones have many zeros


class Entries:
    """Fitted entries of parameters, before ties and without the maps that keep them in bounds.

    Parameters
    ----------
    structure : Structure
    parameters : dict of ndarray
        Effective ones.
    problem : Problem
    shared : bool
        Whether a column that drugs share counts beside the deviations from it, as in training;
        else what drugs do is counted as a whole.

    Attributes
    ----------
    pair : Parametrization
    names : sequence of str, (p,)
    by_factors : ndarray of bool, (p,)
        Which are positive.
    sizes, values : ndarray, (p,)
        Of positive ones the size is the value, of others at least that of the parameter's entries
        together.
    """

    def __init__(
        self, structure: Structure, parameters: Parameters, problem: Problem, *, shared: bool
    ) -> None:
        self.pair = equations_of(structure).parametrization(parameters, problem)
        self._effective = structure.layout
        known = dict(parameters)
        if shared:
            known |= {name: value for name, value in
                      self.pair.layout.split(self.pair.unconstrain(parameters)).items()
                      if name not in parameters}  # fmt: skip
        self._kept = [p for p in self.pair.layout.parameters if p.name in known]
        self._free = [np.ones(p.size, bool) if p.fixed is None else ~p.fixed.ravel()
                      for p in self._kept]  # fmt: skip
        names, factors, sizes, values = list[str](), [], [], []
        for p, free in zip(self._kept, self._free, strict=True):
            value = known[p.name].ravel()
            bounded = p.name in parameters and self._effective[p.name].lower >= 0
            rms = math.sqrt(float(np.mean(value[free] ** 2))) if free.any() else 0.0
            size = np.abs(value) if bounded else np.maximum(np.abs(value), rms or 1.0)
            places = np.flatnonzero(free).tolist()
            names += [structure.name_of(p, i) for i in places]
            factors.append(np.full(free.sum(), bounded))
            sizes.append(size[free])
            values.append(value[free])
        self.names: Sequence[str] = names
        self.by_factors: Array = np.concatenate(factors)
        self.sizes: Array = np.concatenate(sizes)
        self.values: Array = np.concatenate(values)

    def slopes(self, jacobian: Array) -> Array:
        """Turn derivatives by free effective entries, (m, free), into those by these, (m, p)."""
        found = np.empty((len(jacobian), len(self.names)))
        for start in range(0, len(jacobian), _ROWS):
            part = jacobian[start : start + _ROWS]
            whole = np.zeros((len(part), self._effective.size))
            whole[:, self._effective.free] = part
            of_each = self.pair.pull_back_ties(self._effective.split(whole))
            columns = [of_each[p.name].reshape(len(part), -1)[:, free]
                       for p, free in zip(self._kept, self._free, strict=True)]  # fmt: skip
            found[start : start + len(part)] = np.concatenate(columns, axis=1)
        return found
