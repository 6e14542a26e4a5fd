"""The network and the data of a CellBox.jl configuration."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.backends import BackendName
from pycellbox.common.spreadsheet import unescaped
from pycellbox.data import read_csv
from pycellbox.errors import DataError
from pycellbox.interop import files
from pycellbox.interop.cellbox_jl.config import JuliaConfig
from pycellbox.interop.joining import follow_seed
from pycellbox.networks import Network
from pycellbox.simulation import simulate

DEFAULT_ALPHA = 0.2
DEFAULT_CORNER = "Genes"

# Streams of random numbers, so that, say, another noise keeps the network.
_NETWORK, _EXPERIMENT, _ORDER, _START = range(4)


@dataclass(frozen=True)
class Material:
    """What a configuration is about.

    Attributes
    ----------
    data : Dataset
        All conditions, with their ``role``; of simulated ones also the truth, true_W and
        true_alpha.
    start : Dataset
        Parameters to start from.
    corner : str
        First cell of the network's table.
    """

    data: xr.Dataset
    start: xr.Dataset
    corner: str


def material(config: JuliaConfig, backend: BackendName = "auto") -> Material:
    """Read or draw the network, and read or simulate the data.

    Raises
    ------
    DataError
        A file is missing, is no such table, or has another shape than the configuration says.
    """
    corner, W = _network(config)
    if config.values["data"] is not None:
        data = _measured(config)
        nodes = [str(node) for node in data["node"].values]
    else:
        assert W is not None  # without data there is a network, given or drawn
        nodes = [str(node) for node in W["target"].values]
        data = simulate(
            _truth(config, W, nodes),
            sum(config.counts.values()),
            model=config.model,
            times=config.times,
            horizon=config.values["tfinal"] if config.times is None else None,
            perturb="latin-hypercube",
            max_perturbed=config.values["n_mu"],
            sign="positive",
            noise=config.values["noise"],
            seed=follow_seed(config.seed, _EXPERIMENT),
            backend=backend,
        )
    roles = [role for role, count in config.counts.items() for _ in range(count)]
    return Material(data.assign_coords(role=("condition", roles)), _start(config, nodes), corner)


def _network(config: JuliaConfig) -> tuple[str, xr.DataArray | None]:
    """Return the first cell of the network's table, and W; drawn unless the data is measured."""
    values, draw = config.values, np.random.default_rng([config.seed, _NETWORK])
    if values["data"] is not None:
        return DEFAULT_CORNER, None
    if values["network"] is None:
        nodes = _names(values["ns"])
        W = draw.uniform(-1, 1, (values["ns"], values["ns"]))
        low, high = config.drop_range
        W[(low <= W) & (high >= W)] = 0
        W[draw.random(W.shape) < values["sparsity"]] = 0
        return DEFAULT_CORNER, _labelled(W, nodes)
    path = data_files(config)[0]
    corner, labelled = read_network(path)
    if labelled.sizes["target"] != values["ns"]:
        raise DataError(
            f"{config.path}: ns is {values['ns']}, and the network {path} has "
            f"{labelled.sizes['target']} nodes; they need to be the same number."
        )
    if values["randomize_network"]:
        labelled = labelled * draw.normal(1, values["randomize_network"], labelled.shape)
    return corner, labelled


def read_network(path: Path) -> tuple[str, xr.DataArray]:
    """Read a table of signed weights: a named row for each target, a column for each source.

    Returns
    -------
    str
        Its first cell.
    DataArray (target, source)
    """
    rows = [row for row in csv.reader(io.StringIO(files.read_text(path))) if row]
    if len(rows) < 2:
        raise DataError(f"{path} is no network: it needs a line of names and one for each node.")
    sources = [unescaped(cell.strip()) for cell in rows[0][1:]]
    targets = [unescaped(row[0].strip()) for row in rows[1:]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}, line {number} has {len(row)} cells; it needs {len(rows[0])}: the name "
                "of a node and its weights."
            )
    if sorted(sources) != sorted(targets) or len(set(sources)) < len(sources):
        odd = sorted(set(sources) ^ set(targets))
        raise DataError(
            f"{path}: its first line and its first column need to name the same nodes, each once"
            + (f"; {odd[0]!r} is in one of them only." if odd else ".")
        )
    try:
        W = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
    except ValueError as error:
        raise DataError(f"{path}: a weight is no number ({error}).") from None
    if not np.isfinite(W).all():
        raise DataError(f"{path}: a weight is NaN or infinite; it needs a finite number.")
    labelled = xr.DataArray(W, {"target": targets, "source": sources}, ("target", "source"))
    return unescaped(rows[0][0].strip()) or DEFAULT_CORNER, labelled.sel(target=sources)


def data_files(config: JuliaConfig) -> list[Path]:
    """Find the files that a configuration names."""
    values = config.values
    if values["data"] is not None:
        folder = files.find(values["data"], "data", config.search)
        return [folder / "pert.csv", folder / "expr.csv"]
    if values["network"] is None:
        return []
    return [files.find(values["network"], "network", config.search)]


def _measured(config: JuliaConfig) -> xr.Dataset:
    """Read pert.csv and expr.csv; their rows are dealt to the parts at random."""
    perturbation, response = data_files(config)
    folder = perturbation.parent
    for path in (perturbation, response):
        if not path.is_file():
            raise DataError(f"data is the folder {folder}, and there is no {path.name} in it.")
    data = read_csv(perturbation, response, nodes=_names(config.values["ns"]))
    wanted, given = sum(config.counts.values()), data.sizes["condition"]
    if wanted > given:
        raise DataError(
            f"{config.path}: n_exp_train, n_exp_val and n_exp_test add up to {wanted}, and "
            f"{folder} has {given} conditions."
        )
    # As the port does: what is beyond that number is left out.
    order = np.random.default_rng([config.seed, _ORDER]).permutation(wanted)
    return data.isel(condition=order)


def _truth(config: JuliaConfig, W: xr.DataArray, nodes: list[str]) -> Network:
    values = config.values
    if values["network"] is None:
        draw = np.random.default_rng([config.seed, _NETWORK, 1])
        alpha = np.abs(draw.uniform(-1, 1, len(nodes))) + 0.5
    else:
        alpha = np.full(len(nodes), DEFAULT_ALPHA if values["alpha"] is None else values["alpha"])
    labels = {"node": nodes}
    return Network(
        W=W,
        node_kind=xr.DataArray(["protein"] * len(nodes), labels, ("node",)),
        alpha=xr.DataArray(alpha, labels, ("node",)),
        self_interaction=True,
    )


def _start(config: JuliaConfig, nodes: list[str]) -> xr.Dataset:
    """Make the start of the port: no interactions, and α just above a half.

    The port draws weights below 0.01 and then drops all below 0.1.
    """
    alpha = 0.5 + np.random.default_rng([config.seed, _START]).uniform(0, 0.01, len(nodes))
    n = len(nodes)
    kinds = ("node", ["protein"] * n)
    return xr.Dataset(
        {"W": _labelled(np.zeros((n, n)), nodes), "alpha": ("node", alpha)},
        coords={"node": nodes, "node_kind": kinds},
    )


def _labelled(W: npt.NDArray[np.float64], nodes: list[str]) -> xr.DataArray:
    return xr.DataArray(W, {"target": nodes, "source": nodes}, ("target", "source"))


def _names(count: int) -> list[str]:
    return [f"x{i + 1}" for i in range(count)]
