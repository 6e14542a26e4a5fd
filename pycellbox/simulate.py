"""Experiments made by computer: perturb a known network, solve it, measure it with error."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.data import condition_labels
from pycellbox.errors import DataError, ModelError
from pycellbox.models import CellBox
from pycellbox.networks import Network
from pycellbox.solvers import RK4, Solver
from pycellbox.solving import solve

__all__ = ["Simulated", "perturbations", "simulate"]


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated experiment and the truth behind it.

    Attributes
    ----------
    data : Dataset
        What an experimenter would have: ``perturbation`` and the noisy, incomplete ``response``.
    truth_parameters : Dataset
        W (target, source) and the rates (node) that made it.
    clean_response : DataArray (condition[, time], node)
        The response without noise and gaps.
    """

    data: xr.Dataset
    truth_parameters: xr.Dataset
    clean_response: xr.DataArray

    def __repr__(self) -> str:
        sizes = ", ".join(f"{n} {dim}s" for dim, n in self.clean_response.sizes.items())
        return f"Simulated({sizes})"


def perturbations(
    drugs: Sequence[str],
    nodes: xr.DataArray | Iterable[str],
    *,
    doses: Sequence[float],
    combinations: bool = True,
) -> xr.DataArray:
    """Lay out an experiment: every drug alone at every dose, and all pairs.

    Parameters
    ----------
    drugs : sequence of str
        Nodes to perturb.
    nodes : DataArray of str (node), or iterable of str
        All nodes: the ``node_kind`` of a network, whose kinds are then kept, or names.
    doses : sequence of float
        Doses of each drug, dimensionless. By convention a negative dose inhibits, as in the
        melanoma data.
    combinations : bool
        Whether to add every pair of drugs at every pair of doses.

    Returns
    -------
    DataArray (condition, node)
        With k doses, k conditions a drug and k² a pair, named as "aMEK=-1+aAKT=-0.5".

    Raises
    ------
    DataError
        No drug or dose, one given twice, a drug that is not a node, or a dose that is zero or not
        finite.
    """
    if isinstance(nodes, xr.DataArray):
        names = [str(node) for node in nodes["node"].values]
    else:
        names = [str(node) for node in nodes]
    strange = [drug for drug in drugs if drug not in names]
    if isinstance(drugs, str) or strange or not drugs or len(set(drugs)) < len(drugs):
        raise DataError(f"drugs={drugs!r}; they need to be different nodes of {', '.join(names)}.")
    amounts = [float(dose) for dose in doses]
    if not amounts or len(set(amounts)) < len(amounts):
        raise DataError(f"doses={amounts}; there needs to be at least one, each given once.")
    if not all(np.isfinite(a) and a != 0 for a in amounts):
        raise DataError(f"doses={amounts}; a dose needs to be finite and not zero.")
    design = [{drug: dose} for drug in drugs for dose in amounts]
    if combinations:
        for a, b in itertools.combinations(drugs, 2):
            design += [{a: i, b: j} for i, j in itertools.product(amounts, repeat=2)]
    values = np.array([[condition.get(name, 0.0) for name in names] for condition in design])
    labels = condition_labels(values, names)
    coords: dict[str, Any] = {"condition": labels, "node": names}
    if isinstance(nodes, xr.DataArray):
        coords["node_kind"] = ("node", nodes.values)
    return xr.DataArray(values, dims=("condition", "node"), coords=coords, name="perturbation")


