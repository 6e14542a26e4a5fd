"""Plain tables of time courses, and logarithms that remember how to go back."""

from __future__ import annotations

import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.transforms import in_scale_of
from tests.support.equations import courses

ONE = "Year,Hare,Lynx\n1845,19.5,30\n1846,19.6,\n1848,,25.5\n"


def read(tmp_path, text, name="table.csv", **options):
    path = tmp_path / name
    path.write_text(text)
    return pcb.read_courses(path, **options)


def test_one_course_with_gaps_in_years_of_a_calendar(tmp_path):
    data = read(tmp_path, ONE, "pelts.csv")
    assert data["condition"].values.tolist() == ["pelts"]
    assert data["node"].values.tolist() == ["Hare", "Lynx"]
    assert data["time"].values.tolist() == [0, 1, 3]
    assert data["time"].attrs["units"] == "y"
    assert data["time"].attrs["origin"] == 1845
    np.testing.assert_array_equal(data["response"][0], [[19.5, 30], [19.6, np.nan], [np.nan, 25.5]])
    assert not data["perturbation"].values.any()
    later = read(tmp_path, ONE, origin=1840, time_units="d")
    assert later["time"].values.tolist() == [5, 6, 8]
    assert later["time"].attrs["units"] == "d"


LONG = {
    "commas": "mouse,Time (h),A,B\nm1,0,1,2\nm1,2,3,4\nm2,0,5,6\nm2,1,7,8\n",
    "semicolons": "mouse;Time (h);A;B\nm1;0;1,0;2,0\nm1;2;3,0;4,0\nm2;0;5,0;6,0\nm2;1;7,0;8,0\n",
    "tabs": "mouse\thours\tA\tB\nm1\t0\t1\t2\nm1\t2\t3\t4\nm2\t0\t5\t6\nm2\t1\t7\t8\n",
}


@pytest.mark.parametrize("how", LONG)
def test_several_subjects_with_times_of_their_own(tmp_path, how):
    data = read(tmp_path, LONG[how])
    assert data["condition"].values.tolist() == ["m1", "m2"]
    assert data["subject"].values.tolist() == ["m1", "m2"]
    assert data["time"].values.tolist() == [0, 1, 2]
    assert data["time"].attrs["units"] == "h"
    np.testing.assert_array_equal(data["response"].sel(node="A"), [[1, np.nan, 3], [5, 7, np.nan]])


@pytest.mark.parametrize(
    ("heading", "unit"), [("day", "d"), ("t", "1"), ("Time [h]", "h"), ("minutes", "min")]
)
def test_species_called_like_units_are_no_times(tmp_path, heading, unit):
    data = read(tmp_path, f"{heading},S,I,D,H\n0,1,2,3,4\n1,2,3,4,5\n")
    assert data["node"].values.tolist() == ["S", "I", "D", "H"]
    assert data["time"].attrs["units"] == unit


def test_packed_files_and_frames_are_the_same(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(LONG["commas"].encode()))
    plain = read(tmp_path, LONG["commas"])
    xr.testing.assert_identical(pcb.read_courses(path), plain)
    frame = pd.read_csv(path)
    xr.testing.assert_identical(pcb.read_courses(frame), plain)
    xr.testing.assert_identical(pcb.read_courses(frame.set_index(["mouse", "Time (h)"])), plain)


