"""From a JSON file to a checked configuration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pycellbox.common.texts import read_json
from pycellbox.errors import OptionError
from pycellbox.interop import files
from pycellbox.interop.cellbox.config import CellBoxConfig, SubStage
from pycellbox.interop.cellbox.keys import KEYS, STAGE_KEYS, SUB_STAGE_KEYS, WITH_ORDER
from pycellbox.interop.cellbox.partition import COMBINATIONS, FULL, LEAVE_ONE_OUT
from pycellbox.interop.keys import MISSING, Unused, read_keys


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
    OptionError
        It is no JSON, or a key or value cannot be.
    """
    raw = files.read_configuration(path, read_json)
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
        raise OptionError(f"{path}: the seed is {config.seed}; with -i it needs to be < 2³².")
    return config


def _check(values: dict[str, Any], raw: dict[str, Any], where: str, unused: Unused) -> None:
    """Check what keys need of each other."""
    if values["model"] != "CellBox":
        raise OptionError(
            f"{where}: model is {values['model']!r}; pycellbox runs 'CellBox' only. Linear models "
            "come as baselines with every evaluation."
        )
    first, second, last = values["n_protein_nodes"], values["n_activity_nodes"], values["n_x"]
    if not first <= second <= last:
        raise OptionError(
            f"{where}: n_protein_nodes {first}, n_activity_nodes {second} and n_x {last} count "
            "the nodes up to the last protein, the last phenotype and the last drug; each needs to "
            "be at least the one before."
        )
    if values["pert_form"] == "fix x" and second == last:
        raise OptionError(
            f"{where}: pert_form 'fix x' holds drug nodes at their dose, and n_activity_nodes = "
            f"n_x = {last} says that there are none."
        )
    if values["envelope_form"] in WITH_ORDER and values["polynomial_k"] is None:
        raise OptionError(
            f"{where}: envelope_form {values['envelope_form']!r} needs the key 'polynomial_k', an "
            "integer ≥ 2."
        )
    if values["envelope_form"] not in WITH_ORDER and "polynomial_k" in raw:
        unused.add("polynomial_k", f"envelope_form {values['envelope_form']!r} has no order")
    kind, drug = values["experiment_type"], values["drug_index"]
    if kind in LEAVE_ONE_OUT:
        if drug is None:
            raise OptionError(
                f"{where}: {kind!r} needs the drug to leave out: -drug 1 is the first."
            )
        if not 1 <= drug <= last - second:
            raise OptionError(
                f"{where}: drug {drug} is to be left out, and the configuration has drugs 1 to "
                f"{last - second} (n_x − n_activity_nodes)."
            )
        if "trainset_ratio" in raw:
            unused.add("trainset_ratio", f"{kind!r} has a test set of its own")
    else:
        if drug is not None:
            unused.add("drug_index", f"{kind!r} leaves no drug out")
        if kind == COMBINATIONS and "trainset_ratio" in raw:
            unused.add("trainset_ratio", f"{kind!r} has a test set of its own")


def _sub_stages(values: dict[str, Any], where: str, unused: Unused) -> list[SubStage]:
    top = {key.name: "the top level" for key in KEYS if key.name != "stages"}
    found = []
    for i, stage in enumerate(_list(values["stages"], f"{where}: stages")):
        place = f"{where}, stages[{i}]"
        own = {key.name: "a sub-stage" for key in SUB_STAGE_KEYS}
        read = read_keys(stage, STAGE_KEYS, place, unused, top | own)
        for j, sub in enumerate(_list(read["sub_stages"], f"{place}: sub_stages")):
            place_ = f"{place}.sub_stages[{j}]"
            at = read_keys(sub, SUB_STAGE_KEYS, place_, unused, top | {"nT": "its stage"})
            merged = {name: values[name] if v is None else v for name, v in at.items()}
            lacking = [name for name in ("lr_val", "n_epoch", "n_iter") if merged[name] is None]
            if lacking:
                raise OptionError(
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
        raise OptionError(f"{where} is {value!r}; it needs a list with at least one entry.")
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
