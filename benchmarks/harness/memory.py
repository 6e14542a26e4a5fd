"""Resident memory of this process."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path


def _status(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(field + ":")]
    return float(found[0]) / 1024 if found else None


def peak() -> float:
    """Largest resident memory since the start, or since `forget_peak`, in MiB."""
    found = _status("VmHWM")
    if found is not None:
        return found
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def now() -> float:
    """Resident memory in MiB; the peak where the system does not tell."""
    found = _status("VmRSS")
    return peak() if found is None else found


def forget_peak() -> bool:
    """Hand free memory back and let the peak start anew; whether the system can do so."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
