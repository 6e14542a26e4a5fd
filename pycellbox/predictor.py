"""What solves the equation of a fit, at its parameters or at those of a member of its ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import xarray as xr

from pycellbox.backends import BackendName, get_backend
from pycellbox.common.labels import counted, listed
from pycellbox.errors import DataWarning, ModelError, warn
from pycellbox.inputs import Inputs, fitted_levels, inputs_of
from pycellbox.intervals import Screen, Spreads
from pycellbox.models import Structure
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
    """

    recipe: Recipe
    solver: Solver
    horizon: float | None
    data: xr.Dataset
    parameters: xr.Dataset
    predictions: xr.DataArray
    provenance: Mapping[str, Any]

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
        own = cast(BackendName, self.provenance["backend"])
        predicted = states_of(
            structure,
            parameter_arrays(
                structure, self.parameters if parameters is None else parameters, self.recipe.dtype
            ),
            inputs,
            time_grid(horizon, times),
            times is None,
            solver=solver,
            backend=get_backend(backend, own, self.recipe.model),
        )
        predicted = with_signs(predicted, sign)
        if "time" in predicted.dims and "time" in self.data.coords:
            predicted["time"].attrs.update(self.data["time"].attrs)
        return predicted

    def spreads(self, predicted: xr.DataArray, inputs: Inputs, given: Any) -> Spreads:
        """Return how far new measurements may be from predictions.

        Raises
        ------
        ModelError
            Nothing of the kind is known of such a fit.
        """
        estimated = "strengths" in self._estimate
        if not estimated or "time" in predicted.dims:
            raise ModelError(
                "intervals are for steady states of a fit whose nodes were estimated, as those of "
                "a default fit of a drug screen are; "
                + ("times= asks for a course." if estimated else "this one was trained.")
            )
        sigma = None
        if isinstance(given, xr.Dataset) and "sigma" in given:
            ordered = given["sigma"].sel(node=predicted["node"].values)
            sigma = ordered.transpose("condition", "node").values
        return self.screen.spreads(inputs.perturbation, predicted.values, sigma)

    def edge_deviations(self) -> Array:
        """Return standard deviations of a network's W, (target, source); NaN where unknown."""
        if "strengths" in self._estimate:
            drugs = self.parameters["node_kind"].values == "drug"
            slope = (self.parameters["epsilon"] / self.parameters["alpha"]).values[drugs]
            return self.screen.edge_deviations(slope)
        return np.full(self.parameters["W"].shape, np.nan)

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
    def _estimate(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.provenance.get("estimate", {})
        return found

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
