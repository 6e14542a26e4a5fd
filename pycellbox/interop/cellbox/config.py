"""A checked configuration, and what its keys mean for model, solver and stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycellbox.interop.cellbox.keys import ENVELOPES, SOLVERS, WITH_ORDER
from pycellbox.interop.cellbox.partition import LEAVE_ONE_OUT, REPLICATES
from pycellbox.interop.keys import Unused
from pycellbox.models import CellBox
from pycellbox.objective import Penalty
from pycellbox.recipe import Recipe
from pycellbox.schedule import AdamW, Stage

DIFFERENCES = (
    "early stopping looks at the whole validation set once per epoch, and n_iter_patience "
    "iterations count as the epochs that hold them: the original smooths the loss of single "
    "validation batches over n_iter_buffer iterations",
    "each sub-stage starts from the best parameters of the one before, with fresh moments of "
    "Adam: the original goes on from the last ones",
)
"""What is done in the nearest way instead of the same way, said once per run."""

SEED_OFFSET = 1000
"""Seed of ``-i 0`` in a configuration without a seed."""


@dataclass(frozen=True)
class SubStage:
    """One sub-stage: how far to integrate, and how to train.

    Attributes
    ----------
    steps : int
        nT: the integration ends at nT·dT.
    learning_rate, l1, l2 : float
    epochs, iterations, patience : int
        n_epoch, n_iter, n_iter_patience; the patience counts iterations.
    """

    steps: int
    learning_rate: float
    l1: float
    l2: float
    epochs: int
    iterations: int
    patience: int

    def stage(self, horizon: float, n_train: int, batch_size: int) -> Stage:
        """Return the stage of `pycellbox.fit` for so many training conditions."""
        per_epoch = math.ceil(n_train / batch_size)
        return Stage(
            iterations=min(self.iterations, self.epochs * per_epoch),
            learning_rate=self.learning_rate,
            horizon=horizon,
            penalty=Penalty(l1=self.l1, l2=self.l2, scale="mean"),
            patience=math.ceil(self.patience / per_epoch),
            batch_size=batch_size if batch_size < n_train else None,
            optimizer=AdamW(beta1=0.9, beta2=0.999, epsilon=1e-8),
        )


@dataclass(frozen=True)
class CellBoxConfig:
    """A configuration of CellBox, checked.

    Attributes
    ----------
    path : Path
    values : dict
        Every key of `KEYS`, defaults filled in.
    sub_stages : tuple of SubStage
        Of all stages, in order.
    identifier : str
        MD5 of the configuration, as the original makes it for its result folder.
    index : int
        ``-i``: which of the runs that differ in their seed.
    unused : Unused
    """

    path: Path
    values: dict[str, Any]
    sub_stages: tuple[SubStage, ...]
    identifier: str
    index: int
    unused: Unused

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        base = self.values["seed"]
        return self.index + (SEED_OFFSET if base is None else int(base))

    @property
    def model(self) -> CellBox:
        """The published equation to the letter."""
        v = self.values
        return CellBox(
            envelope=ENVELOPES[v["envelope_form"]],  # type: ignore[arg-type]
            form=v["envelope"],
            degree=v["ode_degree"],
            order=v["polynomial_k"] if v["envelope_form"] in WITH_ORDER else None,
            drugs="clamped" if v["pert_form"] == "fix x" else "input",
            dose_saturation=None,
            drug_columns="free",
        )

    @property
    def recipe(self) -> Recipe:
        """What all sub-stages have in common: the model, and the method with steps of dT."""
        return Recipe(self.model, solver=SOLVERS[self.values["ode_solver"]](self.values["dT"]))

    @property
    def fit_share(self) -> float:
        """Share of the conditions that is not for the test."""
        return float(self.values["trainset_ratio"])

    @property
    def node_kind(self) -> dict[str, int]:
        """Number of nodes of each kind, in node order."""
        v = self.values
        first, second, last = v["n_protein_nodes"], v["n_activity_nodes"], v["n_x"]
        return {"protein": first, "phenotype": second - first, "drug": last - second}

    @property
    def drug_column(self) -> int | None:
        """Node of the drug to leave out; drug 1 is the first drug node."""
        if self.values["experiment_type"] not in LEAVE_ONE_OUT:
            return None
        return int(self.values["n_activity_nodes"] - 1 + self.values["drug_index"])

    @property
    def folder(self) -> Path:
        """Where the original would put the results, below the working directory."""
        v = self.values
        drug = "" if self.drug_column is None else f"_{v['drug_index']}"
        run = f"{v['model_prefix']}{drug}_{self.index:03d}"
        return Path("results") / f"{v['experiment_id']}_{self.identifier}" / run

    @property
    def search(self) -> list[Path]:
        """Folders that relative paths start from, in the order they are tried."""
        root = self.values["root_dir"]
        return [self.path.parent, Path.cwd(), *([Path(root)] if root else [])]

    def differences(self) -> list[str]:
        """Say what this run does in the nearest way instead of the original's."""
        texts = list(DIFFERENCES)
        if self.values["pert_form"] == "fix x":
            texts.append(
                "pert_form 'fix x' holds drug nodes at their dose within every step too, and "
                "starts all other nodes from 0"
            )
        if self.values["experiment_type"] == REPLICATES:
            texts.append(
                "conditions with the same perturbed nodes stay in one part: the original draws "
                "from the first rows only, one row for each distinct condition"
            )
        return texts
