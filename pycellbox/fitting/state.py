"""The state of a training: all on which what follows depends, as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.texts import read_json
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.history import History
from pycellbox.numerics.checks import check_arrays
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.problem import Array, parameter_dataset

_WARM = "warm_"
_ORDER = "order"
_HISTORY = "history"


@dataclass(frozen=True)
class Kept:
    """What a training has come to: parameters of one iterate, and what led there.

    Attributes
    ----------
    raw : ndarray, (θ,)
        The best parameters; not changed any more.
    iterations : int
        So many rows of the history belong to it.
    retried : int
        Steps that were taken back.
    shooting : mapping
        How segments were joined, as plain values, where the last stage had any.
    """

    raw: Array
    iterations: int
    retried: int
    shooting: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands at the end of an iteration; callbacks of a fit are given one.

    Parameters
    ----------
    stage : int
        Number of the stage, counted from 0.
    iteration : int
        Iterations that were made in this stage.
    kept : Kept
        The best parameters so far, as raw values.
    optimizer : dict of ndarray
        As the backend's training gives it; empty at the beginning of a
        stage and in one of L-BFGS, which starts again at its beginning.
    warm : dict of ndarray
        What the backend's session has left for its next evaluation.
    order : ndarray of int, or None
        Conditions in the order of this epoch, where batches are smaller.
    generator : mapping
        State of the random numbers.
    rows : History
        Of all iterations.
    parametrization : Parametrization
        Which makes effective parameters of raw ones.
    clock : Clock
        In whose time scale those are.
    """

    stage: int
    iteration: int
    kept: Kept
    optimizer: dict[str, Array]
    warm: dict[str, Array]
    order: Array | None
    generator: Mapping[str, Any]
    rows: History
    parametrization: Parametrization
    clock: Clock

    @cached_property
    def parameters(self) -> xr.Dataset:
        """The best effective parameters so far, labelled as `pycellbox.Fit.parameters`."""
        pair = self.parametrization
        reached = self.clock.reached(pair.structure, pair.constrain(self.kept.raw))
        return parameter_dataset(pair.structure, reached)

    @cached_property
    def history(self) -> xr.Dataset:
        """What every iteration saw, as `pycellbox.Fit.history`."""
        return self.rows.to_dataset()

    def to_groups(self) -> tuple[dict[str, str], dict[str, xr.Dataset]]:
        """Return what a file keeps.

        Returns
        -------
        attributes : dict of str to str
            Counts, and the state of the random numbers.
        groups : dict of str to Dataset
            The arrays, and the history.
        """
        arrays = {"kept": self.kept.raw, _HISTORY: self.rows.table, **self.optimizer}
        arrays |= {_WARM + name: array for name, array in self.warm.items()}
        if self.order is not None:
            arrays[_ORDER] = self.order
        variables = {
            name: (tuple(f"axis_{k}_of_{size}" for k, size in enumerate(array.shape)), array)
            for name, array in arrays.items()
        }
        counts = {
            "stage": self.stage,
            "iteration": self.iteration,
            "kept_iterations": self.kept.iterations,
            "kept_retried": self.kept.retried,
        }
        attrs = {"counts": json.dumps(counts), "generator": json.dumps(self.generator)}
        if self.kept.shooting:
            attrs["shooting"] = json.dumps(dict(self.kept.shooting))
        return attrs, {"state": xr.Dataset(variables)}

    @classmethod
    def from_groups(
        cls,
        attrs: Mapping[str, Any],
        groups: Mapping[str, xr.Dataset],
        parametrization: Parametrization,
        clock: Clock,
    ) -> TrainingState:
        """Take up what `to_groups` gave.

        Parameters
        ----------
        attrs, groups : mapping
            Attributes and datasets.
        parametrization : Parametrization
            That of the fit's model.
        clock : Clock
            That of the fit's recipe.

        Returns
        -------
        TrainingState
            The same state.

        Raises
        ------
        ValueError, KeyError
            It is something else; whether it is a state of this fit, ``check`` says.
        """
        arrays = {str(name): array.values for name, array in groups["state"].data_vars.items()}
        counts = {name: int(value) for name, value in read_json(attrs["counts"]).items()}
        raw, history, order = arrays.pop("kept"), arrays.pop(_HISTORY), arrays.pop(_ORDER, None)
        warm = {n.removeprefix(_WARM): arrays.pop(n) for n in list(arrays) if n.startswith(_WARM)}
        return cls(
            stage=counts["stage"],
            iteration=counts["iteration"],
            kept=Kept(
                raw,
                counts["kept_iterations"],
                counts["kept_retried"],
                read_json(attrs.get("shooting", "{}")),
            ),
            optimizer=arrays,
            warm=warm,
            order=order,
            generator=read_json(attrs["generator"]),
            rows=History.of(history),
            parametrization=parametrization,
            clock=clock,
        )

    def check(self, ends: Sequence[float]) -> None:
        """Raise a ValueError if it cannot be a state of a training with stages that end there."""
        kept, rows = self.kept, self.rows.to_dataset()
        if kept.raw.shape != (self.parametrization.layout.size,) or not np.isfinite(kept.raw).all():
            raise ValueError("the parameters are not those of the model")
        if not 0 <= self.stage <= len(ends):
            raise ValueError(f"there is no stage {self.stage}")
        if not 0 <= kept.iterations <= len(self.rows) or kept.retried < 0:
            raise ValueError("what was kept does not belong to the history")
        stages = rows["stage"].values
        if not np.isin(stages, np.arange(len(ends))).all() or (np.diff(stages) < 0).any():
            raise ValueError("the history has other stages")
        if not np.array_equal(rows["horizon"], np.array(ends)[stages]):
            raise ValueError("the history has other horizons")

    def check_optimizer(self, fresh: Mapping[str, Array]) -> None:
        """Refuse a state of the optimizer that cannot be one of its run.

        Parameters
        ----------
        fresh : mapping of str to ndarray
            The state of a run at its beginning.

        Raises
        ------
        ValueError
            Arrays have other shapes, or numbers cannot be.
        """
        check_arrays(self.optimizer, {name: array.shape for name, array in fresh.items()})
        found = self.optimizer
        if not all(np.isfinite(found[name]).all() for name in ("raw", "best_raw")):
            raise ValueError("parameters of the optimizer are not finite")
        if not all(found[name] >= 0 for name in ("since", "count", "retried")):
            raise ValueError("the optimizer has counted less than nothing")
        if not 0 < found["shrink"] <= 1:
            raise ValueError("the optimizer has a factor of steps that is none")
