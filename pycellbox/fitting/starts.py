"""A fit from many starts: each is trained, and the best is the fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from pycellbox import many
from pycellbox.backends import BackendName, get_backend
from pycellbox.ending import Ended, Ending, interrupted
from pycellbox.errors import DivergenceError, OptionError
from pycellbox.fitting.beginning import start_of
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.job import Job
from pycellbox.fitting.loop import Training
from pycellbox.fitting.progress import Progress
from pycellbox.fitting.run import carry_out
from pycellbox.fitting.safely import concluded
from pycellbox.fitting.state import TrainingState
from pycellbox.initialization import Initialization
from pycellbox.problem import Parameters, Problem
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.summary import LOSSES, score_of


@dataclass(frozen=True)
class Setting:
    """What all starts of a fit have in common; it can be pickled.

    Attributes
    ----------
    recipe : Recipe
        Resolved.
    data : Dataset
        Valid, with the coordinate ``role``.
    problem : Problem
        Of all conditions.
    initial : Initialization, Dataset or None
    backend : str
    """

    recipe: Recipe
    data: xr.Dataset
    problem: Problem
    initial: Initialization | xr.Dataset | None
    backend: BackendName

    @cached_property
    def seeds(self) -> list[int]:
        """One for each start, the first that of the fit."""
        return many.seeds(self.recipe.seed, self.recipe.starts)

    def start(self, number: int) -> tuple[Parameters, np.random.Generator]:
        """Draw a start, as a fit with its seed does."""
        rng = np.random.default_rng(self.seeds[number])
        train = np.flatnonzero(self.data["role"].values == "train")
        problem = self.problem.rows(train)
        return start_of(Clock.of(self.recipe), problem, self.initial, rng), rng

    def job(self, number: int) -> Job:
        """Make the job of a start, which shows nothing."""
        start, rng = self.start(number)
        return Job(
            recipe=self.recipe,
            data=self.data,
            problem=self.problem,
            start=start,
            backend=get_backend(self.backend, model=self.recipe.model),
            rng=rng,
            progress=False,
        )

    def told(self) -> dict[str, Any]:
        """Say what starts follow from, but for how many there are to be."""
        recipe = self.recipe.to_dict()
        recipe.pop("starts")
        given = repr(self.initial) if self.initial is not None else ""
        return {
            "starts of": recipe, "initial": given, "backend": self.backend,
            "data": many.digest(self.data),
        }  # fmt: skip

    def check(self) -> None:
        """Refuse starts that would all be the same fit.

        Raises
        ------
        OptionError
        """
        count = self.recipe.starts
        stages = self.recipe.stages
        if any(stage.batch_size is not None or stage.prefix is not None for stage in stages):
            return
        (one, _), (other, _) = self.start(0), self.start(1)
        if all(np.array_equal(one[name], other[name]) for name in one):
            raise OptionError(
                f"starts={count}: all of them would be the same, for no start is drawn. Draw those "
                "of parameters, such as pcb.Parameter(start=pcb.lognormal(1, 2), positive=True), "
                "or leave starts out."
            )


@dataclass(frozen=True)
class Trained:
    """What a start came to, as plain values and arrays.

    Attributes
    ----------
    ended : Ended
    objective, loss, validation_loss : float
        At its best parameters; NaN where the last stage was not reached, or there is none.
    iterations : int
    attrs, groups
        The state at its end, see `TrainingState.to_groups`.
    """

    ended: Ended
    objective: float
    loss: float
    validation_loss: float
    iterations: int
    attrs: dict[str, str]
    groups: dict[str, xr.Dataset]

    def packed(self) -> dict[str, xr.Dataset]:
        """Return it as datasets, for a store."""
        told = {"ending": self.ended.ending.value, "message": self.ended.message}
        told |= {name: getattr(self, name) for name in (*LOSSES, "iterations")}
        return {"trained": xr.Dataset(attrs=told), "attrs": xr.Dataset(attrs=self.attrs),
                **self.groups}  # fmt: skip

    @classmethod
    def unpacked(cls, groups: Mapping[str, xr.Dataset]) -> Trained:
        """Return what `packed` has made datasets of."""
        others = dict(groups)
        told, attrs = others.pop("trained").attrs, others.pop("attrs").attrs
        ended = Ended(Ending(told.pop("ending")), told.pop("message"))
        return cls(ended=ended, attrs=attrs, groups=others, **told)


def trained(setting: Setting, number: int) -> Trained:
    """Train one start."""
    training = setting.job(number).training()
    stages = setting.recipe.stages
    training.run(stages)
    scores = training.scores(len(stages))
    attrs, groups = training.final_state(len(stages)).to_groups()
    return Trained(training.ended, *scores, len(training.kept_history), attrs, groups)


class Starts:
    """All starts of a fit, and the best so far.

    Parameters
    ----------
    setting : Setting
    engine : Engine, optional
        Which carries them out.
    store : path, optional
        Where they are kept.
    progress : bool
        Whether to show how many have ended.
    """

    def __init__(
        self,
        setting: Setting,
        engine: many.Engine | None,
        store: str | os.PathLike[str] | None,
        progress: bool,
    ) -> None:
        self.setting, self.engine, self.store = setting, engine, None
        if store is not None:
            self.store = many.Store.opened(store, setting.told(), Trained.packed, Trained.unpacked)
        self.best: tuple[float, int, Trained] | None = None
        self._count = setting.recipe.starts
        self._progress = Progress(self._count, progress, "starts")
        self._rows: dict[int, dict[str, Any]] = {}

    def run(self) -> None:
        """Train all of them; it may be left by an interrupt in any line.

        Raises
        ------
        DivergenceError
            None came to its end.
        """
        with self._progress:
            for one in many.outcomes(trained, self.setting, self._count, self.engine, self.store):
                self._take(one)
        if self.best is None:
            why = [str(self._rows[number]["status"]) for number in sorted(self._rows)]
            kinds = [text.split(":")[0] for text in why]
            each = ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))
            raise DivergenceError(
                f"none of {self._count} starts came to its end ({each}); the first: {why[0]}"
            )

    def _take(self, one: many.Outcome[Trained]) -> None:
        row: dict[str, Any] = {**dict.fromkeys(LOSSES, math.nan), "iterations": 0}
        found, ended, why = one.value, "failed", one.failure
        if found is not None:
            row, (ending, why) = {name: getattr(found, name) for name in row}, found.ended
            ended, score = ending.value, score_of(row)
            better = self.best is None or (score, one.number) < self.best[:2]
            if math.isfinite(score) and better:
                self.best = score, one.number, found
        self._rows[one.number] = row | {"ended": ended, "status": why, "seconds": one.seconds}
        self._progress.step(
            lambda: "none to its end" if self.best is None else f"best {self.best[0]:.4g}"
        )

    def chosen(self) -> tuple[Job, Training, Ended]:
        """Return the job and training of the best start, at its end, and how all of it ended.

        Raises
        ------
        KeyboardInterrupt
            It came before a start had ended.
        """
        if self.best is None:
            raise KeyboardInterrupt
        _, number, found = self.best
        job = replace(self.setting.job(number), starts=self.table())
        training = job.training()
        training.go_on(
            TrainingState.from_groups(
                found.attrs, found.groups, training.parametrization, training.clock
            ),
            job.recipe.stages,
        )
        if (ended := len(self._rows)) < self._count:
            return job, training, interrupted(f"after {ended} of {self._count} starts")
        return job, training, found.ended

    def table(self) -> xr.Dataset:
        """Return a row for each start that has ended, see `pycellbox.Fit.starts`."""
        numbers = sorted(self._rows)
        kinds = {**dict.fromkeys(LOSSES, np.float64), "iterations": np.int64,
                 "seconds": np.float64, "ended": np.str_, "status": np.str_}  # fmt: skip
        columns: dict[str, Any] = {
            name: ("start", np.array([self._rows[k][name] for k in numbers], dtype=kind))
            for name, kind in kinds.items()
        }
        seeds = np.array([self.setting.seeds[k] for k in numbers], dtype=np.int64)
        return xr.Dataset({"seed": ("start", seeds), **columns}, {"start": np.array(numbers)})


def from_starts(
    setting: Setting,
    engine: many.Engine | None,
    store: str | os.PathLike[str] | None,
    progress: bool,
    began: float,
) -> Fit:
    """Train all starts, and conclude from the best.

    Raises
    ------
    OptionError
        All would be the same.
    DivergenceError
        None came to its end.
    ResultFileError
        The store is that of others, or cannot be used.
    """
    setting.check()
    starts = Starts(setting, engine, store, progress)

    def conclude() -> Fit:
        job, training, ended = starts.chosen()
        return carry_out(job, training, began, ended=ended)

    return concluded(starts.run, conclude)
