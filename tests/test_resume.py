"""Fits that are gone on with from a checkpoint, to the same bits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.container import read_datasets
from pycellbox.fitting import TrainingState, checkpoint, progress
from tests.fuzz.spoilt_files import spoilt_file
from tests.support.disks import full_disk
from tests.support.problems import dataset

RK4 = pcb.RK4(0.1)
#: Ways to be trained; after each, iterations at which the fit crashes.
FITS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "a drug screen, validated": (
        {"validation": 0.3, "schedule": pcb.Stage(iterations=4), "horizon": 5.0}, [2, 3],
    ),
    "held ranges": (
        {"model": pcb.CellBox(response_range="held"), "schedule": pcb.Stage(iterations=3)}, [2],
    ),
    "a mask": (
        {
            "model": pcb.CellBox(mask=np.eye(7) == 0), "schedule": pcb.Stage(iterations=3),
            "solver": RK4,
        },
        [2],
    ),
    "Tsit5": ({"courses": True, "schedule": pcb.Stage(iterations=3)}, [2]),
    "batches, then prefixes": (
        {
            "courses": True, "solver": RK4,
            "schedule": [pcb.Stage(iterations=5, batch_size=2), pcb.Stage(iterations=3, prefix=2)],
        },
        [2, 4, 5, 6],
    ),
    "L-BFGS between": (
        {
            "courses": True, "solver": RK4,
            "schedule": [
                pcb.Stage(iterations=2), pcb.Stage(iterations=3, optimizer=pcb.LBFGS()),
                pcb.Stage(iterations=2),
            ],
        },
        [2, 4, 7],
    ),
    "steps taken back": (
        {
            "courses": True, "solver": RK4, "model": pcb.CellBox(envelope="linear"),
            "schedule": pcb.Stage(iterations=14, learning_rate=8.0),
        },
        [5, 13],
    ),
    "patience, in float32": (
        {
            "courses": True, "dtype": "float32", "validation": ["c0"], "solver": RK4,
            "schedule": pcb.Stage(iterations=12, patience=3, learning_rate=0.5),
        },
        [3],
    ),
}  # fmt: skip


class CrashError(Exception):
    """Something that ends a fit."""


def data_for(name: str) -> tuple[xr.Dataset, dict[str, Any]]:
    options = dict(FITS[name][0])
    times = (1.0, 2.0, 4.0) if options.pop("courses", False) else None
    data = dataset(np.random.default_rng(0), 6, times)
    return data, {"seed": 3, "backend": "numpy", "progress": False, **options}


SCREEN = "a drug screen, validated"


def crash_after(iterations: int) -> Callable[[TrainingState], None]:
    def callback(state: TrainingState) -> None:
        if len(state.rows) >= iterations:
            raise CrashError

    return callback


def crashed(path: Path, name: str = SCREEN, after: int = 2, **options: Any) -> pcb.Fit:
    """Leave a checkpoint of a fit after so many iterations; returns the whole fit."""
    data, told = data_for(name)
    with pytest.raises(CrashError):
        pcb.fit(data, **told, checkpoint=path, callbacks=crash_after(after), **options)
    return pcb.fit(data, **told)


def same(found: pcb.Fit, wanted: pcb.Fit) -> None:
    """All that a file of them has, but for the seconds."""
    seconds = {"seconds": 0.0}
    ours, theirs = (fit.with_provenance(**seconds).tree for fit in (found, wanted))
    assert ours.attrs == theirs.attrs
    assert set(ours.children) == set(theirs.children)
    for group in theirs.children:
        xr.testing.assert_identical(ours[group].to_dataset(), theirs[group].to_dataset())


class Left(NamedTuple):
    """A checkpoint that a crash has left, and the fit as if there had been none."""

    path: Path
    whole: pcb.Fit
    groups: dict[str, xr.Dataset]


@pytest.fixture(scope="module")
def screen(tmp_path_factory) -> Left:
    path = tmp_path_factory.mktemp("screen") / "run.nc"
    return Left(path, crashed(path), read_datasets(path))


@pytest.fixture
def left(screen, tmp_path) -> Left:
    return screen._replace(path=Path(shutil.copy(screen.path, tmp_path / "run.nc")))


@pytest.fixture
def groups(screen, monkeypatch) -> dict[str, xr.Dataset]:
    """What `resume` finds in the file."""
    found = {name: group.copy() for name, group in screen.groups.items()}
    monkeypatch.setattr(checkpoint, "read_datasets", lambda path: found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_a_resumed_fit_has_the_bits_of_one_that_was_never_interrupted(name, tmp_path):
    first, *others = FITS[name][1]
    path = tmp_path / "run.nc"
    whole = crashed(path, name, first)
    for at in others:
        with pytest.raises(CrashError):
            pcb.resume(path, progress=False, callbacks=crash_after(at))
    same(pcb.resume(path, progress=False), whole)
    before = path.stat().st_mtime_ns
    same(pcb.resume(path, progress=False), whole)  # it has come to its end
    assert path.stat().st_mtime_ns == before


def test_a_checkpoint_changes_nothing(tmp_path):
    data, told = data_for(SCREEN)
    kept = pcb.fit(data, **told, checkpoint=tmp_path / "run.nc", checkpoint_seconds=0.0)
    same(kept, pcb.fit(data, **told))


@pytest.mark.parametrize("name", [SCREEN, "L-BFGS between"])
def test_an_interrupt_leaves_the_last_state(tmp_path, name):
    data, told = data_for(name)
    path = tmp_path / "run.nc"

    def ctrl_c(state: TrainingState) -> None:
        if len(state.rows) == 2:
            signal.raise_signal(signal.SIGINT)

    cut = pcb.fit(data, **told, checkpoint=path, checkpoint_seconds=1e6, callbacks=ctrl_c)
    assert cut.history.sizes["iteration"] == 2
    seen: list[int] = []
    whole = pcb.resume(path, progress=False, callbacks=lambda state: seen.append(len(state.rows)))
    assert seen[0] == 2
    same(whole, pcb.fit(data, **told))


def test_the_progress_goes_on_where_it_was(left, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    pcb.resume(left.path)
    lines = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["fit: 3/4", "fit: 4/4"]


def test_callbacks_see_the_training():
    data, told = data_for(SCREEN)
    states: list[TrainingState] = []
    fit = pcb.fit(data, **told, callbacks=[states.append])
    assert [len(s.rows) for s in states] == list(range(fit.history.sizes["iteration"] + 1))
    assert {s.stage for s in states} == {0}
    assert set(states[-1].parameters) == set(fit.parameters)
    np.testing.assert_array_equal(states[-1].history["loss"], fit.history["loss"])


@pytest.fixture
def written(monkeypatch) -> list[Path]:
    """The checkpoints that are written."""
    paths: list[Path] = []
    original = checkpoint.write_datasets

    def counted(path, groups):
        paths.append(path)
        return original(path, groups)

    monkeypatch.setattr(checkpoint, "write_datasets", counted)
    return paths


@pytest.mark.parametrize(
    ("seconds", "pause", "count"),
    [(1e6, 0.0, 2), (0.0, 1e6, 2), (0.0, 0.0, 6)],
    ids=["seldom", "slow to write", "always"],
)
def test_time_passes_between_two_checkpoints(tmp_path, monkeypatch, written, seconds, pause, count):
    monkeypatch.setattr(checkpoint, "PAUSE", pause)
    data, told = data_for(SCREEN)
    pcb.fit(data, **told, checkpoint=tmp_path / "run.nc", checkpoint_seconds=seconds)
    assert len(written) == count  # of them one at the beginning and one in the end


class TestWriting:
    """What goes wrong on the disk."""

    def at(self, number: int, act: Callable[[], None]) -> Callable[[TrainingState], None]:
        def callback(state: TrainingState) -> None:
            if len(state.rows) == number:
                act()

        return callback

    def test_a_folder_that_is_gone_for_a_while_costs_a_warning(
        self, tmp_path, monkeypatch, written
    ):
        monkeypatch.setattr(checkpoint, "PAUSE", 0.0)
        data, told = data_for(SCREEN)
        folder, away = tmp_path / "here", tmp_path / "away"
        folder.mkdir()
        acts = [self.at(1, lambda: folder.rename(away)), self.at(3, lambda: away.rename(folder))]
        with pytest.warns(pcb.FileWarning, match="no folder") as caught:
            fit = pcb.fit(
                data, **told, checkpoint=folder / "run.nc", checkpoint_seconds=0.0, callbacks=acts
            )
        assert len(caught) == 1
        assert len(written) == 6
        assert caught[0].filename == __file__
        same(pcb.resume(folder / "run.nc", progress=False), fit)

    def test_a_full_disk_leaves_the_last_one(self, tmp_path, monkeypatch):
        monkeypatch.setattr(checkpoint, "PAUSE", 0.0)
        data, told = data_for(SCREEN)
        path = tmp_path / "run.nc"
        full = contextlib.ExitStack()
        fill = self.at(2, lambda: full.enter_context(full_disk()))
        with full, pytest.warns(pcb.FileWarning, match="File too large"):
            fit = pcb.fit(data, **told, checkpoint=path, checkpoint_seconds=0.0, callbacks=fill)
        assert fit.status == "completed"
        seen: list[int] = []
        again = pcb.resume(path, progress=False, callbacks=lambda s: seen.append(len(s.rows)))
        assert seen[0] == 2
        same(again, fit)
        assert os.listdir(tmp_path) == ["run.nc"]

    def test_a_disk_that_is_full_at_the_beginning_is_an_error(self, tmp_path):
        data, told = data_for(SCREEN)
        with pytest.raises(pcb.ResultFileError, match="File too large"), full_disk():
            pcb.fit(data, **told, checkpoint=tmp_path / "run.nc")
        assert os.listdir(tmp_path) == []

    def test_a_write_protected_one_is_refused_unless_it_is_at_its_end(self, left):
        path, whole, _ = left
        path.chmod(0o444)
        with pytest.raises(pcb.ResultFileError, match="write-protected"):
            pcb.resume(path, progress=False)
        path.chmod(0o644)
        pcb.resume(path, progress=False)
        path.chmod(0o444)
        same(pcb.resume(path, progress=False), whole)

    def test_another_working_directory_does_not_matter(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "below").mkdir()
        data, told = data_for(SCREEN)
        there = self.at(1, lambda: os.chdir("below"))
        fit = pcb.fit(data, **told, checkpoint="run.nc", callbacks=there)
        same(pcb.resume(tmp_path / "run.nc", progress=False), fit)
        assert os.listdir(tmp_path / "below") == []


@pytest.mark.parametrize("name", ["pycellbox", "numpy", "scipy", "the numpy backend", "processor"])
def test_other_circumstances_are_a_warning(groups, left, name):
    told = json.loads(groups[""].attrs["circumstances"]) | {name: "0.0.1"}
    groups[""].attrs["circumstances"] = json.dumps(told)
    with pytest.warns(pcb.FileWarning, match=rf"{name} 0\.0\.1 \(here .*last bits"):
        same(pcb.resume(left.path, progress=False), left.whole)


class TestRefused:
    def test_a_fit_on_its_way_is_not_lost(self, left):
        data, told = data_for(SCREEN)
        with pytest.raises(pcb.ResultFileError, match=r"not come to its end.*pcb\.resume"):
            pcb.fit(data, **told, checkpoint=left.path)
        pcb.resume(left.path, progress=False)
        pcb.fit(data, **told, checkpoint=left.path)  # nothing is lost now

    def test_a_file_of_another_kind_stays(self, tmp_path):
        data, told = data_for(SCREEN)
        pcb.save_data(data, tmp_path / "data.nc")
        before = (tmp_path / "data.nc").read_bytes()
        with pytest.raises(pcb.ResultFileError, match="no checkpoint"):
            pcb.fit(data, **told, checkpoint=tmp_path / "data.nc")
        assert (tmp_path / "data.nc").read_bytes() == before
        with pytest.raises(pcb.ResultFileError, match="no checkpoint"):
            pcb.resume(tmp_path / "data.nc")

    def test_names_and_values(self, tmp_path):
        data, told = data_for(SCREEN)
        with pytest.raises(pcb.ResultFileError, match=r"\.nc"):
            pcb.fit(data, **told, checkpoint=tmp_path / "run.txt")
        with pytest.raises(pcb.PycellboxError, match="checkpoint_seconds"):
            pcb.fit(data, **told, checkpoint=tmp_path / "run.nc", checkpoint_seconds=-1)
        with pytest.raises(pcb.PycellboxError, match="callbacks"):
            pcb.fit(data, **told, callbacks=[3])
        with pytest.raises(pcb.ResultFileError, match="nowhere"):
            pcb.resume(tmp_path / "nowhere.nc")

    def test_a_newer_version_says_who_wrote_it(self, groups):
        groups[""].attrs |= {"format_version": 2, "pycellbox_version": "9.1"}
        with pytest.raises(pcb.ResultFileError, match=r"version 2.*up to 1.*9\.1: upgrade"):
            pcb.resume("run.nc")

    @pytest.mark.parametrize(
        "name",
        ["generator", "counts", "recipe", "ended", "seconds", "backend", "circumstances",
         "format_version"],
    )  # fmt: skip
    @pytest.mark.parametrize("value", ["[3]", "{}", "", "NaN"])
    def test_an_attribute_that_is_something_else_is_damage(self, name, value, groups):
        groups[""].attrs[name] = value
        with pytest.raises(pcb.ResultFileError, match="damaged"):
            pcb.resume("run.nc")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("stage", -1), ("stage", 2), ("stage", "a"), ("iteration", -1), ("iteration", 99),
            ("kept_iterations", 9), ("kept_iterations", -1), ("kept_retried", -1),
        ],
    )  # fmt: skip
    def test_a_count_that_cannot_be_is_damage(self, name, value, groups):
        attrs = groups[""].attrs
        attrs["counts"] = json.dumps(json.loads(attrs["counts"]) | {name: value})
        with pytest.raises(pcb.ResultFileError, match="damaged"):
            pcb.resume("run.nc")

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            *[(name, lambda array: array[:3]) for name in ("kept", "raw", "mean", "best_raw")],
            *[(name, lambda array: array * np.nan) for name in ("kept", "raw", "shrink")],
            *[(name, lambda array: array - 100) for name in ("count", "since", "retried")],
            *[(f"warm_{name}", lambda array: array[1:]) for name in ("states", "correction")],
            ("warm_states", None), ("raw", None), ("kept", None), ("count", None),
            ("history", None), ("history", lambda array: array + 1),
            ("history", lambda array: array[:, 1:]), ("history", lambda array: array[:1]),
            ("order", lambda _: np.arange(99)), ("order", lambda _: np.array("a")),
            ("warm_else", lambda _: np.zeros((2, 2))), ("else", lambda _: np.zeros(2)),
        ],
    )  # fmt: skip
    def test_an_array_that_cannot_be_is_damage(self, name, change, groups):
        arrays = {str(k): v.values for k, v in groups["state"].variables.items()}
        array = arrays.pop(name, None)
        if change is not None:
            arrays[name] = change(array)
        groups["state"] = xr.Dataset(
            {k: (tuple(f"{k}_{d}" for d in range(v.ndim)), v) for k, v in arrays.items()}
        )
        with pytest.raises(pcb.ResultFileError, match="damaged"):
            pcb.resume("run.nc")

    @pytest.mark.parametrize("group", ["data", "start", "state"])
    def test_a_group_that_is_missing_is_damage(self, group, groups):
        del groups[group]
        with pytest.raises(pcb.ResultFileError, match="damaged"):
            pcb.resume("run.nc")


@pytest.mark.filterwarnings("ignore")
def test_spoilt_checkpoints_are_refused_or_do_no_harm(left):
    draw = random.Random(0)
    for number in range(6):
        what, spoilt = spoilt_file(left.path, draw)
        with contextlib.suppress(pcb.ResultFileError):
            assert isinstance(pcb.resume(spoilt, progress=False), pcb.Fit), (number, what)


def test_the_log_says_that_it_goes_on(left, caplog):
    with caplog.at_level(logging.INFO, "pycellbox"):
        pcb.resume(left.path, progress=False)
    assert "fit goes on after" in caplog.text
