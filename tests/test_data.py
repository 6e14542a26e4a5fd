from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pycellbox.data import (
    NODE_KINDS,
    SCHEMA_VERSION,
    condition_labels,
    drugs_of,
    from_tables,
    open_data,
    read_csv,
    save_data,
    validate,
)
from pycellbox.errors import DataError, FileWarning, OptionError, ResultFileError

CONDITIONS = ["c1", "c2", "c3"]
NODES = ["MEK", "AKT", "growth", "aMEK"]
KINDS = ["protein", "protein", "phenotype", "drug"]
KIND_OF = dict(zip(NODES, KINDS, strict=True))
TIMES = [1.0, 4.0]
MEASURED = np.arange(12.0).reshape(3, 4) / 10
DOSES = np.array([[0, 0, 0, -1.5], [0, 0, 0, 0], [0.5, 0, 0, -1.0]])


def frame(values):
    return pd.DataFrame(values, index=CONDITIONS, columns=NODES)


def long_frame(values):
    """A (condition, time, node) array as a frame with a (condition, time) index."""
    index = pd.MultiIndex.from_product([CONDITIONS, TIMES], names=["condition", "time"])
    return pd.DataFrame(np.reshape(values, (6, 4)), index=index, columns=NODES)


@pytest.fixture
def doses():
    return frame(DOSES)


@pytest.fixture
def measured():
    return frame(MEASURED)


@pytest.fixture
def course():
    """Responses of a time course, (condition, time, node)."""
    return np.stack([MEASURED, 2 * MEASURED], axis=1)


@pytest.fixture
def steady(doses, measured):
    return from_tables(doses, measured, frame(np.ones((3, 4))), KIND_OF)


@pytest.fixture
def timed(doses, course):
    return from_tables(doses, long_frame(course), long_frame(course + 1), KIND_OF)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# --- from_tables: what comes out ---------------------------------------------------------------


def test_frames_become_a_labelled_dataset(doses, measured):
    data = from_tables(doses, measured, node_kind=KIND_OF)
    assert data["perturbation"].dims == data["response"].dims == ("condition", "node")
    assert data["condition"].values.tolist() == CONDITIONS
    assert data["node"].values.tolist() == NODES
    assert data["node_kind"].values.tolist() == KINDS
    assert "node_kind" in data.coords
    np.testing.assert_array_equal(data["perturbation"], DOSES)
    np.testing.assert_array_equal(data["response"], MEASURED)


def test_sigma_is_optional(doses, measured, steady):
    assert "sigma" not in from_tables(doses, measured)
    assert steady["sigma"].dims == ("condition", "node")


def test_integers_become_c_ordered_float64():
    values = np.asfortranarray(np.arange(12).reshape(3, 4))
    data = from_tables(values, values, conditions=CONDITIONS, nodes=NODES)
    for name in ("perturbation", "response"):
        assert data[name].dtype == np.float64
        assert data[name].values.flags.c_contiguous


def test_dataset_attributes_have_defaults(steady):
    assert steady.attrs == {
        "schema_version": SCHEMA_VERSION,
        "transform": "log-ratio to unperturbed control",
    }


def test_provenance_is_kept(doses, measured):
    data = from_tables(doses, measured, attrs={"source": "eLife 2015", "transform": "log2"})
    assert data.attrs["source"] == "eLife 2015"
    assert data.attrs["transform"] == "log2"


def test_variables_have_units_and_long_names(timed):
    for name in ("perturbation", "response", "sigma"):
        assert timed[name].attrs["units"] == "1"
        assert timed[name].attrs["long_name"]
    assert timed["time"].attrs["units"] == "h"


def test_tables_are_aligned_by_label(doses, measured):
    shuffled = measured.loc[["c3", "c1", "c2"], ["aMEK", "growth", "MEK", "AKT"]]
    xr.testing.assert_identical(
        from_tables(doses, shuffled, node_kind=KIND_OF),
        from_tables(doses, measured, node_kind=KIND_OF),
    )


def test_order_is_that_of_the_perturbation(doses, measured):
    data = from_tables(doses.loc[["c2", "c3", "c1"], NODES[::-1]], measured)
    assert data["condition"].values.tolist() == ["c2", "c3", "c1"]
    assert data["node"].values.tolist() == NODES[::-1]
    np.testing.assert_array_equal(data["response"][2], MEASURED[0, ::-1])


def test_the_tables_are_not_shared_with_the_dataset(doses, measured):
    data = from_tables(doses, measured)
    data["response"].values[:] = 99
    np.testing.assert_array_equal(measured, MEASURED)


def test_arrays_take_their_labels_from_keywords(doses, measured):
    data = from_tables(DOSES, MEASURED, conditions=CONDITIONS, nodes=NODES)
    xr.testing.assert_identical(data, from_tables(doses, measured))


def test_dataarrays_may_have_any_dim_order(steady):
    response = steady["response"].transpose("node", "condition")
    data = from_tables(steady["perturbation"].T, response, steady["sigma"])
    xr.testing.assert_identical(data, steady)


def test_numeric_labels_become_text():
    data = from_tables(np.ones((2, 1)), np.ones((2, 1)), conditions=[1, 2], nodes=[7])
    assert data["condition"].values.tolist() == ["1", "2"]
    assert data["node"].values.tolist() == ["7"]


def test_text_that_reads_as_a_number_is_one(doses, measured):
    data = from_tables(doses.astype(str), measured.astype(object))
    np.testing.assert_array_equal(data["perturbation"], DOSES)


