"""Generated Julia programs executed by Python: enough of the language for what is generated."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

import pycellbox as pcb
from pycellbox.backends.julia.equations import PROGRAMS, program
from pycellbox.graph.nodes import Array

_NAN = np.float64("nan")


def _pow(x, k):
    return _NAN if x < 0 and not float(k).is_integer() else np.float64(x) ** k


def _log(x):
    return _NAN if x < 0 else np.log(x)


FUNCTIONS = {
    "exp": np.exp, "expm1": np.expm1, "log_": _log, "log1p_": np.log1p, "sqrt_": np.sqrt,
    "tanh_": np.tanh, "sin_": np.sin, "cos_": np.cos, "atan": np.arctan, "abs": np.abs,
    "sign": np.sign, "max": np.maximum, "min": np.minimum, "pow": _pow,
    "expit": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "guarded": lambda a, b: 0.0 if a == 0 or b == 0 else a * b,
    "greater": lambda a, b: float(a > b),
    "where_": lambda c, a, b: a if c != 0 else b,
    "lower": lambda y, x, k: y / x if y != 0 and np.isfinite(y) else _pow(x, k),
    "logged": lambda y, x, k: 0.0 if x == 0 and k > 0 else y * _log(x),
    "power_log": lambda x, k: 0.0 if x == 0 and k > 0 else _pow(x, k) * _log(x),
    "Float32": np.float32,
}  # fmt: skip
"""What julia/src/equations/operations.jl and Julia itself have for generated code."""

WORDS = {"function", "end", "for", "in", "return", "nothing", "const", "from", "to", "begin"} | {
    "inbounds", "simd", "ivdep", "cfunction", "Cvoid", "Int", "Ptr", "Float64", "Float32", "At",
    "Program", "program", "entry", "ADDRESS", "P", "x", "u", "p", "a", "w", "o1", "o2", "o3", "r",
    "e", "q", "t", "j", "ix", "iu", "ip", "ia", "io1", "io2", "io3", *FUNCTIONS,
}  # fmt: skip
"""Every name that a generated program may have beside v1, v2, … and c1, c2, …"""


class Place:
    """An array whose first entry is number 1."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __getitem__(self, i: int) -> float:
        assert i >= 1
        return self.array[i - 1]

    def __setitem__(self, i: int, value: float) -> None:
        assert i >= 1
        self.array[i - 1] = value


def executed(text: str, conditions: int, **arrays: Array) -> None:
    """Run a program for all conditions; arrays are flat, and written in place."""
    lines, depth = [], 0
    for line in text.splitlines():
        bare = line.strip().replace("@inbounds ", "").replace("@simd ", "").replace("ivdep ", "")
        if bare.startswith(("entry", "program!(", "Program(", "const P =", "const ADDRESS")):
            continue
        if bare == "end":
            depth -= 1
            continue
        if bare.startswith("const "):
            name, values = bare.removeprefix("const ").split(" = ")
            bare = f"{name} = Place({values})"
        if found := re.fullmatch(r"function program!\((.*)\)", bare):
            lines.append(f"def program({found[1].replace('from', 'first')}):")
            depth += 1
            continue
        if bare.startswith("for "):
            loops = bare.removeprefix("for ").replace("from", "first").split(", ")
            for k, loop in enumerate(loops):
                variable, span = loop.split(" in ")
                low, high = span.split(":")
                head = f"for {variable} in range({low}, {high} + 1):"
                lines.append("    " * depth + (" " * k) + head)
            if len(loops) == 2:  # both end with one end
                lines[-1] = "    " * depth + "  " + lines[-1].strip()
            depth += 1
            continue
        lines.append("    " * depth + bare.replace("return nothing", "return"))
    room = int(text.rstrip().rsplit(" ", 1)[1].rstrip(")"))
    names = ("x", "u", "p", "a", "o1", "o2", "o3")
    given = [Place(arrays.get(name, np.zeros(0))) for name in names]
    space = {**FUNCTIONS, "Place": Place}
    exec("\n".join(lines), space)
    with np.errstate(all="ignore"):
        space["program"](1, conditions, *given, Place(np.zeros(room)))


FIXTURE = Path(__file__).parents[2] / "julia" / "test" / "standard" / "generated.txt"
"""Programs as Julia's own tests compile them."""


def fixture() -> str:
    """Return the text of `FIXTURE`; ``python -m tests.support.julia_text`` writes it."""
    model = pcb.ODE(
        {"a": "k*dose/(1 + b**n) - a", "b": "k*tanh(a) - 0.5*b"},
        parameters={"k": 2.0, "n": 2.5},
        observe={"sum": "n*a + b**2"},
        initial={"a": "0.1*k", "b": 0.4},
        inputs=["dose"],
    )
    shapes = (("u", (1,)), (".k", ()), (".n", ()))
    parts = []
    for loops in (False, True):
        for name in PROGRAMS:
            if text := program(model.rates, shapes, name, "float64", loops):
                parts.append(f"#### {'loops' if loops else 'straight'} {name}\n{text}")
    return "".join(parts)


if __name__ == "__main__":
    FIXTURE.write_text(fixture())
