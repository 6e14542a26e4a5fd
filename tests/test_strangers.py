"""Files from strangers: data and nothing else, bounded, and every change is noticed."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import random
import re
import resource
import struct

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.common.spreadsheet import csv_text, unescaped
from pycellbox.data.container import read_datasets
from pycellbox.data.hdf5 import check_content
from pycellbox.data.heaps import broken_heap
from pycellbox.errors import DataError, FileWarning, PycellboxError, ResultFileError
from tests.support.problems import dataset

CONDITIONS = 12


@pytest.fixture(scope="module")
def data():
    return dataset(np.random.default_rng(0), conditions=CONDITIONS)


@pytest.fixture(scope="module")
def fit(data):
    return pcb.fit(data, schedule=pcb.Stage(2), progress=False)


# --- metadata comes back as it was, or is refused before a fit ------------------------------------


def days(text="2024-01-01", step="D"):
    return np.datetime64(text) + np.arange(CONDITIONS).astype(f"timedelta64[{step}]")


def cycled(*cells, dtype=object):
    return np.array([cells[i % len(cells)] for i in range(CONDITIONS)], dtype=dtype)


KEPT = {
    "text": cycled("a", "é", "", "c, d\n", dtype=str),
    "wide text": cycled("a", "b", dtype="U50"),
    "text as objects": cycled("a", "b"),
    "text with gaps": cycled("a", None, "c"),
    "text with nan": cycled("a", np.nan),
    "all missing": cycled(None),
    "booleans": cycled(True, False, dtype=bool),
    "booleans as objects": cycled(True, None, False),
    "integers as objects": cycled(2**70, None, -1),
    "reals as objects": cycled(0.1, None),
    "days": days().astype("datetime64[s]"),
    "nanoseconds": days().astype("datetime64[ns]") + np.timedelta64(1, "ns"),
    "microseconds with NaT": np.where(np.arange(CONDITIONS) % 2, days(), np.datetime64("NaT"))
    .astype("datetime64[us]"),
    "durations": np.arange(CONDITIONS).astype("timedelta64[ms]"),
    "dates": cycled(datetime.date(2024, 2, 29), None),
    "categories": pd.Categorical(list(cycled("lung", "skin")), categories=["skin", "lung", "no"]),
    "ordered with gaps": pd.Categorical(list(cycled("lo", None)), ["lo", "hi"], ordered=True),
    "categories of numbers": pd.Categorical(list(cycled(3, 1))),
    "nullable integers": pd.array(list(cycled(2**62 + 1, 5)), dtype="Int64"),
    "nullable booleans": pd.array(list(cycled(True, False)), dtype="boolean"),
    "big-endian": np.arange(CONDITIONS, dtype=">f8"),
    **{
        dtype: np.arange(CONDITIONS).astype(dtype)
        for dtype in (
            "int8", "int16", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64",
        )
    },
}  # fmt: skip

ATTRIBUTES = {
    "z last in the alphabet, first here": "text",
    "empty": "",
    "long": "x" * 200_000,
    "integer": 3,
    "real": 0.1,
    "infinite": np.inf,
    "boolean": True,
    "NumPy integer": np.int64(3),
    "small integer": np.int8(-3),
    "unsigned": np.uint64(2**64 - 1),
    "single": np.float32(0.1),
    "NumPy boolean": np.bool_(False),
    "NumPy date": np.datetime64("2024-01-01T12:00"),
    "date": datetime.date(2024, 1, 1),
    "date with time": datetime.datetime(2024, 1, 1, 1, 2, 3, 4),
    "stamp": pd.Timestamp("2024-01-01 01:02:03.000000004", tz="UTC"),
    "coordinates": "what xarray writes under this name",
    "missing_value": -99,
    "_FillValue": 1.0,
    "scale_factor": 2.0,
    "units": "days since 2000-01-01",
    "dtype": "bool",
    "calendar": "noleap",
}


def assert_same(left, right):
    xr.testing.assert_identical(left, right)
    assert list(left.variables) == list(right.variables)
    for name in right.variables:
        assert left[name].dtype == right[name].dtype, name
        assert list(left[name].attrs) == list(right[name].attrs)
    kinds = [[(key, type(value)) for key, value in of.attrs.items()] for of in (left, right)]
    assert kinds[0] == kinds[1]


def with_metadata(data):
    more = data.assign_coords({name: ("condition", cells) for name, cells in KEPT.items()})
    more = more.assign(scalar=5, table=(("condition", "plate"), np.ones((CONDITIONS, 3))))
    more["int8"].attrs = dict(ATTRIBUTES)
    more["int8"].encoding = {"dtype": "int16", "scale_factor": 100.0}
    more["days"].attrs = {"units": "no unit"}
    more.attrs |= ATTRIBUTES
    return pcb.data.validate(more)


def test_a_dataset_comes_back_as_it_was(data, tmp_path):
    whole = with_metadata(data)
    assert_same(pcb.open_data(pcb.save_data(whole, tmp_path / "a.nc")), whole)


@pytest.mark.slow
def test_a_fit_comes_back_as_it_was(data, tmp_path):
    fit = pcb.fit(with_metadata(data), schedule=pcb.Stage(1), progress=False, validation=0.25)
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    for name in ("parameters", "history", "predictions", "data"):
        assert_same(again.tree[name].to_dataset(), fit.tree[name].to_dataset())
    assert list(again.tree.attrs) == list(fit.tree.attrs)


def test_others_read_our_files(data, fit, tmp_path):
    whole = with_metadata(data).drop_vars("int8")
    del whole.attrs["coordinates"]  # the user's own, which xarray would take for names
    path = pcb.save_data(whole, tmp_path / "a.nc")
    opened = xr.open_dataset(path, engine="h5netcdf", decode_timedelta=True)
    assert opened["booleans"].dtype == bool
    assert opened["nanoseconds"].values[0] == np.datetime64("2024-01-01T00:00:00.000000001")
    assert "node_kind" in opened.coords
    tree = xr.open_datatree(fit.save(tmp_path / "fit.nc"), engine="h5netcdf")
    xr.testing.assert_equal(tree["parameters"]["W"], fit.parameters["W"])


REFUSED = {
    "mixed objects": cycled(1, "a"),
    "text and booleans": cycled("a", True),
    "lists": np.array([[1]] * (CONDITIONS - 1) + [[1, 2]], dtype=object),
    "a dict": cycled({}),
    "bytes as objects": cycled(b"a"),
    "bytes": cycled(b"a", dtype="S1"),
    "complex": np.arange(CONDITIONS) * 1j,
    "a NUL": cycled("a\0b"),
    "half a character": cycled("a\ud800"),
    "long double": np.arange(CONDITIONS, dtype=np.longdouble),
    "periods": pd.period_range("2024", periods=CONDITIONS, freq="M").array,
    "records": np.zeros(CONDITIONS, dtype="f8,i4"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_cells_that_no_file_keeps_are_refused_before_a_fit(kind, data):
    more = data.assign_coords(odd=("condition", REFUSED[kind]))
    with pytest.raises(DataError, match="'odd'"):
        pcb.fit(more, progress=False)


@pytest.mark.parametrize(
    "name", ["a/b", "a\0", "a\nb", "", ".", "..", 3, ("a", "b"), "NAME", "DIMENSION_LIST", "\ud800"]
)
def test_names_that_no_file_keeps_are_refused(name, data):
    for more in (
        data.assign({name: ("condition", np.ones(CONDITIONS))}),
        data.assign(extra=((name,), [1.0])) if isinstance(name, str) and name else None,
        data.assign_attrs({name: 1}),
    ):
        if more is not None:
            with pytest.raises(DataError, match="name"):
                pcb.data.validate(more)


class Path_(str):  # noqa: N801
    """A text all the same."""


@pytest.mark.parametrize(
    "value",
    [
        b"a", None, {}, [1], (1, 2), [[1]], 1j, np.timedelta64(1, "s"), 2**64, np.longdouble(1),
        "a\0b", "\ud800", io.StringIO(), np.arange(3), pd.NaT, datetime.timedelta(1), {1},
    ],
    ids=lambda value: f"{type(value).__name__} {value!r}"[:20],  # no addresses
)  # fmt: skip
def test_attributes_that_no_file_keeps_are_refused(value, data):
    for more in (data.assign_attrs(odd=value), data.copy()):
        if "odd" not in more.attrs:
            more["response"].attrs["odd"] = value
        with pytest.raises(DataError, match="'odd'"):
            pcb.fit(more, progress=False)


def test_a_multi_index_is_refused(data):
    pairs = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    more = data.assign_coords(xr.Coordinates.from_pandas_multiindex(pairs, "pair"))
    with pytest.raises(DataError, match="reset_index"):
        pcb.data.validate(more)


@pytest.mark.parametrize("label", ["a\0b", "a\ud800"])
@pytest.mark.parametrize("dimension", ["condition", "node"])
def test_labels_that_no_file_keeps_are_refused(label, dimension, data):
    labels = [label, *data[dimension].values[1:]]
    with pytest.raises(DataError, match=f"a {dimension} label"):
        pcb.data.validate(data.assign_coords({dimension: np.array(labels, dtype=object)}))


# --- every change is noticed ----------------------------------------------------------------------


def test_no_flipped_bit_is_silent(fit, data, tmp_path):
    draw = random.Random(0)
    for path, read in (
        (fit.save(tmp_path / "fit.nc"), pcb.load),
        (pcb.save_data(data, tmp_path / "data.nc"), pcb.open_data),
    ):
        whole = path.read_bytes()
        for _ in range(40):
            flipped = bytearray(whole)
            for _ in range(draw.choice([1, 1, 3])):
                flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(PycellboxError):
                read(path)
        for length in draw.sample(range(len(whole)), 10):
            path.write_bytes(whole[:length])
            with pytest.raises(ResultFileError):
                read(path)


@pytest.mark.parametrize("gone", [b"pycellbox sha256 ", b"pycellbox_checksum"])
def test_a_damaged_checksum_is_no_missing_one(gone, fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    assert path.read_bytes().count(gone) == 1
    path.write_bytes(path.read_bytes().replace(gone, b"x" * len(gone)))
    with pytest.raises(ResultFileError, match="not as pycellbox wrote it"):
        pcb.load(path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("others", [0, 30])  # with many, they stand in a heap
def test_an_attribute_that_claims_more_than_its_file_has_is_not_read(
    count, libver, others, tmp_path
):
    path = tmp_path / "x.nc"
    with h5py.File(path, "w", libver=libver) as file:
        for number in range(others):
            file.attrs[f"other{number}"] = "a text"
        text = "odd" * 7
        file.attrs["claims"] = text if count == 1 else [text] * count
    image = path.read_bytes()
    with h5py.File(path) as file:
        assert check_content(file, image) > 0
    entry = struct.pack("<I", len(text))
    start = image.index(entry, image.index(b"claims\0"))
    path.write_bytes(image[:start] + b"\xf0\xff\xff\xff" + image[start + 4 :])
    # The newer form of HDF5 has a checksum there.
    words = r"cannot be read" if libver == "latest" else r"attribute 'claims'.* unpacks to 4295 MB"
    with pytest.raises(ResultFileError, match=words):
        pcb.open_data(path)


@pytest.mark.parametrize(
    ("entry", "size"),
    [("room", 0), ("room", 8), ("room", 2**40), ("text", 2**40), ("text", 2**64 - 1)],
)
def test_a_damaged_heap_of_texts_is_not_walked(entry, size, data, tmp_path):
    """The library would, without end, where the room that is left has no size."""
    path = tmp_path / "data.nc"
    pcb.data.validate(data).to_netcdf(path, engine="h5netcdf")
    image = bytearray(path.read_bytes())
    assert broken_heap(bytes(image)) is None
    begin = image.index(b"GCOL\x01")
    at = begin + 16
    while entry != "text" and image[at : at + 2] != b"\0\0":
        at += 16 + -(-int.from_bytes(image[at + 8 : at + 16], "little") // 8) * 8
    image[at + 8 : at + 16] = size.to_bytes(8, "little")
    assert broken_heap(bytes(image)) == begin
    path.write_bytes(image)
    with pytest.raises(ResultFileError, match="texts are damaged"):
        pcb.open_data(path)


def test_a_text_that_claims_more_than_its_file_has_is_not_read(data, tmp_path):
    path = tmp_path / "data.nc"
    pcb.data.validate(data).to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "r") as file:
        place = file["condition"].id.get_offset()
    whole = bytearray(path.read_bytes())
    whole[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(whole)
    with pytest.raises(ResultFileError, match=r"is not read: .* unpacks to 4295 MB"):
        pcb.open_data(path)


CHANGES = {
    "a value": lambda f: f["data/response"].__setitem__((0, 0), 9.0),
    "a label": lambda f: f["data/condition"].__setitem__(0, "other"),
    "an attribute": lambda f: f["data"].attrs.__setitem__("transform", "none"),
    "provenance": lambda f: f.attrs.__setitem__("provenance", "{}"),
    "a variable more": lambda f: f["data"].create_dataset("more", data=[1.0]),
    "a variable less": lambda f: f["history"].__delitem__("loss"),
    "nothing but a new attribute": lambda f: f.attrs.__setitem__("note", "hello"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_another_program_is_noticed(change, fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    with h5py.File(path, "r+") as file:
        CHANGES[change](file)
    with pytest.raises(ResultFileError, match="not as pycellbox wrote it"):
        pcb.load(path)


def test_a_dataset_changed_with_xarray_is_taken_when_it_is_meant(data, tmp_path):
    path = pcb.save_data(data, tmp_path / "data.nc")
    changed = xr.load_dataset(path, engine="h5netcdf")
    changed["response"][0, 0] = 9.0
    changed.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ResultFileError, match=r"xarray\.open_dataset.*pcb\.save_data"):
        pcb.open_data(path)
    pcb.save_data(xr.load_dataset(path, engine="h5netcdf"), path)
    assert pcb.open_data(path)["response"][0, 0] == 9.0


def test_a_file_without_checksum_is_read_with_a_warning(data, fit, tmp_path):
    validated = pcb.data.validate(data)
    validated.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    fit.tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with pytest.warns(FileWarning, match="no checksum"):
        xr.testing.assert_identical(pcb.open_data(tmp_path / "data.nc"), validated)
    with pytest.warns(FileWarning, match="no checksum"):
        again = pcb.load(tmp_path / "fit.nc")
    xr.testing.assert_identical(again.parameters, fit.parameters)


# --- nothing but data, and not too much -----------------------------------------------------------


def response(file, **options):
    """Put another response into a dataset's file."""
    dims = [file[name] for name in ("condition", "node")]
    del file["response"]
    made = file.create_dataset("response", **options)
    for axis, scale in enumerate(dims[: made.ndim]):
        made.dims[axis].attach_scale(scale)