def test_missing_cells_are_not_measured(doses, measured):
    table = measured.astype(object)
    table.loc["c1", "MEK"] = None
    table.loc["c2", "AKT"] = pd.NA
    data = from_tables(doses, table)
    assert np.argwhere(np.isnan(data["response"].values)).tolist() == [[0, 0], [1, 1]]


def test_nullable_pandas_columns(doses, measured):
    table = measured.astype("Float64")
    table.loc["c1", "MEK"] = pd.NA
    data = from_tables(doses, table)
    assert np.isnan(data["response"].values[0, 0])
    assert data["response"].dtype == np.float64


# --- from_tables: time courses ------------------------------------------------------------------


def test_time_course_from_a_long_frame(timed, course):
    assert timed["response"].dims == ("condition", "time", "node")
    assert timed["time"].values.tolist() == TIMES
    np.testing.assert_array_equal(timed["response"], course)
    np.testing.assert_array_equal(timed["sigma"], course + 1)


def test_time_course_from_an_array(timed, course):
    data = from_tables(DOSES, course, course + 1, KINDS, TIMES, conditions=CONDITIONS, nodes=NODES)
    xr.testing.assert_identical(data, timed)


def test_time_course_from_a_dataarray(timed):
    response = timed["response"].transpose("node", "time", "condition")
    xr.testing.assert_identical(from_tables(timed["perturbation"], response, timed["sigma"]), timed)


def test_a_frame_and_an_array_can_be_mixed(doses, timed, course):
    data = from_tables(
        doses, course, long_frame(course + 1), KIND_OF, TIMES, conditions=CONDITIONS, nodes=NODES
    )
    xr.testing.assert_identical(data, timed)


def test_long_frame_rows_may_come_in_any_order(doses, timed, course):
    shuffled = long_frame(course).iloc[[3, 0, 5, 2, 1, 4]]
    data = from_tables(doses, shuffled, node_kind=KIND_OF)
    xr.testing.assert_identical(data["response"], timed["response"])


def test_long_frame_levels_go_by_name(doses, timed, course):
    swapped = long_frame(course).swaplevel()
    data = from_tables(doses, swapped, node_kind=KIND_OF)
    xr.testing.assert_identical(data["response"], timed["response"])


def test_a_time_left_out_is_not_measured(doses, course):
    data = from_tables(doses, long_frame(course).drop(("c2", 4.0)))
    assert np.isnan(data["response"].sel(condition="c2", time=4.0)).all()
    assert data["response"].sel(condition="c2", time=1.0).notnull().all()


def test_time_units(doses, course):
    data = from_tables(doses, long_frame(course), time_units="min")
    assert data["time"].attrs["units"] == "min"


# --- from_tables: what is refused -----------------------------------------------------------------


def test_node_in_one_table_only(doses, measured):
    with pytest.raises(DataError, match="1 node label in perturbation and not in response: 'AKT'"):
        from_tables(doses, measured.drop(columns="AKT"))


def test_misspelt_node_is_named_on_both_sides(doses, measured):
    with pytest.raises(DataError, match=r"not in response: 'MEK'; .* not in perturbation: 'Mek'"):
        from_tables(doses, measured.rename(columns={"MEK": "Mek"}))


def test_condition_in_one_table_only(doses, measured):
    with pytest.raises(DataError, match=r"condition label in response and not in .*: 'c2'"):
        from_tables(doses.drop(index="c2"), measured)


def test_sigma_must_have_the_same_nodes(doses, measured):
    with pytest.raises(DataError, match="in perturbation and not in sigma: 'AKT'"):
        from_tables(doses, measured, measured.drop(columns="AKT"))


def test_many_differing_labels_are_counted():
    nodes = [f"n{i}" for i in range(20)]
    table = pd.DataFrame(np.ones((1, 20)), columns=nodes)
    with pytest.raises(DataError, match=r"18 node labels .*'n2', .*'n6' and 13 more"):
        from_tables(table, table[["n0", "n1"]])


@pytest.mark.parametrize("table", ["perturbation", "response"])
def test_duplicated_nodes(doses, measured, table):
    tables = {"perturbation": doses, "response": measured}
    tables[table] = tables[table].rename(columns={"AKT": "MEK"})
    with pytest.raises(DataError, match=f"{table}: 1 node label duplicated: 'MEK'"):
        from_tables(**tables)


def test_duplicated_conditions(doses, measured):
    with pytest.raises(DataError, match=r"1 condition label duplicated: 'c1'.*replicates"):
        from_tables(doses.rename(index={"c2": "c1"}), measured)


@pytest.mark.parametrize("label", [None, np.nan, pd.NaT, "", "  "])
def test_missing_label(doses, measured, label):
    measured.columns = pd.Index(["MEK", label, "growth", "aMEK"], dtype=object)
    with pytest.raises(DataError, match="response: the node label at position 2 is missing"):
        from_tables(doses, measured)


def test_label_that_is_neither_text_nor_number(doses, measured):
    doses.columns = pd.MultiIndex.from_tuples([(node, "x") for node in NODES])
    with pytest.raises(DataError, match=r"label \('MEK', 'x'\) at position 1 is a tuple"):
        from_tables(doses, measured)


def test_non_numeric_cell_is_named(doses, measured):
    table = measured.astype(object)
    table.loc["c2", "growth"] = "high"
    with pytest.raises(DataError, match="response at condition 'c2', node 'growth' is 'high'"):
        from_tables(doses, table)


def test_non_numeric_cell_among_numbers_written_as_text(doses, measured):
    table = measured.astype(str)
    table.loc["c3", "AKT"] = "0,5"
    with pytest.raises(DataError, match="condition 'c3', node 'AKT' is '0,5'"):
        from_tables(doses, table)


