"""The YAML configurations of CellBox.jl: every key, and what it means here.

Read for meaning: ``cellbox/header.jl``, ``network.jl``, ``train.jl``, ``callback.jl`` and
``export.jl`` of jiweiqi/CellBox.jl (Ji et al., arXiv 2104.06467).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycellbox.errors import ModelError
from pycellbox.fitting import AdamW, Stage
from pycellbox.interop import files
from pycellbox.interop.keys import (
    Key,
    Unused,
    Value,
    anything,
    flag,
    integer,
    number,
    optional,
    read_keys,
    text,
)
from pycellbox.models import CellBox
from pycellbox.solvers import Solver, Tsit5

DIFFERENCES = (
    "validation is looked at once per pass over the training conditions, without smoothing, and "
    "the patience is the larger of n_iter_tol and n_iter_burnin: the port smooths over "
    "n_iter_buffer epochs",
    "α stays positive and does not decay with W; the result has the parameters that validate best, "
    "where the port keeps the last",
)
"""What is done in the nearest way instead of the same way, said once per run."""

_PLOT = "no pictures are drawn during training"
_BUFFER = "validation is not smoothed"

KEYS = (
    Key("network", optional(text("the path of a table of signed weights")), None),
    Key("data", optional(text("the path of a folder with pert.csv and expr.csv")), None),
    Key("ns", integer(1)),
    Key("alpha", optional(number(0, above=True)), None),
    Key("randomize_network", number(0), 0.0),
    Key("sparsity", optional(number(0, 1, up_to=True)), None),
    Key("drop_range", anything(), None),
    Key("is_nn", flag(), False),
    Key("tfinal", number(0, above=True)),
    Key("ntotal", integer(1)),
    Key("batch_size", integer(1)),
    Key("epoch_size", Value(lambda v: v if v == -1 else integer(1).read(v), "an integer ≥ 1, or "
        "-1 for all training conditions"), -1),
    Key("lr", number(0, above=True)),
    Key("weight_decay", number(0), 0.0),
    Key("grad_max", number(0, above=True), math.inf),
    Key("n_mu", integer(1), None),
    Key("n_exp_train", integer(1)),
    Key("n_exp_val", integer(0)),
    Key("n_exp_test", integer(0)),
    Key("noise", number(0), 0.0),
    Key("n_iter_max", integer(1)),
    Key("n_iter_buffer", integer(0), 0, unused=_BUFFER),
    Key("n_iter_burnin", integer(0), 0),
    Key("n_iter_tol", integer(-1), 0),
    Key("is_restart", flag(), False),
    Key("nplot", anything(), None, unused=_PLOT),
    Key("n_plot", anything(), None, unused=_PLOT),
    Key("convergence_tol", anything(), None, unused="nor does it do anything in the port"),
    Key("lr_new", anything(), None, unused="nor does it do anything in the port"),
)  # fmt: skip

_DROP_KEYS = (Key("lb", number()), Key("ub", number()))
_RUNTIME_KEYS = (
    Key("expr_name", text("the folder of a configuration")),
    Key("is_restart", flag(), False),
)

# How long to train: a run may go on with other values, so they are not part of its name.
_LENGTH = (
    "is_restart", "n_iter_max", "n_iter_buffer", "n_iter_burnin", "n_iter_tol", "convergence_tol",
    "nplot", "n_plot",
)  # fmt: skip


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
    def solver(self) -> Solver:
        """Tsit5 with the tolerances that OrdinaryDiffEq takes by itself."""
        return Tsit5(rtol=1e-3, atol=1e-6)

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
            optimiser=AdamW(
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
        kept = {name: value for name, value in self.values.items() if name not in _LENGTH}
        key = hashlib.md5(
            json.dumps(kept, sort_keys=True).encode(), usedforsecurity=False
        ).hexdigest()
        return Path("results") / f"{self.name}_{key}" / f"seed_{self.index:03d}"

    @property
    def search(self) -> list[Path]:
        """Folders that relative paths start from, in the order they are tried."""
        return [self.path.parent, Path.cwd()]


def read_config(path: Path, index: int = 0, restart: bool = False) -> JuliaConfig:
    """Read and check a YAML configuration, or a ``runtime.yaml`` that names one.

    Parameters
    ----------
    path : Path
    index : int
        ``-i``; the port itself has no seed.
    restart : bool
        ``--is-restart``.

    Raises
    ------
    DataError
        A file is missing.
    ModelError
        It is no YAML, or a key or value cannot be.
    """
    raw = _load(path)
    unused = Unused()
    if isinstance(raw, dict) and "expr_name" in raw and "ns" not in raw:
        runtime = read_keys(raw, _RUNTIME_KEYS, str(path), unused)
        restart = restart or runtime["is_restart"]
        name = f"{runtime['expr_name']}/config.yaml"
        path = files.find(name, "expr_name", [path.parent, Path.cwd()])
        raw = _load(path)
    values = read_keys(raw, KEYS, str(path), unused, {"expr_name": "runtime.yaml"})
    if values["drop_range"] is not None:
        values["drop_range"] = read_keys(
            values["drop_range"], _DROP_KEYS, f"{path}, drop_range", unused
        )
    _check(values, raw, str(path), unused)
    folder = path.resolve().parent.name
    name = folder if path.stem == "config" and folder else path.stem
    return JuliaConfig(path, values, name, restart or values["is_restart"], index, unused)


def _check(values: dict[str, Any], raw: dict[str, Any], where: str, unused: Unused) -> None:
    """Check what keys need of each other, and note those that others make useless."""
    if values["is_nn"]:
        raise ModelError(
            f"{where}: is_nn is true, which puts a neural network in the place of Wx; pycellbox "
            "fits W itself: set is_nn to false."
        )
    if values["batch_size"] > values["ntotal"]:
        raise ModelError(
            f"{where}: batch_size {values['batch_size']} is the least number of times in an "
            f"update, and ntotal says that there are only {values['ntotal']}."
        )
    if values["epoch_size"] > values["n_exp_train"]:
        raise ModelError(
            f"{where}: epoch_size {values['epoch_size']} is more than the {values['n_exp_train']} "
            "training conditions (n_exp_train)."
        )
    drawn = ("sparsity", "drop_range")
    useless: tuple[str, ...]
    if values["data"] is not None:
        if values["ntotal"] != 1:
            raise ModelError(
                f"{where}: ntotal is {values['ntotal']}, and a data folder holds one time; it "
                "needs 1."
            )
        useless = (*drawn, "network", "alpha", "randomize_network", "noise", "n_mu")
        reason = "the data is measured, not simulated"
    else:
        if values["n_mu"] is None:
            raise ModelError(f"{where} lacks the key 'n_mu'; it needs an integer ≥ 1.")
        useless, reason = drawn, "the network is given"
        if values["network"] is None:
            lacking = [name for name in drawn if values[name] is None]
            if lacking:
                raise ModelError(
                    f"{where} lacks the key {lacking[0]!r}: without network and data a network is "
                    "drawn, which needs sparsity, and drop_range with lb and ub."
                )
            useless, reason = ("alpha", "randomize_network"), "the network is drawn"
    for name in useless:
        if name in raw:
            unused.add(name, reason)


def _load(path: Path) -> Any:
    content = files.read_text(path)
    try:
        import yaml
    except ImportError as error:
        raise ModelError(f"{path}: to read YAML, install PyYAML: pip install pyyaml.") from error

    class Loader(yaml.SafeLoader):
        """With the numbers of YAML 1.2: in 1.1, 1e-8 is a text."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )
    try:
        return yaml.load(content, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "damaged"
        raise ModelError(f"{path}{line}: this is no YAML ({problem}).") from None
