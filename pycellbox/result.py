"""`Fit`: parameters, history, predictions, and everything needed to make them again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox import many, views
from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.files import PATH
from pycellbox.common.options import (
    NAMED,
    ONE_OR_MORE,
    SEED,
    checked,
    choice,
    flag,
    instance,
    integer,
    number,
    optional,
    shown,
    text,
)
from pycellbox.common.texts import read_json
from pycellbox.data import validate
from pycellbox.data.container import write_datasets
from pycellbox.data.hidden import with_nodes
from pycellbox.data.transforms import as_measured
from pycellbox.data.units import meeting
from pycellbox.doubts import doubt_extrapolation
from pycellbox.edges import check_edges, edge_table, is_network
from pycellbox.ending import Ending
from pycellbox.errors import ModelError
from pycellbox.evaluation import BASELINES, Evaluation, evaluate
from pycellbox.identifiability import Identifiability, identifiability
from pycellbox.inputs import INPUTS
from pycellbox.intervals import INTERVAL, on_measured_scale
from pycellbox.predictor import Predictor, last_penalty
from pycellbox.problem import Problem, levelled, parameter_arrays, structure_of
from pycellbox.recipe import Recipe, recipe_in_file
from pycellbox.summary import summary
from pycellbox.supported import KEPT, Support
from pycellbox.times import of_same_kind

if TYPE_CHECKING:
    from pycellbox.profiles import Profile
    from pycellbox.sampling import Samples

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
        spreads = predictor.spreads(predicted, structure, inputs, given, times, backend)
        found = spreads.about(predicted, interval)
        return on_measured_scale(found, data) if measured else found

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(
            self.recipe, self.solver, self.horizon, self._group("data"), self._group("parameters"),
            self._group("predictions")["response"], self._provenance,
            last_penalty(self.recipe, self._group("history")),
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

    @checked(share=INTERVAL, backend=BACKEND)
    def edges(self, share: float = 0.9, *, backend: BackendName = "auto") -> pd.DataFrame:
        """Return the interactions of a network, and how far their estimates spread.

        Parameters
        ----------
        share : float
            That the intervals hold of what an interaction may be, by the equation and its
            penalties as they are.
        backend : str
            As for `predict`; of fits that were trained it needs derivatives of residuals.

        Returns
        -------
        DataFrame
            A row for each interaction that is not 0, the strongest first: ``source``, ``target``;
            ``kind``, "drug → node", "node → node" or "node → phenotype"; ``weight``, its W;
            ``sign``, 1 or −1; ``lower`` and ``upper``, the ends of the interval; ``sd``, the
            standard deviation. Infinite where the data do not determine it; NaN of drugs that an
            estimated fit has not seen, and where Laplace's method cannot be used.

        Raises
        ------
        ModelError
            The model is no network.

        Warns
        -----
        NumericsWarning
            Of a fit that was trained, the spread is not known, and why.

        Notes
        -----
        By Laplace's method, about the optimum, as the intervals of `predict`. That an interval does
        not hold 0 does not mean that nature has the interaction: what a drug does to a node through
        others is an interaction of the drug with that node where the network has no edges between
        nodes. ``benchmarks/edges.py`` counts on simulated screens how many of the interactions that
        rules call at 90 % are there: in drug screens far fewer, by every rule, and none is here.
        """
        parameters = self._group("parameters")
        check_edges(parameters)
        sd = self._predictor.edge_deviations(backend)
        reach = NormalDist().inv_cdf((1 + share) / 2)
        W = parameters["W"].transpose("target", "source").values
        return edge_table(parameters, W - reach * sd, W + reach * sd, sd)

    @checked(
        folds=optional(integer(2)),
        by=text(),
        without=optional(NAMED),
        seed=SEED,
        **many.WORKERS,
        backend=BACKEND,
        progress=flag(),
    )
    def support(
        self,
        *,
        folds: int | None = None,
        by: str = "replicate",
        without: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        executor: many.GivenExecutor = None,
        n_jobs: int | None = None,
        backend: BackendName = "auto",
        progress: bool = True,
    ) -> Support:
        """Say which blocks of the fit its data support, by fitting without each.

        Conditions of the fit are left out in folds, and predicted by fits with and without a block:
        interactions of each kind (drug → node, node → node, node → phenotype), operating points,
        the effect common to all treatments. Only conditions that were trained on are looked at. The
        result is kept with the fit, which prints it and saves it.

        Parameters
        ----------
        folds, by, seed : optional
            As of `pycellbox.cross_validate`.
        without : mapping of str to mapping, optional
            Of equations of one's own, what to leave out, by names that are free to choose:
            parameters and the numbers at which they are kept, ``{"no interaction": {"A": 0}}``.
        executor, n_jobs : optional
            As of `pycellbox.cross_validate`.
        backend : str
            As for `predict`.
        progress : bool
            Show how many folds are fitted.

        Returns
        -------
        Support
            Prints a sentence for each block, such as "protein → protein edges do not improve
            prediction on these data: 0.0210 with, 0.0210 without".

        Raises
        ------
        OptionError, DataError
            Something given does not fit; nothing was computed.

        Notes
        -----
        Each fold is fitted as a whole, strengths of penalties included; κ of the doses is the
        fit's. An estimated fit has no interactions among proteins: in each fold they are trained
        from its estimate on, by the schedule of courses that are estimated first, and compared with
        the estimate. Fits of courses that begin at an estimate are trained without a
        block from where the fold's fit has ended. That a block does not improve prediction does not
        say that nature has it not: others may stand in for it.

        Examples
        --------
        >>> fit.support()  # doctest: +SKIP
        >>> print(fit)  # doctest: +SKIP
        """
        from pycellbox.support import supported  # which fits

        found = supported(
            self, folds=folds, by=by, without=without, seed=seed, backend=backend,
            progress=progress, engine=many.workers(executor, n_jobs),
        )  # fmt: skip
        self._tell({KEPT: found.to_dict()})
        return found

    @checked(backend=BACKEND)
    def identifiability(self, *, backend: BackendName = "auto") -> Identifiability:
        """Say which directions of the parameters the fitted data do not determine.

        The singular values of the derivative of the residuals at the fit. Parameters that are
        positive count by factors, so that products and ratios of them are directions; others, in
        multiples of their size, or of that of the parameter's entries together where these are
        larger. A direction is not determined where the data change by nothing, or by so little
        that the standard error of a step along it is 1 or more: a factor of e, or all of its size.
        Penalties and priors are not counted; levels that were fitted stay where they are.

        Parameters
        ----------
        backend : str
            As for `predict`; it needs derivatives of residuals.

        Returns
        -------
        Identifiability
            Prints what is not determined in words, such as "a and b only as the product a*b".

        Raises
        ------
        SolverError, BackendError
            The derivative is too large for the memory, or the backend has none.
        DivergenceError
            It is not finite.

        Notes
        -----
        The noise is the ``sigma`` of the data, or the root of the mean squared residual, by degrees
        of freedom. All of it holds near the fit: elsewhere other directions may be open, and
        separate minima are not seen (see ``starts`` of `pycellbox.fit`).

        Examples
        --------
        >>> fit.identifiability()  # doctest: +SKIP
        <pycellbox.Identifiability: 1 of 3 directions is not determined
          a and b only as the product a*b>
        """
        data, recipe = self._group("data"), self.recipe
        rows = np.flatnonzero(data["role"].values == "train")
        structure = levelled(structure_of(data, self.model), self._group("parameters"))
        problem = Problem.from_dataset(data, structure_of(data, self.model), self.horizon)
        arrays = parameter_arrays(structure, self._group("parameters"), recipe.dtype)
        chosen = get_backend(backend, self.backend, self.model)
        return identifiability(problem.rows(rows), arrays, self.solver, chosen, "sigma" in data)

    @checked(
        names=optional(ONE_OR_MORE),
        level=number(0, 1, above=True),
        **many.WORKERS,
        backend=BACKEND,
    )
    def profile(
        self,
        names: str | Sequence[str] | None = None,
        *,
        level: float = 0.95,
        executor: many.GivenExecutor = None,
        n_jobs: int | None = None,
        backend: BackendName = "auto",
    ) -> Profile:
        """Follow how well the data are fitted as a parameter moves, all others fitted again.

        Parameters
        ----------
        names : str or sequence of str, optional
            Parameters, such as "beta", all fitted entries of one, or a single entry by its labels,
            "A[Hare, Lynx]", "W[B, A]" (target first). Default: all that are fitted.
        level : float
            Of the intervals.
        executor : Executor, optional
            Of ``concurrent.futures``, or one like it, which carries out a parameter each. None:
            here, one after the other.
        n_jobs : int, optional
            Instead: so many processes of joblib's; -1, one on every core that may be used.
        backend : str
            As for `predict`; it needs derivatives of residuals.

        Returns
        -------
        Profile
            Curves, intervals, and in words what the data do not bound.

        Raises
        ------
        OptionError, ModelError, DataError
            No such parameter is fitted; the fit has no likelihood that is a sum of squares, or more
            than 500 parameters; its noise can neither be taken from a sigma nor from residuals.
        DivergenceError
            The fit cannot be brought to an optimum.

        Warns
        -----
        NumericsWarning
            The fit was not at its optimum, or a better one was found on the way.

        Notes
        -----
        Raue et al. (Bioinformatics 25:1923, 2009); Kreutz et al. (FEBS J. 280:2564, 2013). At each
        value `pycellbox.LM` fits the other parameters, bounds, priors and penalties included, from
        where the last two points lead; steps are such that the root of the rise grows by a fifth
        of that of the threshold. The interval is where the rise stays below the quantile of χ² with
        one degree of freedom. Without a sigma the noise of each node is estimated from its
        residuals at the optimum by degrees of freedom (nodes with few borrow from all), and the
        quantile is that of F, with which intervals of linear models are exact (Bates and Watts,
        Nonlinear Regression Analysis, 1988). Of nodes with different noise the optimum is that of
        their likelihood, not quite where the fit is, which weighs all alike.

        Examples
        --------
        >>> fit.profile(["beta", "rho"])  # doctest: +SKIP
        """
        from pycellbox.profiles import profile

        return profile(self, names, level, many.workers(executor, n_jobs), backend)

    @checked(
        draws=integer(2, 1_000_000),
        chains=integer(1, 1000),
        thin=integer(),
        burn_in=integer(10),
        step=number(0, 1, above=True, up_to=True),
        batch_size=optional(integer()),
        seed=SEED,
        **many.WORKERS,
        backend=BACKEND,
    )
    def sample(
        self,
        *,
        draws: int = 500,
        chains: int = 4,
        thin: int = 10,
        burn_in: int = 1000,
        step: float = 0.2,
        batch_size: int | None = None,
        seed: int = 0,
        executor: many.GivenExecutor = None,
        n_jobs: int | None = None,
        backend: BackendName = "auto",
    ) -> Samples:
        """Draw parameters from the posterior, by preconditioned stochastic gradient Langevin steps.

        Parameters
        ----------
        draws : int
            Of each chain, that are kept.
        chains : int
            Each begins elsewhere, with random numbers of its own.
        thin : int
            Steps from draw to draw.
        burn_in : int
            Steps before the first draw, in which the preconditioner is learned.
        step : float
            Of the paper's ε. Variances of draws are too large by a quarter of it.
        batch_size : int, optional
            Conditions of each step, drawn anew; by default all. Fewer add noise of their own.
        seed : int
            From which that of each chain follows.
        executor : Executor, optional
            Of ``concurrent.futures``, or one like it, which carries out a chain each. None: here,
            one after the other.
        n_jobs : int, optional
            Instead: so many processes of joblib's; -1, one on every core that may be used.
        backend : str
            As for `predict`; it needs derivatives of residuals.

        Returns
        -------
        Samples
            Draws, their summary, and predictions from them.

        Raises
        ------
        OptionError, ModelError, DataError
            As of `profile`.
        PycellboxError
            No chain came to its end.

        Warns
        -----
        DataWarning
            Data and priors leave parameters open.
        NumericsWarning
            Some chains did not come to their end.

        Notes
        -----
        Li et al. (AAAI 2016), as in the Bayesian runs of Frank (arXiv 2207.04487): the noise of a
        step has the variance ε·G, G the preconditioner. The paper leaves out Γ, the derivative of
        G; here G is learned in the burn-in and held from then on, so that Γ is zero. Steps are made
        in coordinates in which the posterior is a standard normal to first order at the fit, so
        that parameters that depend on each other mix. There is no Metropolis step. Penalties and
        priors count as the fit weighs them; a parameter without a prior is uniform in its value
        within its bounds, in its logarithm with ``scale="log"``. The noise is that of `profile`: a
        sigma, or each node's at the optimum, which is taken as known.

        Examples
        --------
        >>> samples = fit.sample(draws=1000)  # doctest: +SKIP
        >>> samples.summary()[["mean", "sd", "ess_bulk", "r_hat"]]  # doctest: +SKIP
        """
        from pycellbox.sampling import sample
        from pycellbox.sampling.langevin import Langevin

        langevin, engine = Langevin(draws, thin, burn_in, step), many.workers(executor, n_jobs)
        return sample(self, langevin, chains, batch_size, seed, engine, backend)

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