def test_non_numeric_cell_of_an_array():
    cells = MEASURED.astype(object)
    cells[1, 0] = "x"
    with pytest.raises(DataError, match="condition 'c2', node 'MEK' is 'x'"):
        from_tables(DOSES, cells, conditions=CONDITIONS, nodes=NODES)


def test_non_numeric_cell_of_a_long_frame(doses, course):
    table = long_frame(course).astype(object)
    table.loc[("c2", 4.0), "AKT"] = "x"
    with pytest.raises(DataError, match="condition 'c2', node 'AKT' is 'x'"):
        from_tables(doses, table)


@pytest.mark.parametrize("value", [1j, pd.Timestamp("2020-01-01"), np.timedelta64(1, "h")])
def test_cells_that_are_no_real_numbers(doses, measured, value):
    table = measured.astype(object)
    table.loc["c1", "MEK"] = value
    with pytest.raises(DataError, match=r"condition 'c1', node 'MEK' is .* not a real number"):
        from_tables(doses, table)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_empty_table(shape):
    empty = np.empty(shape)
    with pytest.raises(DataError, match=r"perturbation is empty: it has 0 (conditions|nodes)"):
        from_tables(empty, empty, conditions=CONDITIONS, nodes=NODES)


def test_empty_frame(measured):
    with pytest.raises(DataError, match="perturbation is empty"):
        from_tables(pd.DataFrame(), measured)


def test_array_without_labels(measured):
    with pytest.raises(DataError, match=r"perturbation is a plain array .* conditions=\[...\]"):
        from_tables(DOSES, measured)


def test_array_that_does_not_match_its_labels():
    with pytest.raises(DataError, match=r"shape \(3, 4\), that is 4 along node, and 3 labels"):
        from_tables(DOSES, MEASURED, conditions=CONDITIONS, nodes=NODES[:3])


def test_array_with_wrong_number_of_dimensions():
    with pytest.raises(DataError, match="response has 1 dimension; it needs 2"):
        from_tables(DOSES, MEASURED[0], conditions=CONDITIONS, nodes=NODES)


def test_labels_that_no_table_would_use(doses, measured):
    with pytest.raises(DataError, match="conditions was given, and every table has labels"):
        from_tables(doses, measured, conditions=CONDITIONS)


def test_table_of_another_type(measured):
    with pytest.raises(OptionError, match=r"perturbation is a str; .*read_csv"):
        from_tables("pert.csv", measured, conditions=CONDITIONS, nodes=NODES)


def test_dataarray_with_wrong_dims(doses, steady):
    with pytest.raises(DataError, match=r"response has the dims \(condition, gene\)"):
        from_tables(doses, steady["response"].rename(node="gene"))


def test_dataarray_without_labels(doses, steady):
    with pytest.raises(DataError, match=r"response has no labels for its dim condition"):
        from_tables(doses, steady["response"].drop_vars("condition"))


def test_time_without_a_time_course(doses, measured):
    with pytest.raises(DataError, match="time was given, and no table is a plain"):
        from_tables(doses, measured, time=TIMES)


def test_time_course_without_time(course):
    with pytest.raises(DataError, match=r"response is a time course; .* time=\[...\]"):
        from_tables(DOSES, course, conditions=CONDITIONS, nodes=NODES)


def test_time_that_does_not_match_the_array(course):
    with pytest.raises(DataError, match="2 along time, and 3 labels"):
        from_tables(DOSES, course, time=[1, 2, 3], conditions=CONDITIONS, nodes=NODES)


def test_time_point_that_is_no_number(course):
    with pytest.raises(DataError, match="time point 2 is 'late'"):
        from_tables(DOSES, course, time=[1, "late"], conditions=CONDITIONS, nodes=NODES)


def test_time_of_a_long_frame_that_is_no_number(doses, course):
    table = long_frame(course).rename(index={4.0: "late"}, level="time")
    with pytest.raises(DataError, match="the time of response at condition 'c1' is 'late'"):
        from_tables(doses, table)


def test_missing_time_of_a_long_frame(doses, course):
    table = long_frame(course).rename(index={4.0: np.nan}, level="time")
    with pytest.raises(DataError, match="the time of condition 'c1' is missing"):
        from_tables(doses, table)


def test_repeated_row_of_a_long_frame(doses, course):
    table = long_frame(course)
    with pytest.raises(DataError, match="condition 'c1' at time 4 more than once"):
        from_tables(doses, pd.concat([table, table.iloc[[1]]]))


def test_index_with_too_many_levels(doses, course):
    table = long_frame(course).set_index(np.arange(6), append=True)
    with pytest.raises(DataError, match="index of 3 levels"):
        from_tables(doses, table)


def test_perturbation_that_changes_in_time(course, measured):
    with pytest.raises(
        DataError, match=r"perturbation has a time dimension.*column called 'start'"
    ):
        from_tables(long_frame(course), measured)


def test_sigma_without_the_time_of_the_response(doses, measured, course):
    with pytest.raises(DataError, match=r"sigma has the dims \(condition, node\)"):
        from_tables(doses, long_frame(course), measured)


def test_sigma_at_other_times(doses, course):
    sigma = long_frame(course + 1).rename(index={4.0: 5.0}, level="time")
    with pytest.raises(DataError, match=r"in response and not in sigma: '4.0'"):
        from_tables(doses, long_frame(course), sigma)


# --- node kinds -------------------------------------------------------------------------------


def test_nodes_are_proteins_by_default(doses, measured):
    assert set(from_tables(doses, measured)["node_kind"].values) == {"protein"}


