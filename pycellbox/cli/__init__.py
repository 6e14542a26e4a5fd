"""The command line: ``demo``, ``fit``, ``predict``, ``evaluate``, ``run`` and ``julia``."""

from __future__ import annotations

from pycellbox.cli.program import main

__all__ = ["main"]
