"""Rows of results, and the tables made of them."""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Row = dict[str, Any]
PACKAGES = (
    "pycellbox", "numpy", "torch", "torchdiffeq", "jax", "diffrax", "numba", "numexpr", "juliacall",
)  # fmt: skip
COLUMNS = {
    "label": "",
    "gradient_ms": "gradient, ms",
    "gradient_spread": "± quartiles",
    "gradient_multiple": "× limit",
    "gradient_best_multiple": "best × limit",
    "gradient_ratio": "× pycellbox",
    "solve_ms": "solve, ms",
    "solve_multiple": "× limit",
    "first_seconds": "first call, s",
    "mib": "peak, MiB",
    "gradient_error": "error",
    "discrete_error": "discrete error",
}


def machine() -> dict[str, Any]:
    """Say what the numbers depend on besides the programs."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    if len(seconds) < 3:
        return min(seconds), statistics.median(seconds), max(seconds)
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return low, middle, high


def add_ratios(rows: Iterable[Row]) -> None:
    """Time of each row over that of the fastest pycellbox row with Heun's exact gradient."""
    rows = list(rows)
    ours = [
        r["gradient_ms"]
        for r in rows
        if r["contender"].startswith("pycellbox") and r["method"] == "heun" and "gradient_ms" in r
    ]
    for row in rows:
        if ours and "gradient_ms" in row:
            row["gradient_ratio"] = row["gradient_ms"] / min(ours)


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Make a Markdown table of the columns that any row has, numbers in three digits."""
    used = {k: v for k, v in columns.items() if any(r.get(k) is not None for r in rows)}
    lines = [list(used.values()), ["---" if k == "label" else "---:" for k in used]]
    lines += [[shown(row.get(k)) for k in used] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def without(absent: Mapping[str, str]) -> str:
    """Who is missing, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, why in absent.items():
        by_reason.setdefault(why.rstrip("."), []).append(name)
    return " ".join(f"Without {', '.join(names)}: {why}." for why, names in by_reason.items())


def shown(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        digits = max(0, 2 - int(f"{value:e}".split("e")[1])) if value else 0
        return f"{value:.{digits}f}"
    return f"{value:.1e}"


def cut_unfinished(path: Path) -> None:
    """Cut off a last line that a run left unfinished; a file that is not there begins empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.read_bytes() if path.exists() else b""
    path.write_bytes(whole[: whole.rfind(b"\n") + 1])


def read_rows(path: Path, key: Sequence[str]) -> list[Row]:
    """Read the rows of a file, a line for each; of those with the same key, the last."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return list({tuple(row[name] for name in key): row for row in rows}.values())


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(k for row in rows for k in row))
    whole = path.with_suffix(".part")
    with whole.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    whole.replace(path)


def write_json(path: Path, content: object) -> None:
    whole = path.with_suffix(".part")
    whole.write_text(json.dumps(content, indent=1), encoding="utf-8")
    whole.replace(path)
