"""The experiments of Ji et al. (arXiv 2104.06467): how well a fit recovers a known network."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox import many, views
from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.options import SEED, checked, integer, optional
from pycellbox.data.given import as_dataset, real_numbers
from pycellbox.errors import DivergenceError, once
from pycellbox.fitting import fit
from pycellbox.ji.experiment import JI_MODEL, OPTIONS, ji_experiment
from pycellbox.metrics import html_table, rate_recovery, recovery
from pycellbox.metrics.labels import aligned
from pycellbox.networks.drawing import RATE, Rate
from pycellbox.objective import Penalty
from pycellbox.recipe import Recipe
from pycellbox.refinement import refine, standard_errors
from pycellbox.result import FIT, Fit
from pycellbox.schedule import AdamW, Stage
from pycellbox.simulation import truth
from pycellbox.solvers import RK4

# A start has led to the minimum if nearly all responses are followed and the validation set is
# predicted to this many standard deviations of the noise.
_FOLLOWED, _GOOD = 0.95, 1.5

# Iterations of AdamW. Large networks are flat where nodes saturate: refined from too far off, they
# take longer than the iterations saved.
_ITERATIONS, _ITERATIONS_LARGE, _LARGE = 1000, 3000, 15


@dataclass(frozen=True, repr=False)
class Recovery:
    """A network simulated, fitted, and held to the truth.

    Parameters
    ----------
    name : str
        Of the network.
    train, validation, test : Dataset
        As `ji_experiment` made them.
    rough, refined : Fit
        After AdamW, and after `pycellbox.refine`; of the start that was chosen.
    starts : int
        From how many initial weights it was fitted.
    seconds : (float, float)
        For all starts: of AdamW, and of the refinement.
    """

    name: str
    train: xr.Dataset
    validation: xr.Dataset
    test: xr.Dataset
    rough: Fit
    refined: Fit
    starts: int
    seconds: tuple[float, float]

    def table(self) -> pd.DataFrame:
        """Score both fits, rows "AdamW" and "refined".

        Returns
        -------
        DataFrame
            ``test_mae``: mean absolute error of the predicted test conditions against the truth
            without noise; ``worst_condition``, that of the worst; ``pearson_W``, ``spearman_W``,
            ``auprc_ratio`` and ``sign_accuracy`` of W with its diagonal, as
            `pycellbox.metrics.recovery` has them; ``pearson_alpha``; ``edges`` that are not zero;
            ``spurious`` and ``missed`` of them; ``seconds`` up to there.
        """
        done = (self.seconds[0], sum(self.seconds))
        rows = {
            "AdamW": score(self.rough, self.test) | {"seconds": done[0]},
            "refined": score(self.refined, self.test) | {"seconds": done[1]},
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def floor(self) -> float:
        """Mean absolute test error that noise leaves if the structure is known, to first order.

        That of an efficient estimate of the true edges and rates from the training conditions,
        the bound of Cramér and Rao. Above it lies what the fit lost, or what is beyond first order.

        Returns
        -------
        float
            In units of the response.
        """
        true = truth(self.train)
        known = dataclasses.replace(JI_MODEL, mask=true["W"] != 0)
        errors = standard_errors(
            known,
            true,
            self.train,
            noise=float(self.train.attrs["noise"]),
            solver=self.refined.solver,
            predict=self.test,
            backend=self.refined.provenance["backend"],
        )
        # The mean of |e| of a Gaussian error.
        return math.sqrt(2 / math.pi) * float(errors["response"].mean())

    def _repr_html_(self) -> str:
        title = f"Recovery of {self.name}: {self.train.sizes['condition']} conditions"
        return views.card(title, (), html_table(self.table()))

    def __repr__(self) -> str:
        head = f"<Recovery of {self.name}: {self.train.sizes['condition']} conditions>"
        return head + "\n" + self.table().to_string(float_format="{:.4g}".format)


@checked(fitted=FIT)
def score(fitted: Fit, test: xr.Dataset) -> dict[str, float]:
    """Hold a fit to the truth that simulated test conditions carry; see `Recovery.table`.

    Parameters
    ----------
    fitted : Fit
        Of time courses of the same network.
    test : Dataset
        As `pycellbox.simulate` returns it.

    Returns
    -------
    dict of str to float
        A row of `Recovery.table`, but for the seconds.
    """
    true = truth(as_dataset(test, "true_W", "true_alpha", "true_response", name="test"))
    predicted = fitted.predict(test, backend=fitted.backend)
    found_there, clean = aligned(predicted, test["true_response"], "predicted", "true_response")
    error = np.abs(found_there.values - real_numbers(clean, "true_response"))
    W, true_W = fitted.parameters["W"], true["W"]
    found = recovery(W, true_W, self_loops=True)
    edge, kept = true_W.values != 0, W.values != 0
    return {
        "test_mae": float(error.mean()),
        "worst_condition": float(error.mean(axis=tuple(range(1, error.ndim))).max()),
        "pearson_W": found["pearson"],
        "spearman_W": found["spearman"],
        "pearson_alpha": rate_recovery(fitted.parameters, true)["alpha"],
        "auprc_ratio": found["auprc_ratio"],
        "sign_accuracy": found["sign_accuracy"],
        "edges": int(kept.sum()),
        "spurious": int((kept & ~edge).sum()),
        "missed": int((edge & ~kept).sum()),
    }


@checked(iterations=integer(), seed=SEED, backend=BACKEND)
def ji_fit(
    train: xr.Dataset,
    validation: xr.Dataset,
    *,
    iterations: int = 1000,
    seed: int = 0,
    backend: BackendName = "auto",
) -> Fit:
    """Fit as Ji et al. do: mean absolute error, AdamW, random time prefixes as minibatches.

    Parameters
    ----------
    train, validation : Dataset
        Time courses; the parameters with the least validation loss are kept.
    iterations : int
        Of AdamW, with a learning rate that falls from 0.02 to zero as a cosine and a gradient
        clipped to norm 1.
    seed : int
        Of the initial weights and the prefixes.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.fit`.

    Returns
    -------
    Fit
        With the port's equation and the parameters of the least validation loss.
    """
    stage = Stage(
        iterations,
        learning_rate=0.02,
        prefix=1,
        decay="cosine",
        warmup=20,
        optimizer=AdamW(clip_norm=1.0),
    )
    recipe = Recipe(
        JI_MODEL,
        loss="mae",
        solver=RK4(0.5),
        penalty=Penalty(),
        schedule=stage,
        seed=seed,
        time_scale=1.0,  # of nodes that decay at rates of about 1
    )
    return fit(train, recipe, validation=validation, backend=backend, progress=False)


@checked(**OPTIONS, **many.WORKERS, alpha=RATE, iterations=optional(integer()), starts=integer())
def recover_beeline(
    name: str,
    *,
    noise: float = 0.001,
    seed: int = 0,
    n_conditions: tuple[int, int, int] | None = None,
    alpha: Rate = (0.5, 1.5),
    iterations: int | None = None,
    starts: int = 3,
    backend: BackendName = "auto",
    executor: many.GivenExecutor = None,
    n_jobs: int | None = None,
) -> Recovery:
    """Simulate the experiment of Ji et al. on a BEELINE network, fit it, and keep the truth by.

    AdamW as in `ji_fit` comes near, `pycellbox.refine` goes the rest of the way. If the
    result follows less than 95 % of the training responses, or does not predict the validation
    conditions to 1.5 standard deviations of the noise as estimated from the training conditions,
    it is fitted again from other initial weights; of all starts the one with the least validation
    error is taken. Test conditions and truth choose nothing.

    Parameters
    ----------
    name : str
        As for `ji_experiment`.
    noise : float
        As for `ji_experiment`.
    seed : int
        Of the experiment, the initial weights and the prefixes.
    n_conditions, alpha : optional
        As for `ji_experiment`.
    iterations : int, optional
        Of AdamW, for each start; default 1000, and 3000 for networks of more than 15 nodes.
    starts : int
        At most so many.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.fit`.
    executor : Executor or distributed.Client, optional
        Of ``concurrent.futures``, or the client of a cluster of Dask's, which tries the starts side
        by side. It gives the same as one after the other, for those behind the first that is good
        do not count. None: here.
    n_jobs : int, optional
        Instead: so many processes of joblib's; -1, one on every core that this process may use.

    Returns
    -------
    Recovery
        Data, fits and scores.

    Raises
    ------
    OptionError
        An option is out of range.
    DivergenceError
        A start could not be fitted.

    Examples
    --------
    >>> recover_beeline("HSC")  # doctest: +SKIP
    """
    engine = many.workers(executor, n_jobs)
    train, validation, test = ji_experiment(
        name, noise=noise, seed=seed, n_conditions=n_conditions, alpha=alpha, backend=backend
    )
    if iterations is None:
        iterations = _ITERATIONS_LARGE if train.sizes["node"] > _LARGE else _ITERATIONS
    shared = _Starts(train, validation, iterations, seed, backend)
    waiting: dict[int, _Tried] = {}
    tried: list[_Tried] = []
    with once():  # the starts are fits of their own
        for one in many.outcomes(_Starts.tried, shared, starts, engine):
            if one.value is None:
                raise DivergenceError(f"start {one.number} of {name}: {one.failure}")
            waiting[one.number] = one.value
            while len(tried) in waiting and not (tried and tried[-1].good):  # in their order
                tried.append(waiting.pop(len(tried)))
            if tried and tried[-1].good:
                break
    best = min(tried, key=lambda one: one.error)
    seconds = sum(one.seconds[0] for one in tried), sum(one.seconds[1] for one in tried)
    return Recovery(name, train, validation, test, best.rough, best.refined, len(tried), seconds)


@dataclass(frozen=True)
class _Tried:
    """A start: how far it is off on the validation conditions, and whether that is near enough."""

    error: float
    good: bool
    rough: Fit
    refined: Fit
    seconds: tuple[float, float]


@dataclass(frozen=True)
class _Starts:
    train: xr.Dataset
    validation: xr.Dataset
    iterations: int
    seed: int
    backend: BackendName

    def tried(self, number: int) -> _Tried:
        began = time.perf_counter()
        # Far from every other seed, so that seeds do not share their starts.
        seed, validation = self.seed + 1000003 * number, self.validation
        rough = ji_fit(
            self.train, validation, iterations=self.iterations, seed=seed, backend=self.backend
        )
        middle = time.perf_counter()
        refined = refine(rough, solver=RK4(0.25))
        off = refined.predict(validation) - validation["response"]
        error = float(np.sqrt(np.nanmean(off.values**2)))
        told = refined.provenance["refinement"]
        good = told["followed"] >= _FOLLOWED and error <= _GOOD * told["noise"]
        return _Tried(error, good, rough, refined, (middle - began, time.perf_counter() - middle))
