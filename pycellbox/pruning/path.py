"""The refits of a pruning path, and what unseen conditions say of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import many
from pycellbox.backends import BackendName
from pycellbox.ending import Ending
from pycellbox.errors import DivergenceError
from pycellbox.fitting import fit
from pycellbox.fitting.progress import Progress
from pycellbox.inputs import levels_given
from pycellbox.models import check_network
from pycellbox.numerics.losses import loss_and_seeds
from pycellbox.problem import Problem, structure_of
from pycellbox.pruning.options import count
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.splits import Split, k_fold

Floats: TypeAlias = npt.NDArray[np.float64]

log = logging.getLogger("pycellbox")


@dataclass(frozen=True)
class Refits:
    """How every network of a path is refitted: from ``origin``, by a recipe of its own."""

    origin: Fit
    recipe: Recipe
    backend: BackendName

    def refit(
        self,
        keep: npt.NDArray[np.bool_],
        start: Fit,
        train: xr.Dataset,
        judges: xr.Dataset | None,
    ) -> Fit:
        """Refit ``start`` with the edges of ``keep``."""
        W = start.parameters["W"]
        model = dataclasses.replace(
            check_network(self.recipe.model, "pruned"), mask=W.copy(data=keep)
        )
        initial = start.parameters.assign(W=W.where(keep, 0.0))
        return self._fit(train, self.recipe.replace(model=model), judges, initial)

    def anew(self, train: xr.Dataset) -> Fit:
        """Fit as the original was."""
        return self._fit(train, self.origin.recipe)

    def _fit(
        self,
        train: xr.Dataset,
        recipe: Recipe,
        judges: xr.Dataset | None = None,
        initial: xr.Dataset | None = None,
    ) -> Fit:
        return fit(
            train, recipe, validation=judges, initial=initial, backend=self.backend, progress=False
        )

    def path(
        self,
        fit: Fit,
        steps: Sequence[int | float],
        train: xr.Dataset,
        judges: xr.Dataset | None,
        bar: Progress | None = None,
    ) -> tuple[list[Fit], list[float]]:
        """Networks with ever fewer edges, the given one first, and the threshold of each step.

        A step is a number of edges to keep (int) or a threshold (float).
        """
        path, used = [fit], [0.0]
        for number, step in enumerate(steps):
            size = np.abs(path[-1].parameters["W"].values)
            threshold = step if isinstance(step, float) else _kth_largest(size, step)
            keep = (size >= threshold) & (size > 0)
            if not keep.any():
                break
            try:
                result = self.refit(keep, path[-1], train, judges)
            except DivergenceError as error:
                log.warning(f"pruning ends with {count(path[-1])} edges: {error}")
                break
            if result.ending is Ending.INTERRUPTED:
                raise KeyboardInterrupt
            path.append(result)
            used.append(threshold)
            if bar is not None:
                bar.advance(number, float(result.history["loss"][-1]), np.nan)
        return path, used

    def cross_validate(
        self,
        counts: list[int],
        data: xr.Dataset,
        folds: int,
        engine: many.Engine | None,
        bar: Progress,
    ) -> tuple[Floats, Floats]:
        """Loss of every condition at every number of edges, by networks that have not seen it.

        Levels that are fitted stay those of the fit that is pruned: conditions that are left out
        may be all that tell one.
        """
        data = levels_given(data, self.origin.parameters)
        splits = tuple(k_fold(data, folds, seed=self.origin.recipe.seed))
        found: dict[int, tuple[Floats, Floats]] = {}
        shared = Folds(self, tuple(counts), data, splits)
        for one in many.outcomes(Folds.judged, shared, len(splits), engine):
            if one.value is None:
                raise DivergenceError(f"fold {one.number} of {len(splits)}: {one.failure}")
            found[one.number] = one.value
            bar.step(lambda: f"fold {len(found)} of {len(splits)}")
        losses, weights = zip(*(found[k] for k in range(len(splits))), strict=True)
        return np.concatenate(losses, axis=1), np.concatenate(weights)


@dataclass(frozen=True)
class Folds:
    """What all folds of a cross-validation have in common."""

    refits: Refits
    counts: tuple[int, ...]
    data: xr.Dataset
    splits: tuple[Split, ...]

    def judged(self, number: int) -> tuple[Floats, Floats]:
        """Fit without a fold and prune: losses of its conditions, and their measured entries."""
        train, _, left_out = self.splits[number].apply(self.data)
        path, _ = self.refits.path(self.refits.anew(train), self.counts, train, None)
        loss, weight = losses_of(path, left_out, self.refits)
        # A path that diverged early has nothing better than an infinite loss to show.
        missing = ((0, len(self.counts) + 1 - len(path)), (0, 0))
        return np.pad(loss, missing, constant_values=np.inf), weight


def losses_of(path: Sequence[Fit], data: xr.Dataset, refits: Refits) -> tuple[Floats, Floats]:
    """Mean loss of each condition under each network, and its number of measured entries."""
    origin = refits.origin
    problem = Problem.from_dataset(data, structure_of(data, origin.model), origin.horizon)
    loss = origin.recipe.measure
    table = np.empty((len(path), len(problem.conditions)))
    for row, result in enumerate(path):
        predicted = result.predict(data, backend=refits.backend).values
        states = predicted.reshape(problem.response.shape)
        for c in range(table.shape[1]):
            part = slice(c, c + 1)
            table[row, c], _ = loss_and_seeds(
                loss, states[part], problem.response[part], problem.weight[part]
            )
    return table, np.count_nonzero(problem.weight, axis=(1, 2)).astype(np.float64)


def mean_and_error(losses: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Mean loss over all entries of each row, and its standard error over conditions."""
    share = weight / weight.sum()
    mean = losses @ share
    n = weight.size
    if n < 2:
        return mean, np.zeros_like(mean)
    with np.errstate(invalid="ignore"):  # infinite losses, which are not chosen
        spread = ((n * share * (losses - mean[:, None])) ** 2).sum(axis=1) / (n - 1)
    return mean, np.sqrt(spread / n)


def _kth_largest(size: Floats, k: int) -> float:
    """Find the k-th largest |W|, or the smallest there is."""
    ranked = np.sort(size[size > 0])[::-1]
    return float(ranked[min(k, ranked.size) - 1])
