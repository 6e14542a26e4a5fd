"""Ctrl-C, SIGTERM and thrown interrupts: what was reached is whole and kept, handlers are back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import cli
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.cli import main
from pycellbox.common import interrupts, starting
from pycellbox.fitting import conclusion
from pycellbox.result import Fit
from tests.support.configs import Write, configs_in
from tests.support.problems import dataset

PACKAGE = str(Path(pcb.__file__).parent) + os.sep
STAGES = (
    pcb.Stage(2, 0.05),
    pcb.Stage(2, 0.05, batch_size=2),
    pcb.Stage(2, optimizer=pcb.LBFGS()),
)
COLUMNS = ("objective", "loss", "validation_loss", "gradient_norm", "learning_rate", "horizon")

pytestmark = pytest.mark.filterwarnings("ignore::pycellbox.PycellboxWarning")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return configs_in(tmp_path)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return dataset(np.random.default_rng(0), conditions=5, times=(1.0, 2.0))


@pytest.fixture(autouse=True)
def handlers_are_given_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert interrupts._depth == 0


def fit(data: xr.Dataset, **options: Any) -> Fit:
    given = {"schedule": STAGES, "validation": 0.4, "solver": pcb.Heun(0.5), "backend": "numpy"}
    return pcb.fit(data, **({"progress": False} | given | options))


class Thrower:
    """Throws a KeyboardInterrupt at one line of some files, counted from where training begins."""

    def __init__(self, at: int, files: tuple[str, ...] = ("",)) -> None:
        self.at, self.lines, self.where = at, 0, ""
        self._files = tuple(PACKAGE + name for name in files)
        self._trains = False

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        self._trains |= frame.f_code.co_name == "run" and "loop.py" in frame.f_code.co_filename
        return self.local if frame.f_code.co_filename.startswith(self._files) else None

    def local(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line" and self._trains:
            self.lines += 1
            if self.lines == self.at:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)  # the rest is faster without
                raise KeyboardInterrupt
        return self.local

    def run(self, work: Callable[[], Fit]) -> Fit:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            return work()
        finally:
            sys.settrace(before)


def check_whole(found: Fit, whole: Fit, where: str) -> None:
    """One iterate's parameters, the history up to there, predictions that belong to them."""
    history = found.history
    count = history.sizes["iteration"]
    for name in (*COLUMNS, "stage"):
        expected = whole.history[name].values[:count]
        np.testing.assert_array_equal(history[name].values, expected, err_msg=where)
    if found.status == "completed":
        assert count == whole.history.sizes["iteration"], where
        np.testing.assert_array_equal(found.parameters["W"], whole.parameters["W"], err_msg=where)
    else:
        assert found.status.startswith("interrupted in stage "), where
    predicted = found.predict(found.data, backend="numpy")
    np.testing.assert_array_equal(found.predictions, predicted, err_msg=where)
    seen = history["validation_loss"].values
    if np.isfinite(seen).any():
        # The validation loss of the parameters is the best one of the history, or, where the last
        # update was judged but not evaluated, better than that.
        rows = found.data["role"].values == "validation"
        error = (found.predictions - found.data["response"]).values[rows]
        last = history["stage"].values[np.isfinite(seen)][-1]
        best = np.nanmin(seen[history["stage"].values == last])
        assert np.nanmean(error**2) <= best * (1 + 1e-9), where


@pytest.mark.slow
def test_an_interrupt_in_any_line_leaves_a_whole_fit(data: xr.Dataset) -> None:
    counter = Thrower(0)
    whole = counter.run(lambda: fit(data))
    rng = np.random.default_rng()  # other lines each time; the line is in the message
    lines = rng.choice(counter.lines, 5, replace=False) + 1
    for at in lines.tolist():
        thrower = Thrower(at)
        found = thrower.run(lambda: fit(data))
        check_whole(found, whole, thrower.where)


