"""The unit in which a training counts time, so that that of the data makes no difference."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pycellbox.models import Layout, Parameter, Structure
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.recipe import Recipe
from pycellbox.solvers import FixedStep, Solver

_BITS = 2.0**30
# Steps are as many as they would be without the rounding.
_HAIR = 1 + 4 / _BITS


@dataclass(frozen=True)
class Clock:
    """Counts time in time scales, where the data, what a fit is told and its results have units.

    Times are rounded to a share of 1e-9, by which rounding parts 20 min and a third of an hour:
    thousands of iterations would make much of it.

    Parameters
    ----------
    scale : float
        The time scale, in the unit of the data. 1 leaves everything as it is, to the bit.
    """

    scale: float = 1.0

    @classmethod
    def of(cls, recipe: Recipe) -> Clock:
        """Return that of a resolved recipe."""
        assert recipe.time_scale is not None
        return cls(float(recipe.time_scale))

    def problem(self, problem: Problem) -> Problem:
        """Return a problem with its times in time scales."""
        if self.scale == 1:
            return problem
        treatment = problem.treatment
        if treatment is not None:
            treatment = dataclasses.replace(treatment, starts=self._counted(treatment.starts))
        return dataclasses.replace(
            problem,
            structure=self.structure(problem.structure),
            times=self._counted(problem.times),
            treatment=treatment,
        )

    def structure(self, structure: Structure) -> Structure:
        """Return a structure with bounds of rates, and those that are fixed, per time scale."""
        if self.scale == 1:
            return structure
        layout = Layout(tuple(map(self._declared, structure.layout.parameters)))
        return dataclasses.replace(structure, layout=layout)

    def solver(self, solver: Solver) -> Solver:
        """Return a solver for times in time scales."""
        if self.scale == 1 or not isinstance(solver, FixedStep):
            return solver
        step = float(self._counted(np.array(solver.dt))) * _HAIR
        return dataclasses.replace(solver, dt=step)

    def started(self, structure: Structure, parameters: Parameters) -> Parameters:
        """Return parameters of the data's unit in that of the training."""
        return self._rescaled(structure, parameters, self.scale)

    def reached(self, structure: Structure, parameters: Parameters) -> Parameters:
        """Return parameters of the training in the data's unit."""
        return self._rescaled(structure, parameters, 1 / self.scale)

    @property
    def said(self) -> str:
        """What errors that speak of times have to add."""
        return "" if self.scale == 1 else f" (Times here are in units of {self.scale:.4g}.)"

    def _declared(self, p: Parameter) -> Parameter:
        if not p.per_time:
            return p
        lower, upper = p.lower * self.scale, p.upper * self.scale
        start = np.clip(p.start, lower, upper)  # which is per time scale, where it is no constant
        if p.fixed is not None:
            start = np.where(p.fixed, np.multiply(p.start, self.scale), start)
        return dataclasses.replace(p, lower=lower, upper=upper, start=start)

    def _rescaled(self, structure: Structure, parameters: Parameters, by: float) -> Parameters:
        layout = structure.layout
        return {
            name: values * by if layout[name].per_time else values
            for name, values in parameters.items()
        }

    def _counted(self, times: Array) -> Array:
        share, power = np.frexp(times / self.scale)
        counted: Array = np.ldexp(np.round(share * _BITS) / _BITS, power)
        return counted
