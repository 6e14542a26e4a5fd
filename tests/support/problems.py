"""Small problems that many tests share."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr

from pycellbox.models import ENVELOPES, FORMS, CellBox, Structure
from pycellbox.problem import Parameters, Problem

KINDS = ("protein", "protein", "protein", "protein", "phenotype", "drug", "drug")
NODES = tuple("ABCDPxy")


def structure(model: CellBox) -> Structure:
    return Structure.over(model, NODES, KINDS)


def random_parameters(
    model: CellBox, rng: np.random.Generator, scale: float = 0.8, dtype: str = "float64"
) -> Parameters:
    s = structure(model)
    n = s.n_nodes
    out = {"W": rng.normal(0, scale, (n, n)) * s.mask}
    for name in model.rates:
        out[name] = rng.uniform(0.5, 1.5, n)
    for name in model.shifts:
        out[name] = np.where(s.is_drug, 0, rng.normal(0, 0.7, n))
    return {k: v.astype(dtype) for k, v in out.items()}


def random_problem(
    model: CellBox,
    rng: np.random.Generator,
    times: tuple[float, ...] = (2.0,),
    conditions: int = 4,
    missing: float = 0.2,
    dtype: str = "float64",
) -> Problem:
    n, t = len(NODES), len(times)
    weight = rng.uniform(0.5, 2.0, (conditions, t, n)) * (rng.random((conditions, t, n)) > missing)
    u = rng.normal(0, 1, (conditions, n)).astype(dtype)
    if model.common_effect:  # which is none where nothing is given
        u[1] = 0
    return Problem(
        structure=structure(model),
        conditions=tuple(f"c{i}" for i in range(conditions)),
        perturbation=u,
        response=(rng.normal(0, 1, (conditions, t, n)) * (weight > 0)).astype(dtype),
        weight=weight.astype(dtype),
        times=np.array(times),
        steady=t == 1,
    )


def dataset(
    rng: np.random.Generator, conditions: int = 12, times: tuple[float, ...] | None = None
) -> xr.Dataset:
    """A valid dataset over `NODES` whose responses are noise."""
    n = len(NODES)
    u = np.zeros((conditions, n))
    for row in range(conditions):
        u[row, 5 + row % 2] = -1.0 - 0.1 * row
    shape = (conditions, n) if times is None else (conditions, len(times), n)
    dims = ("condition", "node") if times is None else ("condition", "time", "node")
    coords: dict[str, object] = {
        "condition": [f"c{i}" for i in range(conditions)],
        "node": list(NODES),
        "node_kind": ("node", list(KINDS)),
    }
    if times is not None:
        coords["time"] = ("time", np.array(times), {"units": "h"})
    return xr.Dataset(
        {
            "perturbation": (("condition", "node"), u),
            "response": (dims, rng.normal(0, 0.5, shape)),
        },
        coords=coords,
        attrs={"schema_version": 2, "transform": "log-ratio to unperturbed control"},
    )


def labelled(s: Structure, parameters: Parameters) -> xr.Dataset:
    from pycellbox.problem import parameter_dataset

    return parameter_dataset(s, parameters)


def models() -> list[CellBox]:
    """Every form with every envelope, degree and drug treatment."""
    out = []
    for form, env, degree in itertools.product(FORMS, ENVELOPES, (1, 2)):
        orders = (2, 3) if env in ("polynomial", "hill") else (None,)
        for order in orders:
            out.append(
                CellBox(envelope=env, form=form, degree=degree, order=order, dose_saturation=None)
            )
    for form, drugs, kappa in itertools.product(FORMS, ("input", "clamped"), (None, 0.0, 0.3)):
        out.append(CellBox(form=form, drugs=drugs, dose_saturation=kappa))
    return out


def shifted_models() -> list[CellBox]:
    """Networks with an operating point, a common effect, or both."""
    out = [CellBox(envelope=env, operating_point=True, common_effect=True) for env in ENVELOPES]
    for drugs, kappa in itertools.product(("input", "clamped"), (None, 0.3)):
        out.append(CellBox(operating_point=True, degree=2, drugs=drugs, dose_saturation=kappa))
        out.append(CellBox(common_effect=True, drugs=drugs, dose_saturation=kappa))
    return out


def assert_same_gradient(ours, theirs, tolerance):
    for name, wanted in theirs.items():
        scale = max(np.abs(wanted).max(), 1e-3)
        assert np.abs(ours[name] - wanted).max() <= tolerance * scale, name


def small_network(W, conditions, *, decay=1.0, seed=0, spread=1.0) -> tuple[Problem, dict]:
    """Nodes that are all perturbed, over a network given by its weights."""
    W = np.asarray(W, dtype=float)
    n = len(W)
    model = CellBox(self_interaction=True, dose_saturation=None, drug_columns="free")
    s = Structure.over(model, [f"n{i}" for i in range(n)], ["protein"] * n)
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 0.5, (conditions, 1, n))
    problem = Problem(
        structure=s,
        conditions=tuple(f"c{i}" for i in range(conditions)),
        perturbation=spread * rng.normal(size=(conditions, n)),
        response=y,
        weight=np.ones_like(y),
        times=np.array([20.0]),
        steady=True,
    )
    return problem, {"W": W, "alpha": np.full(n, decay), "epsilon": np.ones(n)}


OSCILLATOR = [[1.5, -3.0], [3.0, 1.5]]
