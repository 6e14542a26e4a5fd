"""Datasets that say more of treatment than constant doses: what is valid, and what files keep."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pycellbox.data import SCHEMA_VERSION, from_tables, open_data, save_data, validate
from pycellbox.data.units import converted, read_time
from pycellbox.errors import DataError, DataWarning, OptionError

CONDITIONS = ["control", "EGF", "EGF+aMEK"]
KINDS = ["protein", "protein", "drug", "drug"]
NODES = ["ERK", "AKT", "EGF", "aMEK"]
INF, NAN = np.inf, np.nan
LEVELS = ("condition", "node")


@pytest.fixture
def course():
    """Three conditions over an hour."""
    u = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, -1.0]])
    x = np.arange(36.0).reshape(3, 3, 4) / 36
    data = from_tables(
        u, x, node_kind=KINDS, time=[0, 10, 60],
        conditions=CONDITIONS, nodes=NODES, time_units="min",
    )  # fmt: skip
    return data


def in_phases(data, starts, units="min"):
    """Give a dataset phases, in the first of which nothing but drugs is given."""
    starts = np.asarray(starts, dtype=float)
    phases = starts.shape[-1]
    u = data["perturbation"].expand_dims(phase=phases, axis=1).copy()
    u[:, 0, :3] = 0
    dims = ("phase",) if starts.ndim == 1 else ("condition", "phase")
    attrs = {} if units is None else {"units": units}
    return data.drop_vars("perturbation").assign(
        perturbation=u, phase_start=xr.Variable(dims, starts, attrs)
    )


def level(data, node, value, condition=slice(None)):
    values = np.full((3, 4), np.nan)
    values[condition, NODES.index(node)] = value
    return values


def everything(data):
    """All that schema 2 has, at once."""
    data = in_phases(data, [[-INF, 0, 10], [-60, 0, NAN], [0, 10, 30]])
    held = level(data, "ERK", -4, 1)
    fitted = np.zeros((3, 4), dtype=bool)
    state = level(data, "AKT", 0.25)
    given = {
        "held": (LEVELS, held), "held_fitted": (LEVELS, ~np.isnan(held)),
        "initial_state": (LEVELS, state), "initial_fitted": (LEVELS, fitted),
        "replicate_of": ("condition", ["", "control", ""]),
        "subject": ("condition", ["mouse 1", "mouse 1", ""]),
        "group": ("node", ["", "", "ligand", "inhibitor"]),
    }  # fmt: skip
    return data.assign(given)


def test_everything_is_in_canonical_form(course):
    data = validate(everything(course).transpose("node", "phase", "time", "condition"))
    assert data.attrs["schema_version"] == SCHEMA_VERSION == 2
    assert data["perturbation"].dims == ("condition", "phase", "node")
    assert data["phase_start"].dims == ("condition", "phase")
    for name in ("phase_start", "replicate_of", "subject", "group", "node_kind"):
        assert name in data.coords, name
    for name in ("held", "held_fitted", "initial_state", "initial_fitted"):
        assert name in data.data_vars, name
        assert data[name].dims == LEVELS
    assert data["held_fitted"].dtype == data["initial_fitted"].dtype == bool
    assert all(data[name].values.flags.c_contiguous for name in data.data_vars)
    assert data["phase_start"].attrs["units"] == data["time"].attrs["units"] == "min"
    xr.testing.assert_identical(validate(data), data)


def test_files_give_it_back_to_the_bit(course, tmp_path):
    data = validate(everything(course))
    again = open_data(save_data(data, tmp_path / "data.nc"))
    xr.testing.assert_identical(again, data)
    for name in data.variables:
        assert again[name].dtype == data[name].dtype, name
    assert again["phase_start"].values.tobytes() == data["phase_start"].values.tobytes()


def test_xarray_takes_and_joins_it(course):
    data = validate(everything(course))
    parts = [validate(data.isel(condition=[i]), part=True) for i in range(3)]
    joined = xr.concat(parts, "condition", data_vars="minimal", coords="minimal")
    xr.testing.assert_identical(validate(joined), data)
    renamed = data.assign_coords(node=[f"n{i}" for i in range(4)])
    assert validate(renamed.isel(node=[2, 1, 3, 0]))["group"].values.tolist() == [
        "ligand", "", "inhibitor", "",
    ]  # fmt: skip


def test_phases_that_a_condition_has_not_may_hold_anything(course):
    data = in_phases(course, [[-INF, 0, NAN], [0, NAN, NAN], [-30, 0, 10]])
    data["perturbation"][0, 2] = np.nan
    data["perturbation"][1, 1:] = 7
    u = validate(data)["perturbation"].values
    assert not u[0, 2].any()
    assert not u[1, 1:].any()
    assert u[2, 2].any()


@pytest.mark.parametrize(
    ("starts", "units", "in_time"),
    [
        ([-3600, 0, 600], "s", [-60, 0, 10]),
        ([-INF, 0, 0.5], "hours", [-INF, 0, 30]),
        ([[-1, 0, NAN], [0, 1 / 24, NAN], [-INF, 0, 1]], "d",
         [[-1440, 0, NAN], [0, 60, NAN], [-INF, 0, 1440]]),
        ([-INF, 0, 5], "minutes", [-INF, 0, 5]),
        ([-INF, 0], None, [-INF, 0]),
    ],
)  # fmt: skip
def test_starts_are_converted_to_the_unit_of_time(course, starts, units, in_time):
    data = validate(in_phases(course, starts, units))
    np.testing.assert_array_equal(data["phase_start"], in_time)
    assert data["phase_start"].attrs["units"] == "min"


def test_starts_of_steady_states_keep_their_unit(course):
    data = validate(in_phases(course.isel(time=-1, drop=True), [-INF, 0, 2], "h"))
    np.testing.assert_array_equal(data["phase_start"], [-INF, 0, 2])
    assert data["phase_start"].attrs["units"] == "h"


def test_one_phase_may_settle_and_a_stimulus_come_later(course):
    validate(in_phases(course, [-INF]))
    validate(in_phases(course, [-INF, 5]))


@pytest.mark.parametrize(
    ("starts", "units", "said"),
    [
        ([0, NAN], "min", "phase_start at phase 2 is NaN; every phase needs a start"),
        ([[0, 1], [NAN, NAN], [0, 1]], "min", "condition 'EGF', phase 1 is NaN; every condition"),
        ([[0, 1, 2], [0, NAN, 2], [0, 1, 2]], "min", "'EGF', phase 3 follows a phase without"),
        ([0, INF], "min", "phase 2 is infinite"),
        ([0, -INF], "min", "phase 2 is infinite"),
        ([-INF, 5, 5], "min", "phase 3 is 5, and the phase before starts at 5"),
        ([0, 10, 5], "min", "phase 3 is 5, and the phase before starts at 10"),
        ([5, 10], "min", "phase 1 is 5; time counts from 0"),
        ([[-1, 0], [0, 1], [2, 3]], "min", r"'EGF\+aMEK', phase 1 is 2; time counts from 0"),
        ([0, 10], None, r"no attribute units.*attrs\['units'\] = 'min'"),
        ([0, 10], "fortnight", "'fortnight' is no unit that is converted"),
    ],
)
def test_starts_that_cannot_be(course, starts, units, said):
    with pytest.raises(DataError, match=said):
        validate(in_phases(course, starts, units))


def spoil(name, value, dims=LEVELS):
    return lambda data: data.assign({name: xr.Variable(dims, value)})


YES = np.ones((3, 4), dtype=bool)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoil("held", np.full((3, 4), INF)), "held at condition 'control', node 'ERK' .*infinite"),
        (spoil("held", YES), "held holds True and False; it needs numbers"),
        (spoil("held", np.zeros(4), ("node",)), r"held has the dims \(node\); it needs"),
        (spoil("held", np.full((3, 4), "low")), "held at .*'low', which is not a real number"),
        (spoil("held_fitted", YES), "has held_fitted, and no held"),
        (
            lambda data: data.assign(
                held=(LEVELS, level(data, "ERK", -4)), held_fitted=(LEVELS, YES)
            ),
            "held_fitted at condition 'control', node 'AKT' .*is True, and the node is not held",
        ),
        (spoil("initial_state", np.full((3, 4), -INF)), "initial_state at .*infinite; write NaN"),
        (spoil("initial_fitted", np.full((3, 4), 2)), "initial_fitted at .* is 2; it needs True"),
        (
            lambda data: in_phases(data, [[0, 1], [-INF, 0], [0, 1]]).assign(
                initial_fitted=(LEVELS, YES)
            ),
            "initial_fitted at condition 'EGF', node 'ERK' .*pre-treated since -inf",
        ),
        (spoil("drive", np.zeros(3), ("condition",)), "drive has the dims .*drive_time, input"),
        (spoil("phase_start", [0.0], ("phase",)), "perturbation has no dim phase"),
        (
            spoil("subject", np.array([1, True, "x"], dtype=object), ("condition",)),
            "subject of condition 'EGF' is True",
        ),
        (spoil("group", ["a"] * 3, ("condition",)), r"group has the dims \(condition\)"),
        (
            lambda data: in_phases(data, [0, 1]).rename(phase_start="phase_starts"),
            "no phase_start .'phase_starts' is not read; rename it",
        ),
        (
            lambda data: data.assign_coords(node_kind=("node", ["hidden", *KINDS[1:]])),
            "response at condition 'control', .*'ERK' .*is measured, and the node is of kind",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(course, change, said):
    with pytest.raises(DataError, match=said):
        validate(change(course))


def test_infinite_perturbation_names_the_phase(course):
    data = in_phases(course, [-INF, 0])
    data["perturbation"][1, 1, 2] = np.nan
    with pytest.raises(DataError, match="condition 'EGF', phase 2, node 'EGF' is NaN"):
        validate(data)


@pytest.mark.parametrize("values", [[1, 0, 0, 0], [1.0, NAN, 0, NAN], [True, False, None, False]])
def test_flags_come_in_every_guise(course, values):
    held = (LEVELS, level(course, "ERK", -4))
    fitted = (LEVELS, np.array([values] * 3, dtype=object))
    found = validate(course.assign(held=held, held_fitted=fitted))["held_fitted"]
    np.testing.assert_array_equal(found, [[True, False, False, False]] * 3)


@pytest.mark.parametrize("values", [["A", "", ""], ["A", None, NAN], [7, 7.0, ""]])
def test_texts_may_be_missing(course, values):
    data = validate(course.assign(subject=("condition", np.array(values, dtype=object))))
    wanted = ["7", "7", ""] if 7 in values else ["A", "", ""]
    assert data["subject"].values.tolist() == wanted


def test_hidden_nodes_are_never_measured(course):
    data = course.copy(deep=True)
    data["response"][..., 0] = np.nan
    with pytest.raises(DataError, match=r"'ERK'.*'hidden' if the network"):
        validate(data)
    hidden = data.assign_coords(node_kind=("node", ["hidden", *KINDS[1:]]))
    assert validate(hidden)["node_kind"].values[0] == "hidden"


@pytest.mark.parametrize("name", ["initial_states", "Held", "initialFitted"])
def test_names_that_are_nearly_known(course, name):
    with pytest.warns(DataWarning, match=f"'{name}' means nothing to pycellbox.*did you mean"):
        assert name in validate(course.assign({name: (LEVELS, np.zeros((3, 4)))}))


def test_other_names_are_the_users(course):
    extra = {"replicate": ("condition", [1, 2, 3]), "groups": ("condition", list("abc"))}
    assert {*extra} < {*validate(course.assign(extra)).variables}


def test_in_schema_1_the_names_meant_nothing(course):
    old = course.assign(group=("condition", list("abc"))).assign_attrs(schema_version=1)
    with pytest.warns(DataWarning, match="'group' meant nothing: kept as 'group_v1'"):
        data = validate(old)
    assert data["group_v1"].values.tolist() == list("abc")
    assert data.attrs["schema_version"] == 2
    assert validate(course.assign_attrs(schema_version=1)).attrs["schema_version"] == 2


@pytest.mark.parametrize(
    ("value", "given", "wanted", "found"),
    [(90, "min", "h", 1.5), (1.5, "hr", "mins", 90), (2, "days", "s", 172800),
     (3, "ms", "s", 0.003), (1, "week", "d", 7), (5, "1", "h", 5), (5, "frames", "frames", 5),
     (-INF, "min", "h", -INF)],
)  # fmt: skip
def test_units(value, given, wanted, found):
    assert converted(np.array([value], dtype=float), given, wanted, "time")[0] == found


@pytest.mark.parametrize(
    ("text", "time"),
    [("10 min", 10), ("1h", 60), ("1.5 hours", 90), (-60, -60), ("\u221230 s", -0.5),
     ("-inf", -INF), ("-\u221e", -INF), ("20", 20), ("2e1 min", 20)],
)  # fmt: skip
def test_times_as_texts(text, time):
    assert read_time("at", text, "min") == time


@pytest.mark.parametrize("text", ["soon", "10 parsecs", "", None, True, NAN, "nan", [1], "1 h 5"])
def test_what_is_no_time(text):
    with pytest.raises(OptionError, match=r"at=.*it needs a time: a number in the data's unit"):
        read_time("at", text, "min")