@pytest.mark.parametrize(
    "node_kind",
    [
        KINDS,
        np.array(KINDS),
        pd.Series(KIND_OF).iloc[::-1],
        xr.DataArray(KINDS, dims="node", coords={"node": NODES}),
        {**KIND_OF, "not in the tables": "drug"},
        {"protein": 2, "phenotype": 1, "drug": 1},
        {"protein": range(2), "phenotype": ["growth"], "drug": [3]},
    ],
    ids=["list", "array", "Series", "DataArray", "mapping", "counts", "members"],
)
def test_ways_to_give_node_kinds(doses, measured, node_kind):
    data = from_tables(doses, measured, node_kind=node_kind)
    assert data["node_kind"].values.tolist() == KINDS


def test_unknown_node_kind(doses, measured):
    with pytest.raises(
        DataError, match=r"node 'AKT' has the unknown node_kind 'gene'; .*protein, phenotype, drug"
    ):
        from_tables(doses, measured, node_kind={**KIND_OF, "AKT": "gene"})


def test_node_without_a_kind(doses, measured):
    with pytest.raises(DataError, match="no kind for 1 node: 'AKT'"):
        from_tables(doses, measured, node_kind={k: v for k, v in KIND_OF.items() if k != "AKT"})


def test_kinds_that_are_too_few(doses, measured):
    with pytest.raises(DataError, match="node_kind has 3 entries for 4 nodes"):
        from_tables(doses, measured, node_kind=KINDS[:3])


def test_counts_that_do_not_add_up(doses, measured):
    with pytest.raises(DataError, match=r"\(protein: 2, drug: 1\) add up to 3 .* 4 nodes"):
        from_tables(doses, measured, node_kind={"protein": 2, "drug": 1})


def test_node_of_two_kinds(doses, measured):
    with pytest.raises(DataError, match="names node 'AKT' twice"):
        from_tables(doses, measured, node_kind={"protein": ["MEK", "AKT"], "drug": [1, 2, 3]})


@pytest.mark.parametrize("member", ["ERK", 4, -1])
def test_kind_of_a_node_that_is_not_there(doses, measured, member):
    with pytest.raises(DataError, match="there is no such node"):
        from_tables(doses, measured, node_kind={"protein": range(4), "drug": [member]})


def test_node_kind_as_text(doses, measured):
    with pytest.raises(DataError, match="node_kind is the text 'protein'"):
        from_tables(doses, measured, node_kind="protein")


# --- validate: the canonical form ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["steady", "timed"])
def test_validate_keeps_a_valid_dataset(request, name):
    data = request.getfixturevalue(name)
    xr.testing.assert_identical(validate(data), data)


def test_validate_restores_the_canonical_order(timed):
    mixed = timed.transpose("node", "time", "condition").reset_coords("node_kind")
    result = validate(mixed)
    xr.testing.assert_identical(result, timed)
    assert all(array.values.flags.c_contiguous for array in result.data_vars.values())


def test_validate_returns_a_copy(steady):
    result = validate(steady)
    result["response"].values[:] = 99
    np.testing.assert_array_equal(steady["response"], MEASURED)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("float32", "float32"), ("float64", "float64"), ("int64", "float64"), (">f8", "float64")],
)
def test_validate_dtype(steady, given, kept):
    result = validate(steady.assign(response=steady["response"].astype(given)))
    assert result["response"].dtype == np.dtype(kept)


def test_labels_are_text(steady):
    result = validate(steady.assign_coords(condition=[1, 2, 3], node=np.array(NODES, dtype=object)))
    assert result["condition"].dtype.kind == result["node"].dtype.kind == "U"


def test_validate_keeps_further_variables(steady):
    more = steady.assign_coords(cell_line=("condition", ["a", "b", "b"]))
    more = more.assign(replicates=("condition", [3, 3, 2]))
    xr.testing.assert_identical(validate(more), more)


def test_validate_keeps_own_attributes(steady):
    steady["response"].attrs["long_name"] = "log2 ratio"
    assert validate(steady)["response"].attrs == {"long_name": "log2 ratio", "units": "1"}


def test_schema_version_and_transform_are_filled_in(steady):
    attrs = dict(steady.attrs)
    steady.attrs = {}
    assert validate(steady).attrs == attrs


def test_one_time_point_taken_from_a_course(timed):
    result = validate(timed.isel(time=-1))
    assert result["response"].dims == ("condition", "node")


def test_unmeasured_drug_is_allowed(steady):
    steady["response"].loc[{"node": "aMEK"}] = np.nan
    assert np.isnan(validate(steady)["response"].sel(node="aMEK")).all()


def test_sigma_may_be_anything_where_nothing_was_measured(steady):
    where = {"condition": "c1", "node": "MEK"}
    steady["response"].loc[where] = np.nan
    for value in (np.nan, 0.0, -1.0):
        steady["sigma"].loc[where] = value
        validate(steady)


# --- validate: what is refused --------------------------------------------------------------------


def test_not_a_dataset(doses):
    with pytest.raises(OptionError, match=r"it needs an xarray.Dataset, such as pcb.from_tables"):
        validate(doses)


@pytest.mark.parametrize("name", ["perturbation", "response", "node_kind"])
def test_missing_variable(steady, name):
    with pytest.raises(DataError, match=f"no variable '{name}'"):
        validate(steady.drop_vars(name))


@pytest.mark.parametrize("name", ["perturbation", "response", "sigma", "node_kind"])
def test_wrong_dims(steady, name):
    wrong = steady.drop_vars(name).assign({name: ("gene", ["a", "b"])})
    with pytest.raises(DataError, match=rf"{name} has the dims \(gene\); it needs \(.*node\)"):
        validate(wrong)


