"""Starting workers and reading what they tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
Event = dict[str, Any]


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(threads: int) -> dict[str, str]:
    """Every library's way of saying how many threads it may have; read when it is first loaded."""
    names = (
        "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS", "JULIA_NUM_THREADS", "PYTHON_JULIACALL_THREADS", "NPROC",
    )  # fmt: skip
    path = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    one = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false"
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {one}".strip(),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "PYTHONPATH": os.pathsep.join(p for p in path if p),
        "PYTHONWARNINGS": "ignore",
    }


def work(task: str, specification: Event) -> Iterator[Event]:
    """Run a worker and yield its events as they come; the last one is "end" with its exit status.

    What else it writes goes to a file whose last line is in the "end" event.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "specification.json"
        path.write_text(json.dumps(specification), encoding="utf-8")
        noise = Path(folder) / "stderr"
        with (
            noise.open("w") as log,
            subprocess.Popen(
                [sys.executable, "-m", "harness.worker", task, str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(specification["threads"]),
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.startswith("@"):
                        yield json.loads(line[1:])
            finally:
                if process.poll() is None and sys.exc_info()[0] is not None:
                    process.kill()
        lines = noise.read_text(errors="replace").strip().splitlines()
        last = lines[-1][:300] if lines else "no message"
        yield {"event": "end", "status": process.returncode, "why": last}


def time_all(specification: Event) -> Iterator[Event]:
    """Events of a timing worker; if a contender takes the process down, again without it."""
    left = list(specification["contenders"])
    while left:
        current = None
        for event in work("time", {**specification, "contenders": left}):
            if event["event"] == "start":
                current = event["contender"]
            if event["event"] != "end":
                yield event
                continue
            if event["status"] == 0:
                return
            why = f"the process ended with status {event['status']}: {event['why']}"
            if current is None:
                yield {"event": "failed", "contender": "", "why": why}
                return
            yield {"event": "failed", "contender": current, "why": why}
            yield {"event": "again"}
            left.remove(current)


def memory_of(specification: Event, name: str) -> Event:
    """Peak memory of one contender, in a process of its own; ``why`` where there is none."""
    found: Event = {}
    for event in work("memory", {**specification, "contenders": [name]}):
        if event["event"] == "memory":
            found = event
        elif event["event"] == "end" and not found:
            found = {"why": event["why"]}
    return found
