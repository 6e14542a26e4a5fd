"""`prune`: which edges may go, as conditions judge that the fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox import many, views
from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.options import checked, choice, flag, instance, integer, optional
from pycellbox.errors import once
from pycellbox.fitting.progress import Progress
from pycellbox.growing import SCHEDULE
from pycellbox.metrics import format_table, html_table, recovery
from pycellbox.models import Structure, check_network
from pycellbox.objective import PENALTY, Penalty
from pycellbox.pruning.options import Choose, count, of_refits, parts, steps_to_take
from pycellbox.pruning.path import Floats, Refits, losses_of, mean_and_error
from pycellbox.result import FIT, Fit
from pycellbox.schedule import Stage
from pycellbox.simulation import truth as truth_of


@dataclass(frozen=True, repr=False)
class Pruned:
    """A pruned network, and the path that led to it.

    Parameters
    ----------
    fit : Fit
        The chosen network. Its model's mask allows the edges that were kept and no others;
        ``fit.provenance["pruning"]`` tells how it was chosen.
    path : tuple of Fit
        The fit as it came, then one refit per step, with ever fewer edges.
    table : DataFrame
        A row per network of the path. ``threshold``: the edges removed in this step had a smaller
        ``|W|``; ``edges``: edges left; ``train_loss``; ``validation_loss`` and ``standard_error``,
        that of the mean over conditions; ``chosen``.
    """

    fit: Fit
    path: tuple[Fit, ...]
    table: pd.DataFrame

    @property
    def mask(self) -> xr.DataArray:
        """Edges of the chosen network, bool (target, source)."""
        return self.fit.parameters["W"] != 0

    def recovery(self, truth: xr.DataArray | None = None) -> pd.DataFrame:
        """How well the network was recovered before and after pruning.

        Parameters
        ----------
        truth : DataArray (target, source), optional
            True interactions; by default those that simulated data carry.

        Returns
        -------
        DataFrame
            Rows "before" and "after", columns as of `pycellbox.metrics.recovery`.

        Raises
        ------
        DataError
            The data carry no truth and none is given, or labels differ.
        """
        W = truth_of(self.fit.data)["W"] if truth is None else truth
        before = self.path[0]
        mask = before.parameters["W"].copy(data=_structure(before).mask)
        loops = before.model.self_interaction
        rows = {
            name: recovery(result.parameters["W"], W, self_loops=loops, mask=mask)
            for name, result in (("before", before), ("after", self.fit))
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        return format_table(self._readable())

    def _repr_html_(self) -> str:
        kept = count(self.fit)
        return views.card(
            f"Pruned: {kept} edges of {count(self.path[0])} kept",
            (),
            html_table(self._readable()),
            views.strongest(self.fit.parameters["W"]),
        )

    def _readable(self) -> pd.DataFrame:
        return self.table.assign(chosen=np.where(self.table["chosen"], "chosen", ""))


@checked(
    fit=FIT,
    validation=optional(instance(xr.Dataset, "a Dataset of conditions that the fit has not seen")),
    folds=optional(integer(2)),
    choose=choice(*get_args(Choose)),
    schedule=optional(SCHEDULE),
    penalty=optional(PENALTY),
    backend=optional(BACKEND),
    **many.WORKERS,
    progress=flag(),
)
def prune(
    fit: Fit,
    *,
    edges: Sequence[int] | None = None,
    thresholds: Sequence[float] | None = None,
    validation: xr.Dataset | None = None,
    folds: int | None = None,
    choose: Choose = "sparsest",
    schedule: Stage | Sequence[Stage] | None = None,
    penalty: Penalty | None = None,
    backend: BackendName | None = None,
    executor: many.GivenExecutor = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Pruned:
    """Remove small weights step by step, refit what is left, let unseen conditions choose.

    Each step takes the network of the step before, removes its smallest ``|W|``, and fits the rest
    from where it stands. Removed edges never come back. All edges are compared with each other,
    those of drugs and phenotypes too.

    Parameters
    ----------
    fit : Fit
        The network to prune, with the data it was fitted to.
    edges : sequence of int, optional
        How many edges to keep at each step, falling. Default: twelve steps, each keeping the same
        fraction, from all edges down to half as many as there are nodes.
    thresholds : sequence of float, optional
        Instead: at each step remove every ``|W|`` below this, rising.
    validation : Dataset, optional
        Conditions that judge, unseen by the fit; default the validation conditions of the fit.
    folds : int, optional
        Judge by cross-validation of the fitted conditions instead, for fits without validation:
        in each fold a network is fitted anew, by the fit's schedule from a default start, pruned
        to the same numbers of edges, and judged on the conditions left out; replicates are in one
        fold. Costs that many fits and paths more.
    choose : {"sparsest", "lowest"}
        "sparsest": the network with the fewest edges of those whose loss is within one standard
        error of the lowest on the judging conditions, and within one standard error of the same
        network's on the fitted ones. "lowest": the lowest loss on the judging conditions, which
        keeps more edges that do nothing.
    schedule : Stage or sequence of Stage, optional
        Of each refit. Default: the last stage of the fit, with a quarter of its iterations.
    penalty : Penalty, optional
        Of each refit; default the fit's.
    backend : {"auto", "julia", "numpy", "jax"}, optional
        Default, and what "auto" means, the fit's where it is ready, else, with a warning, the best
        that is.
    executor : Executor or distributed.Client, optional
        Of ``concurrent.futures``, or the client of a cluster of Dask's, which carries out the
        folds, to the same bits. None: here, one after the other.
    n_jobs : int, optional
        Instead: so many processes of joblib's; -1, one on every core that this process may use.
    progress : bool
        Show a progress bar over the steps and folds.

    Returns
    -------
    Pruned
        The chosen network, the others, and the table of their losses.

    Raises
    ------
    DataError
        There is nothing to judge by, or the judging conditions do not fit.
    ModelError
        An option is out of range, or two contradict each other.
    DivergenceError
        A fold could not be fitted.

    Notes
    -----
    The standard error is that of the mean loss over conditions, of the network that has the
    lowest, as in the rule of Breiman et al., Classification and Regression Trees (1984). Fitted
    conditions have a veto because an edge can be vital and yet show in no validation condition:
    few conditions do not perturb every node.
    The truth of simulated data is never looked at.

    Examples
    --------
    >>> result = pcb.fit(data, validation=0.2)  # doctest: +SKIP
    >>> pruned = pcb.prune(result)  # doctest: +SKIP
    >>> pruned.fit.parameters["W"]  # doctest: +SKIP
    """
    check_network(fit.model, "pruned")
    engine = many.workers(executor, n_jobs)
    steps = steps_to_take(fit, edges, thresholds)
    with once():  # the refits are fits of their own
        train, judges = parts(fit, validation, folds, choose)
        refits = Refits(
            fit,
            of_refits(fit, schedule, penalty),
            get_backend("auto" if backend is None else backend, own=fit.backend).name,  # type: ignore[arg-type]
        )
        total = len(steps) + (folds or 0)
        with Progress(total, progress, "prune") as bar:
            path, used = refits.path(fit, steps, train, judges, bar)
            if judges is not None:
                losses, weight = losses_of(path, judges, refits)
            else:
                assert folds is not None
                counts = [count(result) for result in path[1:]]
                losses, weight = refits.cross_validate(counts, train, folds, engine, bar)
        table = _table(path, used, losses, weight, train, refits, choose)
    chosen = int(table["chosen"].to_numpy().argmax())
    note = {
        "choose": choose,
        "judged_by": f"{folds}-fold cross-validation" if judges is None else "validation",
        "step": chosen,
        "edges": [int(n) for n in table["edges"]],
        "validation_loss": [float(v) for v in table["validation_loss"]],
    }
    return Pruned(path[chosen].with_provenance(pruning=note), tuple(path), table)


def _table(
    path: Sequence[Fit],
    used: Sequence[float],
    losses: Floats,
    weight: Floats,
    train: xr.Dataset,
    refits: Refits,
    choose: Choose,
) -> pd.DataFrame:
    mean, error = mean_and_error(losses, weight)
    fitted, fitted_error = mean_and_error(*losses_of(path, train, refits))
    best = int(np.nanargmin(mean))
    good = mean <= mean[best]
    if choose == "sparsest":
        good = (mean <= mean[best] + error[best]) & (fitted <= fitted[best] + fitted_error[best])
    # The path falls: the last network that is good enough has the fewest edges.
    chosen = int(np.flatnonzero(good)[-1])
    return pd.DataFrame(
        {
            "threshold": used,
            "edges": [count(result) for result in path],
            "train_loss": fitted,
            "validation_loss": mean,
            "standard_error": error,
            "chosen": np.arange(len(path)) == chosen,
        },
        index=pd.RangeIndex(len(path), name="step"),
    )


def _structure(fit: Fit) -> Structure:
    parameters = fit.parameters
    return Structure.over(fit.model, parameters["node"].values, parameters["node_kind"].values)
