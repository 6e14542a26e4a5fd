"""Labels, index columns and orientation of tables: what a lab's own DataFrames look like."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.headings import time_heading
from pycellbox.errors import DataError, OptionError, PycellboxWarning
from pycellbox.plot.labels import like

NODES = ["MEK", "ERK", "aMEK"]
CONDITIONS = ["ctrl", "low", "high"]
KINDS = {"MEK": "protein", "ERK": "protein", "aMEK": "drug"}
U = pd.DataFrame([[0, 0, 0], [0, 0, -0.5], [0, 0, -1.0]], CONDITIONS, NODES)
X = pd.DataFrame([[0, 0.01, 0], [-0.2, -0.1, -0.5], [-0.4, -0.3, -1.0]], CONDITIONS, NODES)
COURSE = pd.concat({1.0: X, 4.0: 2 * X}).swaplevel().rename_axis(["condition", "time"])


EXPECTED = pcb.from_tables(U, X, node_kind=KINDS)


def same_as_labelled(data: xr.Dataset) -> None:
    xr.testing.assert_identical(data, EXPECTED)


# ---- labels win over positions
@pytest.mark.parametrize(
    "node_kind",
    [
        {"protein": [2, 1], "drug": [0]},
        {"protein": ["2", 1], "drug": "0"},
        {"protein": np.array([2, 1]), "drug": np.int64(0)},
        {"protein": pd.Index([2.0, 1.0]), "drug": {0}},
        {2: "protein", "1": "protein", 0.0: "drug"},
        pd.Series({0: "drug", 1: "protein", 2: "protein"}),
        pd.Series({0.0: "drug", 1.0: "protein", 2.0: "protein"}),
        pd.DataFrame({"node": [0, 1, 2], "kind": ["drug", "protein", "protein"]}),
        xr.DataArray(["drug", "protein", "protein"], dims="node", coords={"node": [0, 1, 2]}),
    ],
    ids=lambda node_kind: type(node_kind).__name__,
)
@pytest.mark.parametrize("columns", [[2.0, 1.0, 0.0], ["2", 1, 0]])
def test_integer_labels_are_labels(node_kind, columns):
    u, x = U.set_axis(columns, axis=1), X.set_axis([2, 1, 0], axis=1)
    data = pcb.from_tables(u, x, node_kind=node_kind)
    assert data["node"].values.tolist() == ["2", "1", "0"]
    assert data["node_kind"].values.tolist() == ["protein", "protein", "drug"]


@pytest.mark.parametrize(
    "node_kind",
    [
        {"protein": [0, 1], "drug": [2]},
        {0: "protein", 1: "protein", 2: "drug"},
        pd.Series(["protein", "protein", "drug"]),
        {"protein": ["MEK", 1], "drug": "aMEK"},
        {"protein": ["MEK", "ERK"], "drug": "aMEK"},
    ],
)
def test_positions_where_no_label_matches(node_kind):
    same_as_labelled(pcb.from_tables(U, X, node_kind=node_kind))


def test_identifiers_are_no_positions():
    u, x = U.set_axis([5604, 5594, 1], axis=1), X.set_axis([5604, 5594, 1], axis=1)
    data = pcb.from_tables(u, x, node_kind={"protein": [5604, 5594], "drug": [1]})
    assert data["node_kind"].values.tolist() == ["protein", "protein", "drug"]
    with pytest.raises(DataError, match="5604, which is the label of a node, and 0, which is none"):
        pcb.from_tables(u, x, node_kind={"protein": [5604, 0], "drug": [1]})


def test_integers_that_are_labels_or_counts():
    u, x = U.set_axis([5, 7, 3], axis=1), X.set_axis([5, 7, 3], axis=1)
    kinds = {"protein": 5, "phenotype": 7, "drug": 3}
    data = pcb.from_tables(u, x, node_kind=kinds)
    assert data["node_kind"].values.tolist() == list(kinds)
    u, x = U.set_axis([0, 1, 2], axis=1), X.set_axis([0, 1, 2], axis=1)
    with pytest.raises(DataError, match="may be labels of nodes or counts"):
        pcb.from_tables(u, x, node_kind={"protein": 0, "phenotype": 1, "drug": 2})


def test_labels_that_are_one_label():
    u = U.set_axis([5, "5", 3], axis=1)
    with pytest.raises(DataError, match=r"duplicated: '5'.*5\.0 and '5' are one label"):
        pcb.from_tables(u, u)
    with pytest.raises(DataError, match="node_kind: 1 node label duplicated: '5'"):
        pcb.from_tables(U, X, node_kind={5: "protein", "5": "drug"})


@pytest.mark.parametrize("name", ["nodes", "conditions"])
@pytest.mark.parametrize("labels", ["abc", 3])
def test_labels_of_arrays_are_sequences(name, labels):
    given = {"nodes": NODES, "conditions": CONDITIONS, name: labels}
    with pytest.raises(OptionError, match=f"{name} is {labels!r}; give a sequence"):
        pcb.from_tables(U.to_numpy(), X.to_numpy(), **given)


# ---- an index among the columns
def as_column(table, heading):
    return table.rename_axis(heading).reset_index()


@pytest.mark.parametrize(
    "heading", ["Unnamed: 0", "index", "condition", "level_0", "id", "Sample", "cell line", "foo"]
)
def test_a_column_of_names_is_the_labels(heading):
    u, x = (as_column(table, heading) for table in (U, X))
    same_as_labelled(pcb.from_tables(u, x, node_kind=KINDS))
    same_as_labelled(pcb.from_tables(u, X, node_kind=KINDS))  # and the index of the other table


def test_a_column_of_names_is_the_labels_of_sigma():
    sigma = X.abs() + 1
    xr.testing.assert_identical(
        pcb.from_tables(U, X, as_column(sigma, "index"), KINDS),
        pcb.from_tables(U, X, sigma, KINDS),
    )


@pytest.mark.parametrize("heading", ["Unnamed: 0", "Unnamed: 0.1", "index", "level_0", ""])
@pytest.mark.parametrize("first", [0, 1])
def test_a_written_count_of_the_rows_is_no_node(heading, first):
    u, x = (table.copy() for table in (U, X))
    for table in (u, x):
        table.insert(0, heading, range(first, first + 3))
    same_as_labelled(pcb.from_tables(u, x, node_kind=KINDS))
    # Beside a column of labels, and as the only labels there are.
    same_as_labelled(pcb.from_tables(as_column(u, "condition"), x, node_kind=KINDS))
    alone = pcb.from_tables(
        u.reset_index(drop=True), x.reset_index(drop=True), node_kind=dict(KINDS)
    )
    assert alone["condition"].values.tolist() == [str(i) for i in range(first, first + 3)]
    assert alone["node"].values.tolist() == NODES


def test_kinds_made_from_the_columns_name_no_index():
    u, x = as_column(U, "Unnamed: 0"), as_column(X, "Unnamed: 0")
    kinds = {c: "drug" if c.startswith("a") else "protein" for c in u.columns}
    same_as_labelled(pcb.from_tables(u, x, node_kind=kinds))


@pytest.mark.parametrize("heading", ["index", "ID", "condition", "Sample", "well", "Unnamed: 0"])
@pytest.mark.parametrize("index", [True, False])
def test_what_may_be_labels_or_a_node_is_refused(heading, index):
    u, x = (table.reset_index(drop=not index) if not index else table.copy() for table in (U, X))
    for table in (u, x):
        table.insert(1, heading, [0.0, -0.5, -1.0])
    with pytest.raises(DataError, match=f"{heading!r} of perturbation may be labels .* or a node"):
        pcb.from_tables(u, x)
    with pytest.raises(DataError, match="of response may be labels"):
        pcb.from_tables(U, x.set_axis(U.index), node_kind=KINDS)
    if heading != "Unnamed: 0":
        data = pcb.from_tables(u, x, node_kind={**KINDS, heading: "drug"})
        assert data["node_kind"].sel(node=heading) == "drug"


def test_columns_of_text_beside_the_labels():
    x = X.assign(line=["a", "b", "a"])
    with pytest.raises(DataError, match="column 'line' of response holds text such as 'a'"):
        pcb.from_tables(U, x)
    with pytest.raises(DataError, match=r"has 2 columns of text: 'foo', 'line'; .*set_index"):
        pcb.from_tables(U, as_column(x, "foo"))
    with pytest.raises(DataError, match="column 'line' of response holds text"):
        pcb.from_tables(U, as_column(x, "condition"))


def test_labels_in_one_table_only():
    with pytest.raises(DataError, match="those of response only count its rows"):
        pcb.from_tables(U, X.reset_index(drop=True))


# ---- transposed tables, tables without labels
@pytest.mark.parametrize(
    "node_kind",
    [
        *[KINDS, pd.Series(KINDS), {"protein": NODES[:2], "drug": NODES[2:]}, None],
        *[list(KINDS.values()), {"protein": 2, "drug": 1}, {"protein": [0, 1], "drug": [2]}],
    ],
)
@pytest.mark.parametrize("turned", ["both", "perturbation", "response"])
@pytest.mark.parametrize("rows", [3, 2])
def test_transposed_tables_are_named(node_kind, turned, rows):
    u = U.iloc[:rows].T if turned != "response" else U.iloc[:rows]
    x = X.iloc[:rows].T if turned != "perturbation" else X.iloc[:rows]
    with pytest.raises(DataError, match=r"transposed.*\.T"):
        pcb.from_tables(u, x, node_kind=node_kind)


@pytest.mark.parametrize(
    "node_kind", [{"protein": [5604, 5594], "drug": [207]}, {5604: "protein", 5594.0: "protein"}]
)
def test_transposed_tables_are_told_by_numbers(node_kind):
    u, x = (table.set_axis([5604, 5594, 207], axis=1).T for table in (U, X))
    with pytest.raises(DataError, match=r"transposed: node_kind names \d rows .*'5594'"):
        pcb.from_tables(u, x, node_kind=node_kind)


def test_transposed_tables_are_told_by_combinations():
    u = pd.DataFrame(
        [[-1, 0, 0], [0, -2, 0], [-1, -2, 0], [0, -1, 0]],
        ["aA=-1", "aB=-2", "aA=-1+aB=-2", "aB=-1"],
        ["aA", "aB", "C"],
    )
    pcb.from_tables(u, u)
    with pytest.raises(DataError, match="perturbation and response are transposed: its columns"):
        pcb.from_tables(u.T, u.T)


@pytest.mark.parametrize("array", [True, False])
def test_square_tables_with_other_names_are_told_by_the_doses(array):
    u, x = (t.set_axis(["a", "b", "c"]) for t in (U, X))
    kinds = KINDS if array else ["protein", "protein", "drug"]
    labels = {"conditions": list(u.index), "nodes": NODES} if array else {}
    with pytest.raises(DataError, match=r"looks transposed: as it stands .* is perturbed"):
        pcb.from_tables(
            u.to_numpy().T if array else u.T,
            x.to_numpy().T if array else x.T,
            None,
            kinds,
            **labels,
        )
    direct = pd.DataFrame([[0, 0, 0], [0, 0, 0], [1.0, 0, -1]], u.index, NODES)
    assert pcb.from_tables(direct, x, node_kind=KINDS)["perturbation"].values[2, 0] == 1


def test_conditions_named_after_nodes_are_not_transposed():
    genes = [f"G{i}" for i in range(4)]
    knock = pd.DataFrame(-np.eye(4), genes, genes)
    pcb.from_tables(knock, knock, node_kind=dict.fromkeys(genes, "protein"))
    many = dict.fromkeys([*genes, "WT1"], "protein")
    data = pcb.from_tables(knock.rename(columns={"G0": "WT1"}), knock.rename(columns={"G0": "WT1"}))
    assert data.equals(pcb.from_tables(*[knock.rename(columns={"G0": "WT1"})] * 2, node_kind=many))


def test_nodes_named_after_conditions_are_right_where_kinds_name_them():
    u = pd.DataFrame(np.eye(2), ["Na", "Cl"], ["Na+Cl", "K"])
    with pytest.raises(DataError, match="transposed: its columns are named after its rows"):
        pcb.from_tables(u, u)
    data = pcb.from_tables(u, u, node_kind={"Na+Cl": "protein", "K": "protein"})
    assert data["node"].values.tolist() == ["Na+Cl", "K"]


def test_an_array_of_the_transposed_shape():
    with pytest.raises(DataError, match=r"give perturbation\.T"):
        pcb.from_tables(U[:2].T.to_numpy(), X, conditions=CONDITIONS[:2], nodes=NODES)


@pytest.mark.parametrize("first", NODES)
def test_doses_are_no_labels(first):
    u = U.set_index(first)
    with pytest.raises(
        DataError, match=f"has numbers .* in the column '{first}', where the labels"
    ):
        pcb.from_tables(u, X.drop(columns=first))
    with pytest.raises(DataError, match="and that is a node"):
        pcb.from_tables(u, X)


def test_numbers_may_be_labels():
    for heading in ("condition", "dose", "experiment", None):
        u, x = (table.set_axis(pd.Index([0.5, 1.0, 2.0], name=heading)) for table in (U, X))
        assert pcb.from_tables(u, x)["condition"].values.tolist() == ["0.5", "1", "2"]


# ---- times
HEADINGS = {
    **dict.fromkeys(["time", "Time", "TIME", "timepoint", "Time point", "t", "T"], "h"),
    **dict.fromkeys(["Time (h)", "time_h", "Time..h.", "hours", "t/h", "Time in hours", "h"], "h"),
    **dict.fromkeys(["Time [min]", "time_min", "minutes", "min", "time (minutes)"], "min"),
    **{
        "Time (a.u.)": "a.u.",
        "time (1)": "1",
        "Time (s)": "s",
        "Time (days)": "d",
        "time (in d)": "d",
        "Time [in min]": "min",
        "hours post treatment": "h",
    },
}


@pytest.mark.parametrize("heading", HEADINGS)
def test_headings_of_time(heading):
    assert time_heading(heading).unit in (HEADINGS[heading], None)
    flat = COURSE.rename_axis(["condition", heading]).reset_index()
    data = pcb.from_tables(U, flat, node_kind=KINDS)
    assert data["time"].attrs["units"] == HEADINGS[heading]
    assert data["node"].values.tolist() == NODES


@pytest.mark.parametrize("heading", ["t", "Time (h)"])
def test_times_stand_beside_the_labels_or_in_the_index(heading):
    course = COURSE.rename_axis(["condition", heading])
    expected = pcb.from_tables(U, COURSE, node_kind=KINDS)
    flat = course.reset_index()
    swapped = flat[[heading, "condition", *NODES]]
    for table in (course, course.swaplevel(), flat, flat.set_index("condition"), swapped):
        xr.testing.assert_identical(pcb.from_tables(U, table, node_kind=KINDS), expected)


@pytest.mark.parametrize(
    "heading", ["T-bet", "t1", "TIM3", "MIN6", "p38", "HOUR1", "time_MEK", "H2"]
)
def test_names_that_are_no_times(heading):
    assert time_heading(heading) is None


def test_levels_without_names_go_by_what_they_hold():
    expected = pcb.from_tables(U, COURSE, node_kind=KINDS)
    for table in (COURSE, COURSE.swaplevel()):
        unnamed = table.rename_axis([None, None])
        xr.testing.assert_identical(pcb.from_tables(U, unnamed, node_kind=KINDS), expected)


def test_a_node_called_t_is_a_node():
    u, x = (table.rename(columns={"MEK": "T"})[["T", "ERK", "aMEK"]] for table in (U, X))
    assert "T" in pcb.from_tables(u, x)["node"].values
    u["T"] = x["T"] = [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match=r"column 'T' of .* may be time, or a node"):
        pcb.from_tables(u, x)
    kinds = {"T": "protein", "ERK": "protein", "aMEK": "drug"}
    assert pcb.from_tables(u, x, node_kind=kinds)["node"].values.tolist() == list(kinds)


def test_times_that_are_refused():
    flat = COURSE.reset_index()
    with pytest.raises(
        DataError, match=r"perturbation has a time dimension.*column called 'start'"
    ):
        pcb.from_tables(U.assign(time=1.0), flat, node_kind=KINDS)
    with pytest.raises(DataError, match="response has 2 columns of time: 'time', 'time_h'"):
        pcb.from_tables(U, flat.assign(time_h=flat["time"]))
    with pytest.raises(DataError, match=r"has times .* and no conditions as its index"):
        pcb.from_tables(U.rename_axis("time"), X.rename_axis("time"))
    minutes = COURSE.rename_axis(["condition", "time (min)"])
    hours = COURSE.rename_axis(["condition", "time (h)"])
    with pytest.raises(DataError, match=r"time of response is in 'h' and .* sigma is in 'min'"):
        pcb.from_tables(U, hours, minutes.abs() + 1)
    with pytest.raises(DataError, match="time_units is 's' and the time of response is in 'min'"):
        pcb.from_tables(U, minutes, time_units="s")
    assert pcb.from_tables(U, minutes, time_units="minutes")["time"].attrs["units"] == "minutes"


# ---- names that a spreadsheet spoiled
@pytest.mark.parametrize(
    ("name", "gene"),
    [
        *[("2-Sep", "SEPT2 .now SEPTIN2"), ("1-Mar", "MARCH1 .now MARCHF1.* or MARC1")],
        *[("Sep-02", "SEPT2"), ("02-Sep", "SEPT2"), ("1-Dec", "DEC1"), ("9. Sep", "SEPT9")],
        *[("2001/03/01", "MARCH1"), ("2021-09-02 00:00:00", "SEPT2"), ("3/1/2001", "MARCH1")],
        *[("01.03.2001", "MARCH1"), ("5. Mrz", "MARCH5"), ("4-Oct", "OCT4")],
        ("2.31E+13", "a number"),
    ],
)
def test_names_that_became_dates(name, gene):
    tables = [table.rename(columns={"ERK": name}) for table in (U, X)]
    nodes = ["MEK", name, "aMEK"]
    message = f"perturbation: the node {re.escape(repr(name))} is .*{gene}"
    with pytest.raises(DataError, match=message):
        pcb.from_tables(*tables)
    with pytest.raises(DataError, match=message):
        pcb.from_tables(U.to_numpy(), X.to_numpy(), conditions=CONDITIONS, nodes=nodes)


@pytest.mark.parametrize(
    "name", ["sep-1", "SEP-1", "SEPT2", "MARCH1", "DEC1", "OCT4", "9E10", "3.4.21", "p38", "1433"]
)
def test_names_that_are_no_dates(name):
    tables = [table.rename(columns={"ERK": name}) for table in (U, X)]
    assert name in pcb.from_tables(*tables)["node"].values


def test_dates_as_labels_name_the_cause():
    u = U.set_axis([*NODES[:2], pd.Timestamp("2021-09-02")], axis=1)
    with pytest.raises(DataError, match="a spreadsheet made into a date"):
        pcb.from_tables(u, u)


# ---- labels everywhere else
IDS = [5604, 5594, 1]


@pytest.fixture(scope="module")
def numbered() -> pcb.Fit:
    """A fit whose nodes and conditions are numbers."""
    u, x = (table.set_axis(IDS, axis=1).set_axis([10, 20, 30]) for table in (U, X))
    data = pcb.from_tables(u, x, node_kind={"protein": IDS[:2], "drug": IDS[2:]})
    mask = pd.DataFrame(1, [5594.0, 5604.0, 1.0], IDS).astype(bool)
    mask.loc[5594.0, 5604] = False
    model = pcb.CellBox(mask=mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PycellboxWarning)
        return pcb.fit(data, model, validation=np.array([30.0]), schedule=[pcb.Stage(2)])


def test_a_mask_and_validation_go_by_label(numbered):
    W = numbered.parameters["W"]
    assert W.sel(target="5594", source="5604") == 0
    assert W.sel(target="5604", source="5594") != 0
    assert numbered.data["role"].values.tolist() == ["train", "train", "validation"]


@pytest.mark.parametrize("kind", [int, float, str])
def test_predictions_go_by_label(numbered, kind):
    u = xr.DataArray(
        U.to_numpy()[:, ::-1],
        dims=("condition", "node"),
        coords={"condition": [10, 20, 30], "node": [kind(label) for label in IDS[::-1]]},
    )
    expected = numbered.predict(numbered.data)
    np.testing.assert_array_equal(numbered.predict(u), expected)
    assert numbered.predict(u)["condition"].values.tolist() == ["10", "20", "30"]


@pytest.mark.parametrize("kind", [int, float, str])
def test_truth_and_pictures_go_by_label(numbered, kind):
    W = numbered.parameters["W"]
    names = [kind(label) for label in IDS[::-1]]
    truth = W.isel(target=[2, 1, 0], source=[2, 1, 0]).assign_coords(target=names, source=names)
    assert pcb.metrics.recovery(W, truth)["pearson"] == pytest.approx(1.0)
    np.testing.assert_array_equal(like(truth, W), W)


def test_splits_go_by_label(numbered):
    data = numbered.data
    split = pcb.splits.Split("by hand", train=(10, 20.0), validation=(), test=("30",))
    assert split.apply(data)[2]["condition"].values.tolist() == ["30"]
    with pytest.raises(DataError, match="uses condition '10' more than once"):
        pcb.splits.Split("twice", train=(10,), validation=(), test=(10.0,))
    with pytest.raises(OptionError, match="test: the condition labels='30'; it needs a list"):
        pcb.splits.Split("text", train=("10",), validation=(), test="30")
    left = pcb.splits.leave_one_drug_out(data, keep_singles=False, drug=1, train_fraction=1)
    assert left.test == ("20", "30")