def external(file):
    secret = os.path.join(os.path.dirname(file.filename), "secret")
    response(file, shape=(CONDITIONS, 7), dtype="f8", external=[(secret, 0, h5py.h5f.UNLIMITED)])


def virtual(file):
    secret = os.path.join(os.path.dirname(file.filename), "secret.h5")
    layout = h5py.VirtualLayout((CONDITIONS, 7), "f8")
    layout[:] = h5py.VirtualSource(secret, "x", (CONDITIONS, 7))
    del file["response"]
    file.create_virtual_dataset("response", layout)


def nested(file):
    group = file
    for _ in range(300):
        group = group.create_group("g")


def many_texts(file):
    """Three hundred labels, all of them the same 400 kB in the file."""
    made = file.create_dataset("extra", (300,), dtype=h5py.string_dtype())
    made[0] = "x" * 2_000_000
    file.flush()
    with open(file.filename, "r+b") as raw:
        place = made.id.get_offset()
        raw.seek(place)
        first = raw.read(16)
        raw.write(first * 299)


HOSTILE = {
    "a link to a file": lambda f: f.__setitem__("x", h5py.ExternalLink("secret.h5", "x")),
    "a link inside": lambda f: f.__setitem__("x", h5py.SoftLink("/response")),
    "a second name": lambda f: f.__setitem__("x", f["response"]),
    "a circle": lambda f: f.create_group("g").__setitem__("g", f["/"]),
    "values in a file": external,
    "values of other files": virtual,
    "deep groups": nested,
    "many groups": lambda f: [f.create_group(f"g{i}") for i in range(1100)],
    "many attributes": lambda f: [f.attrs.__setitem__(f"a{i}", i) for i in range(600)],
    "an empty space": lambda f: response(f, shape=(10**6, 10**6), dtype="f8"),
    "a zip bomb": lambda f: response(
        f, shape=(10**8, 7), dtype="f8", chunks=(10**5, 7), compression="gzip"
    ),
    "a long axis": lambda f: response(f, shape=(10**12,), dtype="f8", chunks=(10**6,)),
    "many chunks": lambda f: response(f, shape=(10**6, 7), dtype="f8", chunks=(1, 1)),
    "a large chunk": lambda f: response(
        f, shape=(CONDITIONS, 7), maxshape=(None, 7), chunks=(5 * 10**7, 7), dtype="f8"
    ),
    "wide text": lambda f: f.create_dataset("x", (10**5,), dtype="S100000"),
    "one text many times": many_texts,
    "another filter": lambda f: response(f, data=np.zeros((CONDITIONS, 7)), compression="lzf"),
    "records": lambda f: f.create_dataset("x", (3,), dtype="f8,i4"),
    "references": lambda f: f.create_dataset("x", (3,), dtype=h5py.ref_dtype),
    "an enumeration": lambda f: f.create_dataset("x", (3,), dtype=h5py.enum_dtype({"a": 1})),
    "opaque bytes": lambda f: f.create_dataset("x", (3,), dtype="V8"),
    "rows of any length": lambda f: f.create_dataset("x", (3,), dtype=h5py.vlen_dtype("f8")),
    "no shape": lambda f: f.create_dataset("x", data=h5py.Empty("f8")),
    "a type with a name": lambda f: f.__setitem__("x", np.dtype("f8")),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused(kind, data, tmp_path):
    path = tmp_path / "data.nc"
    pcb.data.validate(data).to_netcdf(path, engine="h5netcdf")
    (tmp_path / "secret").write_bytes(bytes(CONDITIONS * 7 * 8))
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["x"] = np.zeros((CONDITIONS, 7))
    with h5py.File(path, "r+") as file:
        HOSTILE[kind](file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ResultFileError, match="is not read"):
        pcb.open_data(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_long_file_with_little_in_it_is_not_read(data, tmp_path):
    path = pcb.save_data(data, tmp_path / "data.nc")
    os.truncate(path, 10**11)  # a hole, which takes no room on the disk
    with pytest.raises(ResultFileError, match="what the rest is"):
        pcb.open_data(path)


# --- tables and spreadsheets ----------------------------------------------------------------------

TEXTS = [
    "=1+1", "+1+1", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''=1", "'x", "-", "=",
    "a", "", "-1.5", "+1", "a=b", 'say "=1"', "a,b", "x\ny", "cmd|' /C calc'!A0", "=cmd|'a'!A1",
]  # fmt: skip


def test_texts_that_a_spreadsheet_would_run_are_escaped_and_come_back():
    index = pd.Index(TEXTS, name="=name")
    frame = pd.DataFrame({text: TEXTS for text in TEXTS} | {"-number": -0.25}, index=index)
    for separator in (",", "\t"):
        written = csv_text(frame, separator=separator)
        rows = list(csv.reader(io.StringIO(written, newline=""), delimiter=separator))
        for row in rows:
            for cell in row:
                assert not re.match(r"[=+\-@\t\r\n＝]", cell) or isinstance(float(cell), float)
        assert [row[-1] for row in rows[1:]] == ["-0.25"] * len(TEXTS)
        read = [[unescaped(cell) for cell in row] for row in rows]
        assert read[0] == ["=name", *TEXTS, "-number"]
        assert [row[0] for row in read[1:]] == TEXTS
        assert [row[1] for row in read[1:]] == TEXTS


def test_labels_like_formulas_survive_tables_and_our_readers(tmp_path):
    names = ["=A1", "+b", "-c", "@d", "'=e", "#f", "#"]
    frame = pd.DataFrame(np.eye(7), index=pd.Index(names, name="condition"), columns=names)
    (tmp_path / "u.csv").write_text(csv_text(frame), encoding="utf-8")
    read = pcb.read_csv(tmp_path / "u.csv", tmp_path / "u.csv")
    assert read["node"].values.tolist() == names
    assert read["condition"].values.tolist() == names
    assert json.dumps(read_datasets(pcb.save_data(read, tmp_path / "d.nc"))[""].attrs)