def simulate(
    network: Network,
    perturbation: xr.DataArray,
    *,
    model: CellBox | None = None,
    solver: Solver | None = None,
    horizon: float | None = None,
    times: Sequence[float] | None = None,
    noise: float = 0.0,
    missing: float = 0.0,
    seed: int = 0,
    backend: str = "auto",
) -> Simulated:
    """Simulate an experiment on a known network.

    Parameters
    ----------
    network : Network
        The truth.
    perturbation : DataArray (condition, node)
        Doses, such as `perturbations` lays out; nodes as in the network, in any order.
    model : CellBox, optional
        The equation; default ``CellBox()``.
    solver : solver, optional
        Default ``RK4(dt=0.05)``.
    horizon : float, optional
        Time of measurement, for a steady-state experiment; default 20, in units of 1/α of the
        ready-made networks.
    times : sequence of float, optional
        Times of measurement, for a time course; not together with ``horizon``.
    noise : float
        Standard deviation of the Gaussian error added to each response, in units of the response.
    missing : float
        Chance that a response is not measured, in [0, 1). Each node keeps at least one.
    seed : int
        Seed of noise and gaps, which are drawn independently of each other.
    backend : str
        As for `pycellbox.solve`.

    Returns
    -------
    Simulated

    Raises
    ------
    DataError
        Nodes of network and perturbation differ, or ``noise`` or ``missing`` is out of range.
    ModelError
        The model has a parameter that the network lacks (form 2 has ψ).
    SolverError
        Both ``horizon`` and ``times`` are given, or either cannot be.
    """
    if not 0 <= noise < np.inf:
        raise DataError(f"noise is {noise!r}; it needs a finite number ≥ 0.")
    if not 0 <= missing < 1:
        raise DataError(f"missing is {missing!r}; it needs a fraction in [0, 1).")
    model = CellBox() if model is None else model
    truth = network.parameters
    lacking = [rate for rate in model.rates if rate not in truth]
    if lacking:
        raise ModelError(
            f"the model has {', '.join(lacking)}, which a network does not hold; "
            "simulate with another form."
        )
    truth = truth[["W", *model.rates]]
    perturbation = _in_order(perturbation, network)
    if horizon is None and times is None:
        horizon = 20.0
    clean = solve(
        model,
        truth,
        perturbation,
        solver=RK4(dt=0.05) if solver is None else solver,
        horizon=horizon,
        times=times,
        backend=backend,
    )
    measured = clean.copy(data=_measure(clean, noise, missing, seed))
    data = xr.Dataset({"perturbation": perturbation, "response": measured})
    if "time" in data.coords:
        data["time"].attrs.setdefault("units", "1")
    data.attrs.update(source="simulated by pycellbox", noise=noise, missing=missing, seed=seed)
    return Simulated(data, truth, clean)


def _in_order(perturbation: xr.DataArray, network: Network) -> xr.DataArray:
    if set(perturbation.dims) != {"condition", "node"} or "node" not in perturbation.coords:
        raise DataError(
            f"perturbation has dims {perturbation.dims}; it needs labelled ('condition', 'node')."
        )
    nodes = list(network.nodes)
    odd = set(nodes) ^ {str(node) for node in perturbation["node"].values}
    if odd or perturbation.sizes["node"] != len(nodes):
        raise DataError(
            "perturbation and network need the same nodes, each once"
            + (f"; {sorted(odd)[0]!r} is in only one of them." if odd else ".")
        )
    ordered: xr.DataArray = perturbation.transpose("condition", "node").sel(node=nodes)
    ordered = ordered.assign_coords(node_kind=("node", network.node_kind.values))
    return ordered


def _measure(
    clean: xr.DataArray, noise: float, missing: float, seed: int
) -> npt.NDArray[np.float64]:
    """Return the clean response with noise and gaps."""
    # A stream for each, so that the same noise is seen with and without gaps.
    for_noise, for_gaps = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    axis = clean.get_axis_num("node")
    values = np.array(clean.values, dtype=np.float64)
    values += noise * for_noise.standard_normal(values.shape)
    gap = for_gaps.random(values.shape) < missing
    # A node that was never measured is no data at all: it keeps an entry, drawn at random.
    by_node = np.moveaxis(gap, axis, 0)
    for node in by_node:
        if node.all():
            node[tuple(int(for_gaps.integers(n)) for n in node.shape)] = False
    values[gap] = np.nan
    return values
