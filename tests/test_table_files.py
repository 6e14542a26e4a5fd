"""Text files of tables as pandas, R and spreadsheets write them."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli.tables import wide, write_table
from pycellbox.errors import DataError

NODES = ["MEK", "ERK", "aMEK"]
CONDITIONS = ["ctrl", "low", "high"]
KINDS = {"MEK": "protein", "ERK": "protein", "aMEK": "drug"}
U = pd.DataFrame([[0, 0, 0], [0, 0, -0.5], [0, 0, -1.0]], CONDITIONS, NODES)
X = pd.DataFrame([[0, 0.01, np.nan], [-0.2, -1e-7, -0.5], [-0.4, 1 / 3, -1.0]], CONDITIONS, NODES)
COURSE = pd.concat({1.0: X, 4.0: 2 * X}).swaplevel().rename_axis(["condition", "time"])
EXPECTED = pcb.from_tables(U, X, node_kind=KINDS)


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, form, suffix=".csv", node_kind=KINDS) -> xr.Dataset:
    """Write both tables by a function and read them."""
    paths = [put(folder / f"{name}{suffix}", form(t)) for name, t in (("u", U), ("x", X))]
    return pcb.read_csv(*paths, node_kind=node_kind)


# ---- every way in which pandas writes a table
@pytest.mark.parametrize("sep", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize(
    ("suffix", "heading", "options"),
    [
        (".csv", None, {"decimal": "."}),
        (".csv", "condition", {"decimal": ",", "lineterminator": "\r\n"}),
        (".tsv", "index", {"decimal": ",", "quoting": 1}),
        (".txt", None, {"decimal": ",", "lineterminator": "\r"}),
        (".TSV", "condition", {"decimal": ".", "quoting": 2}),
    ],
)
def test_tables_that_pandas_writes_come_back(tmp_path, sep, suffix, heading, options):
    options = {**options, "sep": sep, "na_rep": "NA" if sep == " " else ""}
    data = read(tmp_path, lambda t: t.rename_axis(heading).to_csv(**options), suffix)
    xr.testing.assert_identical(data, EXPECTED)


@pytest.mark.parametrize(
    "form",
    [
        lambda t: t.reset_index().to_csv(),
        lambda t: t.reset_index().to_csv(index=False),
        lambda t: t.rename_axis("condition").reset_index().to_csv(sep=";", decimal=","),
        lambda t: t.to_string(float_format="%.17g"),
        lambda t: t.to_csv()[1:],  # as R's write.table: the first name is left out
        lambda t: t.to_csv(sep=" ", quoting=2)[3:],
        lambda t: t.to_csv(sep="\t", na_rep="NA")[1:],
        lambda t: "sep=;\n" + t.to_csv(sep=";"),
        lambda t: "\n".join(line + "," for line in t.to_csv().splitlines()),
        lambda t: "\n".join(line + ",,," for line in t.to_csv().splitlines()),
        lambda t: t.to_csv(index_label="id").replace("\n", ",\n").replace(",\n", "\n", 1),
        lambda t: "\n".join(line.replace(",", ",,", 1) for line in t.to_csv().splitlines()),
        lambda t: "# made by hand, 2020\n#\n" + t.to_csv() + "# the end\n",
        lambda t: "# " + t.to_csv(index_label="condition"),
        lambda t: t.to_csv().replace("\n", "\n\n") + ",,,\n",
        lambda t: t.to_csv().replace(",-", ",−"),
        lambda t: t.to_csv().replace(",", " , "),
    ],
)
def test_other_ways_of_writing_come_back(tmp_path, form):
    xr.testing.assert_identical(read(tmp_path, form), EXPECTED)


@pytest.mark.parametrize(
    "code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings(tmp_path, code):
    xr.testing.assert_identical(read(tmp_path, lambda t: t.to_csv().encode(code)), EXPECTED)


def test_an_encoding_that_does_not_say_what_it_is(tmp_path):
    with pytest.raises(DataError, match=r"line 1: this is no text in UTF-8 .*'µ' .*Latin-1"):
        read(tmp_path, lambda t: t.rename(columns={"MEK": "µ"}).to_csv().encode("latin-1"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("suffix", [".csv.gz", ".csv"])
def test_packed_files(tmp_path, pack, suffix):
    data = read(tmp_path, lambda t: pack(t.to_csv().encode()), suffix)
    xr.testing.assert_identical(data, EXPECTED)
    with pytest.raises(DataError, match=r"cannot read '.*u.csv"):
        read(tmp_path, lambda t: pack(t.to_csv().encode())[:-8], suffix)


def test_a_spreadsheet_file(tmp_path):
    with pytest.raises(DataError, match=r"x.xlsx is a spreadsheet file"):
        pcb.read_csv(put(tmp_path / "u.csv", U.to_csv()), put(tmp_path / "x.xlsx", b"PK\x03\x04"))


@pytest.mark.parametrize(
    "mark", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "#N/A", "None", "<NA>", "n/a"]
)
def test_what_pandas_reads_as_missing_is_missing(tmp_path, mark):
    xr.testing.assert_identical(read(tmp_path, lambda t: t.to_csv(na_rep=mark)), EXPECTED)


@pytest.mark.parametrize("mark", ["-", ".", "?", "#DIV/0!", "<0.1", "5%"])
def test_what_is_no_number_is_named(tmp_path, mark):
    with pytest.raises(DataError, match=r"x.csv, line 2, column 4 .*the cell is '.*not a real"):
        read(tmp_path, lambda t: t.to_csv(na_rep=mark))


@pytest.mark.parametrize("unit", [None, "h", "min", "1", "a.u."])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_tables_that_the_package_writes_come_back(tmp_path, unit, suffix):
    labels = {"ctrl": "=1+1", "low": "'@x", "high": "5604"}
    nodes = dict(zip(NODES, ["-a, b", "5594", "a;c"], strict=True))
    u, x, course = (t.rename(index=labels, columns=nodes) for t in (U, X, COURSE))
    data = pcb.from_tables(u, x if unit is None else course, time_units=unit)
    paths = [tmp_path / f"{name}{suffix}" for name in ("perturbation", "response")]
    for path in paths:
        write_table(wide(data[path.stem]), path)
    xr.testing.assert_identical(pcb.read_csv(*paths), data)


# ---- what cannot be told is refused, by its cause
@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda t: t.to_csv(index=False), "has numbers .* in the column 'MEK'.* that is a node"),
        (
            lambda t: t[["aMEK", "MEK", "ERK"]].fillna(0).to_csv(index=False),
            "has numbers .* in the column 'aMEK'.* that is a node",
        ),
        (lambda t: t.T.to_csv(), "transposed"),
        (
            lambda t: t.to_csv(sep=";", decimal=",").replace(";", ","),
            r"line \d has \d+ cells and line 1 has 4 .* decimal point, or separate",
        ),
        (lambda t: t.to_csv().replace("-0.5", '"-1,234.5"'), "'-1,234.5', which has thousands"),
        (lambda t: t.to_csv(sep=";").replace("-0.5", "1.234,5"), "'1.234,5', which has thousands"),
        (lambda t: t.to_csv(sep=";").replace("-0.5", "1 234"), "'1 234', which has thousands"),
        (lambda t: t.to_csv().replace("-0.5", '"1,234"'), "'1,234', and another is .*thousands"),
        (
            lambda t: t.fillna(0).round().astype(int).to_csv(sep=";").replace("-1", "-1,500"),
            "'-1,500', whose comma may separate decimals or thousands",
        ),
        (
            lambda t: t.to_csv(index_label="Foo").replace("\n", ",\n").replace(",\n", "\n", 1),
            "one cell less",
        ),
        (lambda t: t.to_csv().replace("low", "#2"), "begins with '#' and has as many cells"),
        (lambda t: t.rename(columns={"ERK": "2-Sep"}).to_csv(), "probably was SEPT2"),
        (lambda t: t.assign(ID=[0, -0.5, 1]).to_csv(), "'ID' of .*u.csv may be labels"),
        (lambda t: t.assign(line=["a", "b", "c"]).to_csv(), "'line' of .*u.csv holds text"),
        (lambda t: t.to_csv(header=False), "only numbers where the node names are expected"),
    ],
)  # fmt: skip
def test_causes_are_named(tmp_path, form, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, form)


@pytest.mark.parametrize(
    "node_kind", [list(KINDS.values()), {"protein": 2, "drug": 1}, None, KINDS]
)
def test_transposed_files(tmp_path, node_kind):
    with pytest.raises(DataError, match=r"transposed.*in files swap rows and columns"):
        read(tmp_path, lambda t: t.T.to_csv(), node_kind=node_kind)


def test_rows_counted_by_a_written_index(tmp_path):
    data = read(tmp_path, lambda t: t.reset_index(drop=True).to_csv())
    assert data["condition"].values.tolist() == ["0", "1", "2"]
    assert data["node"].values.tolist() == NODES


# ---- time courses
@pytest.mark.parametrize(
    ("heading", "unit"),
    [
        *[("time", "h"), ("Time (h)", "h"), ("time_h", "h"), ("timepoint", "h"), ("t", "h")],
        *[("Time [min]", "min"), ("hours", "h"), ("Time..min.", "min"), ("TIME", "h")],
    ],
)
def test_time_of_files(tmp_path, heading, unit):
    expected = pcb.from_tables(U, COURSE, node_kind=KINDS, time_units=unit)
    u = put(tmp_path / "u.csv", U.to_csv())
    table = COURSE.rename_axis(["condition", heading])
    for form in (table.swaplevel(), table.reset_index()):
        x = put(tmp_path / "x.csv", form.to_csv(sep=";", decimal=","))
        xr.testing.assert_identical(pcb.read_csv(u, x, node_kind=KINDS), expected)


def test_times_without_conditions(tmp_path):
    course = put(tmp_path / "x.csv", X.set_axis([0, 1, 2]).rename_axis("Time").to_csv())
    with pytest.raises(DataError, match=r"x.csv has times .* no column of conditions"):
        pcb.read_csv(put(tmp_path / "u.csv", U.to_csv()), course)
    course = put(tmp_path / "x.csv", COURSE.rename_axis([None, None]).to_csv())
    with pytest.raises(DataError, match="if it is time, call it 'time'"):
        pcb.read_csv(put(tmp_path / "u.csv", U.to_csv()), course)


# ---- bare matrices, lists and kinds
@pytest.mark.parametrize("options", [{}, {"delimiter": ","}, {"delimiter": ";", "header": "a;b;c"}])
def test_bare_matrices_that_numpy_writes(tmp_path, options):
    np.savetxt(tmp_path / "u.txt", U, **options)
    np.savetxt(tmp_path / "x.txt", X, **options)
    pd.Series(NODES).to_csv(tmp_path / "nodes.csv", index=False)  # with a header, "0"
    data = pcb.read_csv(
        tmp_path / "u.txt",
        tmp_path / "x.txt",
        nodes=tmp_path / "nodes.csv",
        conditions=CONDITIONS,
        node_kind=KINDS,
    )
    xr.testing.assert_identical(data, EXPECTED)


def test_bare_matrices_that_do_not_fit(tmp_path):
    bare = {"index": False, "header": False}
    commas = put(tmp_path / "u.csv", (U + 0.25).to_csv(**bare).replace(".", ","))
    with pytest.raises(DataError, match="decimal commas need another separator"):
        pcb.read_csv(commas, commas, nodes=NODES)
    turned = put(tmp_path / "u.csv", U[:2].T.to_csv(**bare))
    with pytest.raises(DataError, match=r"2 columns .* if they are the nodes, swap"):
        pcb.read_csv(turned, turned, nodes=NODES)


@pytest.mark.parametrize(
    "text",
    [
        pd.Series(KINDS, name="kind").to_csv(),
        pd.Series(KINDS).to_csv(),
        pd.Series(KINDS).to_csv(header=False, sep="\t"),
        pd.Series(KINDS, name="kind").rename_axis("node").reset_index().to_csv(sep=";"),
        pd.DataFrame({"Kind": KINDS.values(), "Node": KINDS.keys()}).to_csv(index=False),
        pd.DataFrame({"node": NODES, "node_kind": KINDS.values(), "alpha": 1.0}).to_csv(),
    ],
)
def test_files_of_node_kinds(tmp_path, text):
    xr.testing.assert_identical(
        read(tmp_path, lambda t: t.to_csv(), node_kind=put(tmp_path / "kinds.csv", text)), EXPECTED
    )


# ---- labels of digits
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("heading", ["condition", "well"])
@pytest.mark.parametrize(
    "labels",
    [
        ["7", "07", "007"],
        ["1E5", "2E10", "100000"],
        ["12345678901234567890", "12345678901234567891", "3"],
        ["+1", "1", "-1"],
        ["1e400", "1e500", "inf"],
    ],
    ids=str,
)
def test_labels_that_read_as_numbers_stay_what_they_are(tmp_path, labels, heading, separator):
    u, x = (t.set_axis(pd.Index(labels, name=heading)) for t in (U, X))
    paths = [put(tmp_path / n, t.to_csv(sep=separator)) for n, t in (("u", u), ("x", x[::-1]))]
    data = pcb.read_csv(*paths, node_kind=KINDS)
    assert data["condition"].values.tolist() == labels
    xr.testing.assert_equal(data, pcb.from_tables(u, x, node_kind=KINDS))
