"""Commands of `pycellbox` that end with an error."""

from __future__ import annotations

import pytest

from pycellbox.cli import main


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line a command ends with."""
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("pycellbox: error: ")
    return captured.err
