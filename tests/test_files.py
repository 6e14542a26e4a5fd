"""Files are written whole or not at all, and nothing of a broken write stays."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pycellbox as pcb
from pycellbox.cli import main, tables
from pycellbox.common import files
from pycellbox.common.files import check_writable, write_whole
from pycellbox.errors import OptionError, ResultFileError
from pycellbox.plot import save_figure
from tests.support.disks import full_disk
from tests.support.problems import dataset


@pytest.fixture(scope="module")
def data():
    return dataset(np.random.default_rng(0), conditions=60)


@pytest.fixture(scope="module")
def fit(data):
    return pcb.fit(data, schedule=pcb.Stage(2), progress=False)


def figure():
    from matplotlib.figure import Figure

    drawn = Figure()
    drawn.subplots().plot(np.random.default_rng(0).normal(size=2000))
    return drawn


WRITERS = {
    "fit.nc": lambda path, data, fit: fit.save(path),
    "data.nc": lambda path, data, fit: pcb.save_data(data, path),
    "table.csv": lambda path, data, fit: tables.write_table(
        pd.DataFrame(np.random.default_rng(0).normal(size=(300, 30))), path
    ),
    "picture.png": lambda path, data, fit: save_figure(figure(), path),
    "text.json": lambda path, data, fit: write_whole(path, "x" * 100_000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_beside(name, data, fit, tmp_path):
    path = tmp_path / name
    path.write_text("old")
    failure = pytest.raises(ResultFileError, match=f"cannot write .*{name}.*File too large")
    with failure, full_disk():
        WRITERS[name](path, data, fit)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [name]


def test_a_whole_file_replaces_the_old_one(data, fit, tmp_path):
    for name, write in WRITERS.items():
        (tmp_path / name).write_text("old")
        assert write(tmp_path / name, data, fit) == tmp_path / name
        assert (tmp_path / name).stat().st_size > 8192
    assert sorted(os.listdir(tmp_path)) == sorted(WRITERS)


def leftover(path, owner):
    part = path.with_name(f"{files._prefix(path)}{owner}.part")
    part.write_text("half")
    return part


@pytest.mark.filterwarnings("ignore:.*fork")  # the child does nothing but write
def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "a.txt"
    child = os.fork()
    if not child:
        os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
        write_whole(path, "new")
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    write_whole(tmp_path / "other.txt", "not its target")
    assert len(os.listdir(tmp_path)) == 2
    write_whole(path, "new")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "other.txt"]


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    path = tmp_path / "a.txt"
    here, me = files._machine(), os.getpid()
    alive = leftover(path, f"{here}-{me}-{files._birth(me)}-1")
    number_given_anew = leftover(path, f"{here}-{me}-x-2")
    elsewhere = leftover(path, f"0123456789ab-{me}-x-3")
    long_ago = leftover(path, "0123456789ab-1-x-4")
    os.utime(long_ago, (time.time() - 2 * 86400,) * 2)
    write_whole(path, "new")
    assert alive.exists()
    assert elsewhere.exists()
    assert not number_given_anew.exists()
    assert not long_ago.exists()


def test_a_link_is_followed_and_a_mode_is_kept(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "fresh.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "fresh.txt").stat().st_mode & 0o777 == 0o640


def make(kind, folder):
    path = folder / "x.nc"
    if kind == "a folder":
        path.mkdir()
    elif kind == "in no folder":
        path = folder / "nowhere" / "x.nc"
    elif kind == "in a file":
        (folder / "file").write_text("")
        path = folder / "file" / "x.nc"
    elif kind == "a name too long":
        path = folder / ("x" * 300 + ".nc")
    elif kind == "write-protected":
        path.write_text("old")
        path.chmod(0o444)
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    elif kind == "a link in a circle":
        path.symlink_to(folder / "y.nc")
        (folder / "y.nc").symlink_to(path)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "a folder", "in no folder", "in a file", "a name too long", "write-protected", "a pipe",
        "a socket", "a link in a circle",
    ],
)  # fmt: skip
def test_a_place_where_nothing_can_be_written(kind, tmp_path):
    path = make(kind, tmp_path)
    before = sorted(os.listdir(tmp_path))
    for attempt in (lambda: write_whole(path, "new"), lambda: check_writable(path, (".nc",))):
        with pytest.raises(ResultFileError, match="cannot write"):
            attempt()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("path", [None, 3, b"x.nc", "", "x\0.nc", Path("x\ud800.nc")], ids=repr)
def test_a_path_that_is_none(path):
    uses = (pcb.load, pcb.open_data, lambda path: write_whole(path, "new"))
    for use in (*uses, lambda path: check_writable(path, (".nc",))):
        with pytest.raises(OptionError, match=r"path=.*; it needs the name of a file"):
            use(path)


@pytest.mark.parametrize("name", ["x" * 252 + ".nc", "é" * 126 + ".nc", "a b\n-*'\".nc", "-x.nc"])
def test_any_name_that_the_system_takes(name, tmp_path, data):
    pcb.save_data(data, tmp_path / name)
    pcb.save_data(data, tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "name", ["x.zarr", "x.nc.zarr", "x.h5", "x", "x.ncx", "x.csv", "nc", ".nc"]
)
def test_a_name_that_does_not_end_in_nc_is_refused(name, tmp_path, data, fit, capsys):
    for save in (fit.save, lambda path: pcb.save_data(data, path)):
        with pytest.raises(ResultFileError, match=r"needs to end in \.nc"):
            save(tmp_path / name)
    source = pcb.save_data(data, tmp_path / "data.nc")
    assert main(["fit", "--data", str(source), "--out", str(tmp_path / name)]) == 2
    assert "needs to end in .nc" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["data.nc"]


def test_capital_letters_are_taken(tmp_path, fit):
    pcb.load(fit.save(tmp_path / "FIT.NC"))


@pytest.mark.parametrize("read", [pcb.load, pcb.open_data])
@pytest.mark.parametrize("name", ["x.zarr", "x.nc", "x"])
def test_a_folder_is_named_as_one(read, name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(ResultFileError, match="is a folder"):
        read(tmp_path / name)
    (tmp_path / name / "zarr.json").write_text("{}")
    with pytest.raises(ResultFileError, match="is a folder; Zarr is not supported"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [pcb.load, pcb.open_data])
@pytest.mark.parametrize("kind", ["a pipe", "a name too long", "a link in a circle"])
def test_what_cannot_be_read(read, kind, tmp_path):
    with pytest.raises(ResultFileError):
        read(make(kind, tmp_path))
