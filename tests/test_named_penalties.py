"""Penalties of parameters by their names, in the objective of every optimizer."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.simulation import courses
from tests.support.equations import sir

FIXED = [[True, False], [False, False]]
MODEL = pcb.ODE(
    lambda x, p: x * (p.r + p.A @ x),
    states=["a", "b"],
    parameters={
        "r": pcb.Parameter([0.5, 0.5], positive=True),
        "A": pcb.Parameter([[-1.0, 0.0], [0.0, -1.0]], fixed=FIXED),
    },
)
TRUTH = {"r": [0.8, 0.6], "A": [[-1.0, -0.3], [0.0, -0.8]]}
OPTIMIZERS = {
    "LM": pcb.Stage(60, optimizer=pcb.LM(tolerance=1e-14)),
    "LBFGS": pcb.Stage(300, optimizer=pcb.LBFGS()),
    "AdamW": pcb.Stage(250, learning_rate=0.05, decay="cosine"),
}


@pytest.fixture(scope="module")
def data():
    starts = {"a": [0.1, 1.0, 0.3], "b": [0.9, 0.2, 0.4]}
    return courses(MODEL, TRUTH, np.arange(0, 9), initial=starts, noise=0.03)


def fitted(data, optimizer, penalty):
    return pcb.fit(
        data, MODEL, schedule=OPTIMIZERS[optimizer], penalty=penalty, solver=pcb.RK4(0.5),
        backend="numpy", time_scale=1, progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("scale", ["mean", "sum"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_at_the_optimum_the_slopes_of_loss_and_penalty_cancel(data, optimizer, scale):
    size = {"mean": 0.01, "sum": 0.5}[scale]
    penalty = pcb.Penalty(l2={"A": size, "r": 2 * size}, scale=scale)
    fit = fitted(data, optimizer, penalty)
    asked = {"solver": pcb.RK4(0.5), "backend": "numpy"}
    _, slope = pcb.value_and_gradient(MODEL, fit.parameters, data, **asked)
    per = 1 if scale == "mean" else int(data["response"].notnull().sum())
    for name, strength in (("A", size), ("r", 2 * size)):
        found = (slope[name] + 2 * strength / per * fit.parameters[name]).values
        if name == "A":
            found = found[~np.array(FIXED)]
        np.testing.assert_allclose(found, 0, atol={"AdamW": 5e-3}.get(optimizer, 1e-5))
    assert fit.parameters["A"].values[0, 0] == -1


@pytest.mark.slow
def test_a_sum_of_sizes_takes_entries_to_zero(data):
    A = np.abs(fitted(data, "AdamW", pcb.Penalty(l1={"A": 0.003})).parameters["A"].values)
    assert A[1, 0] < 5e-3  # where the truth is 0
    assert A[0, 1] > 0.05


def test_files_keep_them(data, tmp_path):
    fit = fitted(data, "LM", pcb.Penalty(l2={"A": 0.01}))
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    assert again.recipe == fit.recipe
    assert again.recipe.penalty.strengths("l2")["A"] == 0.01


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        ({"l2": {"B": 1.0}}, "'B', and the model no parameter of that name"),
        ({"l2": {"rr": 1.0}}, "its parameters: r, A"),
        ({"l2": 0.1}, "penalize its parameters by name"),
        ({"l1": {"node_to_node": 0.1}}, "penalize its parameters by name"),
        ({"l1": {"A": 0.1}}, "a penalty l1 is none"),
    ],
)
def test_what_would_do_nothing_is_refused(data, penalty, message):
    with pytest.raises(pcb.OptionError, match=message):
        fitted(data, "LM", pcb.Penalty(**penalty))


@pytest.mark.parametrize("name", ["node_to_nod", "not a name", 3, ""])
def test_what_is_no_name_is_refused_at_once(name):
    with pytest.raises(pcb.OptionError, match="l2="):
        pcb.Penalty(l2={name: 1.0})


def test_networks_are_penalized_by_group_alone(data):
    doses = data.assign(response=data["response"] - 0.5)
    with pytest.raises(pcb.OptionError, match="'beta', and the model no parameter"):
        pcb.fit(doses, penalty=pcb.Penalty(l2={"beta": 1.0}), schedule=pcb.Stage(1))
    assert sir().parameters.keys() >= {"beta"}


def test_refinement_goes_on_to_the_minimum_of_the_same_objective(data):
    penalty = pcb.Penalty(l2={"A": 0.01})
    rough = pcb.fit(
        data, MODEL, schedule=pcb.Stage(5, learning_rate=0.02), penalty=penalty,
        solver=pcb.RK4(0.5), backend="numpy", time_scale=1, progress=False,
    )  # fmt: skip
    fine, wanted = pcb.refine(rough), fitted(data, "LM", penalty)
    for name in ("r", "A"):
        np.testing.assert_allclose(fine.parameters[name], wanted.parameters[name], atol=1e-4)
    told = fine.provenance["refinement"]["criterion"]
    assert told["after"] < told["before"] <= float(rough.history["objective"].max())
    again = pcb.refine(fine)
    np.testing.assert_allclose(again.parameters["A"], fine.parameters["A"], atol=1e-4)
