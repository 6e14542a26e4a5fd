"""From a YAML file to a checked configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pycellbox.common.texts import read_yaml
from pycellbox.errors import OptionError
from pycellbox.interop import files
from pycellbox.interop.cellbox_jl.config import JuliaConfig
from pycellbox.interop.cellbox_jl.keys import DROP_KEYS, KEYS, RUNTIME_KEYS
from pycellbox.interop.keys import Unused, read_keys

MAX_NUMBERS = 50_000_000
"""Weights and responses of a configuration, 400 MB."""


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
    OptionError
        It is no YAML, or a key or value cannot be.
    """
    raw = files.read_configuration(path, read_yaml)
    unused = Unused()
    if isinstance(raw, dict) and "expr_name" in raw and "ns" not in raw:
        runtime = read_keys(raw, RUNTIME_KEYS, str(path), unused)
        restart = restart or runtime["is_restart"]
        name = f"{runtime['expr_name']}/config.yaml"
        path = files.find(name, "expr_name", [path.parent, Path.cwd()])
        raw = files.read_configuration(path, read_yaml)
    values = read_keys(raw, KEYS, str(path), unused, {"expr_name": "runtime.yaml"})
    if values["drop_range"] is not None:
        values["drop_range"] = read_keys(
            values["drop_range"], DROP_KEYS, f"{path}, drop_range", unused
        )
    _check(values, raw, str(path), unused)
    folder = path.resolve().parent.name
    name = folder if path.stem == "config" and folder else path.stem
    return JuliaConfig(path, values, name, restart or values["is_restart"], index, unused)


def _check(values: dict[str, Any], raw: dict[str, Any], where: str, unused: Unused) -> None:
    """Check what keys need of each other, and note those that others make useless."""
    if values["is_nn"]:
        raise OptionError(
            f"{where}: is_nn is true, which puts a neural network in the place of Wx; pycellbox "
            "fits W itself: set is_nn to false."
        )
    rows = values["n_exp_train"] + values["n_exp_val"] + values["n_exp_test"]
    count = values["ns"] * (values["ns"] + rows * values["ntotal"])
    if count > MAX_NUMBERS:
        raise OptionError(
            f"{where}: ns {values['ns']}, ntotal {values['ntotal']} and {rows} conditions ask for "
            f"{count:.2g} numbers; at most {MAX_NUMBERS:.0e} are made."
        )
    if values["batch_size"] > values["ntotal"]:
        raise OptionError(
            f"{where}: batch_size {values['batch_size']} is the least number of times in an "
            f"update, and ntotal says that there are only {values['ntotal']}."
        )
    if values["epoch_size"] > values["n_exp_train"]:
        raise OptionError(
            f"{where}: epoch_size {values['epoch_size']} is more than the {values['n_exp_train']} "
            "training conditions (n_exp_train)."
        )
    drawn = ("sparsity", "drop_range")
    useless: tuple[str, ...]
    if values["data"] is not None:
        if values["ntotal"] != 1:
            raise OptionError(
                f"{where}: ntotal is {values['ntotal']}, and a data folder holds one time; it "
                "needs 1."
            )
        useless = (*drawn, "network", "alpha", "randomize_network", "noise", "n_mu")
        reason = "the data is measured, not simulated"
    else:
        if values["n_mu"] is None:
            raise OptionError(f"{where} lacks the key 'n_mu'; it needs an integer ≥ 1.")
        useless, reason = drawn, "the network is given"
        if values["network"] is None:
            lacking = [name for name in drawn if values[name] is None]
            if lacking:
                raise OptionError(
                    f"{where} lacks the key {lacking[0]!r}: without network and data a network is "
                    "drawn, which needs sparsity, and drop_range with lb and ub."
                )
            useless, reason = ("alpha", "randomize_network"), "the network is drawn"
    for name in useless:
        if name in raw:
            unused.add(name, reason)
