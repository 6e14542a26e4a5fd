"""Tables that say when inputs begin, what is held, where conditions start, and who they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli.inputs import read_dataset
from pycellbox.cli.parser import build_parser
from pycellbox.errors import DataError

INF, NAN = np.inf, np.nan
NODES = ["ERK", "AKT", "EGF", "aMEK"]
KINDS = {"ERK": "protein", "AKT": "protein", "EGF": "drug", "aMEK": "drug"}
ROWS = [
    # condition, start in minutes, EGF, aMEK
    ("EGF", -INF, 0, 0), ("EGF", 0, 1, 0), ("EGF", 10, 0, 0),
    ("aMEK", -60, 0, -2), ("aMEK", 0, 1, -2),
]  # fmt: skip
STARTS = [[-INF, 0, 10], [-60, 0, NAN]]
EGF = [[0, 1, 0], [0, 1, 0]]


def doses(heading="start (min)", unit=1.0):
    rows = [(c, 0.0, 0.0, *row) for c, _, *row in ROWS]
    frame = pd.DataFrame(rows, columns=["condition", *NODES]).set_index("condition")
    frame.insert(0, heading, [start / unit for _, start, *_ in ROWS])
    return frame


def course():
    index = pd.MultiIndex.from_product(
        [["EGF", "aMEK"], [0, 10, 60]], names=["condition", "time (min)"]
    )
    return pd.DataFrame(np.arange(24.0).reshape(6, 4) / 24, index=index, columns=NODES)


def check(data):
    np.testing.assert_array_equal(data["phase_start"], STARTS)
    assert data["phase_start"].attrs["units"] == data["time"].attrs["units"] == "min"
    np.testing.assert_array_equal(data["perturbation"].sel(node="EGF"), EGF)
    assert data["condition"].values.tolist() == ["EGF", "aMEK"]
    assert data["node"].values.tolist() == NODES
    assert data["perturbation"].dims == ("condition", "phase", "node")


@pytest.mark.parametrize(
    ("heading", "unit"),
    [("start (min)", 1), ("start", 1), ("Start_h", 60), ("phase_start [s]", 1 / 60),
     ("start time (d)", 1440)],
)  # fmt: skip
@pytest.mark.parametrize("indexed", [False, True])
def test_starts_in_a_frame(heading, unit, indexed):
    frame = doses(heading, unit)
    if indexed:
        frame = frame.set_index(heading, append=True)
    check(pcb.from_tables(frame, course(), node_kind=KINDS))


def test_starts_in_an_array():
    data = pcb.from_tables(doses(), course(), node_kind=KINDS)
    u = data["perturbation"]
    assert u.coords["phase_start"].dims == ("condition", "phase")
    again = pcb.from_tables(u.transpose("node", "phase", "condition"), course(), node_kind=KINDS)
    xr.testing.assert_identical(again, data)
    with pytest.raises(DataError, match="no coordinate phase_start; say when"):
        pcb.from_tables(u.drop_vars("phase_start"), course(), node_kind=KINDS)


def test_shared_starts_are_one_row_of_them():
    frame = doses()
    frame = pd.concat([frame[:2], frame[:2].rename(index={"EGF": "aMEK"})])
    data = pcb.from_tables(frame, course(), node_kind=KINDS)
    assert data["phase_start"].dims == ("phase",)
    assert data["phase_start"].values.tolist() == [-INF, 0]


def levels(**cells):
    """A table with a few cells alone."""
    return pd.DataFrame({node: pd.Series(values) for node, values in cells.items()})


def test_what_is_held_may_be_a_few_cells():
    data = pcb.from_tables(
        doses(), course(), node_kind=KINDS, held=levels(ERK={"aMEK": -4.0}), held_fitted=True,
        initial_state=levels(AKT={"EGF": 0.5, "aMEK": NAN}, ERK={"EGF": 0.25, "aMEK": NAN}),
        initial_fitted=levels(AKT={"aMEK": True}).astype(float),
        replicate_of={"aMEK": "EGF"}, subject=["m1", "m2"], group={"EGF": "ligand"},
    )  # fmt: skip
    np.testing.assert_array_equal(data["held"], [[NAN] * 4, [-4, NAN, NAN, NAN]])
    np.testing.assert_array_equal(data["held_fitted"], data["held"] == -4)
    np.testing.assert_array_equal(data["initial_state"], [[0.25, 0.5, NAN, NAN], [NAN] * 4])
    assert data["initial_fitted"].values.tolist() == [[False] * 4, [False, True, False, False]]
    assert data["replicate_of"].values.tolist() == ["", "EGF"]
    assert data["subject"].values.tolist() == ["m1", "m2"]
    assert data["group"].values.tolist() == ["", "", "ligand", ""]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"held": levels(ERK={"MEK": -4})}, r"'MEK'.*did you mean 'aMEK'"),
        ({"held": levels(JNK={"EGF": -4})}, "held has 1 node label that the perturbation has not"),
        ({"held_fitted": True}, "held_fitted is True, and no held is given"),
        ({"subject": ["m1"]}, "subject needs a mapping"),
        ({"group": {"JNK": "kinase"}}, "group names 'JNK', and there is no such node"),
        ({"replicate_of": "EGF"}, "replicate_of needs a mapping"),
    ],
)
def test_what_is_said_of_nobody(given, said):
    with pytest.raises(DataError, match=said):
        pcb.from_tables(doses(), course(), node_kind=KINDS, **given)


@pytest.fixture
def files(tmp_path):
    frame = doses()
    frame.insert(0, "subject", ["m1"] * 3 + ["m2"] * 2)
    frame.insert(1, "replicate_of", [""] * 3 + ["EGF"] * 2)
    frame["start (min)"] = ["pre", 0, 10, -60, 0]
    tables = {
        "perturbation": frame,
        "response": course(),
        "held": levels(ERK={"aMEK": -4.0}).rename_axis("condition"),
        "initial_state": levels(AKT={"EGF": 0.5}).rename_axis("condition"),
        "kinds": pd.DataFrame(
            {"node": NODES, "kind": list(KINDS.values()), "group": ["", "", "ligand", "inhibitor"]}
        ).set_index("node"),
    }
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv")
    return {name: tmp_path / f"{name}.csv" for name in tables}


@pytest.mark.parametrize("way", ["read_csv", "command line"])
@pytest.mark.parametrize("word", ["pre", "-inf", "\u2212\u221e", "-Inf"])
def test_files(files, word, way):
    table = files["perturbation"]
    table.write_text(table.read_text().replace("pre,", f"{word},"), encoding="utf-8")
    if way == "read_csv":
        data = pcb.read_csv(
            table, files["response"], node_kind=files["kinds"], held=files["held"],
            held_fitted=True, initial_state=files["initial_state"],
        )  # fmt: skip
    else:
        words = ["fit", "--out", "fit.nc", "--held-fitted"]
        for name in ("perturbation", "response", "held", "initial_state"):
            words += [f"--{name.replace('_', '-')}", str(files[name])]
        data = read_dataset(build_parser().parse_args(words), files["kinds"])
    check(data)
    assert data["subject"].values.tolist() == ["m1", "m2"]
    assert data["replicate_of"].values.tolist() == ["", "EGF"]
    assert data["group"].values.tolist() == ["", "", "ligand", "inhibitor"]
    assert data["held"].sel(condition="aMEK", node="ERK") == -4
    assert data["held_fitted"].sum() == 1
    assert data["initial_state"].sel(condition="EGF", node="AKT") == 0.5
    assert "initial_fitted" not in data


def test_a_condition_is_of_one_subject():
    frame = doses()
    frame["subject"] = ["m1", "m2", "m1", "m3", "m3"]
    with pytest.raises(DataError, match="gives condition 'EGF' two of subject: 'm1' and 'm2'"):
        pcb.from_tables(frame, course(), node_kind=KINDS)
