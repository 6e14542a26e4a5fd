"""What of Julia is on this machine, told from files: nothing is written or downloaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pycellbox
from pycellbox.errors import BackendError

# What Julia cannot start without; everything else is loaded when it is used.
ALWAYS = ("CellBox", "PythonCall")


def option(variable: str) -> str | None:
    """Read an option of juliacall or juliapkg as they do: from ``-X``, else the environment."""
    xoption = variable.removeprefix("PYTHON_").lower().replace("_", "-")
    value = sys._xoptions.get(xoption, os.environ.get(variable))
    return value if isinstance(value, str) and value else None


def python_version(name: str) -> str:
    """Return the version of a Python package, in words if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def julia_version(executable: str) -> str:
    """Ask Julia for its version; it loads and writes nothing for that."""
    try:
        answer = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "of unknown version"
    return answer.stdout.strip().removeprefix("julia version ")


def wanted() -> tuple[str, ...]:
    """Return the names of the packages that belong to a whole installation.

    Raises
    ------
    BackendError
        ``juliapkg.json`` is in neither of its places.
    """
    package = Path(pycellbox.__file__).parent
    for folder in (package, package.parent):  # a wheel, a checkout
        try:
            text = (folder / "juliapkg.json").read_text(encoding="utf-8")
        except OSError:
            continue
        return (*ALWAYS, *(name for name in json.loads(text)["packages"] if name not in ALWAYS))
    raise BackendError("this copy of pycellbox has no juliapkg.json; install pycellbox again.")


def manifest(project: Path) -> dict[str, dict[str, str]]:
    """Read the packages of a Julia project, with the version and path of each.

    By hand, because Python reads TOML only from 3.11 on; the lines are written by Julia's Pkg.
    """
    files = [project / "Manifest.toml", *sorted(project.glob("*Manifest*.toml"))]
    text = next((_read(file) for file in files if file.is_file()), "")
    packages: dict[str, dict[str, str]] = {}
    entry: dict[str, str] = {}
    for line in text.splitlines():
        if header := re.match(r"\[\[deps\.(.+)\]\]", line):
            entry = packages.setdefault(header[1], {})
        elif line.lstrip().startswith("["):  # a table of its extensions or weak dependencies
            entry = {}
        elif pair := re.match(r'(version|path) = "(.*)"', line):
            entry[pair[1]] = pair[2].replace("\\\\", "\\")
    if re.search(r'^name = "CellBox"', _read(project / "Project.toml"), re.MULTILINE):
        packages["CellBox"] = {"path": str(project)}
    return packages


def absent(project: Path, names: tuple[str, ...]) -> list[str]:
    """Return those of the packages that the project or the depots do not have."""
    found = manifest(project)
    return [name for name in names if name not in found or not _has_files(name, found, project)]


def _has_files(name: str, found: dict[str, dict[str, str]], project: Path) -> bool:
    if path := found[name].get("path"):
        return (project / path / "Project.toml").is_file()
    return any((depot / "packages" / name).is_dir() for depot in depots())


def depots() -> list[Path]:
    """Return the folders in which Julia keeps packages; the first is the one it writes to."""
    own = Path.home() / ".julia"
    entries = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)
    # An empty entry stands for the usual place.
    return list(dict.fromkeys(Path(entry).expanduser() if entry else own for entry in entries))


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


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
