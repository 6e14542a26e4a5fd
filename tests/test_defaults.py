"""What a fit does by itself: which regime, which solver, and no warning of its own choice."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.fitting.defaults import default_schedule, default_solver, is_screen, named_solver
from tests.support.data import SHARED_DATA
from tests.support.problems import dataset

SCREEN = (np.random.default_rng(0), 4)
TABLES = sorted(
    str(p.parent.relative_to(SHARED_DATA)) for p in SHARED_DATA.glob("*/tables/*/pert.csv")
)


def proteins(data: xr.Dataset) -> xr.Dataset:
    """The same without drugs: what was dosed responds by its dose where it was not measured."""
    drug = data["node_kind"] == "drug"
    response = data["response"].where(~drug | data["response"].notnull(), data["perturbation"])
    kinds = ("node", ["protein"] * data.sizes["node"])
    return pcb.validate(data.assign(response=response).assign_coords(node_kind=kinds))


def shared(folder: str) -> xr.Dataset:
    files = SHARED_DATA / folder
    return pcb.read_csv(files / "pert.csv", files / "expr.csv", node_kind=files / "kinds.csv")


def knocked_out(k: int) -> xr.Dataset:
    """Knock-outs and knock-downs of DREAM4, as log-ratios to the wild type."""
    folder = SHARED_DATA / f"dream4/insilico_size10_{k}"
    wild, out, down = (
        pd.read_csv(folder / f"{name}.tsv", sep="\t")
        for name in ("wildtype", "knockouts", "knockdowns")
    )
    response = np.log2((pd.concat([out, down]) + 0.01) / (wild.iloc[0] + 0.01))
    doses = pd.DataFrame(np.vstack([-np.eye(10), -0.5 * np.eye(10)]), columns=response.columns)
    response.index = doses.index = [f"c{i}" for i in range(20)]
    return pcb.from_tables(doses, response)


@pytest.mark.parametrize("conditions", [3, 6, 7, 8, 30])
def test_a_screen_is_told_by_its_drug_nodes_alone(conditions):
    """However many conditions there are: the data have seven nodes."""
    data = dataset(np.random.default_rng(1), conditions=conditions)
    assert is_screen(data)
    assert default_solver(data) == pcb.SteadyState()
    assert default_schedule(data) == default_schedule(dataset(*SCREEN))
    for other in (proteins(data), dataset(np.random.default_rng(1), conditions, (1.0, 2.0))):
        assert not is_screen(other)
        assert isinstance(default_solver(other), pcb.Tsit5)
        assert default_schedule(other)[1] != default_schedule(data)[1]


@pytest.mark.slow
@pytest.mark.skipif(not TABLES, reason=f"no tables in {SHARED_DATA}")
@pytest.mark.parametrize("folder", ["crc/tables/HCT116", "crc/tables/SW1116"])
def test_a_colorectal_screen_is_not_predicted_far_worse_than_by_baselines(folder):
    """The default of other data has two to three times the error of the best baseline here."""
    data = shared(folder)
    split = pcb.splits.random(data, seed=0)
    test = data.sel(condition=list(split.test))
    fit = pcb.fit(data.sel(condition=list(split.fit)), backend="numpy", progress=False)
    error = fit.evaluate(test).table["mse"]
    assert error["CellBox"] < 1.5 * error.drop("CellBox").min()


@pytest.mark.slow
@pytest.mark.skipif(not TABLES, reason=f"no tables in {SHARED_DATA}")
@pytest.mark.parametrize(
    "data",
    [*(pytest.param(lambda t=t: shared(t), id=t) for t in TABLES if "crc" not in t),
     *(pytest.param(lambda t=t: proteins(shared(t)), id=f"{t}, proteins") for t in TABLES[:1]),
     *(pytest.param(lambda k=k: knocked_out(k), id=f"dream4 {k}") for k in (1, 2, 3))],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:12 nodes not declared as drug:pycellbox.DataWarning")
def test_no_default_warns_of_its_own_choice(data):
    """Nor does it leave the equation."""
    data = data()
    stages, penalty = default_schedule(data)
    short = pcb.Stage(20, learning_rate=stages[0].learning_rate, optimizer=stages[0].optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pcb.NumericsWarning)
        warnings.simplefilter("error", pcb.BackendWarning)
        fit = pcb.fit(data, schedule=short, penalty=penalty, backend="numpy", progress=False)
    if is_screen(data):
        assert fit.provenance["steady_state"]["distance_to_integration"] < 1e-4
        return
    exact = pcb.solve(
        fit.model, fit.parameters, data["perturbation"], solver=pcb.Tsit5(1e-8, 1e-10),
        horizon=fit.horizon, backend="numpy",
    )  # fmt: skip
    assert np.abs(fit.predictions - exact).max() < 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("times", [None, (1.0, 5.0)], ids=["steady", "courses"])
def test_solvers_by_name_are_the_defaults(times):
    data = dataset(np.random.default_rng(2), times=times)
    span = 10.0 if times is None else 5.0
    for name, kind in {
        "Heun": pcb.Heun,
        "rk4": pcb.RK4,
        "EULER": pcb.Euler,
        "midpoint": pcb.Midpoint,
    }.items():
        assert named_solver(name, data, None) == kind(span / 100)
        assert named_solver(name, data, None, dt=0.5) == kind(0.5)
    default = default_solver(proteins(data) if times is None else data)
    assert named_solver("tsit5", data, None) == default
    assert named_solver("tsit5", data, None, rtol=1e-2).rtol == 1e-2
    assert named_solver("steadystate", data, None, tol=1e-6) == pcb.SteadyState(tol=1e-6)
    for wrong, option in (("tsit5", "dt"), ("steadystate", "dt"), ("heun", "tol"), ("rk4", "rtol")):
        with pytest.raises(pcb.OptionError, match=f"{wrong} has no option {option}; it has "):
            named_solver(wrong, data, None, **{option: 0.1})
    with pytest.raises(pcb.OptionError, match="'adaptive' is unknown; choose one of euler, heun"):
        named_solver("adaptive", data, None)
