"""A checked configuration, and what its keys mean for model, solver and stage."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycellbox.interop.cellbox_jl.keys import LENGTH
from pycellbox.interop.keys import Unused
from pycellbox.models import CellBox
from pycellbox.objective import Penalty
from pycellbox.recipe import Recipe
from pycellbox.schedule import AdamW, Stage
from pycellbox.solvers import Tsit5

DIFFERENCES = (
    "validation is looked at once per pass over the training conditions, without smoothing, and "
    "the patience is the larger of n_iter_tol and n_iter_burnin: the port smooths over "
    "n_iter_buffer epochs",
    "α stays positive and does not decay with W; the result has the parameters that validate best, "
    "where the port keeps the last",
)
"""What is done in the nearest way instead of the same way, said once per run."""


@dataclass(frozen=True)
class JuliaConfig:
    """A configuration of CellBox.jl, checked.

    Attributes
    ----------
    path : Path
    values : dict
        Every key of `KEYS`, defaults filled in.
    name : str
        Of the experiment.
    restart : bool
        Whether to go on from the result that is there.
    index : int
        ``-i``; the seed.
    unused : Unused
    """

    path: Path
    values: dict[str, Any]
    name: str
    restart: bool
    index: int
    unused: Unused

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.index

    @property
    def model(self) -> CellBox:
        """The equation the port's code solves; nodes may act on themselves."""
        return CellBox(
            form="ji-code", dose_saturation=None, drug_columns="free", self_interaction=True
        )

    @property
    def recipe(self) -> Recipe:
        """All but schedule and seed, with the tolerances that OrdinaryDiffEq takes by itself."""
        return Recipe(
            self.model,
            solver=Tsit5(rtol=1e-3, atol=1e-6),
            loss="mae",
            penalty=Penalty(),
            horizon=self.values["tfinal"] if self.times is None else None,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Number of conditions of each role."""
        v = self.values
        return {
            "train": v["n_exp_train"],
            "validation": v["n_exp_val"],
            "test": v["n_exp_test"],
        }

    @property
    def times(self) -> list[float] | None:
        """Measured times; None where there is one, which is treated as a steady state."""
        v = self.values
        count = v["ntotal"]
        return None if count == 1 else [v["tfinal"] * (k + 1) / count for k in range(count)]

    @property
    def drop_range(self) -> tuple[float, float]:
        """Weights of a random network between these are none."""
        return self.values["drop_range"]["lb"], self.values["drop_range"]["ub"]

    @property
    def updates(self) -> int:
        """Updates of the whole run: n_iter_max epochs."""
        return int(self.values["n_iter_max"] * self._per_epoch)

    @property
    def _per_epoch(self) -> int:
        size = self.values["epoch_size"]
        return int(self.values["n_exp_train"] if size == -1 else size)

    def stage(self, updates: int) -> Stage:
        """Return the stage of `pycellbox.fit` with so many updates, a condition each.

        Weight decay in the port is a share per update; here it is one per update and unit of
        learning rate.
        """
        v = self.values
        patience = None
        if v["n_iter_tol"] > 0 and v["n_exp_val"] > 0:
            epochs = max(v["n_iter_tol"], v["n_iter_burnin"])
            patience = math.ceil(epochs * self._per_epoch / v["n_exp_train"])
        return Stage(
            iterations=updates,
            learning_rate=v["lr"],
            patience=patience,
            batch_size=1 if v["n_exp_train"] > 1 else None,
            prefix=v["batch_size"] if v["batch_size"] < v["ntotal"] else None,
            optimizer=AdamW(
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-8,
                weight_decay=v["weight_decay"] / v["lr"],
                clip_norm=None if math.isinf(v["grad_max"]) else v["grad_max"],
            ),
        )

    @property
    def folder(self) -> Path:
        """Where the results go, below the working directory."""
        kept = {name: value for name, value in self.values.items() if name not in LENGTH}
        key = hashlib.md5(
            json.dumps(kept, sort_keys=True).encode(), usedforsecurity=False
        ).hexdigest()
        return Path("results") / f"{self.name}_{key}" / f"seed_{self.index:03d}"

    @property
    def search(self) -> list[Path]:
        """Folders that relative paths start from, in the order they are tried."""
        return [self.path.parent, Path.cwd()]