def test_perturbation_with_time(timed):
    wrong = timed.assign(perturbation=timed["response"])
    with pytest.raises(DataError, match=r"perturbation has the dims \(condition, time, node\)"):
        validate(wrong)


def test_sigma_without_time(timed):
    wrong = timed.assign(sigma=timed["sigma"].isel(time=0, drop=True))
    with pytest.raises(DataError, match=r"sigma .* it needs \(condition, time, node\)"):
        validate(wrong)


def test_time_that_the_response_does_not_have(steady):
    with pytest.raises(DataError, match="a dimension time and the response does not"):
        validate(steady.assign_coords(time=[1, 2]))


@pytest.mark.parametrize("name", ["condition", "node", "time"])
def test_dimension_without_labels(timed, name):
    with pytest.raises(DataError, match=f"the dimension {name} has no labels"):
        validate(timed.drop_vars(name))


@pytest.mark.parametrize("name", ["condition", "node", "time"])
def test_empty_dimension(timed, name):
    with pytest.raises(DataError, match="the dataset is empty: it has 0"):
        validate(timed.isel({name: slice(0)}))


def test_duplicated_labels_in_a_dataset(steady):
    with pytest.raises(DataError, match="1 node label duplicated: 'MEK'"):
        validate(steady.isel(node=[0, 0, 1]))


def test_missing_label_in_a_dataset(steady):
    with pytest.raises(DataError, match="condition label at position 3 is missing"):
        validate(steady.assign_coords(condition=["a", "b", ""]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_perturbation_must_be_finite(steady, value):
    steady["perturbation"].loc[{"condition": "c3", "node": "AKT"}] = value
    with pytest.raises(DataError, match="perturbation at condition 'c3', node 'AKT' is NaN or inf"):
        validate(steady)


def test_more_bad_cells_are_counted(steady):
    steady["perturbation"].loc[{"condition": "c3"}] = np.nan
    with pytest.raises(DataError, match=r"condition 'c3', node 'MEK' \(and 3 more cells\)"):
        validate(steady)


def test_infinite_response(timed):
    timed["response"].loc[{"condition": "c2", "time": 4.0, "node": "AKT"}] = -np.inf
    with pytest.raises(
        DataError, match=r"response at condition 'c2', time 4.0, node 'AKT' is infinite"
    ):
        validate(timed)


@pytest.mark.parametrize("name", ["steady", "timed"])
def test_unmeasured_node(request, name):
    data = request.getfixturevalue(name)
    data["response"].loc[{"node": ["AKT", "growth"]}] = np.nan
    with pytest.raises(DataError, match="2 nodes is NaN in every condition: 'AKT', 'growth'"):
        validate(data)


@pytest.mark.parametrize("name", ["steady", "timed"])
def test_unmeasured_condition(request, name):
    data = request.getfixturevalue(name)
    data["response"].loc[{"condition": "c2"}] = np.nan
    with pytest.raises(DataError, match="1 condition without a single measured response: 'c2'"):
        validate(data)


@pytest.mark.parametrize("value", [-0.1, 0.0, np.nan, np.inf])
def test_sigma_must_be_positive(steady, value):
    steady["sigma"].loc[{"condition": "c1", "node": "AKT"}] = value
    with pytest.raises(DataError, match=f"sigma at condition 'c1', node 'AKT' is {value:g}"):
        validate(steady)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([4.0, 1.0], "not strictly increasing: 1 follows 4 at position 2"),
        ([1.0, 1.0], "not strictly increasing: 1 follows 1"),
        ([-1.0, 1.0], r"first time point is negative \(-1\)"),
        ([1.0, np.nan], "time point 2 is nan"),
        ([1.0, np.inf], "time point 2 is inf"),
        (["a", "b"], "time has dtype <U1, which is not numeric"),
        (np.array([1, 2], dtype="timedelta64[ns]"), r"time has dtype timedelta64\[ns\]"),
    ],
)
def test_bad_time(timed, times, message):
    wrong = timed.assign_coords(time=("time", times, {"units": "h"}))
    with pytest.raises(DataError, match=message):
        validate(wrong)


def test_time_without_units(timed):
    with pytest.raises(DataError, match="time has no attribute units"):
        validate(timed.assign_coords(time=TIMES))


def test_non_numeric_cell_of_a_dataset(steady):
    wrong = steady["response"].astype(object)
    wrong.loc[{"condition": "c1", "node": "AKT"}] = "low"
    with pytest.raises(DataError, match="response at condition 'c1', node 'AKT' is 'low'"):
        validate(steady.assign(response=wrong))


def test_object_dtype(steady):
    with pytest.raises(DataError, match=r"response has dtype object; .*astype\(float\)"):
        validate(steady.assign(response=steady["response"].astype(object)))


def test_complex_dtype(steady):
    with pytest.raises(DataError, match=r"node 'MEK' is .* not a real number"):
        validate(steady.assign(response=steady["response"].astype(complex)))


def test_newer_schema(steady):
    steady.attrs["schema_version"] = SCHEMA_VERSION + 1
    said = rf"schema_version {SCHEMA_VERSION + 1} .* pip install --upgrade pycellbox"
    with pytest.raises(DataError, match=said):
        validate(steady)


@pytest.mark.parametrize("version", ["1", 1.5, 0, True])
def test_senseless_schema_version(steady, version):
    steady.attrs["schema_version"] = version
    with pytest.raises(DataError, match="needs a positive integer"):
        validate(steady)


