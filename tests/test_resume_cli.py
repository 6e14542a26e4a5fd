"""`pycellbox fit --checkpoint` and `--resume`."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends.numpy.steady_session import NumpySteadySession
from pycellbox.cli import main
from tests.support.problems import dataset


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    pcb.save_data(dataset(np.random.default_rng(0)), "data.nc")
    return ["fit", "--data", "data.nc", "--iterations", "4", "--backend", "numpy"]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int, sent: int) -> None:
    """Send a signal at the start of the n-th gradient."""
    original, calls = NumpySteadySession.loss_and_gradient, [0]

    def counted(self, *args, **options):
        calls[0] += 1
        if calls[0] == number:
            signal.raise_signal(sent)
        return original(self, *args, **options)

    monkeypatch.setattr(NumpySteadySession, "loss_and_gradient", counted)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_is_said_after_an_interrupt_goes_on_to_the_same_fit(words, monkeypatch, capsys, sent):
    words += ["--test", "0.3", "--no-baselines"]
    assert main([*words, "--out", "whole.nc"]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, sent)
        cut = [*words, "--checkpoint", "a run.nc", "--out", "fit.nc"]
        assert main(cut) == 128 + sent
    said = capsys.readouterr().err.splitlines()[-1]
    command = shlex.split(said.partition("to go on: ")[2].removesuffix("."))
    assert command == ["pycellbox", "fit", "--resume", "a run.nc", "--out", "fit.nc"]
    assert pcb.load("fit.nc").history.sizes["iteration"] == 2
    assert main([*command[1:], "--csv", "tables"]) == 0
    found, whole = pcb.load("fit.nc"), pcb.load("whole.nc")
    assert (found.status, found.recipe) == (whole.status, whole.recipe)
    np.testing.assert_array_equal(found.parameters["W"], whole.parameters["W"])
    np.testing.assert_array_equal(found.history["loss"], whole.history["loss"])
    assert Path("tables/W.csv").exists()
    out, err = capsys.readouterr()
    assert "conditions  8 to fit" in out
    assert "evaluate fit.nc --new-only" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--checkpoint", "run.txt"], "needs to end in .nc"),
        (["--checkpoint", "data.nc"], "it is the input 'data.nc'"),
        (["--checkpoint", "fit.nc"], "over the checkpoint"),
        (["--checkpoint", "./fit.nc"], "over the checkpoint"),
        (["--checkpoint", "fit.unfinished.nc"], "over the checkpoint"),
        (["--checkpoint-seconds", "3"], "goes with --checkpoint"),
        (["--checkpoint", "run.nc", "--checkpoint-seconds", "-1"], "checkpoint_seconds=-1"),
        (["--checkpoint", "run.nc", "--checkpoint-seconds", "soon"], "--checkpoint-seconds"),
        (["--resume", "run.nc"], "leave --data, --iterations, --backend out"),
        (["--resume", "run.nc", "--checkpoint", "b.nc"], "--checkpoint"),
    ],
)
def test_what_does_not_go_together_is_said_before_it_writes(words, more, message, capsys):
    assert main([*words, "--out", "fit.nc", *more]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert [path.name for path in Path().iterdir()] == ["data.nc"]


@pytest.mark.parametrize(
    ("words_of_it", "message"),
    [
        (["--resume", "run.nc"], "missing: --out"),
        (["--resume", "nowhere.nc", "--out", "fit.nc"], "no file 'nowhere.nc'"),
        (["--resume", "data.nc", "--out", "fit.nc"], "no checkpoint"),
        (["--resume", "data.nc", "--out", "data.nc"], "over the checkpoint"),
        (["--resume", "run.nc", "--out", "fit.nc", "--seed", "0"], "leave --seed out"),
        (["--resume", "run.nc", "--out", "fit.nc", "--loss=mse"], "leave --loss out"),
        (["--resu", "run.nc", "--out", "fit.nc", "--test", "0.3"], "leave --test out"),
        (["--resume", "run.nc", "--out", "fit.nc", "--checkpoint", "b.nc"], "--checkpoint out"),
    ],
)
def test_what_cannot_be_gone_on_with_is_said(words, words_of_it, message, capsys):
    assert main(["fit", *words_of_it]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_a_fit_on_its_way_is_not_begun_anew(words, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, signal.SIGINT)
        assert main([*words, "--checkpoint", "run.nc", "--out", "fit.nc"]) == 130
    before = Path("run.nc").read_bytes()
    capsys.readouterr()
    assert main([*words, "--checkpoint", "run.nc", "--out", "fit.nc"]) == 2
    assert "pycellbox fit --resume" in capsys.readouterr().err
    assert Path("run.nc").read_bytes() == before
