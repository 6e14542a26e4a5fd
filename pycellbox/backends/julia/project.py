"""What of Julia is on this machine, read from files: nothing is started, written or downloaded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pycellbox.common.labels import listed
from pycellbox.errors import BackendError

INSTALL_HINT = (
    "install it once with `pycellbox julia install` (needs the internet); on a machine without, "
    "prepare the environment elsewhere and set PYTHON_JULIACALL_EXE to its julia and "
    "PYTHON_JULIACALL_PROJECT to its project"
)
NOT_READY = f"the julia backend is not ready: {{}}; {INSTALL_HINT}"
CORE = "PycellboxCore"
"""The Julia package that comes with pycellbox."""
# What Julia cannot start without; everything else is loaded when it is used.
ALWAYS = (CORE, "PythonCall")
# What the package was called before: Julia's Pkg finds nothing to compile for it any more.
_FORMER = ("CellBox", "d18f08a0-de83-4bfb-bf96-f2ecfb276284")
# With both of them the user says which Julia and which project to use.
GIVEN = ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT")


@dataclass(frozen=True)
class Readiness:
    """Whether Julia can be started without a download.

    Attributes
    ----------
    ready : bool
    executable, project : str or None
        What would be started.
    missing : str
        What is missing, in words; empty when ready.
    """

    ready: bool
    executable: str | None
    project: str | None
    missing: str


def readiness() -> Readiness:
    """Look at files only: nothing is started, written or downloaded."""
    executable = option("PYTHON_JULIACALL_EXE")
    project = option("PYTHON_JULIACALL_PROJECT")
    if (executable is None) != (project is None):
        lacking = "PROJECT" if project is None else "EXE"
        return Readiness(
            False, executable, project, f"PYTHON_JULIACALL_{lacking} is not set beside the other"
        )
    if executable is not None and project is not None:
        if shutil.which(executable) is None:
            return Readiness(False, executable, project, f"{executable} is not an executable")
        missing = _lacking(Path(project))
        return Readiness(not missing, executable, project, missing)
    return _juliapkg_readiness()


def _juliapkg_readiness() -> Readiness:
    try:
        from juliapkg import deps, state
    except ImportError:
        return Readiness(False, None, None, "the Python package juliacall is not installed")
    project = str(state.STATE["project"])
    # Compares the installed environment with what all packages ask for; no network.
    meta = deps.can_skip_resolve()
    if not meta:
        missing = "Julia and its packages have not been installed"
        if (Path(project) / "Manifest.toml").is_file():
            missing = f"what is in {project} was installed for another pycellbox, Julia or package"
        return Readiness(False, None, project, missing)
    executable = str(meta["executable"])
    missing = _lacking(Path(project))
    # juliapkg takes a lock in its project at every start.
    if not missing and not os.access(project, os.W_OK):
        missing = (
            "the project folder is read-only; to start from it, set "
            f"PYTHON_JULIACALL_EXE={executable} and PYTHON_JULIACALL_PROJECT={project}"
        )
    return Readiness(not missing, executable, project, missing)


def _lacking(project: Path) -> str:
    """Say what a Julia project lacks for us; empty if nothing."""
    packages = manifest(project)
    if not any(project.glob("*Manifest*.toml")):
        return f"the project {project} has no Manifest.toml"
    if CORE not in packages:
        add = f'Pkg.develop(path="{(_wishes().parent / "julia").as_posix()}")'
        return former(project, add) or f"the project {project} does not have the package {CORE}"
    try:
        wanted = metadata.version("juliacall")
    except metadata.PackageNotFoundError:
        return "the Python package juliacall is not installed"
    found = packages.get("PythonCall", {}).get("version")
    if found != wanted:
        has = "no PythonCall" if found is None else f"PythonCall {found}"
        return f"the project {project} has {has}, but juliacall {wanted} needs PythonCall {wanted}"
    gone = _incomplete(project, packages)
    if gone:
        return f"the project {project} lacks the package(s) {listed(gone)}, which others in it need"
    return ""


def former(project: Path, then: str = "") -> str:
    """Say how to take out the package of an earlier pycellbox; empty where there is none."""
    name, uuid = _FORMER
    if manifest(project).get(name, {}).get("uuid") != uuid:
        return ""
    steps = "; ".join(filter(None, ["using Pkg", f'Pkg.rm("{name}")', then]))
    return (
        f"the project {project} has the Julia package {name} of an earlier pycellbox, which is "
        f"{CORE} now; in a Julia started with --project={project}, enter: {steps}"
    )


def _incomplete(project: Path, packages: dict[str, dict[str, str]]) -> list[str]:
    """Return what PycellboxCore and PythonCall need, directly or not, and is not there."""
    seen, left = set(ALWAYS), list(ALWAYS)
    while left:
        for name in packages.get(left.pop(), {}).get("deps", "").split():
            if name not in seen:
                seen.add(name)
                left.append(name)
    return sorted(name for name in seen if not _is_there(name, packages, project))


def _is_there(name: str, packages: dict[str, dict[str, str]], project: Path) -> bool:
    entry = packages.get(name)
    if entry is None:
        return False
    # What has neither a path nor a tree comes with Julia.
    with_julia = "git-tree-sha1" not in entry and "path" not in entry
    return with_julia or _has_files(name, entry, project)


def option(variable: str) -> str | None:
    """Read an option of juliacall or juliapkg as they do: from ``-X``, else the environment."""
    xoption = variable.removeprefix("PYTHON_").lower().replace("_", "-")
    value = sys._xoptions.get(xoption, os.environ.get(variable))
    return value if isinstance(value, str) and value else None


def wanted() -> tuple[str, ...]:
    """Return the names of the packages that belong to a whole installation.

    Raises
    ------
    BackendError
        ``juliapkg.json`` is in neither of its places.
    """
    names = json.loads(_wishes().read_text(encoding="utf-8"))["packages"]
    return (*ALWAYS, *(name for name in names if name not in ALWAYS))


def _wishes() -> Path:
    package = Path(__file__).parents[2]
    for folder in (package, package.parent):  # a wheel, a checkout
        if (file := folder / "juliapkg.json").is_file():
            return file
    raise BackendError("this copy of pycellbox has no juliapkg.json; install pycellbox again.")


def julia_version(executable: str) -> str:
    """Ask Julia for its version, for which it loads and writes nothing; "" if it is no Julia."""
    try:
        answer = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    found = re.fullmatch(r"julia version (\S+)", answer.stdout.strip())
    return found[1] if found else ""


def is_compiled(version: str) -> bool:
    """Whether a depot has the compiled package for a version of Julia."""
    folder = "v" + ".".join(version.split(".")[:2])
    return any(any((d / "compiled" / folder / CORE).glob("*.ji")) for d in depots())


def manifest(project: Path) -> dict[str, dict[str, str]]:
    """Read the packages of a Julia project, with the version and path of each.

    By hand, because Python reads TOML only from 3.11 on; the lines are written by Julia's Pkg.
    """
    files = [project / "Manifest.toml", *sorted(project.glob("*Manifest*.toml"))]
    text = next((_read(file) for file in files if file.is_file()), "")
    packages: dict[str, dict[str, str]] = {}
    entry: dict[str, str] = {}
    of: dict[str, str] = {}
    listing = False  # the dependencies of a package, where they stand in a table of their own
    for line in text.splitlines():
        if header := re.match(r"\[\[deps\.(.+)\]\]", line):
            entry, listing = packages.setdefault(header[1], {}), False
        elif header := re.match(r"\s*\[deps\.(.+)\.deps\]", line):
            entry, of = {}, packages.setdefault(header[1], {})
            listing = True
        elif line.lstrip().startswith("["):  # a table of its extensions or weak dependencies
            entry, listing = {}, False
        elif listing and (name := re.match(r"\s*(\w+) = ", line)):
            of["deps"] = f"{of.get('deps', '')} {name[1]}"
        elif pair := re.match(r'(version|path|uuid|git-tree-sha1) = "(.*)"', line):
            entry[pair[1]] = pair[2].replace("\\\\", "\\")
        elif names := re.match(r"deps = \[(.*)\]", line):
            entry["deps"] = " ".join(re.findall(r'"([^"]+)"', names[1]))
    if re.search(rf'^name = "{CORE}"', _read(project / "Project.toml"), re.MULTILINE):
        packages[CORE] = {"path": str(project)}
    return packages


def absent(project: Path, names: tuple[str, ...]) -> list[str]:
    """Return those of the packages that the project or the depots do not have."""
    found = manifest(project)
    there = {n for n in names if n in found and _has_files(n, found[n], project)}
    return [name for name in names if name not in there]


def _has_files(name: str, entry: dict[str, str], project: Path) -> bool:
    if path := entry.get("path"):
        return (project / path / "Project.toml").is_file()
    return any((depot / "packages" / name).is_dir() for depot in depots())


def depots() -> list[Path]:
    """Return the folders in which Julia keeps packages; the first is the one it writes to."""
    own = Path.home() / ".julia"
    entries = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)
    # An empty entry stands for the usual place.
    return list(dict.fromkeys(Path(entry).expanduser() if entry else own for entry in entries))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