@pytest.mark.parametrize("value", [None, 1j, [1, 2], {"a": 1}])
def test_attribute_that_no_file_gives_back(doses, measured, value):
    with pytest.raises(DataError, match="attribute 'source' of the dataset is a"):
        from_tables(doses, measured, attrs={"source": value})


# --- what was perturbed -------------------------------------------------------------------------


def test_condition_labels():
    labels = condition_labels(DOSES, NODES)
    assert labels == ["aMEK=-1.5", "control", "MEK=0.5+aMEK=-1"]


def test_condition_labels_are_unique():
    assert condition_labels([[0], [1], [0], [1], [1]], ["A"]) == [
        "control",
        "A=1",
        "control#2",
        "A=1#2",
        "A=1#3",
    ]


def test_condition_labels_need_a_matrix():
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        condition_labels([1, 2, 3], ["A"])


def test_drugs_of(steady):
    assert drugs_of(steady) == [("aMEK",), (), ("MEK", "aMEK")]


def test_drugs_of_needs_a_perturbation(steady):
    with pytest.raises(DataError, match="no variable 'perturbation'"):
        drugs_of(steady.drop_vars("perturbation"))


# --- CSV files ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, doses, measured):
    """Paths of a labelled perturbation and response table."""
    paths = tmp_path / "pert.csv", tmp_path / "expr.csv"
    for table, path in zip((doses, measured), paths, strict=True):
        table.to_csv(path)
    return paths


def test_labelled_csv(files, doses, measured):
    xr.testing.assert_identical(
        read_csv(*files, node_kind=KIND_OF), from_tables(doses, measured, node_kind=KIND_OF)
    )


def test_csv_numbers_are_read_exactly(tmp_path, doses):
    values = frame(np.random.default_rng(0).normal(size=(3, 4)))
    doses.to_csv(tmp_path / "u.csv")
    values.to_csv(tmp_path / "x.csv")
    data = read_csv(tmp_path / "u.csv", tmp_path / "x.csv")
    np.testing.assert_array_equal(data["response"], values)


def test_tsv(tmp_path, files, doses, measured):
    doses.to_csv(tmp_path / "pert.tsv", sep="\t")
    measured.to_csv(tmp_path / "expr.tsv", sep="\t")
    xr.testing.assert_identical(
        read_csv(tmp_path / "pert.tsv", tmp_path / "expr.tsv"), read_csv(*files)
    )