def test_conditions_subjects_and_replicates(tmp_path):
    rows = [
        f"{diet},{mouse},{rep},{t},{i + t}"
        for i, (diet, mouse, rep) in enumerate(
            [("fat", "a", 1), ("fat", "a", 2), ("fat", "b", 1), ("lean", "c", 1)]
        )
        for t in (0, 1)
    ]
    data = read(tmp_path, "\n".join(["diet,mouse,replicate,time,X", *rows]))
    labels = ["fat, a #1", "fat, a #2", "fat, b #1", "lean, c #1"]
    assert data["condition"].values.tolist() == labels
    assert data["subject"].values.tolist() == ["a", "a", "b", "c"]
    assert data["replicate_of"].values.tolist() == ["fat, a", "fat, a", "fat, b", "lean, c"]
    assert data["node"].values.tolist() == ["X"]
    assert data["response"][2, 1, 0] == 3
    named = read(tmp_path, "\n".join(["k,m,n,h,X", *rows]), condition="k", subject="m",
                 replicate="n", time="h")  # fmt: skip
    xr.testing.assert_equal(named.drop_attrs(), data.drop_attrs())
    some = read(tmp_path, "id,time,X,Y,note\nu,0,1,2,a\nu,1,3,4,b\n", species=["Y"])
    assert some["node"].values.tolist() == ["Y"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("A sigma", "B sigma"), ("A_sd", "B_sd"), ("sd(A)", "sd(B)"), ("A (std)", "B (std)"),
     ("sigma_A", "sigma_B")],
)  # fmt: skip
def test_columns_of_standard_deviations(tmp_path, first, second):
    text = f"t,A,{first},B,{second}\n0,1,0.1,2,0.2\n1,3,0.3,4,0.4\n"
    data = read(tmp_path, text)
    assert data["node"].values.tolist() == ["A", "B"]
    np.testing.assert_array_equal(data["sigma"][0], [[0.1, 0.2], [0.3, 0.4]])
    renamed = read(
        tmp_path, "t,A,a,B,b\n0,1,0.1,2,0.2\n1,3,0.3,4,0.4\n", sigma={"A": "a", "B": "b"}
    )
    xr.testing.assert_equal(renamed.drop_attrs(), data.drop_attrs())
    without = read(tmp_path, text, sigma={})
    assert without["node"].values.tolist() == ["A", "B"]
    assert "sigma" not in without
    some = read(tmp_path, f"t,A,{first},B\n0,1,0.1,2\n1,3,0.3,4\n", sigma={})
    xr.testing.assert_equal(some, without)
    named = read(tmp_path, text, sigma={}, species=["A", first])
    assert named["node"].values.tolist() == ["A", first]
    logs = pcb.data.transformed(data, "log")
    np.testing.assert_allclose(logs["sigma"], data["sigma"] / data["response"])
    xr.testing.assert_allclose(pcb.data.as_measured(logs), data)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b\n1,2\n", {}, "none of its columns is called time"),
        ("time,hours,X\n1,2,3\n", {}, "'time', 'hours' may all be time"),
        ("time,X\n0,1\n0,2\n", {}, "at time 0 more than once.*rename the replicates"),
        ("time,X\n0,1\n1,y\n", {}, "'y'"),
        ("time,kind,place,X\n0,a,b,1\n1,a,b,2\n", {}, "'kind', 'place' hold text"),
        ("time,mouse,X\n0,,1\n1,a,2\n", {}, "subject of row 1 .*missing"),
        ("time,X\n0,1\n", {"condition": "mose"}, "no column 'mose'"),
        ("time,X\n0,1\n", {"species": ["Y"]}, "no column 'Y'"),
        ("time,X\n0,1\n", {"sigma": {"X": "s"}}, "no column 's'"),
        ("time,X,X_sd,Y\n0,1,1,1\n", {}, "sigma of 'X', and none of 'Y'"),
        ("time,X\n-1,1\n0,2\n", {}, "first time point is negative"),
        ("time,X,X\n0,1,2\n", {}, "two columns called 'X'"),
        ("time,X\n,1\n1,2\n", {}, "time .*missing"),
        ("time,X\n0,1\n1,2\n", {"transform": "sqrt"}, "'log'"),
    ],
)
def test_tables_that_cannot_be_read_are_refused_by_name(tmp_path, text, options, said):
    with pytest.raises(pcb.PycellboxError, match=said):
        read(tmp_path, text, **options)
    with pytest.raises(pcb.DataError, match="no file"):
        pcb.read_courses(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1,5", "2,5"], r"row 1, column 'X': '1,5' is no number; write a decimal point"),
        (["1,5", "wild"], r"row 1, column 'X': '1,5' is no number; write a decimal point"),
        (["1", "wild"], r"row 2, column 'X': 'wild' is no number; say what the column is"),
        ([1.0, "1_000"], r"row 2, column 'X': '1_000' is no number"),
    ],
)
def test_cells_that_are_no_numbers_are_refused_by_their_place(cells, said):
    with pytest.raises(pcb.DataError, match=said):
        pcb.read_courses(pd.DataFrame({"time": [0, 1], "X": cells, "Y": [1, 2]}))


