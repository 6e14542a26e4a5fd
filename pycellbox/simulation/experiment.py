"""`simulate`: from a known network to a dataset such as an experimenter would have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.labels import labels_along
from pycellbox.common.options import (
    HORIZON,
    SEED,
    Value,
    checked,
    choice,
    instance,
    listed,
    number,
    optional,
)
from pycellbox.data import validate
from pycellbox.data.designs import as_design
from pycellbox.data.phases import phases_of
from pycellbox.data.regimens import INSTRUCTION, Instruction
from pycellbox.data.regimens import regimen as lay
from pycellbox.data.treatments import DIMS
from pycellbox.data.units import NO_UNIT
from pycellbox.data.variables import check_not_empty
from pycellbox.errors import DataError, ModelError
from pycellbox.models import MODEL, CellBox
from pycellbox.networks import Network
from pycellbox.networks.drawing import RATE, Rate, draw_rate, generators
from pycellbox.simulation.design import DESIGN, DRAWN, Law, Sign, draw_perturbations
from pycellbox.simulation.truth import with_truth
from pycellbox.solvers import SOLVER, Solver, Tsit5
from pycellbox.solving import solve

# Against DOP853 at 3e-14, to time 20: within 2e-11 on networks of 8 to 100 nodes, oscillating and
# restless ones among them.
EXACT = Tsit5(rtol=1e-11, atol=1e-13)
_HORIZON = 20.0
_SHARE = number(0, 1)
NoiseKind = Literal["absolute", "relative"]


@checked(
    network=instance(Network, "a pcb.Network, such as pcb.networks makes"),
    design=DESIGN,
    regimen=optional(listed(INSTRUCTION, least=0)),
    model=optional(MODEL),
    alpha=optional(
        Value(
            lambda given: given if isinstance(given, xr.DataArray) else RATE.read(given),
            f"{RATE.needs}; or a DataArray (node)",
        )
    ),
    horizon=optional(HORIZON),
    **{name: optional(value) for name, value in DRAWN.items()},
    noise=number(0),
    noise_kind=choice("absolute", "relative"),
    outliers=_SHARE,
    outlier_size=number(0),
    missing=_SHARE,
    solver=optional(SOLVER),
    seed=SEED,
    backend=BACKEND,
)
def simulate(
    network: Network,
    design: int | xr.DataArray | xr.Dataset,
    *,
    model: CellBox | None = None,
    alpha: Rate | xr.DataArray | None = None,
    regimen: Sequence[Instruction] | None = None,
    horizon: float | None = None,
    times: Sequence[float] | None = None,
    perturb: Law | None = None,
    max_perturbed: int | Literal["all"] | None = None,
    scale: float | None = None,
    sign: Sign | None = None,
    perturbed_nodes: Sequence[str] | None = None,
    noise: float = 0.0,
    noise_kind: NoiseKind = "absolute",
    outliers: float = 0.0,
    outlier_size: float = 1.0,
    missing: float = 0.0,
    solver: Solver | None = None,
    seed: int = 0,
    backend: BackendName = "auto",
) -> xr.Dataset:
    """Simulate an experiment on a known network.

    Parameters
    ----------
    network : Network
        The truth, such as `pycellbox.networks.beeline` gives.
    design : int, DataArray (condition, node), or Dataset
        How many conditions to draw; or the doses, such as
        `pycellbox.simulation.perturbations` lays out, with the network's nodes in any order; or a
        dataset with phases, held nodes and initial states, such as `pycellbox.regimen` makes or
        measured data are, whose responses are not looked at. Nodes that it calls hidden are not
        measured.
    model : CellBox, optional
        The equation; default ``network.model``, a ``CellBox()`` with what the network needs beyond
        that: self-interaction, drugs that act on phenotypes, operating points, common effects.
    alpha : float, (float, float), or DataArray (node), optional
        Decay rate of all nodes, an interval to draw each node's from evenly, or each node's;
        default the network's own. In 1/time.
    regimen : sequence of instructions, optional
        Laid over the design, drawn or not, as `pycellbox.regimen` does it: pre-treatments, pulses,
        knock-outs and the like.
    horizon : float, optional
        Time of measurement, for a steady-state experiment; default 20 after the last change of
        inputs, in units of 1/α of the ready-made networks. Whether the network has come to rest by
        then is not checked.
    times : sequence of float, optional
        Times of measurement, for a time course; not together with ``horizon``.
    perturb : {"latin-hypercube", "normal"}, optional
        How doses are drawn. "latin-hypercube", the default: with c conditions each node gets
        every dose of 1/c, 2/c, …, 1 once, before ``max_perturbed``. "normal": ``|N(0, 1)|``.
    max_perturbed : int or "all", optional
        How many nodes, drawn at random, stay perturbed in a condition; default 2.
    scale : float, optional
        Factor on drawn doses, dimensionless; default 1.
    sign : {"positive", "negative", "both"}, optional
        Of drawn doses; default "both", either by chance.
    perturbed_nodes : sequence of str, optional
        Nodes that may be perturbed; default the drugs, in a network without any all nodes but
        phenotypes.
    noise : float
        Standard deviation of the Gaussian error of each response: in units of the response, or
        as a fraction of its size.
    noise_kind : {"absolute", "relative"}
        Which of the two.
    outliers : float
        Chance that a response is an outlier, in [0, 1).
    outlier_size : float
        How far an outlier is off, up or down, in units of the response.
    missing : float
        Chance that a response is not measured, in [0, 1). Each node and each condition keeps at
        least one.
    solver : solver, optional
        Default ``Tsit5(rtol=1e-11, atol=1e-13)``, whose error is below 1e-10. That takes minutes
        for thousands of nodes; ``Tsit5()`` is much faster.
    seed : int
        Of everything drawn. Doses, rates, noise, outliers and gaps have streams of their own, so
        that, say, the same noise is seen with and without gaps.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.solve`.

    Returns
    -------
    Dataset
        Ready for `pycellbox.fit`: ``perturbation`` and the noisy, incomplete ``response``; and
        beside them the truth: ``true_response`` without noise and gaps, ``true_W``,
        ``true_alpha`` and the other parameters of the model, which
        `pycellbox.simulation.truth` gives under their usual names.

    Raises
    ------
    DataError
        Nodes of network and design differ, an option is unknown or out of range, or one for drawn
        doses is given beside a design that is not drawn.
    ModelError
        The model does not allow an interaction that the network has, or ``alpha`` is out of range.
    SolverError
        Both ``horizon`` and ``times`` are given, or either cannot be.
    DivergenceError
        The trajectory is not finite: with an unbounded envelope a network can blow up.

    Examples
    --------
    >>> network = networks.beeline("HSC")
    >>> data = simulate(network, 30, times=[1, 2, 4, 8], noise=0.01)  # doctest: +SKIP
    >>> pulsed = pcb.pulse(["Gata1", "Fli1"], 0, 2)  # doctest: +SKIP
    >>> simulate(network, 30, regimen=[pulsed], times=[1, 2, 4, 8])  # doctest: +SKIP
    """
    if model is None:
        model = network.model
    for_noise, for_gaps, for_outliers, for_doses, for_rates = generators(seed, 5)
    if alpha is not None:
        network = _with_alpha(network, alpha, for_rates)
    options: dict[str, Any] = {
        "perturb": perturb,
        "max_perturbed": max_perturbed,
        "scale": scale,
        "sign": sign,
        "perturbed_nodes": perturbed_nodes,
    }
    laid = _design(network, design, regimen or (), options, for_doses)
    if horizon is None and times is None:
        horizon = _HORIZON + float(phases_of(laid).grid().max())
    clean = solve(
        model,
        network.parameters,
        laid,
        solver=EXACT if solver is None else solver,
        horizon=horizon,
        times=times,
        backend=backend,
    )
    values = with_noise(clean.values, noise, noise_kind, for_noise)
    values += _outliers(clean.shape, outliers, outlier_size, for_outliers)
    values[gaps(clean.shape, missing, for_gaps)] = np.nan
    values[..., laid["node_kind"].values == "hidden"] = np.nan
    data = laid.assign(response=clean.copy(data=values))
    if times is not None:
        unit = laid["phase_start"].attrs.get("units") if "phase_start" in laid else None
        data["time"].attrs.setdefault("units", unit or NO_UNIT)
    data.attrs.update(source="simulated by pycellbox", seed=seed, noise=noise)
    data.attrs.update(noise_kind=noise_kind, missing=missing)
    data.attrs.update(outliers=outliers, outlier_size=outlier_size)
    return validate(with_truth(data, model, network.parameters, clean))


def _with_alpha(network: Network, alpha: Rate | xr.DataArray, rng: np.random.Generator) -> Network:
    if not isinstance(alpha, xr.DataArray):
        values = draw_rate(alpha, len(network.nodes), rng)
        return dataclasses.replace(network, alpha=network.alpha.copy(data=values))
    if alpha.dims != ("node",) or set(alpha["node"].values) != set(network.nodes):
        raise ModelError("alpha needs the dim 'node' with the labels of the network.")
    return dataclasses.replace(network, alpha=alpha.sel(node=list(network.nodes)))


def _design(
    network: Network,
    design: int | xr.DataArray | xr.Dataset,
    instructions: Sequence[Instruction],
    options: Mapping[str, Any],
    rng: np.random.Generator,
) -> xr.Dataset:
    """Return what is done to every condition, over the nodes of the network in its order."""
    given = {name: value for name, value in options.items() if value is not None}
    if not isinstance(design, xr.DataArray | xr.Dataset):
        laid = draw_perturbations(network, design, rng, **given).to_dataset()
    elif given:
        raise DataError(
            f"{', '.join(given)} given, but the design is not drawn: it is a table of doses; "
            "leave it out, or give the number of conditions as the design."
        )
    elif isinstance(design, xr.DataArray):
        laid = _in_order(design.to_dataset(name="perturbation"), network)
    else:
        checked = as_design(design)
        kept = [name for name in ("perturbation", *DIMS) if name in checked.variables]
        laid = _in_order(checked[kept], network)
    return lay(laid, *instructions) if instructions else laid


def _in_order(design: xr.Dataset, network: Network) -> xr.Dataset:
    perturbation = design["perturbation"]
    if set(perturbation.dims) - {"phase"} != {"condition", "node"} or "node" not in design.coords:
        raise DataError(
            f"perturbation has dims {perturbation.dims}; it needs labelled ('condition', 'node'), "
            "and with phases ('condition', 'phase', 'node')."
        )
    check_not_empty(perturbation.sizes, "the design")
    nodes = list(network.nodes)
    odd = set(nodes) ^ set(labels_along(perturbation, "node"))
    if odd or perturbation.sizes["node"] != len(nodes):
        raise DataError(
            "perturbation and network need the same nodes, each once"
            + (f"; {sorted(odd)[0]!r} is in only one of them." if odd else ".")
        )
    ordered = design.sel(node=nodes).transpose("condition", ..., "node")
    kinds = network.node_kind.values
    if "node_kind" in ordered.coords:
        kinds = np.where(ordered["node_kind"].values == "hidden", "hidden", kinds)
    return ordered.assign_coords(node_kind=("node", kinds))


def with_noise(
    clean: npt.NDArray[Any], noise: float, kind: NoiseKind, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Add Gaussian errors, as large as ``noise`` or that share of each value."""
    size = noise * np.abs(clean) if kind == "relative" else noise
    noisy: npt.NDArray[Any] = clean + size * rng.standard_normal(clean.shape)
    return noisy


def _outliers(
    shape: tuple[int, ...], chance: float, size: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    hit = rng.random(shape) < chance
    return np.where(hit, size * rng.choice([-1.0, 1.0], shape), 0.0)


def gaps(shape: tuple[int, ...], chance: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw what is not measured, (condition[, time], node)."""
    gap = rng.random(shape) < chance
    # A node or a condition that was never measured is no data at all: it keeps an entry, drawn at
    # random.
    for axis in (len(shape) - 1, 0):
        for part in np.moveaxis(gap, axis, 0):
            if part.all():
                part[tuple(int(rng.integers(n)) for n in part.shape)] = False
    return gap
