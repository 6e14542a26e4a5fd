"""Equations of one's own that settle, or do not."""

from __future__ import annotations

import pycellbox as pcb
from tests.support.equations import courses, parameters_of, sir


def of(rates, values, initial, **options):
    entries = {n: pcb.Parameter(v, scale="log" if v > 0 else "linear") for n, v in values.items()}
    return pcb.ODE(rates, parameters=entries, initial=initial, **options), values


def toggle(u, v, scale=1.0):
    rates = {"u": "a/(1 + (v/s)**n) - u", "v": "a/(1 + (u/s)**n) - v"}
    values = {"a": 4.0 * scale, "n": 2.5, "s": scale}
    entries = {name: pcb.Parameter(value, fixed=name == "s") for name, value in values.items()}
    return pcb.ODE(rates, parameters=entries, initial={"u": u * scale, "v": v * scale}), values


ENZYME = {
    "E": "-k1*E*S + (k2 + k3)*C",
    "S": "-k1*E*S + k2*C + k4*P",
    "C": "k1*E*S - (k2 + k3)*C",
    "P": "k3*C - k4*P",
}
RATES = {"k1": 1.0, "k2": 2.0, "k3": 3.0, "k4": 0.5}
RING = {x: f"a/(1 + {y}**n) - {x}" for x, y in ("xz", "yx", "zy")}
SETTLING = {
    "high u": toggle(1.0, 0.1),
    "high v": toggle(0.1, 1.0),
    "small numbers": toggle(0.1, 1.0, scale=1e-7),
    "large numbers": toggle(1.0, 0.1, scale=1e7),
    "conserved": of(ENZYME, RATES, {"E": pcb.Parameter(1.0), "S": 2.0}),
    "fast and slow": of(ENZYME, RATES | {"k1": 1e6, "k2": 1e6}, {"E": pcb.Parameter(1.0), "S": 2}),
    "ring": of(RING, {"a": 3.0, "n": 2.0}, {"x": 1.0, "y": 0.3}),
    "to zero": of({"x": "-k*x"}, {"k": 0.3}, {"x": 2.0}),
    "observed": of(
        {"x": "1 - k*x"}, {"k": 0.3}, {}, observe={"y": "log(x) + k"}
    ),
}  # fmt: skip
UNSETTLED = {
    "oscillates": of(RING, {"a": 10.0, "n": 4.0}, {"x": 1.0, "y": 0.3}),
    "a line": (sir(), {"N": 763.0, "beta": 1.7, "gamma": 0.45, "rho": 1.0, "I0": 1.0}),
    "conserved by parameters": of(
        {"x": "y - k*x", "y": "V*(k*x - y)"}, {"k": 2.0, "V": 3.0}, {"x": 1}
    ),
    "slower than exponentially": of({"x": "-k*x**3"}, {"k": 1.0}, {"x": 1.0}),
    "grows": of({"x": "k"}, {"k": 1.0}, {}),
    "leaves": of({"x": "k*(x - 1)"}, {"k": 0.01}, {"x": 1.0 + 1e-9}),
}


def laid(model, values, c=1):
    nodes = [*model.own_nodes, *model.inputs.values()]
    data = courses(nodes, [1.0], c=c).isel(time=0, drop=True)
    values = {f"{s}_0": 1.0 for s in model.states if f"{s}_0" in model.parameters} | values
    return data, parameters_of(model, nodes, values)


DRIVEN = of(RING | {"x": "(a + u)/(1 + z**n) - x"}, {"a": 3.0, "n": 4.0}, {"y": 0.3}, inputs=["u"])


PUSHED = {"u": "a/(1 + v**n) - u + d", "v": "a/(1 + u**n) - v"}


def begun(at_rest, u=0.1, v=1.0):
    model, values = of(PUSHED, {"a": 4.0, "n": 2.5}, {"u": u, "v": v}, inputs=["d"])
    return pcb.ODE(
        PUSHED, parameters=model.parameters, initial={"u": u, "v": v}, inputs=["d"], at_rest=at_rest
    ), values  # fmt: skip