def test_numbers_are_read_as_in_every_table():
    given = {"time": ["0", "1"], "X": ["\u22121.5", "+2"], "Y": [Decimal("0.5"), None]}
    data = pcb.read_courses(pd.DataFrame(given))
    np.testing.assert_array_equal(data["response"][0], [[-1.5, 0.5], [2, np.nan]])


def test_what_has_no_logarithm_is_refused_by_its_place(tmp_path):
    text = "mouse,time,X,Y\na,0,1,2\na,1,0,3\nb,0,4,-5\nb,1,1,1\n"
    with pytest.raises(pcb.DataError) as error:
        read(tmp_path, text, transform="log")
    assert "condition 'a', time 1.0, node 'X' is 0" in str(error.value)
    assert "condition 'b', time 0.0, node 'Y' is -5" in str(error.value)


@pytest.mark.parametrize("transform", ["log", "log-center"])
def test_logarithms_are_kept_and_gone_back_from(transform, tmp_path):
    pelts = pcb.datasets.lynx_hare()
    data = pcb.datasets.lynx_hare(transform=transform)
    y = np.log(pelts["response"].values)
    shift = y.mean() if transform == "log-center" else 0.0
    np.testing.assert_allclose(data["response"], y - shift, atol=1e-14)
    assert data.attrs["transform"] == transform
    pcb.save_data(data, tmp_path / "data.nc")
    back = pcb.data.as_measured(pcb.open_data(tmp_path / "data.nc"))
    xr.testing.assert_allclose(back, pelts)
    assert back.attrs["transform"] == "thousands of pelts"
    with pytest.raises(pcb.DataError, match="transformed already"):
        pcb.data.transformed(data, "log")


def test_a_fit_of_logarithms_predicts_what_is_measured(tmp_path):
    data = pcb.datasets.lynx_hare(transform="log-center").isel(time=slice(0, 20))
    model = pcb.ODE(
        {"Hare": "a - b*Lynx - h", "Lynx": "c*Hare - d*Lynx", "h": "Hare - h"},
        parameters=dict.fromkeys("abcd", 0.3),
    )
    options = {"schedule": pcb.Stage(3), "solver": pcb.RK4(1.0), "backend": "numpy",
               "progress": False}  # fmt: skip
    fit = pcb.fit(data, model, **options)
    fit.save(tmp_path / "fit.nc")
    loaded = pcb.load(tmp_path / "fit.nc")
    found = loaded.predict(fit.data, scale="measured")
    center = float(data["transform_center"][0])
    both = ["Hare", "Lynx"]
    logs = fit.predictions
    np.testing.assert_allclose(found.sel(node=both), np.exp(logs.sel(node=both) + center))
    np.testing.assert_array_equal(found.sel(node="h"), logs.sel(node="h"))  # is no logarithm
    xr.testing.assert_equal(found, pcb.data.as_measured(logs.drop_vars("role"), fit.data))
    # Whatever scale, or center, data to judge by have.
    scores = fit.evaluate(data, baselines=False).table
    raw = pcb.datasets.lynx_hare().isel(time=slice(0, 20))
    for other in (raw, pcb.data.transformed(raw, "log-center")):
        again = fit.evaluate(other, baselines=False).table
        pd.testing.assert_frame_equal(again, scores)
    plain = pcb.fit(raw, model, **options)
    with pytest.raises(pcb.DataError, match="as_measured goes back"):
        plain.evaluate(data)
    with pytest.raises(pcb.PycellboxError, match="'measured'"):
        fit.predict(data, scale="log")
    xr.testing.assert_equal(plain.predict(raw, scale="measured"), plain.predict(raw))


