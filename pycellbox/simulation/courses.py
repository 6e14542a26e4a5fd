"""`courses`: time courses of equations whose parameters are known, measured with error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.labels import labels_along
from pycellbox.common.options import (
    NAMED,
    SEED,
    Value,
    checked,
    choice,
    did_you_mean,
    instance,
    integer,
    number,
    optional,
    shown,
    text,
)
from pycellbox.common.plain import several
from pycellbox.data import validate
from pycellbox.data.designs import as_design
from pycellbox.data.hidden import with_nodes
from pycellbox.data.treatments import DIMS
from pycellbox.data.units import NO_UNIT
from pycellbox.errors import DataError, ModelError
from pycellbox.models import ODE, Structure
from pycellbox.models.declared import starts_of
from pycellbox.networks.drawing import generators
from pycellbox.problem import parameter_dataset, structure_over
from pycellbox.simulation.experiment import EXACT, NoiseKind, gaps, with_noise
from pycellbox.simulation.truth import with_truth
from pycellbox.solvers import SOLVER, Solver
from pycellbox.solving import solve

Array = npt.NDArray[Any]


def _read_design(given: object) -> Any:
    return given if isinstance(given, xr.Dataset) else integer(1, 1_000_000).read(given)


@checked(
    model=instance(ODE, "equations: a pcb.ODE(...) or pcb.NeuralODE(...)"),
    parameters=NAMED,
    design=optional(
        Value(_read_design, "a number of conditions, or a dataset that says what is done")
    ),
    initial=optional(NAMED),
    noise=number(0),
    noise_kind=choice("relative", "absolute"),
    missing=number(0, 1),
    units=text("a unit of time, such as 'h'"),
    solver=optional(SOLVER),
    seed=SEED,
    backend=BACKEND,
)
def courses(
    model: ODE,
    parameters: Mapping[str, Any],
    times: Sequence[float],
    *,
    design: int | xr.Dataset | None = None,
    initial: Mapping[str, Any] | None = None,
    measured: Sequence[str] | None = None,
    noise: float = 0.0,
    noise_kind: NoiseKind = "relative",
    missing: float = 0.0,
    units: str = NO_UNIT,
    solver: Solver | None = None,
    seed: int = 0,
    backend: BackendName = "auto",
) -> xr.Dataset:
    """Simulate time courses of equations of one's own.

    Parameters
    ----------
    model : ODE
        The equations.
    parameters : mapping of str to float or array-like
        The truth, by name. Those that the model fixes can be left out.
    times : sequence of float, (t,)
        Times of measurement, increasing, ≥ 0.
    design : int or Dataset, optional
        How many conditions; or what is done to them, as `pycellbox.validate` describes it, whose
        responses are not looked at. By default one condition, or as many as ``initial`` has starts.
    initial : mapping of str to float or sequence of float, (c,)
        Where states start, for all conditions or for each; by default as the model says.
    measured : sequence of str, optional
        States and observables that are measured; by default all observables, or without any all
        states. Of the others, those with an ``initial`` are hidden nodes of the dataset, and the
        rest is left out.
    noise : float
        Standard deviation of the Gaussian error of each value: as a fraction of its size, or in
        units of the response.
    noise_kind : {"relative", "absolute"}
        Which of the two.
    missing : float
        Chance that a value is not measured, in [0, 1). Each node and condition keeps at least one.
    units : str
        Unit of the times.
    solver : solver, optional
        Default ``Tsit5(rtol=1e-11, atol=1e-13)``.
    seed : int
        Of noise and gaps, which have streams of their own.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.solve`.

    Returns
    -------
    Dataset
        Ready for `pycellbox.fit`, with the truth beside what is measured: ``true_response`` and
        the parameters, which `pycellbox.simulation.truth` gives under their own names.

    Raises
    ------
    DataError, ModelError, OptionError
        Something given does not fit.
    DivergenceError
        The trajectory is not finite.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> model = pcb.ODE({"x": "-k*x"}, parameters={"k": pcb.Parameter(positive=True)})
    >>> data = pcb.simulation.courses(model, {"k": 0.5}, range(9), initial={"x": [1, 2]})
    >>> dict(data.sizes)
    {'condition': 2, 'time': 9, 'node': 1}
    """
    nodes = _measured(model, measured)
    laid = _laid(model, nodes, design, dict(initial or {}))
    labels = labels_along(laid, "node")
    whole = with_nodes(laid, model.own_nodes)
    kinds = whole["node_kind"].values
    structure = structure_over(model, labels_along(whole, "node"), kinds, whole, whole)
    true = parameter_dataset(structure, _truth(structure, model, parameters))
    clean = solve(
        model, true, laid, solver=EXACT if solver is None else solver, times=times,
        backend=backend,
    ).sel(node=labels)  # fmt: skip
    for_noise, for_gaps = generators(seed, 2)
    values = with_noise(clean.values, noise, noise_kind, for_noise)
    shown_at = [labels.index(node) for node in nodes]
    seen = np.zeros(values.shape, dtype=bool)
    seen[..., shown_at] = ~gaps((*values.shape[:2], len(nodes)), missing, for_gaps)
    data = laid.assign_coords(time=clean["time"])
    data["response"] = (clean.dims, np.where(seen, values, np.nan))
    for name in ("time", "phase_start", "drive_time"):
        if name in data.coords:
            data[name].attrs.setdefault("units", units)
    data.attrs.update(
        source="simulated by pycellbox", transform="as measured", seed=seed, noise=noise
    )
    data.attrs.update(noise_kind=noise_kind, missing=missing)
    return validate(with_truth(data, model, true, clean))


def _measured(model: ODE, given: object) -> list[str]:
    """Names of what is measured."""
    if given is None:
        return list(model.observe) or list(model.states)
    names = [given] if isinstance(given, str) else list(several(given))
    for name in names:
        if not isinstance(name, str) or name not in model.own_nodes:
            hint = did_you_mean(name, model.own_nodes)
            raise DataError(f"measured has {shown(name)}, no state and no observable{hint}.")
    if not names or len(set(names)) < len(names):
        raise DataError(f"measured={shown(given)}; it needs at least one name, and each once.")
    return names


def _truth(structure: Structure, model: ODE, given: Mapping[str, Any]) -> dict[str, Array]:
    """Parameters in their shapes."""
    for name in given:
        if name not in model.parameters:
            hint = did_you_mean(name, model.parameters)
            raise ModelError(f"parameters have {shown(name)}, which the model has not{hint}.")
    found = {}
    for name, one in model.parameters.items():
        shape = structure.layout[name].shape  # with an axis for what it differs by
        if name in given:
            values = np.asarray(given[name], dtype=np.float64)
            if values.shape != shape:
                raise ModelError(
                    f"parameters[{name!r}] has the shape {values.shape}; it needs {shape}."
                )
            found[name] = values
        elif one.held.all():
            found[name] = np.broadcast_to(starts_of(one), shape)
        else:
            raise ModelError(f"parameters lack {name!r}, whose value the model does not fix.")
    return found


def _laid(model: ODE, nodes: Sequence[str], design: Any, initial: Mapping[str, Any]) -> xr.Dataset:
    """Return what is done, over the nodes that data have, with the starts that are given."""
    for name in initial:
        if name not in model.states:
            raise DataError(
                f"initial has {shown(name)}, which is no state{did_you_mean(name, model.states)}."
            )
    starts = {name: np.atleast_1d(np.asarray(v, np.float64)) for name, v in initial.items()}
    if isinstance(design, xr.Dataset):
        checked = as_design(design)
        base = checked[[name for name in ("perturbation", *DIMS) if name in checked.variables]]
    else:
        count = design or max((v.size for v in starts.values()), default=1)
        base = xr.Dataset(coords={"condition": [f"course {i + 1}" for i in range(count)]})
        base["perturbation"] = (("condition", "node"), np.zeros((count, 0)))
        base.coords["node"] = np.empty(0, np.str_)
    given = labels_along(base, "node")
    signals = labels_along(base, "input") if "drive" in base.variables else []
    own = [node for node in model.inputs.values() if node not in signals]
    inputs = list(dict.fromkeys([*given, *own]))
    laid: xr.Dataset = with_nodes(base, [*inputs, *nodes, *(n for n in starts if n not in nodes)])
    labels, count = labels_along(laid, "node"), laid.sizes["condition"]
    kinds = dict.fromkeys(starts, "hidden") | dict.fromkeys(inputs, "drug")
    if "node_kind" in laid.coords:
        kinds |= dict(zip(labels, laid["node_kind"].values[: len(given)], strict=False))
    kinds |= dict.fromkeys(nodes, "protein")
    laid.coords["node_kind"] = ("node", [kinds[node] for node in labels])
    if not starts:
        return laid
    places = np.full((count, len(labels)), np.nan)
    if "initial_state" in laid:
        places = laid["initial_state"].values.copy()
    for name, values in starts.items():
        if values.shape not in ((1,), (count,)) or not np.isfinite(values).all():
            raise DataError(
                f"initial[{name!r}] needs a number, or one for each of the {count} conditions; "
                f"given: {shown(initial[name])}."
            )
        places[:, labels.index(name)] = values
    laid["initial_state"] = (("condition", "node"), places)
    return laid