def test_spreadsheet_csv_with_mark_crlf_and_blanks(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeff,A , B\r\n c1, 1,2\r\n\r\n".encode())
    data = read_csv(path, path)
    assert data["node"].values.tolist() == ["A", "B"]
    assert data["condition"].values.tolist() == ["c1"]


@pytest.mark.parametrize("text", ["", "NA", "NaN", "nan"])
def test_empty_cells_are_not_measured(tmp_path, text):
    u = write(tmp_path, "u.csv", ",A,B\nc1,1,0\n")
    x = write(tmp_path, "x.csv", f",A,B\nc1,{text},2\n")
    data = read_csv(u, x, node_kind=["drug", "protein"])
    np.testing.assert_array_equal(data["response"], [[np.nan, 2]])


def test_csv_with_sigma(tmp_path, files, steady):
    frame(np.ones((3, 4))).to_csv(tmp_path / "sigma.csv")
    data = read_csv(*files, sigma=tmp_path / "sigma.csv", node_kind=KIND_OF)
    xr.testing.assert_identical(data, steady)


def test_time_course_csv(tmp_path, files, timed, course):
    long_frame(course).to_csv(tmp_path / "x.csv")
    long_frame(course + 1).to_csv(tmp_path / "sigma.csv")
    data = read_csv(files[0], tmp_path / "x.csv", sigma=tmp_path / "sigma.csv", node_kind=KIND_OF)
    xr.testing.assert_identical(data, timed)


def test_bare_matrices(tmp_path, doses, measured):
    doses.to_csv(tmp_path / "u.csv", header=False, index=False)
    measured.to_csv(tmp_path / "x.csv", header=False, index=False)
    data = read_csv(tmp_path / "u.csv", tmp_path / "x.csv", nodes=NODES, conditions=CONDITIONS)
    xr.testing.assert_identical(data, from_tables(doses, measured))


def test_bare_matrices_with_names_in_files(tmp_path):
    u = write(tmp_path, "u.csv", "0,1\n1,0\n")
    nodes = write(tmp_path, "nodes.csv", "A\nB\n")
    conditions = write(tmp_path, "conditions.csv", "x\ny\n")
    data = read_csv(u, u, nodes=nodes, conditions=conditions)
    assert data["node"].values.tolist() == ["A", "B"]
    assert data["condition"].values.tolist() == ["x", "y"]


def test_bare_conditions_are_named_after_their_perturbation(tmp_path):
    u = write(tmp_path, "u.csv", "0,1\n0,0\n0,1\n")
    data = read_csv(u, u, nodes=["A", "B"])
    assert data["condition"].values.tolist() == ["B=1", "control", "B=1#2"]


def test_bare_time_course(tmp_path, timed, course):
    np.savetxt(tmp_path / "u.csv", DOSES, delimiter=",")
    np.savetxt(tmp_path / "x.csv", course.reshape(6, 4), delimiter=",")
    np.savetxt(tmp_path / "sigma.csv", course.reshape(6, 4) + 1, delimiter=",")
    data = read_csv(
        tmp_path / "u.csv",
        tmp_path / "x.csv",
        sigma=tmp_path / "sigma.csv",
        nodes=NODES,
        node_kind=KINDS,
        conditions=CONDITIONS,
        time=TIMES,
    )
    xr.testing.assert_identical(data, timed)


def test_bare_time_course_with_wrong_number_of_rows(tmp_path):
    u = write(tmp_path, "u.csv", "0,1\n1,0\n")
    with pytest.raises(DataError, match=r"2 rows; 2 conditions at 3 time points need 6"):
        read_csv(u, u, nodes=["A", "B"], time=[1, 2, 3])


@pytest.mark.parametrize("header", ["", "node,kind\n"])
def test_node_kinds_from_a_file(tmp_path, files, header):
    rows = "".join(f"{node},{kind}\n" for node, kind in KIND_OF.items())
    data = read_csv(*files, node_kind=write(tmp_path, "kinds.csv", header + rows))
    assert data["node_kind"].values.tolist() == KINDS


def test_node_kind_file_with_one_column(tmp_path, files):
    with pytest.raises(DataError, match=r"kinds.csv, line 1 has 1 cell; .* two columns"):
        read_csv(*files, node_kind=write(tmp_path, "kinds.csv", "protein\n"))


def test_missing_file(tmp_path, files):
    with pytest.raises(DataError, match=r"there is no file '.*nowhere.csv'"):
        read_csv(tmp_path / "nowhere.csv", files[1])


def test_non_numeric_cell_in_labelled_csv(tmp_path, files):
    x = write(
        tmp_path, "x.csv", "id,MEK,AKT,growth,aMEK\nc1,1,2,3,4\n\nc2,1,high,3,4\nc3,1,2,3,4\n"
    )
    with pytest.raises(
        DataError, match=r"x.csv, line 4, column 3 \(row 'c2', column 'AKT'\): the cell is 'high'"
    ):
        read_csv(files[0], x)


def test_non_numeric_time_in_csv(tmp_path, files):
    x = write(tmp_path, "x.csv", "condition,time,MEK\nc1,1,2\nc1,late,3\n")
    with pytest.raises(DataError, match=r"line 3, column 2 \(row 'c1', column 'time'\).*'late'"):
        read_csv(files[0], x)


def test_non_numeric_cell_in_bare_csv(tmp_path):
    u = write(tmp_path, "u.csv", "A,B\n0,1\n")
    with pytest.raises(
        DataError, match=r"u.csv, line 1, column 1 \(a table read with nodes= has no header\)"
    ):
        read_csv(u, u, nodes=["A", "B"])


def test_bare_csv_read_without_nodes(tmp_path):
    u = write(tmp_path, "u.csv", "0,1\n1,0\n")
    with pytest.raises(DataError, match=r"line 1 has only numbers .* nodes="):
        read_csv(u, u)


def test_conditions_without_nodes(files):
    with pytest.raises(DataError, match="conditions was given without nodes"):
        read_csv(*files, conditions=CONDITIONS)


def test_names_that_do_not_match_the_columns(tmp_path):
    u = write(tmp_path, "u.csv", "0,1\n1,0\n")
    with pytest.raises(DataError, match="2 columns and nodes has 1 name;"):
        read_csv(u, u, nodes=["A"])


def test_name_file_with_two_columns(tmp_path):
    u = write(tmp_path, "u.csv", "0,1\n1,0\n")
    with pytest.raises(DataError, match="has 2 cells; a file of node names has one on each line"):
        read_csv(u, u, nodes=u)


def test_ragged_rows(tmp_path, files):
    x = write(tmp_path, "x.csv", "id,MEK\nc1,1\n\nc2,1,2\n")
    with pytest.raises(DataError, match=r"x.csv, line 4 has 3 cells and line 1 has 2"):
        read_csv(files[0], x)


def test_empty_csv(tmp_path, files):
    with pytest.raises(DataError, match=r"x.csv is empty"):
        read_csv(files[0], write(tmp_path, "x.csv", "\n"))


def test_csv_with_a_header_alone(tmp_path, files):
    with pytest.raises(DataError, match=r"x.csv is empty: it has no rows below its header"):
        read_csv(files[0], write(tmp_path, "x.csv", "id,MEK\n"))


def test_time_course_csv_without_nodes(tmp_path, files):
    with pytest.raises(DataError, match=r"x.csv is empty: it has 0 nodes"):
        read_csv(files[0], write(tmp_path, "x.csv", "condition,time\nc1,1\n"))


def test_csv_with_another_separator(tmp_path, files):
    with pytest.raises(DataError, match=r"line 1 has a single cell; .* commas, semicolons"):
        read_csv(files[0], write(tmp_path, "x.csv", "id/MEK\nc1/1\n"))


def test_csv_with_an_open_quote(tmp_path, files):
    with pytest.raises(DataError, match=r"x.csv, line 2: this is no table"):
        read_csv(files[0], write(tmp_path, "x.csv", 'id,MEK\n"c1,1\n'))


@pytest.mark.parametrize("content", [b"id,A\nb\xf6,1\n", b"a,b\n1,\x00\n"])
def test_csv_that_is_no_text(tmp_path, files, content):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x.csv, line 2: this is no text"):
        read_csv(files[0], path)


def test_melanoma(melanoma_dir):
    data = read_csv(
        melanoma_dir / "pert.csv",
        melanoma_dir / "expr.csv",
        nodes=melanoma_dir / "node_Index.csv",
        node_kind={"protein": 82, "phenotype": 5, "drug": 12},
    )
    assert dict(data.sizes) == {"condition": 89, "node": 99}
    kinds, counts = np.unique(data["node_kind"], return_counts=True)
    assert dict(zip(kinds, counts, strict=True)) == {"protein": 82, "phenotype": 5, "drug": 12}
    assert set(kinds) == {*NODE_KINDS} - {"hidden"}
    # 23 single drugs and 66 pairs, and nothing but drugs was applied
    drugs = drugs_of(data)
    assert sorted(map(len, drugs)) == [1] * 23 + [2] * 66
    assert {d for pair in drugs for d in pair} == set(data["node"].values[-12:])
    assert data["condition"].values[:2].tolist() == ["aMEK=-0.863", "aMEK=-0.863+aHDAC=-0.551"]
    assert data["response"].values[0, 0] == -0.435


# --- NetCDF files -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["steady", "timed"])
def test_netcdf_round_trip(request, tmp_path, name):
    data = request.getfixturevalue(name)
    data["response"].loc[{"condition": "c1", "node": "MEK"}] = np.nan
    save_data(data, tmp_path / "data.nc")
    back = open_data(tmp_path / "data.nc")
    xr.testing.assert_identical(back, data)
    for variable in data.variables:
        assert back[variable].dtype == data[variable].dtype


def test_netcdf_keeps_every_bit(tmp_path, steady):
    rng = np.random.default_rng(0)
    steady["response"].values[:] = rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-300, 300, (3, 4))
    save_data(steady, tmp_path / "data.nc")
    assert open_data(tmp_path / "data.nc")["response"].values.tobytes() == (
        steady["response"].values.tobytes()
    )