@pytest.mark.slow
def test_an_interrupt_in_any_line_leaves_a_checkpoint_to_go_on_from(
    data: xr.Dataset, tmp_path: Path
) -> None:
    def kept(path: Path) -> Fit:
        return fit(data, checkpoint=path, checkpoint_seconds=0.0)

    counter = Thrower(0)
    whole = counter.run(lambda: kept(tmp_path / "run.nc"))
    rng = np.random.default_rng()
    for number, at in enumerate(rng.choice(counter.lines, 4, replace=False) + 1):
        path = tmp_path / f"{number}.nc"
        thrower = Thrower(int(at))
        thrower.run(lambda path=path: kept(path))
        if path.exists():  # not before the first is written
            found = pcb.resume(path, progress=False)
            assert found.status == "completed", thrower.where
            check_whole(found, whole, thrower.where)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_an_interrupt_where_the_handler_is_given_back_leaves_a_whole_fit(data: xr.Dataset) -> None:
    files = ("fitting/safely.py", "common/interrupts.py")
    counter = Thrower(0, files)
    whole = counter.run(lambda: fit(data))
    for at in range(counter.lines - 7, counter.lines + 1):
        thrower = Thrower(at, files)
        found = thrower.run(lambda: fit(data))
        check_whole(found, whole, thrower.where)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, thrower.where


