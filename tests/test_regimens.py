"""Regimens in a line, laid over datasets and over doses alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.errors import DataError, OptionError

INF, NAN = np.inf, np.nan
NODES = ["ERK", "AKT", "EGF", "aMEK"]
CONDITIONS = ["control", "EGF", "aMEK", "EGF+aMEK"]


def doses():
    u = np.zeros((4, 4))
    u[[1, 3], 2] = 1
    u[[2, 3], 3] = -2
    coords = {
        "condition": CONDITIONS, "node": NODES,
        "node_kind": ("node", ["protein", "protein", "drug", "drug"]),
    }  # fmt: skip
    return xr.DataArray(u, coords, ("condition", "node"))


def dataset(units="min"):
    x = np.arange(48.0).reshape(4, 3, 4) / 48
    data = xr.Dataset(
        {"perturbation": doses(), "response": (("condition", "time", "node"), x)},
        {"time": ("time", [0.0, 10, 60], {"units": units})},
    )
    return pcb.validate(data)


def course(data, condition, node):
    """When a condition's phases start, and a node's dose in each."""
    starts = data["phase_start"]
    starts = starts.sel(condition=condition) if "condition" in starts.dims else starts
    there = ~np.isnan(starts.values)
    doses = data["perturbation"].sel(condition=condition, node=node).values
    return starts.values[there].tolist(), doses[there].tolist()


GIVEN = ["design", "dataset"]


def given(kind):
    return doses() if kind == "design" else dataset()


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize(
    ("instructions", "egf", "amek"),
    [
        ([pcb.pretreat("aMEK", before="1 h")], ([-60, 0], [0, 1]), [-2, -2]),
        ([pcb.pretreat("aMEK", before="3600 s")], ([-60, 0], [0, 1]), [-2, -2]),
        ([pcb.pretreat("aMEK")], ([-INF, 0], [0, 1]), [-2, -2]),
        ([pcb.pretreat("aMEK", dose=-1)], ([-INF, 0], [0, 1]), [-1, -2]),
        ([pcb.pretreat("aMEK"), pcb.washout("aMEK", at="0 min")], ([-INF, 0], [0, 1]), [-2, 0]),
        ([pcb.pulse("EGF", "0 min", "10 min")], ([0, 10], [1, 0]), [-2, -2]),
        ([pcb.pulse("EGF", "10 min")], ([0, 10], [0, 1]), [-2, -2]),
        ([pcb.pulse("EGF", "0 min", "5 min"), pcb.pulse("EGF", "20 min", "0.5 h", dose=3)],
         ([0, 5, 20, 30], [1, 0, 3, 0]), [-2] * 4),
        ([pcb.washout("aMEK", at="2 h"), pcb.step("EGF", "60 min", 0.5)],
         ([0, 60, 120], [1, 0.5, 0.5]), [-2, -2, 0]),
        ([pcb.pretreat("aMEK", "1 h"), pcb.pretreat("EGF", "30 min"), pcb.washout(["EGF"], "1 h")],
         ([-60, -30, 60], [0, 1, 0]), [-2] * 3),
        # What rounding parts is one time.
        ([pcb.pulse("EGF", "0 s", "600 s"), pcb.washout("aMEK", at=f"{10 + 1e-12} min")],
         ([0, 10], [1, 0]), [-2, 0]),
    ],
)  # fmt: skip
def test_inputs_over_time(kind, instructions, egf, amek):
    data = pcb.regimen(given(kind), *instructions)
    if kind == "design":  # the unit of the first text
        data = pcb.data.in_unit(data, "min")
        assert "response" not in data
    else:
        xr.testing.assert_identical(pcb.validate(data), data)
        xr.testing.assert_identical(data["response"], dataset()["response"])
    assert course(data, "EGF+aMEK", "EGF") == egf
    assert course(data, "EGF+aMEK", "aMEK") == (egf[0], amek)
    assert not data["perturbation"].sel(condition="control").any()
    assert "condition" not in data["phase_start"].dims
    xr.testing.assert_identical(data["node_kind"].drop_attrs(), doses()["node_kind"])
    # One call or several in a row are the same.
    again = given(kind)
    for instruction in instructions:
        again = pcb.regimen(again, instruction)
    if kind == "dataset":
        xr.testing.assert_identical(again, data)


def test_conditions_may_be_named():
    data = pcb.regimen(dataset(), pcb.pretreat("aMEK", 30, conditions="aMEK"))
    assert course(data, "aMEK", "aMEK") == ([-30, 0], [-2, -2])
    assert course(data, "EGF+aMEK", "aMEK") == ([-30, 0], [0, -2])
    data = pcb.regimen(dataset(), pcb.pulse("AKT", 0, 10, dose=1, conditions=["control"]))
    assert data["perturbation"].sel(node="AKT", phase=0).values.tolist() == [1, 0, 0, 0]
    data = pcb.regimen(dataset(), pcb.pretreat("AKT", 10, dose=0.5), pcb.washout("AKT", at=5))
    assert course(data, "control", "AKT") == ([-10, 0, 5], [0.5, 0.5, 0])


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize(
    ("instruction", "level", "fitted"),
    [
        (pcb.knockout("ERK"), -4, False),
        (pcb.knockout("ERK", level=-2), -2, False),
        (pcb.knockdown("ERK"), -1, True),
        (pcb.knockdown("ERK", False, level=-0.5), -0.5, False),
        (pcb.overexpression("ERK", fitted=True), 2, True),
    ],
    ids=repr,
)
def test_held_nodes(kind, instruction, level, fitted):
    data = pcb.regimen(given(kind), instruction)
    assert (data["held"].sel(node="ERK") == level).all()
    assert data["held"].drop_sel(node="ERK").isnull().all()
    assert ("held_fitted" in data) == fitted
    assert "phase" not in data.dims
    np.testing.assert_array_equal(data["perturbation"], doses())
    if fitted:
        assert data["held_fitted"].sel(node="ERK").all()
        assert data["held_fitted"].sum() == 4


def test_held_where_the_data_perturb_the_node():
    u = doses()
    u[0, 0] = -1
    assert pcb.regimen(u, pcb.knockout("ERK"))["held"].sel(node="ERK").notnull().sum() == 1
    both = pcb.regimen(
        u, pcb.knockout("ERK", conditions=["EGF"]), pcb.overexpression("AKT", conditions="aMEK")
    )
    assert both["held"].notnull().sum() == 2
    assert both["held"].sel(condition="EGF", node="ERK") == -4


def test_initial_states_as_measured():
    data = dataset()
    data["response"][1, 0, 1] = np.nan
    made = pcb.regimen(data, pcb.start_as_measured())
    np.testing.assert_array_equal(made["initial_state"], data["response"][:, 0])
    assert "initial_fitted" not in made
    made = pcb.regimen(data, pcb.start_as_measured("AKT", fitted=True))
    assert made["initial_state"].sel(node="AKT").isnull().values.tolist() == [False, True] + 2 * [
        False
    ]
    assert made["initial_fitted"].sum() == 3
    # Conditions that begin on their own have phases of their own.
    made = pcb.regimen(data, pcb.start_as_measured(), pcb.pretreat("aMEK", "1 h"))
    assert course(made, "control", "EGF") == ([0], [0])
    assert course(made, "aMEK", "aMEK") == ([-60], [-2])


@pytest.mark.parametrize(
    ("instruction", "error", "said"),
    [
        (pcb.pretreat("MEK"), DataError, r"no node 'MEK' \(did you mean 'aMEK'\?\)"),
        (pcb.pretreat("ERK"), DataError, "perturb 'ERK' in no condition; give its dose"),
        (pcb.pretreat("aMEK", conditions=["egf"]), DataError, "no condition 'egf'.*did you mean"),
        (pcb.pretreat("aMEK", conditions="EGF"), DataError, "'EGF' has no dose of 'aMEK'"),
        (pcb.pretreat("aMEK", before=0), OptionError, "before=0; it needs a time above 0"),
        (pcb.pulse("EGF", "10 min", "5 min"), OptionError, "it ends before"),
        (pcb.step("EGF", "10 min", 1), None, ""),
        ("pretreat", OptionError, "regimen='pretreat'.*an instruction: pcb.pretreat"),
    ],
)
def test_what_cannot_be_done(instruction, error, said):
    if error is None:
        pcb.regimen(dataset(), instruction)
        return
    with pytest.raises(error, match=said):
        pcb.regimen(dataset(), instruction)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pcb.pulse("EGF", "soon", "later"),
        lambda: pcb.pretreat("aMEK", before="1 fortnight"),
        lambda: pcb.pretreat(3.5),
        lambda: pcb.knockout("ERK", level=-INF),
        lambda: pcb.washout("aMEK"),
        lambda: pcb.regimen("data"),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(OptionError):
        call()


def test_times_without_a_unit():
    with pytest.raises(OptionError, match=r"has no unit; give a plain number"):
        pcb.regimen(dataset("1"), pcb.pulse("EGF", "0 min", "10 min"))
    data = pcb.regimen(dataset("1"), pcb.pulse("EGF", 0, 10))
    assert course(data, "EGF", "EGF") == ([0, 10], [1, 0])
    with pytest.raises(DataError, match=r"steady states|time courses"):
        pcb.regimen(doses(), pcb.start_as_measured())


def test_an_instruction_says_what_it_is():
    assert repr(pcb.pulse(["EGF", "TGFa"], 0, 1)) == "<pulse of EGF, TGFa>"


def test_doses_with_phases_can_be_given_more():
    table = pcb.regimen(doses(), pcb.pulse("EGF", "0 min", "10 min"))["perturbation"]
    found = pcb.regimen(table, pcb.knockout("ERK"))
    assert found["perturbation"].sizes["phase"] == table.sizes["phase"]
    assert (found["held"].sel(node="ERK") == -4).all()
