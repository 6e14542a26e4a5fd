"""What is seen and heard of a fit while it runs: bars, lines in files, the log."""

from __future__ import annotations

import io
import logging
import re
import sys

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.fitting import progress
from tests.support.problems import dataset

STAGES = (pcb.Stage(4), pcb.Stage(2, optimizer=pcb.LBFGS()))


@pytest.fixture
def data() -> xr.Dataset:
    return dataset(np.random.default_rng(0), times=(1.0, 2.0))


class Stream(io.StringIO):
    """Where errors go; a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock on which a second passes at every look."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", tick)
    return now


def test_terminals_get_a_bar(data: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Stream(terminal=True))
    pcb.fit(data, schedule=STAGES[0])
    assert "4/4" in stream.getvalue()
    assert "stage 0 loss" in stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_said_when_not_wanted(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch, terminal: bool, clock: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Stream(terminal))
    pcb.fit(data, schedule=STAGES, progress=False)
    assert stream.getvalue() == ""


def test_files_get_a_line_every_few_seconds(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Stream(terminal=False))
    with progress.Progress(40, True, "prune") as bar:
        for i in range(40):
            bar.advance(i // 20, 0.5, np.nan if i < 20 else 0.25)
    lines = stream.getvalue().splitlines()
    seconds = progress.SECONDS_BETWEEN_LINES
    assert 2 <= seconds <= 10
    assert len(lines) == 40 // seconds
    assert "\r" not in stream.getvalue()
    assert lines[0] == f"prune: {seconds:.0f}/40, stage 0 loss 0.5, {seconds:.0f} s"
    assert lines[-1] == "prune: 40/40, stage 1 loss 0.5 validation 0.25, 40 s"


def test_short_fits_write_nothing_into_files(data: xr.Dataset, capfd: pytest.CaptureFixture[str]):
    for _ in range(3):
        pcb.fit(data, schedule=STAGES[0])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stream", ["none", "closed", "full"])
def test_a_stream_that_cannot_be_written_ends_no_fit(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch, stream: str, clock: list[float]
) -> None:
    class Full(Stream):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    if stream == "none":  # as under pythonw
        monkeypatch.setattr(sys, "stderr", None)
    else:
        given = Full(False)
        monkeypatch.setattr(sys, "stderr", given)
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
        if stream == "closed":
            given.close()
            monkeypatch.setattr(given, "isatty", lambda: False)
    assert pcb.fit(data, schedule=STAGES[0]).history.sizes["iteration"] == 4


def test_the_log_tells_beginning_stages_and_end(
    data: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="pycellbox"):
        fit = pcb.fit(
            data, schedule=STAGES, solver=pcb.Heun(0.25), time_scale=1.0, loss="mae",
            validation=0.25, progress=False, backend="numpy", seed=3,
        )  # fmt: skip
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    begin, first, second, end = lines
    for word in ("12 conditions", "3 for validation", "7 nodes", "2 time", "numpy", "Heun(dt=0.25)",
                 "mae", "2 stage", "seed 3", "float64"):  # fmt: skip
        assert word in begin
    assert re.fullmatch(r"stage 0: 4 of 4 .*AdamW.* loss \S+, validation \S+, \d+\.\d+ s", first)
    assert re.match(r"stage 1: \d of 2 .*LBFGS", second)
    last = fit.history["loss"].values[-1]
    assert re.match(r"fit ends: completed after \d iterations, loss ", end)
    assert f"loss {last:.4g}" in end
    assert re.search(r"\d+\.\d+ s$", end)


def test_the_log_tells_how_a_fit_ended_early(
    data: xr.Dataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "advance", stop)
    with caplog.at_level(logging.INFO, logger="pycellbox"):
        pcb.fit(data, schedule=STAGES, progress=False)
    assert "interrupted in stage 0" in caplog.messages[-1]
    assert len(caplog.messages) == 3


def test_the_library_installs_no_handlers() -> None:
    assert logging.getLogger("pycellbox").handlers == []
    assert logging.getLogger("pycellbox").level == logging.NOTSET
