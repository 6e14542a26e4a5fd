"""Whatever a table holds comes back as it was: from memory, from text files and from our own."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pycellbox as pcb
from pycellbox.common.spreadsheet import csv_text, unescaped
from tests.support.tables import Tables, shuffled, tables


def made(given: Tables, **frames: pd.DataFrame | None) -> xr.Dataset:
    return pcb.from_tables(**{**given.frames(), **frames}, node_kind=given.kinds)


@given(tables())
def test_frames_come_back_as_they_were(given):
    given.check(made(given))


@given(tables(), st.data())
def test_the_order_of_response_and_sigma_does_not_matter(given, data):
    turned = {name: shuffled(data.draw, given.frame(name)) for name in ("response", "sigma")}
    xr.testing.assert_identical(made(given, **turned), made(given))


@given(tables())
def test_frames_arrays_and_dataarrays_say_the_same(given):
    known = made(given)
    kinds = [given.kinds[node] for node in given.nodes]
    plain = pcb.from_tables(
        given.perturbation, given.response, given.sigma, kinds, given.times,
        conditions=given.conditions, nodes=given.nodes, time_units=given.units,
    )  # fmt: skip
    xr.testing.assert_identical(plain, known)
    turned = {name: known[name].transpose() for name in known.data_vars}
    xr.testing.assert_identical(pcb.from_tables(**turned), known)


@settings(max_examples=10)
@given(tables())
def test_a_saved_dataset_comes_back_as_it_was(tmp_path_factory, given):
    data = made(given)
    path = pcb.save_data(data, tmp_path_factory.mktemp("data") / "data.nc")
    back = pcb.open_data(path)
    xr.testing.assert_identical(back, data)
    assert {n: v.dtype for n, v in back.variables.items()} == {
        n: v.dtype for n, v in data.variables.items()
    }


@given(tables(course=False), st.sampled_from(["perturbation", "response", "sigma"]))
def test_a_table_that_is_transposed_is_refused(given, name):
    assume(given.frame(name) is not None)
    with pytest.raises(pcb.DataError, match="transposed"):
        made(given, **{name: given.frame(name).T})


@given(tables(course=False))
def test_tables_that_are_all_transposed_are_refused_if_kinds_name_the_nodes(given):
    # What may be a position of a node tells nothing.
    assume(not any(node.isdecimal() for node in given.nodes))
    turned = {name: None if t is None else t.T for name, t in given.frames().items()}
    with pytest.raises(pcb.DataError, match="transposed"):
        made(given, **turned)


SEPARATORS = st.sampled_from(",;\t|")
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])
PACKERS = st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress])


def read(folder: Path, given: Tables, write: Callable[[pd.DataFrame], bytes]) -> xr.Dataset:
    paths = {}
    for name, frame in given.frames().items():
        if frame is not None:
            paths[name] = folder / name
            paths[name].write_bytes(write(frame))
    return pcb.read_csv(**paths, node_kind=given.kinds)


def plain(given: Tables) -> bool:
    """Whether no label begins as a comment does, or as our own tables write formulas."""
    labels = (*given.conditions, *given.nodes)
    return all(unescaped(label) == label and label[0] != "#" for label in labels)


@given(tables(file=True).filter(plain), SEPARATORS, ENCODINGS, PACKERS, st.data())
def test_files_of_any_kind_are_read_to_the_bit(tmp_path_factory, given, sep, code, pack, data):
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    empty = data.draw(st.sampled_from(["", "NA", "NaN"]))

    def write(frame: pd.DataFrame) -> bytes:
        return pack(frame.to_csv(sep=sep, lineterminator=end, na_rep=empty).encode(code))

    given.check(read(tmp_path_factory.mktemp("tables"), given, write))


@given(tables(file=True), SEPARATORS)
def test_files_that_we_write_are_read_to_the_bit(tmp_path_factory, given, separator):
    def write(frame: pd.DataFrame) -> bytes:
        return csv_text(frame, separator=separator).encode()

    given.check(read(tmp_path_factory.mktemp("tables"), given, write))


def no_commas(given: Tables) -> bool:
    """Whether commas are decimal ones alone; else they may as well separate columns."""
    return not any("," in label for label in (*given.conditions, *given.nodes))


@given(tables(file=True).filter(plain).filter(no_commas), st.sampled_from(";\t|"))
def test_decimal_commas_are_read_right_or_refused(tmp_path_factory, given, separator):
    def write(frame: pd.DataFrame) -> bytes:
        return frame.to_csv(sep=separator, decimal=",").encode()

    folder, told = tmp_path_factory.mktemp("tables"), ""
    try:
        given.check(read(folder, given, write))
    except pcb.DataError as error:
        told = str(error)
    assert not told or "thousands" in told
