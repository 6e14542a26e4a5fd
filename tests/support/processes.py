"""Other processes, and what has to be there for some tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycellbox.backends.julia.project import readiness


def need_diffeqpy() -> None:
    """Skip where the import of diffeqpy fails, or would install something from the internet."""
    pytest.importorskip("diffeqpy")
    if not readiness().ready or shutil.which("julia") is None:
        pytest.skip("diffeqpy needs Julia, on the PATH: pycellbox julia install")
    import juliacall

    if not juliacall.Main.seval('Base.identify_package("DifferentialEquations") !== nothing'):
        pytest.skip("diffeqpy needs DifferentialEquations in the project")


@contextmanager
def python(code: str, **environment: str | None) -> Iterator[subprocess.Popen]:
    """A process that runs the code, with Ctrl-C as in a terminal; it does not outlive the block."""
    # A background job inherits SIGINT as ignored, and Python then leaves it so.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    changed = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
    process = subprocess.Popen(
        [sys.executable, "-c", begin + textwrap.dedent(code)], cwd=Path(__file__).parents[2],
        text=True, env=changed, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output(code: str, seconds: float = 240, **environment: str | None) -> tuple[str, str]:
    """What a process that runs the code prints, and what it says on stderr."""
    with python(code, **environment) as process:
        return process.communicate(timeout=seconds)