def test_netcdf_keeps_float32(tmp_path, steady):
    data = validate(steady.astype("float32"))
    save_data(data, tmp_path / "data.nc")
    assert open_data(tmp_path / "data.nc")["response"].dtype == np.float32


def test_netcdf_keeps_labels_and_attributes(tmp_path, doses, measured):
    data = from_tables(
        doses.rename(columns={"MEK": "α/β-catenin µ"}),
        measured.rename(columns={"MEK": "α/β-catenin µ"}),
        attrs={"source": "Zürich", "empty": "", "plate": 3, "dose": 0.1},
    )
    save_data(data, tmp_path / "data.nc")
    back = open_data(tmp_path / "data.nc")
    xr.testing.assert_identical(back, data)
    assert {k: type(v) for k, v in back.attrs.items()} == {
        k: type(v) for k, v in data.attrs.items()
    }


def test_netcdf_does_not_decode_times(tmp_path, doses, course):
    data = from_tables(doses, long_frame(course), time_units="hours")
    save_data(data, tmp_path / "data.nc")
    xr.testing.assert_identical(open_data(tmp_path / "data.nc"), data)


def test_netcdf_keeps_further_variables(tmp_path, steady):
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-02"], dtype="datetime64[ns]")
    more = steady.assign_coords(cell_line=("condition", ["a", "b", "b"]), day=("condition", dates))
    save_data(more, tmp_path / "data.nc")
    xr.testing.assert_identical(open_data(tmp_path / "data.nc"), validate(more))


def test_save_data_checks_first(tmp_path, steady):
    with pytest.raises(DataError, match="no variable 'response'"):
        save_data(steady.drop_vars("response"), tmp_path / "data.nc")
    assert os.listdir(tmp_path) == []


def test_save_data_replaces_and_leaves_nothing_beside(tmp_path, steady):
    path = write(tmp_path, "data.nc", "old")
    assert save_data(steady, str(path)) == path
    assert os.listdir(tmp_path) == ["data.nc"]
    xr.testing.assert_identical(open_data(path), steady)


def test_save_into_a_missing_folder(tmp_path, steady):
    with pytest.raises(ResultFileError, match="there is no folder"):
        save_data(steady, tmp_path / "nowhere" / "data.nc")


def test_save_onto_a_folder(tmp_path, steady):
    with pytest.raises(ResultFileError, match="it is a folder"):
        save_data(steady, tmp_path)


def test_open_missing_file(tmp_path):
    with pytest.raises(ResultFileError, match=r"there is no file '.*nowhere.nc'"):
        open_data(tmp_path / "nowhere.nc")


def test_open_another_kind_of_file(tmp_path):
    with pytest.raises(ResultFileError, match="damaged, incomplete or of another format"):
        open_data(write(tmp_path, "data.nc", "a,b\n1,2\n"))


def test_open_truncated_file(tmp_path, steady):
    path = save_data(steady, tmp_path / "data.nc")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ResultFileError, match="damaged"):
        open_data(path)


def test_open_file_with_damaged_numbers(tmp_path, steady):
    path = save_data(steady, tmp_path / "data.nc")
    raw, numbers = path.read_bytes(), steady["response"].values.tobytes()
    assert raw.count(numbers) == 1
    path.write_bytes(raw.replace(numbers, numbers[:-1] + b"\x00"))
    with pytest.raises(ResultFileError, match="damaged"):
        open_data(path)


def test_open_netcdf_of_something_else(tmp_path):
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with (
        pytest.warns(FileWarning),
        pytest.raises(ResultFileError, match=r"holds no pycellbox dataset; .*pcb.load"),
    ):
        open_data(tmp_path / "a.nc")


def test_open_dataset_that_breaks_the_schema(tmp_path, steady):
    steady.attrs["schema_version"] = 99
    steady.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    with (
        pytest.warns(FileWarning),
        pytest.raises(DataError, match=r"data.nc': .*schema_version 99.*upgrade"),
    ):
        open_data(tmp_path / "data.nc")


# --- the module ---------------------------------------------------------------------------------


def test_import_loads_no_file_library():
    code = (
        "import sys, pycellbox.data; print([m for m in ('h5netcdf', 'h5py') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
