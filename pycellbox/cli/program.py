"""From the words of a command line to its exit code."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pycellbox.cli.parser import build_parser
from pycellbox.common import interrupts, starting
from pycellbox.errors import PycellboxError, PycellboxWarning, once

#: Exit codes. 2 is also argparse's for a wrong option; 130 and 143 are the shell's for Ctrl-C and
#: SIGTERM.
DONE, STOPPED_EARLY, ERROR, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``pycellbox``; by default those the program was started with.

    Returns
    -------
    int
        Exit code: 0 done; 1 the fit stopped early, what it reached is saved, or Julia is not ready;
        2 an error, told in one line on stderr; 130 interrupted, 143 terminated: a fit that had
        begun is saved.
    """
    with interrupts.terminable() as terminated:
        code = _run(argv, terminated)
    starting.begin()  # what is left is the end of the process, or of a test
    return TERMINATED if terminated and code == INTERRUPTED else code


def _run(argv: Sequence[str] | None, terminated: list[int]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Greek letters must not end a run on old consoles
            stream.reconfigure(errors="replace")
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:  # --help, --version, or a wrong option
        return end.code if isinstance(end.code, int) else ERROR
    if arguments.command is None:
        parser.print_help()
        return DONE
    try:
        command = _command(arguments.command)
        starting.done()
        with _warnings_in_one_line(), once():
            code = command(arguments)
        sys.stdout.flush()  # here, so that a closed pipe is met below
        return code
    except (PycellboxError, PycellboxWarning) as error:  # a warning under python -W error
        print("pycellbox: error:", " ".join(str(error).split()), file=sys.stderr)
        return ERROR
    except KeyboardInterrupt as interrupt:
        starting.begin()
        where = f" {interrupt}" if interrupt.args else ""
        how = "terminated" if terminated else "interrupted"
        print(f"pycellbox: {how}{where}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED_EARLY


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print pycellbox's warnings as its errors are, and those of other libraries as Python does."""
    with warnings.catch_warnings():
        otherwise = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, PycellboxWarning):
                print("pycellbox: warning:", " ".join(str(message).split()), file=sys.stderr)
            else:
                otherwise(message, category, *rest, **more)

        warnings.showwarning = show
        yield


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Import a command; only now, so that help is quick."""
    if name == "demo":
        from pycellbox.cli.demo import demo

        return demo
    if name == "ensemble":
        from pycellbox.cli.ensemble import ensemble

        return ensemble
    if name == "julia":
        from pycellbox.cli.julia import julia

        return julia
    if name == "run":
        from pycellbox.cli.run import run

        return run
    from pycellbox.cli import commands

    chosen: Callable[[argparse.Namespace], int] = getattr(commands, name)
    return chosen
