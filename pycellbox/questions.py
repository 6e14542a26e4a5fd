"""What can be asked of a fit, as methods of `Fit`: how sure it is, and what the data support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pycellbox import many
from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.options import (
    NAMED,
    ONE_OR_MORE,
    SEED,
    checked,
    flag,
    integer,
    number,
    optional,
    text,
)
from pycellbox.edges import check_edges, edge_table
from pycellbox.identifiability import Identifiability
from pycellbox.identifiability import identifiability as identified
from pycellbox.intervals import INTERVAL
from pycellbox.problem import Problem, levelled, parameter_arrays, structure_of
from pycellbox.supported import KEPT, Support

if TYPE_CHECKING:
    from pycellbox.profiles import Profile
    from pycellbox.result import Fit
    from pycellbox.sampling import Samples


@checked(share=INTERVAL, backend=BACKEND)
def edges(self: Fit, share: float = 0.9, *, backend: BackendName = "auto") -> pd.DataFrame:
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
    self: Fit,
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
    folds, by : optional
        As of `pycellbox.cross_validate`.
    without : mapping of str to mapping, optional
        Of equations of one's own, what to leave out, by names that are free to choose:
        parameters and the numbers at which they are kept, ``{"no interaction": {"A": 0}}``.
    seed, executor, n_jobs : optional
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
def identifiability(self: Fit, *, backend: BackendName = "auto") -> Identifiability:
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
    data, parameters = self._group("data"), self._group("parameters")
    rows = np.flatnonzero(data["role"].values == "train")
    structure = structure_of(data, self.model)
    problem = Problem.from_dataset(data, structure, self.horizon)
    arrays = parameter_arrays(levelled(structure, parameters), parameters, self.recipe.dtype)
    chosen = get_backend(backend, self.backend, self.model)
    return identified(problem.rows(rows), arrays, self.solver, chosen, "sigma" in data)


@checked(
    names=optional(ONE_OR_MORE),
    level=number(0, 1, above=True),
    **many.WORKERS,
    backend=BACKEND,
)
def profile(
    self: Fit,
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
    from pycellbox.profiles import profile as profiled

    return profiled(self, names, level, many.workers(executor, n_jobs), backend)


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
    self: Fit,
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
    from pycellbox.sampling import sample as sampled
    from pycellbox.sampling.langevin import Langevin

    langevin, engine = Langevin(draws, thin, burn_in, step), many.workers(executor, n_jobs)
    return sampled(self, langevin, chains, batch_size, seed, engine, backend)
