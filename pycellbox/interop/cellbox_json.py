"""The JSON configurations of CellBox: every key of its documentation, and what it means here.

Read for meaning: ``cellbox/config.py``, ``dataset.py``, ``model.py``, ``kernel.py``, ``train.py``
and ``scripts/main.py`` of sanderlab/CellBox (Yuan et al., Cell Systems 12:128, 2021).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycellbox.errors import ModelError
from pycellbox.fitting import AdamW, Stage
from pycellbox.interop import files
from pycellbox.interop.keys import (
    MISSING,
    Key,
    Unused,
    anything,
    flag,
    integer,
    number,
    one_of,
    optional,
    read_keys,
    text,
)
from pycellbox.interop.partition import EXPERIMENTS, FULL, LEAVE_ONE_OUT, RANDOM
from pycellbox.models import CellBox
from pycellbox.objective import Penalty
from pycellbox.solvers import RK4, Euler, Heun, Midpoint, Solver

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

_ENVELOPES = {"tanh": "tanh", "polynomial": "polynomial", "hill": "hill", "linear": "linear",
              "clip linear": "clip"}  # fmt: skip
_WITH_ORDER = ("polynomial", "hill")
_SOLVERS: dict[str, Callable[[float], Solver]] = {
    "heun": Heun, "euler": Euler, "rk4": RK4, "midpoint": Midpoint,
}  # fmt: skip

_SHARE = number(0, 1, above=True, up_to=True)
_RATE = number(0)
_SMOOTHED = "the whole validation set is looked at instead of smoothed batches"
_TENSORFLOW = "no TensorFlow checkpoint is written; fit.nc has everything"
_WRITTEN = "written by the original"

# The order is that of the original's documentation. A default here is the original's; None that
# it has none and does not always need the key.
KEYS = (
    Key("experiment_id", text(), "Debugging"),
    Key("model_prefix", text(), "seed"),
    Key("ckpt_name", text(), "model.ckpt", unused=_TENSORFLOW),
    Key("model", one_of("CellBox", "NN", "LinReg"), "CellBox"),
    Key("export_verbose", one_of(-1, 0, 1, 2, 3), 2),
    Key("pert_file", text("the path of a table (condition, node)")),
    Key("expr_file", text("the path of a table (condition, node)")),
    Key("node_index_file", optional(text("a path")), None),
    Key("sparse_data", flag(), False),
    Key("n_x", integer(1)),
    Key("n_protein_nodes", integer(0)),
    Key("n_activity_nodes", integer(0)),
    Key("experiment_type", one_of(*EXPERIMENTS), RANDOM),
    Key("trainset_ratio", _SHARE, 0.7),
    Key("validset_ratio", _SHARE, 0.8),
    Key("batchsize", integer(1), 8),
    Key("n_batches_eval", optional(integer(1)), None, unused="every condition is evaluated"),
    Key("add_noise_level", number(0), 0),
    Key("envelope_form", one_of(*_ENVELOPES), "tanh", ("envelop_form",)),
    Key("envelope", one_of(0, 1, 2), 0, ("envelop",)),
    Key("polynomial_k", optional(integer(2)), None),
    Key("pert_form", one_of("by u", "fix x"), "by u"),
    Key("dT", number(0, above=True), 0.1),
    Key("ode_degree", one_of(1, 2), 1),
    Key("ode_solver", one_of(*_SOLVERS), "heun"),
    Key("ode_last_steps", integer(1), 2, unused="oscillations are not reported"),
    Key("seed", optional(integer(0)), None),
    Key("stages", anything()),
    Key("n_epoch", optional(integer(1)), None),
    Key("n_iter", optional(integer(1)), None),
    Key("n_iter_buffer", integer(1), 5, unused=_SMOOTHED),
    Key("n_iter_patience", integer(1), 100),
    Key("weight_loss", one_of("None", "expr", also={None: "None"}), "None"),
    Key("lr_val", optional(_RATE), None),
    Key("l1lambda", _RATE, 0),
    Key("l2lambda", _RATE, 0),
    Key("n_hidden", anything(), None, unused="it is for the model NN"),
    # Beyond the documentation: what the config.json in the original's result folders has.
    Key("root_dir", optional(text("a path")), None),
    Key("drug_index", optional(integer(1)), None),
    Key("ckpt_path_full", anything(), None, unused=_WRITTEN),
    Key("working_index", anything(), None, unused=_WRITTEN),
)

_STAGE_KEYS = (Key("nT", integer(1)), Key("sub_stages", anything()))
_SUB_STAGE_KEYS = (
    Key("lr_val", optional(_RATE), None),
    Key("l1lambda", optional(_RATE), None),
    Key("l2lambda", optional(_RATE), None),
    Key("n_epoch", optional(integer(1)), None),
    Key("n_iter", optional(integer(1)), None),
    Key("n_iter_buffer", optional(integer(1)), None, unused=_SMOOTHED),
    Key("n_iter_patience", optional(integer(1)), None),
)


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
            optimiser=AdamW(beta1=0.9, beta2=0.999, epsilon=1e-8),
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
            envelope=_ENVELOPES[v["envelope_form"]],  # type: ignore[arg-type]
            form=v["envelope"],
            degree=v["ode_degree"],
            order=v["polynomial_k"] if v["envelope_form"] in _WITH_ORDER else None,
            drugs="clamped" if v["pert_form"] == "fix x" else "input",
            dose_saturation=None,
            drug_columns="free",
        )

    @property
    def solver(self) -> Solver:
        """The fixed-step method, with steps of dT."""
        return _SOLVERS[self.values["ode_solver"]](self.values["dT"])

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
        if self.values["experiment_type"] == "random partition with replicates":
            texts.append(
                "conditions with the same perturbed nodes stay in one part: the original draws "
                "from the first rows only, one row for each distinct condition"
            )
        return texts


def read_config(path: Path, index: int = 0, drug: int | None = None) -> CellBoxConfig:
    """Read and check a JSON configuration.

    Parameters
    ----------
    path : Path
    index : int
        ``-i``.
    drug : int, optional
        ``-drug``: the drug to leave out, counted from 1.

    Raises
    ------
    DataError
        The file is missing.
    ModelError
        It is no JSON, or a key or value cannot be.
    """
    content = files.read_text(path)
    try:
        raw = json.loads(content)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path}, line {error.lineno}, column {error.colno}: this is no JSON ({error.msg})."
        ) from None
    unused = Unused()
    values = read_keys(raw, KEYS, str(path), unused)
    identifier = _identifier(raw)
    if values["experiment_type"] == FULL and "trainset_ratio" not in raw:
        values["trainset_ratio"] = 1.0
    if drug is not None:
        values["drug_index"] = drug
    _check(values, raw, str(path), unused)
    sub_stages = tuple(_sub_stages(values, str(path), unused))
    config = CellBoxConfig(path, values, sub_stages, identifier, index, unused)
    if config.seed >= 2**32:
        raise ModelError(f"{path}: the seed is {config.seed}; seed and -i need to add up to < 2³².")
    return config


def _check(values: dict[str, Any], raw: dict[str, Any], where: str, unused: Unused) -> None:
    """Check what keys need of each other."""
    if values["model"] != "CellBox":
        raise ModelError(
            f"{where}: model is {values['model']!r}; pycellbox runs 'CellBox' only. Linear models "
            "come as baselines with every evaluation."
        )
    first, second, last = values["n_protein_nodes"], values["n_activity_nodes"], values["n_x"]
    if not first <= second <= last:
        raise ModelError(
            f"{where}: n_protein_nodes {first}, n_activity_nodes {second} and n_x {last} count "
            "the nodes up to the last protein, the last phenotype and the last drug; each needs to "
            "be at least the one before."
        )
    if values["pert_form"] == "fix x" and second == last:
        raise ModelError(
            f"{where}: pert_form 'fix x' holds drug nodes at their dose, and n_activity_nodes = "
            f"n_x = {last} says that there are none."
        )
    if values["envelope_form"] in _WITH_ORDER and values["polynomial_k"] is None:
        raise ModelError(
            f"{where}: envelope_form {values['envelope_form']!r} needs the key 'polynomial_k', an "
            "integer ≥ 2."
        )
    if values["envelope_form"] not in _WITH_ORDER and "polynomial_k" in raw:
        unused.add("polynomial_k", f"envelope_form {values['envelope_form']!r} has no order")
    kind, drug = values["experiment_type"], values["drug_index"]
    if kind in LEAVE_ONE_OUT:
        if drug is None:
            raise ModelError(
                f"{where}: {kind!r} needs the drug to leave out: -drug 1 is the first."
            )
        if not 1 <= drug <= last - second:
            raise ModelError(
                f"{where}: drug {drug} is to be left out, and the configuration has drugs 1 to "
                f"{last - second} (n_x − n_activity_nodes)."
            )
        if "trainset_ratio" in raw:
            unused.add("trainset_ratio", f"{kind!r} has a test set of its own")
    else:
        if drug is not None:
            unused.add("drug_index", f"{kind!r} leaves no drug out")
        if kind == "single to combo" and "trainset_ratio" in raw:
            unused.add("trainset_ratio", f"{kind!r} has a test set of its own")


def _sub_stages(values: dict[str, Any], where: str, unused: Unused) -> list[SubStage]:
    top = {key.name: "the top level" for key in KEYS if key.name != "stages"}
    found = []
    for i, stage in enumerate(_list(values["stages"], f"{where}: stages")):
        place = f"{where}, stages[{i}]"
        own = {key.name: "a sub-stage" for key in _SUB_STAGE_KEYS}
        read = read_keys(stage, _STAGE_KEYS, place, unused, top | own)
        for j, sub in enumerate(_list(read["sub_stages"], f"{place}: sub_stages")):
            place_ = f"{place}.sub_stages[{j}]"
            at = read_keys(sub, _SUB_STAGE_KEYS, place_, unused, top | {"nT": "its stage"})
            merged = {name: values[name] if v is None else v for name, v in at.items()}
            lacking = [name for name in ("lr_val", "n_epoch", "n_iter") if merged[name] is None]
            if lacking:
                raise ModelError(
                    f"{place_} lacks {lacking[0]!r}, and so does the top level; it has no default."
                )
            found.append(
                SubStage(
                    steps=read["nT"],
                    learning_rate=merged["lr_val"],
                    l1=merged["l1lambda"],
                    l2=merged["l2lambda"],
                    epochs=merged["n_epoch"],
                    iterations=merged["n_iter"],
                    patience=merged["n_iter_patience"],
                )
            )
    return found


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ModelError(f"{where} is {value!r}; it needs a list with at least one entry.")
    return value


def _identifier(raw: dict[str, Any]) -> str:
    """MD5 as in ``utils.md5``: of all settings, those that were left out at their defaults."""
    always = {
        key.name: key.default
        for key in KEYS
        if key.default is not MISSING and (key.default is not None or key.name == "n_batches_eval")
    }
    del always["model"]  # the one default that is ours
    checkpoint = "./" + str(raw.get("ckpt_name", always["ckpt_name"]))
    everything = always | raw | {"ckpt_path_full": checkpoint}
    return hashlib.md5(
        json.dumps(everything, sort_keys=True).encode(), usedforsecurity=False
    ).hexdigest()
