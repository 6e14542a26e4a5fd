"""Kill and interrupt pycellbox at random moments; nothing that was finished may be lost.

    python -m tests.programs.kills --kills 100 --interrupts 100

Commands run in children of this process, or with --processes as programs of their own, and get
SIGKILL, or SIGINT or SIGTERM, at a moment drawn over the time that they take undisturbed. Each
child works on the leavings of those before it. Afterwards

- a fit that was finished is there, or a newer finished one, and every file can be read;
- an interrupt leaves no part of a file; what a kill leaves is gone after the next undisturbed run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import pycellbox as pcb
from pycellbox.cli import main as command_line
from pycellbox.cli.tables import write_table
from tests.support.problems import KINDS, NODES, dataset

CONFIG = {
    "experiment_id": "kills", "pert_file": "pert.csv", "expr_file": "expr.csv", "n_x": len(NODES),
    "n_protein_nodes": KINDS.count("protein"), "n_activity_nodes": len(KINDS) - KINDS.count("drug"),
    "batchsize": 4, "n_epoch": 2, "n_iter": 100,
    "stages": [{"nT": 5, "sub_stages": [{"lr_val": 0.01}, {"lr_val": 0.01}]}],
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A command in a folder, and the finished fit that it may replace but not lose."""

    name: str
    words: tuple[str, ...]
    keeps: str = ""


SCENES = (
    Scene("fit anew", ("fit", "--data", "../data.nc", "--iterations", "20", "--out", "fit.nc")),
    Scene(
        "fit over a finished one",
        ("fit", "--data", "../data.nc", "--iterations", "20", "--out", "fit.nc", "--csv", "tables"),
        keeps="fit.nc",
    ),
    Scene("run anew", ("run", "../config.json", "--out", "out", "--overwrite")),
    Scene(
        "run over a finished one",
        ("run", "../config.json", "--out", "out", "--overwrite"),
        keeps="out/fit.nc",
    ),
    Scene("save", ("save",), keeps="fit.nc"),
)


def save_again_and_again() -> int:
    """Write the three kinds of files over and over, as a script does."""
    fit = pcb.load("../fit.nc")
    table = pd.DataFrame(np.ones((100, 10)))
    for _ in range(10):
        fit.save("fit.nc")
        pcb.save_data(fit.data, "data.nc")
        write_table(table, Path("table.csv"))
    return 0


def prepare(root: Path) -> None:
    data = dataset(np.random.default_rng(0))
    pcb.save_data(data, root / "data.nc")
    pcb.fit(data, schedule=pcb.Stage(2), progress=False, backend="numpy").save(root / "fit.nc")
    for name, variable in (("pert", "perturbation"), ("expr", "response")):
        np.savetxt(root / f"{name}.csv", data[variable].values, delimiter=",")
    (root / "config.json").write_text(json.dumps(CONFIG))


def run(words: tuple[str, ...]) -> int:
    """Do in this process what a scene says."""
    if words == ("save",):
        return save_again_and_again()
    return command_line([*words, "--backend", "numpy", "--no-baselines"])


def in_a_fork(scene: Scene, folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.chdir(folder)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(run(scene.words))
    except KeyboardInterrupt:
        os._exit(130)
    finally:
        os._exit(70)


def as_a_program(scene: Scene, folder: Path) -> int:
    words = ["-m", "tests.programs.kills", "--only", scene.name]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with open(os.devnull, "w") as nothing:
        return subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=environment, stdout=nothing, stderr=nothing
        ).pid


def undisturbed(start: Callable[[Scene, Path], int], scene: Scene, folder: Path) -> float:
    began = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(start(scene, folder), 0)[1])
    assert code == 0, f"{scene.name}: exit code {code}"
    return time.monotonic() - began


def check(scene: Scene, folder: Path, finished: bool) -> None:
    """Raise if a file cannot be read, or a finished fit is no more."""
    for path in folder.rglob("*"):
        if path.suffix == ".nc" and path.name != "data.nc":
            pcb.load(path)
        elif path.suffix == ".nc":
            pcb.open_data(path)
        elif path.suffix == ".csv":
            text = path.read_text()
            assert text.endswith("\n"), path
    if finished:
        assert pcb.load(folder / scene.keeps).status == "completed", scene.name


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def trial(
    kills: int,
    interrupts: int,
    seed: int = 0,
    *,
    processes: bool = False,
    scenes: Sequence[Scene] = SCENES,
) -> dict[str, int]:
    """Disturb so many children, and raise AssertionError or PycellboxError at the first loss.

    Returns
    -------
    dict
        How many ended how: by their exit code, or by minus the number of the signal.
    """
    start = as_a_program if processes else in_a_fork
    draw = random.Random(seed)
    signals = [signal.SIGKILL] * kills
    signals += [draw.choice((signal.SIGINT, signal.SIGTERM)) for _ in range(interrupts)]
    draw.shuffle(signals)
    ends: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        prepare(root)
        durations = {}
        for scene in scenes:
            folder = root / scene.name
            folder.mkdir()
            durations[scene] = undisturbed(start, scene, folder)
        expected = {scene: sorted(os.listdir(root / scene.name)) for scene in scenes}
        for number, sent in enumerate(signals):
            scene = scenes[number % len(scenes)]
            folder = root / scene.name
            if not scene.keeps:
                for path in [*folder.rglob("*.nc")]:
                    path.unlink()
            before = len(parts(folder))
            child = start(scene, folder)
            time.sleep(draw.uniform(0, durations[scene]))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, sent)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert code in (0, 130, 143, -sent), f"{scene.name}, {sent.name}: exit code {code}"
            ends[f"{sent.name} {code}"] = ends.get(f"{sent.name} {code}", 0) + 1
            check(scene, folder, bool(scene.keeps))
            if code >= 0:
                assert len(parts(folder)) <= before, f"{scene.name}: {parts(folder)}"
        for scene in scenes:
            undisturbed(start, scene, root / scene.name)
            check(scene, root / scene.name, bool(scene.keeps))
            assert not parts(root / scene.name), parts(root / scene.name)
            stray = set(os.listdir(root / scene.name)) - {*expected[scene], "fit.unfinished.nc"}
            assert not stray, f"{scene.name}: {stray}"
    return dict(sorted(ends.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--interrupts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", action="store_true", help="real programs, not forks")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        return run(next(scene.words for scene in SCENES if scene.name == options.only))
    print(trial(options.kills, options.interrupts, options.seed, processes=options.processes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
