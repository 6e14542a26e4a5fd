"""What a configuration's files and seed make before any training: data, partition, start."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.data import condition_labels, from_tables, read_csv
from pycellbox.errors import DataError
from pycellbox.interop import files
from pycellbox.interop.cellbox.config import CellBoxConfig
from pycellbox.interop.cellbox.partition import Partition, partition
from pycellbox.problem import parameter_dataset, structure_of

_RAW_RATE = 1.0
"""Where α, ε and ψ start, before softplus."""

_LARGEST = 400_000_000
"""Bytes of a matrix that is read."""

_NO_WEIGHT = 1e-12
"""Weight of a response of exactly 0 under weight_loss "expr", which gives it none."""


@dataclass(frozen=True)
class Experiment:
    """What a configuration's seed and files make, before any training.

    Attributes
    ----------
    data : Dataset
        All conditions, noise added.
    parts : Partition
    start : Dataset
        Parameters that the first sub-stage starts from.
    """

    data: xr.Dataset
    parts: Partition
    start: xr.Dataset

    def rows(self, role: str) -> xr.Dataset:
        """Conditions of a role, in the order drawn."""
        return self.data.isel(condition=getattr(self.parts, role))


def prepare(config: CellBoxConfig) -> Experiment:
    """Read the data and draw noise, partition and start, as the original does with this seed.

    Noise is added to all responses, also those of the test, because the original does so.

    Raises
    ------
    DataError
        A file is missing or has another shape, or a part would be empty.
    """
    values = config.values
    data = _read_data(config)
    draw = np.random.RandomState(config.seed)
    noise = values["add_noise_level"]
    if noise > 0:
        response = data["response"]
        data["response"] = response + draw.normal(loc=0, scale=noise, size=response.shape)
    parts = partition(
        values["experiment_type"],
        data["perturbation"].values != 0,
        draw,
        config.fit_share,
        values["validset_ratio"],
        config.drug_column,
    )
    data = data.assign_coords(role=("condition", parts.roles(data.sizes["condition"])))
    if values["weight_loss"] == "expr":
        size = np.maximum(np.abs(data["response"]), _NO_WEIGHT)
        data["sigma"] = 1 / np.sqrt(size)
    structure = structure_of(data, config.model)
    n = structure.n_nodes
    start = {"W": np.where(structure.mask, draw.normal(0.01, size=(n, n)), 0)}
    start |= {name: np.full(n, np.logaddexp(0, _RAW_RATE)) for name in config.model.rates}
    return Experiment(data, parts, parameter_dataset(structure, start))


def data_files(config: CellBoxConfig) -> dict[str, Path]:
    """Find the files that a configuration names, by their keys."""
    return {
        key: files.find(config.values[key], key, config.search)
        for key in ("pert_file", "expr_file", "node_index_file")
        if config.values[key] is not None
    }


def _read_data(config: CellBoxConfig) -> xr.Dataset:
    values, paths = config.values, data_files(config)
    nodes: Any = paths.get("node_index_file")
    if nodes is None:
        nodes = [str(i) for i in range(values["n_x"])]
    if values["sparse_data"]:
        names = _sparse_names(nodes)
        pert, expr = (_read_sparse(paths[key], len(names)) for key in ("pert_file", "expr_file"))
        data = from_tables(
            pert, expr, conditions=condition_labels(pert, names), nodes=names,
            node_kind=_kinds(config, len(names)),
        )  # fmt: skip
    else:
        try:
            data = read_csv(paths["pert_file"], paths["expr_file"], nodes=nodes)
        except DataError as error:
            whence = "" if values["node_index_file"] else f", n_x {values['n_x']}"
            raise DataError(f"{config.path}{whence}: {error}") from error
        kinds = _kinds(config, data.sizes["node"])
        data = data.assign_coords(node_kind=("node", kinds))
    data["perturbation"] = data["perturbation"].astype(np.float64)
    return data


def _kinds(config: CellBoxConfig, n_nodes: int) -> list[str]:
    if n_nodes != config.values["n_x"]:
        raise DataError(
            f"{config.path}: n_x is {config.values['n_x']}, and the data has {n_nodes} nodes; they "
            "need to be the same number."
        )
    return [kind for kind, count in config.node_kind.items() for _ in range(count)]


def _sparse_names(nodes: Any) -> list[str]:
    if isinstance(nodes, Path):
        return [line.strip() for line in files.read_text(nodes).splitlines() if line.strip()]
    return list(nodes)


def _read_sparse(path: Path, n_nodes: int) -> np.ndarray:
    """Read a matrix that SciPy saved; what it does not hold is 0, also in responses."""
    from scipy import sparse

    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
        if unpacked > _LARGEST:
            raise ValueError(f"it unpacks to {unpacked / 1e6:.0f} MB")
        matrix = sparse.load_npz(path)
        if 8 * matrix.shape[0] * matrix.shape[1] > _LARGEST:
            raise ValueError(f"it has {matrix.shape[0]} rows and {matrix.shape[1]} columns")
    except Exception as error:  # zipfile, NumPy and SciPy each have their own
        raise DataError(
            f"{path} is no sparse matrix as scipy.sparse.save_npz writes it ({error}); for tables "
            "of text leave sparse_data out."
        ) from error
    dense = np.asarray(matrix.toarray(), dtype=np.float64)
    if dense.shape[1] != n_nodes:
        raise DataError(
            f"{path} has {dense.shape[1]} columns; it needs one for each of the {n_nodes} nodes."
        )
    return dense
