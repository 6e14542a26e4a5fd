"""What takes how much room on this machine, and which versions are there."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path


def python_version(name: str) -> str:
    """Return the version of a Python package, in words if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def size(path: Path) -> str:
    """Return the disk that a file or folder takes, without what links lead to."""
    if not path.exists():
        return "not there"
    total = 0.0
    if path.is_file():
        total = path.stat().st_size
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.lstat(os.path.join(folder, file)).st_size
            except OSError:  # gone meanwhile
                continue
    for unit in ("B", "kB", "MB"):
        if total < 1000:
            return f"{total:.0f} {unit}"
        total /= 1000
    return f"{total:.1f} GB"
