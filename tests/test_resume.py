"""Fits that are gone on with from a checkpoint, to the same bits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.container import read_datasets, write_datasets
from pycellbox.fitting import TrainingState
from tests.support.problems import dataset

RK4 = pcb.RK4(0.5)
FITS: dict[str, dict[str, Any]] = {
    "a drug screen, validated": {
        "validation": 0.3, "schedule": pcb.Stage(iterations=9), "horizon": 5.0,
    },
    "held ranges": {
        "model": pcb.CellBox(response_range="held"), "schedule": pcb.Stage(iterations=6),
    },
    "a mask": {
        "model": pcb.CellBox(mask=np.eye(7) == 0), "schedule": pcb.Stage(iterations=5),
        "solver": RK4,
    },
    "batches, then prefixes": {
        "courses": True, "solver": RK4,
        "schedule": [pcb.Stage(iterations=8, batch_size=2), pcb.Stage(iterations=4, prefix=2)],
    },
    "L-BFGS between": {
        "courses": True, "solver": RK4,
        "schedule": [
            pcb.Stage(iterations=3), pcb.Stage(iterations=4, optimizer=pcb.LBFGS()),
            pcb.Stage(iterations=3),
        ],
    },
    "steps taken back": {
        "courses": True, "solver": RK4, "model": pcb.CellBox(envelope="linear"),
        "schedule": pcb.Stage(iterations=14, learning_rate=8.0),
    },
    "patience, in float32": {
        "courses": True, "dtype": "float32", "validation": ["c0"], "solver": RK4,
        "schedule": pcb.Stage(iterations=12, patience=3, learning_rate=0.5),
    },
}  # fmt: skip


class CrashError(Exception):
    """Something that ends a fit."""


def data_for(options: dict[str, Any]) -> tuple[xr.Dataset, dict[str, Any]]:
    options = dict(options)
    times = (1.0, 2.0, 4.0) if options.pop("courses", False) else None
    data = (
        dataset(np.random.default_rng(0), 6, times) if times else dataset(np.random.default_rng(0))
    )
    return data, {"seed": 3, "backend": "numpy", "progress": False, **options}


def crash_after(iterations: int):
    def callback(state: TrainingState) -> None:
        if len(state.rows) >= iterations:
            raise CrashError

    return callback


def same(found: pcb.Fit, wanted: pcb.Fit) -> None:
    for name in wanted.parameters:
        np.testing.assert_array_equal(found.parameters[name], wanted.parameters[name])
    xr.testing.assert_equal(found.history, wanted.history)
    np.testing.assert_array_equal(found.predictions, wanted.predictions)
    assert (found.status, found.recipe) == (wanted.status, wanted.recipe)
    assert found.provenance["steps_retried"] == wanted.provenance["steps_retried"]


@pytest.mark.slow
@pytest.mark.parametrize("options", FITS.values(), ids=FITS)
def test_a_resumed_fit_has_the_bits_of_one_that_was_never_interrupted(options, tmp_path):
    data, told = data_for(options)
    whole = pcb.fit(data, **told)
    count = whole.history.sizes["iteration"]
    for at in (count // 2, count - 1):
        path = tmp_path / f"{at}.nc"
        with pytest.raises(CrashError):
            pcb.fit(
                data, **told, checkpoint=path, checkpoint_seconds=0.0, callbacks=crash_after(at)
            )
        same(pcb.resume(path, progress=False), whole)


def test_a_checkpoint_changes_nothing(tmp_path):
    data, told = data_for(FITS["a drug screen, validated"])
    kept = pcb.fit(data, **told, checkpoint=tmp_path / "run.nc", checkpoint_seconds=0.0)
    same(kept, pcb.fit(data, **told))


def test_it_can_be_resumed_again_and_again(tmp_path):
    data, told = data_for(FITS["batches, then prefixes"])
    path = tmp_path / "run.nc"
    with pytest.raises(CrashError):
        pcb.fit(data, **told, checkpoint=path, checkpoint_seconds=0.0, callbacks=crash_after(3))
    for at in (6, 10):
        with pytest.raises(CrashError):
            pcb.resume(path, checkpoint_seconds=0.0, callbacks=crash_after(at), progress=False)
    whole = pcb.resume(path, progress=False)
    same(whole, pcb.fit(data, **told))
    same(pcb.resume(path, progress=False), whole)  # it has come to its end


def test_an_interrupt_leaves_the_last_iteration(tmp_path, monkeypatch):
    import signal

    data, told = data_for(FITS["a drug screen, validated"])
    path = tmp_path / "run.nc"

    def ctrl_c(state: TrainingState) -> None:
        if len(state.rows) == 4:
            signal.raise_signal(signal.SIGINT)

    cut = pcb.fit(data, **told, checkpoint=path, checkpoint_seconds=1e6, callbacks=ctrl_c)
    assert cut.history.sizes["iteration"] == 4
    seen: list[int] = []
    whole = pcb.resume(path, progress=False, callbacks=lambda state: seen.append(len(state.rows)))
    assert seen[0] == 4
    same(whole, pcb.fit(data, **told))


def test_callbacks_see_the_training():
    data, told = data_for(FITS["a drug screen, validated"])
    states: list[TrainingState] = []
    fit = pcb.fit(data, **told, callbacks=[states.append])
    assert [len(s.rows) for s in states] == list(range(fit.history.sizes["iteration"] + 1))
    assert {s.stage for s in states} == {0}
    assert set(states[-1].parameters) == set(fit.parameters)
    np.testing.assert_array_equal(states[-1].history["loss"], fit.history["loss"])


def test_time_passes_between_two_checkpoints(tmp_path, monkeypatch):
    from pycellbox.fitting import checkpoint

    written: list[Path] = []
    original = checkpoint.write_datasets

    def counted(path, groups):
        written.append(path)
        return original(path, groups)

    monkeypatch.setattr(checkpoint, "write_datasets", counted)
    data, told = data_for(FITS["a drug screen, validated"])
    pcb.fit(data, **told, checkpoint=tmp_path / "run.nc", checkpoint_seconds=1e6)
    assert len(written) == 2  # at the beginning and in the end


class TestRefused:
    def test_a_fit_on_its_way_is_not_lost(self, tmp_path):
        data, told = data_for(FITS["a drug screen, validated"])
        path = tmp_path / "run.nc"
        with pytest.raises(CrashError):
            pcb.fit(data, **told, checkpoint=path, callbacks=crash_after(2))
        with pytest.raises(pcb.ResultFileError, match=r"not come to its end.*pcb\.resume"):
            pcb.fit(data, **told, checkpoint=path)
        pcb.resume(path, progress=False)
        pcb.fit(data, **told, checkpoint=path)  # nothing is lost now

    def test_a_file_of_another_kind_stays(self, tmp_path):
        data, told = data_for(FITS["a drug screen, validated"])
        pcb.save_data(data, tmp_path / "data.nc")
        before = (tmp_path / "data.nc").read_bytes()
        with pytest.raises(pcb.ResultFileError, match="no checkpoint"):
            pcb.fit(data, **told, checkpoint=tmp_path / "data.nc")
        assert (tmp_path / "data.nc").read_bytes() == before
        with pytest.raises(pcb.ResultFileError, match="no checkpoint"):
            pcb.resume(tmp_path / "data.nc")

    def test_names_and_values(self, tmp_path):
        data, told = data_for(FITS["a drug screen, validated"])
        with pytest.raises(pcb.ResultFileError, match=r"\.nc"):
            pcb.fit(data, **told, checkpoint=tmp_path / "run.txt")
        with pytest.raises(pcb.PycellboxError, match="checkpoint_seconds"):
            pcb.fit(data, **told, checkpoint=tmp_path / "run.nc", checkpoint_seconds=-1)
        with pytest.raises(pcb.PycellboxError, match="callbacks"):
            pcb.fit(data, **told, callbacks=[3])
        with pytest.raises(pcb.ResultFileError, match="nowhere"):
            pcb.resume(tmp_path / "nowhere.nc")

    @pytest.mark.parametrize("what", ["kept", "generator", "counts", "recipe", "ended", "seconds"])
    def test_what_does_not_hold_together_is_damaged(self, what, tmp_path):
        data, told = data_for(FITS["a drug screen, validated"])
        path = tmp_path / "run.nc"
        with pytest.raises(CrashError):
            pcb.fit(data, **told, checkpoint=path, callbacks=crash_after(2))
        groups = read_datasets(path)
        if what == "kept":
            groups["state"] = groups["state"].isel(kept_0=slice(3))
        else:
            groups[""].attrs[what] = "[3]"
        write_datasets(path, groups)
        with pytest.raises(pcb.ResultFileError, match="damaged"):
            pcb.resume(path, progress=False)


def test_the_log_says_that_it_goes_on(tmp_path, caplog):
    data, told = data_for(FITS["a drug screen, validated"])
    path = tmp_path / "run.nc"
    with pytest.raises(CrashError):
        pcb.fit(data, **told, checkpoint=path, checkpoint_seconds=0.0, callbacks=crash_after(2))
    with caplog.at_level(logging.INFO, "pycellbox"):
        pcb.resume(path, progress=False)
    assert "fit goes on after" in caplog.text
