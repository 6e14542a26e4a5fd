"""Equations of one's own for tests, and data for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

import pycellbox as pcb
from pycellbox.models import Structure
from pycellbox.models.declared import starts_of
from pycellbox.problem import parameter_dataset, structure_of

TRUTH = {"N": 763.0, "beta": 1.7, "gamma": 0.45, "rho": 0.95, "I0": 1.0}
SIR = {"S": "-beta*S*I/N", "I": "beta*S*I/N - gamma*I", "R": "gamma*I"}


def sir(**options):
    parameters = {
        "N": pcb.Parameter(763, fixed=True),
        "beta": pcb.Parameter(positive=True),
        "gamma": pcb.Parameter(0.4, scale="log"),
        "rho": pcb.Parameter(0.9, lower=0, upper=1.5),
        "I0": pcb.Parameter(2, positive=True),
    }
    given = {
        "parameters": parameters,
        "observe": {"cases": "rho*I"},
        "initial": {"S": "N - I0", "I": "I0", "R": 0},
    }
    return pcb.ODE(SIR, **given | options)


def courses(nodes, times, c=1, kind="protein", **more):
    shape = (c, len(times), len(nodes))
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "perturbation": (("condition", "node"), np.zeros((c, len(nodes)))),
            "response": (("condition", "time", "node"), rng.normal(size=shape)),
            **more,
        },
        coords={
            "condition": [f"c{i}" for i in range(c)],
            "node": list(nodes),
            "node_kind": ("node", [kind] * len(nodes)),
            "time": ("time", np.asarray(times, float), {"units": "d"}),
        },
    )


def parameters_of(model, nodes, values):
    structure = Structure.over(model, nodes, ["protein"] * len(nodes))
    arrays = {name: np.asarray(value, float) for name, value in values.items()}
    return parameter_dataset(structure, arrays)


def rates(x, p, u):
    return np.stack([p.k[0] * u[0] - p.k[1] * x[0] * x[1], pcb.tanh(p.M @ x)[1] - p.k[2] * x[1]])


MODELS = {
    "texts": sir(),
    "traced": pcb.ODE(
        rates,
        states=["a", "b"],
        parameters={"k": [1.0, 0.5, 0.3], "M": pcb.Parameter(shape=(2, 2)), "s": 0.7},
        inputs=["dose"],
        observe={"both": lambda x, p, u: p.s * x[0] * x[1] + u[0]},
        initial={"a": pcb.Parameter(0.3), "b": "s*dose + 0.1"},
    ),
    "neural": pcb.NeuralODE(["a", "b"], hidden=3, inputs={"d": "dose"}, initial={"a": 0.2}),
    "powers": pcb.ODE(
        {"x": "-k*x**n/(1 + x**n)"}, parameters={"k": 1.0, "n": 2.5}, initial={"x": 2.0}
    ),
}


def laid(name):
    model = MODELS[name]
    nodes = [*model.own_nodes, *model.inputs.values()]
    data = courses(nodes, [0.0, 0.5, 1.0, 2.0], c=3)
    data["perturbation"].loc[{"node": list(model.inputs.values())}] = [[0.5], [1.0], [0.0]]
    rng = np.random.default_rng(3)
    values = {k: starts_of(one) * rng.uniform(0.8, 1.2) for k, one in model.parameters.items()}
    values = {k: v if MODELS[name].parameters[k].held.any() else v + 0.1 for k, v in values.items()}
    values |= {"N": np.array(763.0)} if name == "texts" else {}
    return model, data, parameters_of(model, nodes, values)


def treated(data, model):
    """Start one state of one condition elsewhere, hold one of another, and change the dose."""
    begin = np.full(data["perturbation"].shape, np.nan)
    held = begin.copy()
    at = data["node"].values.tolist().index(model.states[0])
    begin[1, at], held[2, at] = 0.6, 0.4
    u = data["perturbation"].expand_dims(phase=2, axis=1) * xr.DataArray([1.0, 0.5], dims="phase")
    return data.assign(
        perturbation=u,
        initial_state=(("condition", "node"), begin),
        held=(("condition", "node"), held),
    ).assign_coords(phase_start=("phase", [0.0, 0.75], {"units": "d"}))


def measured():
    model, times = sir(), np.arange(1.0, 13)
    p = parameters_of(model, ["cases", "S", "I", "R"], TRUTH)
    data = courses(["cases"], times, c=2)
    x = pcb.solve(model, p, data["perturbation"], solver=pcb.RK4(0.1), times=times)
    data["response"][...] = x.sel(node=["cases"]).values
    return data


SUBJECTS = ["m1", "m2", "m1"]


def differing(name, dims):
    """A model of which every other parameter differs, or all, with data and parameters."""
    model, data, _ = laid(name)
    data = data.assign_coords(subject=("condition", SUBJECTS))
    own = list(model.parameters)[:: 1 if name == "neural" else 2]
    parameters = {
        n: dataclasses.replace(one, dims=dims if n in own else None)
        for n, one in model.parameters.items()
    }
    made = object.__new__(pcb.ODE)
    pcb.ODE.__init__(
        made, model.rates, model.states, parameters, model.observe, model.initial, model.inputs
    )
    structure, rng = structure_of(data, made), np.random.default_rng(3)
    arrays = {}
    for n, one in parameters.items():
        values = starts_of(one, None, structure.layout[n].shape)
        moved = values * rng.uniform(0.8, 1.2, values.shape) + 0.1
        arrays[n] = np.where(one.held, values, moved)
    return made, model, data, parameter_dataset(structure, arrays), structure
