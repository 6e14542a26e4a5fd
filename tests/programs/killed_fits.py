"""Kill fits at random moments; resumed, they have the bits of fits that were never disturbed.

    python -m tests.programs.killed_fits --kills 100 --backend numpy

A fit with a checkpoint runs in a process of its own, a child of this one or with --processes a
program, and gets SIGKILL at a moment drawn over the time that its training takes; a fresh process
resumes it, and is killed too, until another one may come to its end. Checkpoints are written after
every iteration, without a pause, so that most kills meet one that is being made. Every kind of fit
is first made undisturbed and without a checkpoint, by another process; all of parameters, history
and predictions needs to be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pycellbox as pcb
from pycellbox.fitting import checkpoint
from pycellbox.fitting.checkpoint import read_checkpoint
from tests.support.problems import dataset

KILLS_OF_ONE_FIT = 4
KINDS: dict[str, dict[str, Any]] = {
    "screen": {"schedule": pcb.Stage(9), "solver": pcb.SteadyState(), "horizon": 5.0},
    "screen, validated": {
        "schedule": pcb.Stage(9, patience=7), "solver": pcb.SteadyState(), "validation": 0.3,
    },
    "course": {"schedule": pcb.Stage(9), "solver": pcb.Tsit5(), "times": (1.0, 2.0, 4.0)},
    "batches": {
        "schedule": [pcb.Stage(6, batch_size=5), pcb.Stage(4, batch_size=4, prefix=2)],
        "solver": pcb.RK4(0.25), "validation": 0.3, "times": (1.0, 2.0, 4.0),
    },
    "L-BFGS": {
        "schedule": [pcb.Stage(4), pcb.Stage(4, optimizer=pcb.LBFGS()), pcb.Stage(3)],
        "solver": pcb.Heun(0.25), "times": (1.0, 2.0, 4.0),
    },
}  # fmt: skip


def fit_of(kind: str, backend: str, **options: Any) -> pcb.Fit:
    told = dict(KINDS[kind])
    data = dataset(np.random.default_rng(0), times=told.pop("times", None))
    return pcb.fit(data, **told, seed=3, backend=backend, progress=False, **options)


def bits_of(fit: pcb.Fit) -> str:
    """A checksum of all that it computed, and how it ended."""
    parts = [*fit.parameters.data_vars.values(), *fit.history.data_vars.values(), fit.predictions]
    content = b"".join(np.ascontiguousarray(part.values).tobytes() for part in parts)
    return f"{fit.status} {fit.provenance['steps_retried']} {hashlib.sha256(content).hexdigest()}"


def work(kind: str, backend: str, folder: Path, disturbed: bool) -> int:
    """Make a fit, or go on with it; what it came to is in a file in the end."""
    if disturbed:
        checkpoint.PAUSE = 0.0
        path = folder / "run.nc"
        how: dict[str, Any] = {
            "checkpoint_seconds": 0.0, "callbacks": lambda state: (folder / "trains").touch(),
        }  # fmt: skip
        if path.exists():
            fit = pcb.resume(path, progress=False, **how)
        else:
            fit = fit_of(kind, backend, checkpoint=path, **how)
    else:
        fit = fit_of(kind, backend)
    (folder / "bits").write_text(bits_of(fit))
    (folder / "seconds").write_text(json.dumps(fit.provenance["seconds"]))
    return 0


@dataclass(frozen=True)
class Place:
    """Where a fit of a kind runs, by which backend, and in which kind of process."""

    folder: Path
    kind: str
    backend: str
    processes: bool

    def start(self, *, disturbed: bool) -> int:
        """Start a process that fits, or goes on; returns its number."""
        (self.folder / "trains").unlink(missing_ok=True)
        if self.processes:
            words = ["--only", self.kind, "--backend", self.backend, "--folder", str(self.folder)]
            words += ["--disturbed"] * disturbed
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
            program = [sys.executable, "-W", "ignore", "-m", "tests.programs.killed_fits"]
            return subprocess.Popen([*program, *words], env=environment).pid
        child = os.fork()
        if child:
            return child
        try:
            warnings.simplefilter("ignore")
            os._exit(work(self.kind, self.backend, self.folder, disturbed))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)

    def finished(self, process: int) -> str:
        """The bits that a process has come to."""
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert code == 0, f"{self.kind}: exit code {code}"
        return (self.folder / "bits").read_text()

    def killed(self, process: int, after: float) -> bool:
        """Kill a process so long after it begins to train; False if it was quicker."""
        while not (self.folder / "trains").exists():
            number, status = os.waitpid(process, os.WNOHANG)
            if number:  # a fit that has come to its end trains no more
                assert os.waitstatus_to_exitcode(status) == 0, f"{self.kind} ends with {status}"
                return False
            time.sleep(0.002)
        time.sleep(after)
        os.kill(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def trial(
    kills: int,
    backend: str = "numpy",
    seed: int = 0,
    *,
    processes: bool = False,
    kinds: Sequence[str] = tuple(KINDS),
) -> Counter[str]:
    """Kill so many processes, and raise AssertionError where a fit comes to other bits.

    Returns
    -------
    Counter
        Kills; how many of them met a file half written, or came too late; fits resumed.
    """
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    wanted: dict[str, tuple[str, float]] = {}
    while counts["kills"] < kills:
        kind = kinds[counts["resumed to the same bits"] % len(kinds)]
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), kind, backend, processes)
            path = place.folder / "run.nc"
            if kind not in wanted:
                bits = place.finished(place.start(disturbed=False))
                assert place.finished(place.start(disturbed=True)) == bits, f"{kind}, undisturbed"
                wanted[kind] = bits, json.loads((place.folder / "seconds").read_text())
                path.unlink()
            bits, seconds = wanted[kind]
            for _ in range(min(KILLS_OF_ONE_FIT, kills - counts["kills"])):
                process = place.start(disturbed=True)
                in_time = place.killed(process, draw.uniform(0, seconds / KILLS_OF_ONE_FIT))
                counts["kills" if in_time else "came too late"] += 1
                counts["met a file half written"] += bool(list(place.folder.glob("*.part")))
                read_checkpoint(path)
                if not in_time:
                    break
            found = place.finished(place.start(disturbed=True))
            assert found == bits, f"{kind}: {found}, not {bits}"
            assert not list(place.folder.glob("*.part")), f"{kind}: parts of files are left"
            counts["resumed to the same bits"] += 1
            print(kind, dict(counts), file=sys.stderr)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--processes", action="store_true", help="real programs, not forks")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    for hidden in ("--only", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--disturbed", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.only:
        return work(told.only, told.backend, Path(told.folder), told.disturbed)
    counts = trial(told.kills, told.backend, told.seed, processes=told.processes, kinds=told.kinds)
    print(dict(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