def test_levels_and_starts_are_transformed_with_what_is_measured():
    data = courses(["x", "dose"], [0.0, 1.0], kind="protein")
    data["node_kind"][1] = "drug"
    data["response"][...] = [[[2.0, np.nan], [4.0, np.nan]]]
    data["initial_state"] = (("condition", "node"), [[3.0, np.nan]])
    data["held"] = (("condition", "node"), [[np.nan, -1.0]])
    logs = pcb.data.transformed(data, "log")
    assert logs["initial_state"][0, 0] == np.log(3.0)
    assert logs["held"][0, 1] == -1.0  # a dose, of which nothing was measured
    xr.testing.assert_allclose(pcb.data.as_measured(logs), pcb.validate(data))


def start(nodes, values):
    """Data whose nodes begin at, and are, these values; NaN: not measured, begins at 3."""
    values = np.asarray(values)
    begin = np.where(np.isnan(values), 3.0, values)
    data = courses(nodes, [0.0, 1.0])
    data["node_kind"][1:] = "drug"
    data["response"][...] = values
    data["sigma"] = data["response"].copy(data=np.full(data["response"].shape, 0.5))
    return pcb.validate(data.assign(initial_state=(("condition", "node"), begin[None])))


@pytest.mark.parametrize("transform", ["log", "log-center"])
def test_data_to_judge_by_are_on_the_scale_of_each_node_of_the_fit(transform):
    own = pcb.data.transformed(start(["x", "y", "z"], [2.0, 4.0, np.nan]), transform)
    center = own["transform_center"]
    raw = start(["x", "y", "z"], [2.0, np.nan, 5.0])
    for given in (raw, pcb.data.transformed(raw, transform)):
        found = in_scale_of(given, own)
        shift = center.values[:2]
        np.testing.assert_allclose(found["initial_state"][0, :2], np.log([2, 3]) - shift)
        np.testing.assert_allclose(found["response"][0, 0, 0], np.log(2) - shift[0])
        # Of z the fit has seen nothing, and does not take the logarithm.
        np.testing.assert_allclose(found["response"][0, :, 2], 5.0)
        np.testing.assert_allclose(found["initial_state"][0, 2], 5.0)
        np.testing.assert_allclose(found["sigma"][0, 0, [0, 2]], [0.25, 0.5])
        np.testing.assert_array_equal(found["transform_center"], center)
        xr.testing.assert_allclose(pcb.data.as_measured(found)["response"],
                                   raw["response"])  # fmt: skip
        np.testing.assert_allclose(pcb.data.as_measured(found)["sigma"][0, 0, [0, 2]], 0.5)
    with pytest.raises(pcb.DataError, match=r"initial_state.*node 'y' is -1"):
        in_scale_of(raw.assign(initial_state=raw["initial_state"] - [0.0, 4.0, 0.0]), own)


def test_nodes_that_a_fit_of_logarithms_does_not_know_are_refused():
    data = start(["x"], [2.0])
    model = pcb.ODE({"x": "-k*x"}, parameters={"k": 0.3})
    fit = pcb.fit(pcb.data.transformed(data, "log"), model, schedule=pcb.Stage(1),
                  backend="numpy", progress=False)  # fmt: skip
    more = start(["x", "w"], [2.0, 4.0])
    for given in (more, pcb.data.transformed(more, "log")):
        with pytest.raises(pcb.DataError, match="'w'"):
            fit.evaluate(given)
