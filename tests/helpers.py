"""Small problems that many tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pycellbox.backends.julia.project import readiness
from pycellbox.models import CellBox
from pycellbox.problem import Parameters, Problem, Structure

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
    return Problem(
        structure=structure(model),
        conditions=tuple(f"c{i}" for i in range(conditions)),
        perturbation=rng.normal(0, 1, (conditions, n)).astype(dtype),
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
        attrs={"schema_version": 1, "transform": "log-ratio to unperturbed control"},
    )


def labelled(s: Structure, parameters: Parameters) -> xr.Dataset:
    from pycellbox.problem import parameter_dataset

    return parameter_dataset(s, parameters)


def need_diffeqpy() -> None:
    """Skip where the import of diffeqpy fails, or would install something from the internet."""
    pytest.importorskip("diffeqpy")
    if not readiness().ready or shutil.which("julia") is None:
        pytest.skip("diffeqpy needs Julia, on the PATH: pycellbox julia install")
    import juliacall

    if not juliacall.Main.seval('Base.identify_package("DifferentialEquations") !== nothing'):
        pytest.skip("diffeqpy needs DifferentialEquations in the project")


@contextmanager
def python(code: str, **environment: str | None) -> Iterator[subprocess.Popen]:
    """A process that runs the code, with Ctrl-C as in a terminal; it does not outlive the block."""
    # A background job inherits SIGINT as ignored, and Python then leaves it so.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    changed = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
    process = subprocess.Popen(
        [sys.executable, "-c", begin + textwrap.dedent(code)], cwd=Path(__file__).parents[1],
        text=True, env=changed, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output(code: str, seconds: float = 240, **environment: str | None) -> tuple[str, str]:
    """What a process that runs the code prints, and what it says on stderr."""
    with python(code, **environment) as process:
        return process.communicate(timeout=seconds)
