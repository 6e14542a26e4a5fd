"""`Fit`: parameters, history, predictions, and everything needed to make them again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, overload

import numpy as np
import xarray as xr

from pycellbox import questions, views
from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.files import PATH
from pycellbox.common.options import (
    checked,
    choice,
    instance,
    optional,
    shown,
)
from pycellbox.common.texts import read_json
from pycellbox.data import validate
from pycellbox.data.container import write_datasets
from pycellbox.data.hidden import with_nodes
from pycellbox.data.transforms import as_measured
from pycellbox.data.units import meeting
from pycellbox.doubts import doubt_extrapolation
from pycellbox.edges import is_network
from pycellbox.ending import Ending
from pycellbox.errors import ModelError
from pycellbox.evaluation import BASELINES, Evaluation, evaluate
from pycellbox.inputs import INPUTS
from pycellbox.intervals import INTERVAL, on_measured_scale
from pycellbox.predictor import Predictor, last_penalty
from pycellbox.recipe import Recipe, recipe_in_file
from pycellbox.summary import summary
from pycellbox.times import of_same_kind

Scale: TypeAlias = Literal["fitted", "measured"]

FORMAT = "pycellbox.Fit"
FORMAT_VERSION = 2
GROUPS = ("parameters", "history", "predictions", "data")


class Fit:
    """A fitted network.

    All arrays and provenance that it hands out are copies: to change them does not change the fit.

    Parameters
    ----------
    tree : DataTree
        As `fit` makes it; users call that, or `load`.

    Attributes
    ----------
    recipe : Recipe
        What the fit was told, and what it took where nothing was said: the same data and this give
        the same fit.
    model : Model
        The equation.
    solver : Solver
        As used in training; predictions use it too.
    horizon : float or None
        End of the integration for steady states, that of the last stage that ran; None for time
        courses.
    """

    @checked(tree=instance(xr.DataTree, "what pcb.fit made: pcb.load reads fits"))
    def __init__(self, tree: xr.DataTree) -> None:
        if missing := [name for name in GROUPS if name not in tree.children]:
            raise ModelError(f"the tree lacks {', '.join(missing)}; pcb.load reads fits.")
        for name in ("recipe", "provenance"):
            if name not in tree.attrs:
                raise ModelError(f"the tree has no attribute {name!r}; pcb.load reads fits.")
        self._tree = tree.copy(deep=True)
        for group in self._tree.subtree:  # copies share them, and before pandas 3 may write to them
            for index in group.indexes.values():
                if isinstance(index.values, np.ndarray):
                    index.values.flags.writeable = False
        mask = tree["parameters"].to_dataset().get("mask")
        self.recipe = recipe_in_file(tree.attrs["recipe"], mask)
        if self.recipe.solver is None or None in (self.recipe.penalty, self.recipe.schedule):
            raise ModelError("the recipe of the tree leaves something open; pcb.load reads fits.")
        self.model: Any = self.recipe.model
        self.solver = self.recipe.solver
        self.horizon = last_horizon(self.recipe, self._group("history"))
        self._provenance: dict[str, Any] = read_json(tree.attrs["provenance"], constants=True)

    @property
    def tree(self) -> xr.DataTree:
        """Groups parameters, history, predictions and data; provenance as attributes."""
        return self._tree.copy(deep=True)

    @property
    def provenance(self) -> dict[str, Any]:
        """By what the fit was made, and how it went and ended, as plain values."""
        return copy.deepcopy(self._provenance)

    @property
    def parameters(self) -> xr.Dataset:
        """Effective W (target, source) and rates (node): alpha, and epsilon, psi if in the form.

        Beside them b and common (node), where the model has operating points and common effects.
        """
        return self._group("parameters").drop_vars("mask", errors="ignore").copy(deep=True)

    @property
    def history(self) -> xr.Dataset:
        """Per iteration: objective, loss, validation_loss, gradient_norm, learning_rate, stage."""
        return self._group("history").copy(deep=True)

    @property
    def starts(self) -> xr.Dataset:
        """Per start of a fit with ``starts``: how it went; without rows where there was but one.

        Dims: start. ``seed``, with which a fit from one start gives that start again;
        ``loss``, ``objective`` and ``validation_loss`` as in the history, at its best parameters
        over the whole of the data, NaN where it came to no end; ``iterations``, ``seconds``;
        ``ended``, "failed" or a value of `Ending`, and ``status``, in words.
        """
        if "starts" not in self._tree.children:
            return xr.Dataset(coords={"start": np.zeros(0, dtype=np.int64)})
        return self._group("starts").copy(deep=True)

    @property
    def predictions(self) -> xr.DataArray:
        """Response predicted for the conditions of the fit."""
        return self._group("predictions")["response"].copy(deep=True)

    @property
    def data(self) -> xr.Dataset:
        """The dataset of the fit; its ``role`` coordinate tells train from validation."""
        return self._group("data").copy(deep=True)

    def _group(self, name: str) -> xr.Dataset:
        """Return a group of the tree, not copied."""
        group: xr.Dataset = self._tree[name].to_dataset()
        return group

    @property
    def backend(self) -> BackendName:
        """Name of the backend that did the fit."""
        return cast(BackendName, self._provenance["backend"])

    @property
    def status(self) -> str:
        """How the fit ended: "completed", or where and why it stopped."""
        return str(self._provenance["status"])

    @property
    def ending(self) -> Ending:
        """How the fit ended: ``Ending.COMPLETED``, or what cut it short."""
        return Ending(self._provenance["ending"])

    @property
    def estimated(self) -> bool:
        """Whether its nodes were estimated in closed steps, see `Recipe`, and not trained."""
        return "strengths" in self._provenance.get("estimate", {})

    def with_provenance(self, **entries: Any) -> Fit:
        """Return the same fit with more, or other, entries in its provenance.

        Parameters
        ----------
        **entries
            Plain values, as JSON has them.

        Returns
        -------
        Fit
            A copy.

        Raises
        ------
        ModelError
            An entry is none that JSON can hold.
        """
        found = Fit(self._tree)
        found._tell(entries)
        return found

    def _tell(self, entries: dict[str, Any]) -> None:
        """Put entries into the provenance of this fit."""
        try:
            text = json.dumps({**self._provenance, **entries})
            told: dict[str, Any] = read_json(text, constants=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(
                f"provenance holds plain values, as JSON does, and was given {shown(entries)}: "
                f"{error}."
            ) from error
        self._tree.attrs = {**self._tree.attrs, "provenance": text}
        self._provenance = told

    @overload
    def predict(
        self,
        perturbation: xr.DataArray | xr.Dataset,
        *,
        times: Any = None,
        interval: None = None,
        backend: BackendName = "auto",
        scale: Scale = "fitted",
    ) -> xr.DataArray: ...

    @overload
    def predict(
        self,
        perturbation: xr.DataArray | xr.Dataset,
        *,
        times: Any = None,
        interval: float,
        backend: BackendName = "auto",
        scale: Scale = "fitted",
    ) -> xr.Dataset: ...

    @checked(
        perturbation=INPUTS,
        interval=optional(INTERVAL),
        backend=BACKEND,
        scale=choice("fitted", "measured"),
    )
    def predict(
        self,
        perturbation: xr.DataArray | xr.Dataset,
        *,
        times: Any = None,
        interval: float | None = None,
        backend: BackendName = "auto",
        scale: Scale = "fitted",
    ) -> xr.DataArray | xr.Dataset:
        """Predict the response to perturbations, measured or not.

        Parameters
        ----------
        perturbation : DataArray (condition, node) or (condition, phase, node), or Dataset
            Doses u for all nodes of the fit. Phases need the coordinate ``phase_start``, whose
            unit is converted to the fit's. Of a dataset its ``perturbation`` is taken, and which
            nodes are ``held``, the ``initial_state`` and the ``drive`` where it has them; responses
            are not looked at. Levels that the fit was to find are those that it found. Drugs that
            an estimated fit has not seen act by the size of their doses, whichever sign they have.
        times : sequence of float, (t,), optional
            Times at which the response is wanted, in the fit's unit; by default the fit's own: the
            horizon for steady states, the measured times for time courses. A fit of `SteadyState`
            reaches them by that solver's integrator.
        interval : float, optional
            Share of new measurements, such as 0.9, for which intervals are asked: by what the
            conditions of the fit leave open, to first order about its parameters, the noise of each
            node, and, where there are ten conditions or more, the errors of leaving them out. Of
            drugs that the fit has not seen, and of combinations where it has seen none, no
            calibration inside its rows can be sure. Infinite where the response hangs on what
            nothing determines. For fits by "mse" or "huber" of at most 3000 free parameters.
        backend : str
            A backend by name, or "auto": the backend of the fit where it is ready, else, with a
            warning, the best that is.
        scale : {"fitted", "measured"}
            That of the fit's data, on which the equations are, or that on which they were measured,
            where these data are transformed: see `pycellbox.data.transformed`.

        Returns
        -------
        DataArray, (condition, node) or (condition, time, node)
            The response x, as log-ratio to the unperturbed control. With ``interval`` a Dataset:
            ``response``; ``lower`` and ``upper``, the ends of the intervals; ``sd``, the standard
            deviation of a new measurement, and ``sd_state``, that of the response itself. NaN where
            nothing is known of a node's noise. With ``scale="measured"`` the ends are those of the
            fitted scale, taken back, and standard deviations are of a lognormal distribution.

        Raises
        ------
        DataError
            Nodes are missing or unknown, or a value is not finite.
        ModelError
            Such a fit has no intervals: nothing was computed; or no noise is left to go by.
        SolverError, DivergenceError
            With ``interval``: derivatives are too many, or not finite.

        Warns
        -----
        DataWarning
            A dose is far from those that were fitted for its node; a level was to be fitted that
            the fit does not know, so that it stays where it is given; or intervals are infinite,
            and by what.
        BackendWarning
            The backend of the fit is not ready.
        NumericsWarning
            Conditions do not settle; see `SteadyState`.
        """
        data, predictor = self._group("data"), self._predictor
        if interval is not None:
            predictor.check_interval(times)
        given = meeting(with_nodes(perturbation, self.model.own_nodes), data)
        structure, inputs = predictor.laid(given)
        doubt_extrapolation(given["perturbation"] if isinstance(given, xr.Dataset) else given, data)
        predicted = predictor.solved(structure, inputs, times, backend)
        measured = scale == "measured"
        if interval is None:
            return cast(xr.DataArray, as_measured(predicted, data)) if measured else predicted
        spreads = predictor.spreads(predicted, structure, inputs, given, backend)
        found = spreads.about(predicted, interval)
        return on_measured_scale(found, data) if measured else found

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(
            self.recipe, self.solver, self.horizon, self._group("data"), self._group("parameters"),
            self._group("predictions")["response"], self._provenance,
            last_penalty(self.recipe, self._group("history"), self._provenance),
        )  # fmt: skip

    @checked(baselines=BASELINES)
    def evaluate(self, data: xr.Dataset, *, baselines: bool | Sequence[str] = True) -> Evaluation:
        """Compare predictions with measured responses, beside simple baselines.

        Parameters
        ----------
        data : Dataset
            Conditions to judge by, usually ones that were not fitted; NaN entries do not count.
            Steady states for a fit of steady states; time courses, at any times and in any unit of
            time, for one of time courses.
        baselines : bool or sequence of str
            Also fit and score the baselines, on the fit's training and validation conditions: all
            that are quick, or those that are named. Quick are "no change", "mean response",
            "additive effects" and the ridges, "ridge", "ridge with intercept" and others;
            "CellBox without edges", a network without interactions between nodes, takes about as
            long as a default fit of a drug screen.

        Returns
        -------
        Evaluation
            Prints as a table, and above it how many of the rows the fit has seen; ``table``,
            ``by_node`` and ``by_condition`` hold the figures, without drug nodes too;
            ``predictions`` have the times of ``data``, in its unit.

        Raises
        ------
        DataError
            Not a valid dataset, other nodes, no condition, or steady states for time courses.
        OptionError
            There is no such baseline.
        """

        def predict(given: xr.Dataset, times: Any) -> xr.DataArray:
            return self.predict(given, times=times)

        return judged(self, data, predict, type(self.model).__name__, baselines)

    edges = questions.edges
    support = questions.support
    identifiability = questions.identifiability
    profile = questions.profile
    sample = questions.sample

    @checked(path=PATH)
    def save(self, path: str | Path) -> Path:
        """Write everything to one NetCDF file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            Where to; the name needs to end in ``.nc``. An existing file is replaced once the new
            one is complete.

        Returns
        -------
        Path
            That of the file.

        Raises
        ------
        ResultFileError
            The name has another ending, or the file cannot be written.
        """
        groups = {name: self._group(name) for name in self._tree.children}
        return write_datasets(path, {"": xr.Dataset(attrs=self._tree.attrs), **groups})

    def __repr__(self) -> str:
        title, rows = summary(self.model, self._tree, self._provenance)
        return "\n".join([f"<pycellbox.{title}>", *(f"  {name:<9} {text}" for name, text in rows)])

    def _repr_html_(self) -> str:
        title, rows = summary(self.model, self._tree, self._provenance)
        recipe = self.recipe
        rows.append(("solver", repr(self.solver)))
        robust = self.estimated and recipe.loss is None
        loss = "huber, a threshold for each node" if robust else recipe.measure.name
        rows.append(("settings", f"loss {loss}, seed {recipe.seed}, {recipe.dtype}"))
        table = views.strongest(self.parameters["W"]) if is_network(self.parameters) else ""
        return views.card(title, rows, table)


FIT = instance(Fit, "a fit, as pcb.fit and pcb.load return it")


def judged(
    fit: Fit,
    data: xr.Dataset,
    predict: Callable[[xr.Dataset, Any], xr.DataArray],
    name: str,
    baselines: bool | Sequence[str],
) -> Evaluation:
    """Score what predicts conditions at times, for a fit or what is made of several; see there."""
    own = fit.data
    given = with_nodes(validate(data, part=True), fit.model.own_nodes)
    data = of_same_kind(given, own, "the data to evaluate")
    times = data["time"].values if "time" in data["response"].dims else None
    predicted = predict(data, times)
    scores = evaluate(predicted, data, training=own, baselines=baselines, model=name)
    if times is None:
        return scores
    as_given = {name: p.assign_coords(time=given["time"]) for name, p in scores.predictions.items()}
    return replace(scores, predictions=as_given)


def last_horizon(recipe: Recipe, history: xr.Dataset) -> float | None:
    """End of the integration in the last iteration there was; None for time courses."""
    if recipe.horizon is None or not history.sizes["iteration"]:
        return recipe.horizon
    return float(history["horizon"].values[-1])