def ctrl_c(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def at_call(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int, act: Callable[[], None]
) -> list[int]:
    """Do something at the start of the n-th call of a function."""
    original, calls = getattr(owner, name), [0]

    def acting(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            act()
        return original(*args, **options)

    monkeypatch.setattr(owner, name, acting)
    return calls


def test_ctrl_c_waits_for_the_end_of_a_gradient(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(data)
    calls = at_call(monkeypatch, NumpySession, "loss_and_gradient", 3, ctrl_c)
    found = fit(data)
    assert calls == [3]  # the third came to its end, there was no fourth
    assert found.status == "interrupted in stage 1"
    assert found.history.sizes["iteration"] == 3
    check_whole(found, whole, "")


@pytest.mark.parametrize("name", ["states_of", "verify"])
def test_ctrl_c_does_not_lose_a_training_that_is_finished(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = fit(data)
    at_call(monkeypatch, conclusion, name, 1, ctrl_c)
    found = fit(data)
    assert found.status == "completed"
    check_whole(found, whole, name)


@pytest.mark.parametrize(
    ("owner", "name"), [(NumpySession, "loss_and_gradient"), (conclusion, "states_of")]
)
def test_a_second_ctrl_c_ends_it(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    at_call(monkeypatch, owner, name, 1, lambda: ctrl_c(2))
    with pytest.raises(KeyboardInterrupt):
        fit(data)


def test_a_second_ctrl_c_ends_what_the_first_has_begun(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_call(monkeypatch, NumpySession, "loss_and_gradient", 2, ctrl_c)
    at_call(monkeypatch, conclusion, "states_of", 1, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        fit(data)


def test_ctrl_c_before_the_training_is_an_ordinary_one(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_call(monkeypatch, pcb.fitting.beginning, "equations_of", 1, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        fit(data)


def test_a_handler_of_the_users_stays(data: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        at_call(monkeypatch, NumpySession, "loss_and_gradient", 2, ctrl_c)
        assert fit(data).status == "completed"
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_fits_in_threads_have_nothing_to_do_with_signals(data: xr.Dataset) -> None:
    found: list[Fit] = []
    hold = interrupts.Hold()
    hold.begin()
    try:
        ctrl_c()
        thread = threading.Thread(target=lambda: found.append(fit(data)))
        thread.start()
        thread.join()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    finally:
        hold.end()
    assert found[0].status == "completed"


def test_errors_of_a_training_give_the_handler_back(
    data: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError

    at_call(monkeypatch, NumpySession, "loss_and_gradient", 2, fail)
    with pytest.raises(MemoryError):
        fit(data)


def test_a_block_that_is_held_ends_before_the_interrupt_is_raised() -> None:
    done = []

    def work() -> None:
        with interrupts.held():
            ctrl_c()
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]
    with interrupts.held(), interrupts.held():  # nothing is left of it
        pass
    interrupts.check()


# ---- the command line


def words(data: xr.Dataset, folder: Path) -> list[str]:
    pcb.save_data(data, folder / "data.nc")
    return ["fit", "--data", f"{folder}/data.nc", "--out", f"{folder}/fit.nc", "--iterations", "9",
            "--backend", "numpy"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, "training"),
        (signal.SIGTERM, "training"),
        (signal.SIGINT, "prediction"),
        (signal.SIGTERM, "saving"),
    ],
)
def test_the_command_line_saves_what_a_signal_ends(
    data: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    given = words(data, tmp_path)
    owner, name = {
        "training": (NumpySession, "loss_and_gradient"),
        "prediction": (conclusion, "verify"),
        "saving": (Fit, "save"),
    }[when]
    at_call(monkeypatch, owner, name, 1, lambda: signal.raise_signal(number))
    assert main(given) == 128 + number
    saved = pcb.load(tmp_path / "fit.nc")
    assert saved.history.sizes["iteration"] == (1 if when == "training" else 9)
    assert saved.status == ("interrupted in stage 0" if when == "training" else "completed")


@pytest.mark.slow
def test_sigterm_saves_a_demo_and_a_configuration(
    config: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop() -> None:
        signal.raise_signal(signal.SIGTERM)

    for words, more, status, number in (
        (["demo"], [], "interrupted in stage 0", 3),
        (["run", str(config())], ["--no-baselines"], "interrupted in sub-stage 2 of 3", 13),
    ):
        with monkeypatch.context() as patch:
            at_call(patch, NumpySession, "loss_and_gradient", number, stop)
            assert main([*words, "--out", words[0], "--backend", "numpy", *more]) == 143
        saved = pcb.load(Path(words[0]) / "fit.nc")
        assert saved.status == status
        assert saved.history.sizes["iteration"] == number


def test_sigterm_elsewhere_ends_a_command_without_a_traceback(
    data: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = words(data, tmp_path)
    stop = lambda: signal.raise_signal(signal.SIGTERM)  # noqa: E731
    at_call(monkeypatch, cli.commands.inputs, "choose_split", 1, stop)
    assert main(given) == 143
    assert capsys.readouterr().err == "pycellbox: terminated\n"
    assert not (tmp_path / "fit.nc").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends signals to a process")
@pytest.mark.parametrize(
    ("program", "number", "how"),
    [
        ("module", signal.SIGINT, "interrupted"),
        ("script", signal.SIGINT, "interrupted"),
        ("script", signal.SIGTERM, "terminated"),
    ],
)
def test_a_signal_while_it_imports_is_one_line(
    tmp_path: Path, program: str, number: int, how: str
) -> None:
    # A module that is imported early, and takes its time; in short steps, since a signal that comes
    # just before a sleep begins does not end it.
    (tmp_path / "xarray.py").write_text(
        "import time\nprint('importing', flush=True)\nfor _ in range(600):\n    time.sleep(0.1)\n"
    )
    script = tmp_path / "pycellbox"
    script.write_text("import sys\nfrom pycellbox.cli import main\nsys.exit(main())\n")
    start = ["-m", "pycellbox"] if program == "module" else [str(script)]
    paths = os.pathsep.join([str(tmp_path), str(Path(PACKAGE).parent)])
    process = subprocess.Popen(
        [sys.executable, *start, "--version"],
        env={**os.environ, "PYTHONPATH": paths}, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert errors == f"pycellbox: {how}\n"
    assert process.returncode == 128 + number


def test_an_interrupt_of_executed_text_leaves_the_exit_code(tmp_path: Path) -> None:
    package = tmp_path / "pycellbox"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_bytes(Path(PACKAGE, "__main__.py").read_bytes())
    (package / "cli.py").write_text(
        "def main():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 143\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pycellbox"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert run.returncode == 143


@pytest.mark.parametrize(
    ("argv", "words", "ours"),
    [
        (["-m", "fit"], ["python", "-m", "pycellbox", "fit"], True),
        (["-m"], ["python", "-X", "dev", "-mpycellbox"], True),
        (["/somewhere/bin/pycellbox", "fit"], ["python", "/somewhere/bin/pycellbox", "fit"], True),
        (["-m"], ["python", "-m", "mine"], False),
        (["-c"], ["python", "-c", "import pycellbox"], False),
        (["script.py", "pycellbox"], ["python", "script.py", "pycellbox"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_other_programs_keep_their_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], words: list[str], ours: bool
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", words)
    starting.begin()
    try:
        assert (signal.getsignal(signal.SIGINT) is starting._end) is ours
        assert (signal.getsignal(signal.SIGTERM) is starting._end) is ours
    finally:
        starting.done()
