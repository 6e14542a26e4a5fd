"""What solves the equation of a fit, at its parameters or at those of a member of its ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import Backend, BackendName, get_backend
from pycellbox.common.labels import counted, listed
from pycellbox.errors import (
    BackendError,
    DataWarning,
    ModelError,
    NumericsWarning,
    SolverError,
    once,
    warn,
)
from pycellbox.inputs import Inputs, fitted_levels, inputs_of
from pycellbox.intervals import Screen, Spreads, Trained, check
from pycellbox.models import CellBox, Structure
from pycellbox.objective import EDGE_GROUPS, Penalty
from pycellbox.problem import Array, parameter_arrays, structure_of
from pycellbox.recipe import Recipe
from pycellbox.solvers import Solver
from pycellbox.solving import states_of
from pycellbox.times import time_grid
from pycellbox.unseen import turned, unseen_signs, with_signs


@dataclass
class Predictor:
    """The parts of a fit that its predictions need.

    Attributes
    ----------
    recipe : Recipe
    solver : Solver
    horizon : float or None
        For steady states.
    data, parameters : Dataset
        Of the fit.
    predictions : DataArray
        For its own conditions.
    provenance : mapping
    penalty : Penalty
        Of the last stage of a training.
    """

    recipe: Recipe
    solver: Solver
    horizon: float | None
    data: xr.Dataset
    parameters: xr.Dataset
    predictions: xr.DataArray
    provenance: Mapping[str, Any]
    penalty: Penalty
    _by_backend: dict[str, Trained] = field(init=False, default_factory=dict)

    def laid(self, given: xr.DataArray | xr.Dataset) -> tuple[Structure, Inputs]:
        """Return the structure of the fit for conditions, and what is done to them.

        Nodes are those of the model, and times in the fit's unit.
        """
        structure = structure_of(self.data, self.recipe.model, given)  # the fit's kinds count
        return structure, self._known(inputs_of(given, structure, np.dtype(self.recipe.dtype)))

    def solved(
        self,
        structure: Structure,
        inputs: Inputs,
        times: Any,
        backend: BackendName,
        parameters: xr.Dataset | None = None,
        signs: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Solve the equation for what was laid.

        ``parameters`` and the ``signs`` of the doses of drugs that were not seen are the fit's
        where none are given.
        """
        if signs is None:
            signs = unseen_signs(self.provenance)
        solver, horizon = self.solver, self.horizon
        if times is not None:
            solver, horizon = solver.through_time, None
        elif horizon is None:
            times = self.data["time"].values
        inputs, sign = turned(inputs, structure, signs)
        predicted = states_of(
            structure,
            parameter_arrays(
                structure, self.parameters if parameters is None else parameters, self.recipe.dtype
            ),
            inputs,
            time_grid(horizon, times),
            times is None,
            solver=solver,
            backend=self._backend(backend),
        )
        predicted = with_signs(predicted, sign)
        if "time" in predicted.dims and "time" in self.data.coords:
            predicted["time"].attrs.update(self.data["time"].attrs)
        return predicted

    def check_interval(self, times: Any) -> None:
        """Refuse, before any work, predictions of which no interval can be made.

        Raises
        ------
        ModelError
        """
        if not self._screened:
            check(self.recipe, self.data)
        elif times is not None:
            raise ModelError(
                "the nodes of this fit were estimated from steady states, which say nothing of "
                "rates: there is an interval without times=; times= asks for a course."
            )

    def spreads(
        self,
        predicted: xr.DataArray,
        structure: Structure,
        inputs: Inputs,
        given: Any,
        backend: BackendName,
    ) -> Spreads:
        """Return how far new measurements may be from predictions of what was laid.

        Raises
        ------
        ModelError
            The noise cannot be known.
        DivergenceError, SolverError, BackendError
            There are no derivatives.
        """
        sigma = None
        if isinstance(given, xr.Dataset) and "sigma" in given:
            sigma = _sigma_of(given["sigma"], predicted)
        if self._screened:
            return self.screen.spreads(inputs.perturbation, predicted.values, sigma)
        with_levels = inputs_of(given, structure, np.float64)  # as uncertain as other parameters
        with_levels, _ = turned(with_levels, structure, unseen_signs(self.provenance))
        with once():  # which solving has said
            found = self._trained(self._backend(backend))
        steady = "time" not in predicted.dims
        grid = time_grid(self.horizon, None) if steady else predicted["time"].values
        return found.spreads(structure, with_levels, grid, steady, sigma)

    def _trained(self, backend: Backend) -> Trained:
        """Of a fit that was trained, by the derivatives of a backend."""
        if backend.name not in self._by_backend:
            self._by_backend[backend.name] = Trained(
                self.recipe, self.solver, self.horizon, self.penalty, self.data, self.parameters,
                backend,
            )  # fmt: skip
        return self._by_backend[backend.name]

    def edge_deviations(self, backend: BackendName) -> Array:
        """Return standard deviations of a network's W, (target, source); NaN where unknown."""
        if self._screened:
            drugs = self.parameters["node_kind"].values == "drug"
            slope = (self.parameters["epsilon"] / self.parameters["alpha"]).values[drugs]
            return self.screen.edge_deviations(slope)
        try:
            check(self.recipe, self.data)
            found = self._trained(self._backend(backend)).deviations("W")
        except (ModelError, SolverError, BackendError) as error:
            warn(f"the spread of edges is not known, and is NaN: {error}", NumericsWarning)
            return np.full(self.parameters["W"].shape, np.nan)
        own = slice(0, self.parameters.sizes["node"])
        return found[own, own]

    @cached_property
    def screen(self) -> Screen:
        """Of an estimated fit, its nodes at their optimum once more."""
        rows = self.data["role"].values == "train"
        return Screen(
            self.data.isel(condition=rows),
            self.predictions.isel(condition=rows),
            structure_of(self.data, self.recipe.model),
            self._estimate,
            self.recipe.loss is None,
        )

    @property
    def _screened(self) -> bool:
        """Whether nodes were estimated from steady states."""
        return "strengths" in self._estimate

    @property
    def _estimate(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.provenance.get("estimate", {})
        return found

    def _backend(self, name: BackendName) -> Backend:
        return get_backend(name, str(self.provenance["backend"]), self.recipe.model)

    def _known(self, inputs: Inputs) -> Inputs:
        """Return inputs with the levels that were fitted."""
        if not inputs.levels:
            return inputs
        assert inputs.treatment is not None
        found = fitted_levels(self.parameters)
        unknown = [label for label in inputs.levels if label not in found]
        if unknown:
            warn(
                f"{counted(len(unknown), 'level')} that the fit has not fitted: {listed(unknown)}; "
                "nodes stay, or states begin, where the data say.",
                DataWarning,
            )
        starts = dict(zip(inputs.levels, inputs.treatment.level_starts.tolist(), strict=True))
        return inputs.at(np.array([(starts | found)[label] for label in inputs.levels]))


def _sigma_of(sigma: xr.DataArray, predicted: xr.DataArray) -> Array | None:
    """Return those of measurements where they are predicted; None where they are not."""
    if sigma.ndim != predicted.ndim:
        return None
    asked = {dim: predicted[dim].values for dim in predicted.dims if dim != "condition"}
    return sigma.reindex(asked).transpose(*predicted.dims).values


def last_penalty(recipe: Recipe, history: xr.Dataset, provenance: Mapping[str, Any]) -> Penalty:
    """Return what the last parameters felt: a refined network its ridge, others their stage's."""
    note = provenance.get("refinement", {})
    if note and "reason" not in note and isinstance(recipe.model, CellBox):
        ridge = note["ridge"] or 0.5 * note["noise"]
        return Penalty(l2=dict.fromkeys(EDGE_GROUPS, ridge**2), scale="sum")
    number = int(history["stage"].values[-1]) if history.sizes["iteration"] else 0
    stages = recipe.stages[number : number + 1]
    return next((stage.penalty for stage in stages if stage.penalty), recipe.penalty or Penalty())
