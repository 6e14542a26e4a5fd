"""``pycellbox julia install``, ``status`` and ``remove``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycellbox.backends.julia import project as julia_project
from pycellbox.backends.julia.runtime import OPTIONS
from pycellbox.cli import julia_files as files
from pycellbox.errors import BackendError

_BY_HAND = (
    "for a project made by hand without the internet: set JULIA_PKG_OFFLINE=true, end "
    "JULIA_DEPOT_PATH with a colon (on Windows a semicolon) so that Julia's own packages are "
    "found, and name CondaPkg in the project's Project.toml where JULIA_CONDAPKG_BACKEND=Null"
)


def julia(args: argparse.Namespace) -> int:
    """Run ``pycellbox julia install``, ``status`` or ``remove``; the exit code tells readiness."""
    if args.action == "remove":
        return _remove(yes=args.yes)
    return _install() if args.action == "install" else _status()


def _install() -> int:
    if hasattr(sys.stdout, "reconfigure"):  # else our lines come after those of Julia
        sys.stdout.reconfigure(line_buffering=True)
    if given := [name for name in julia_project.GIVEN if julia_project.option(name)]:
        print(f"Nothing is downloaded: the Julia to use is given by {' and '.join(given)}.\n")
        return _status()
    deps, state = _juliapkg()
    with _one_line_errors():
        with contextlib.redirect_stdout(io.StringIO()):
            compat, packages = deps.find_requirements()
        offline, project = bool(state["offline"]), Path(state["project"])
        if offline:
            print(
                "Nothing is downloaded: PYTHON_JULIAPKG_OFFLINE says so. What is there is used.\n"
            )
            if julia_project.absent(project, julia_project.ALWAYS):
                return _status()
        else:
            # juliapkg keeps what a project of the user's has.
            if state["project_is_shared"] and (former := julia_project.former(project)):
                raise BackendError(f"{former}; then run `pycellbox julia install` again.")
            print(_plan(compat, packages, state))
        flags = _compile_flags()
        deps.resolve(julia_args=flags)
        _precompile(str(state["executable"]), project, flags, offline=offline)
    print()
    return _status()


def _plan(compat: Any, packages: list[Any], state: dict[str, Any]) -> str:
    """Say what an installation is going to do, before it does it."""
    names = sorted(package.name for package in packages)
    return (
        f"This installs, for this Python environment:\n"
        f"{'Julia':<12}{_which_julia(compat, state)}\n"
        f"{'packages':<12}{', '.join(names)}, and what they need\n"
        f"{'project':<12}{state['project']}\n"
        f"{'shared':<12}{julia_project.depots()[0]}: the packages' files, for all Julia projects\n"
        "It needs the internet and takes a while. What was downloaded before is kept.\n"
    )


def _which_julia(compat: Any, state: dict[str, Any]) -> str:
    from juliapkg import find_julia

    wanted = f"the newest that fits {compat}"
    if not state["override_executable"] and shutil.which("juliaup"):
        return f"{wanted}, by juliaup"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it warns of a Julia that does not fit
            executable, version = find_julia.find_julia(compat, prefix=state["install"])
    except Exception:  # juliapkg raises nothing narrower for "not found"
        return f"{wanted} is downloaded to {state['install']}"
    if str(executable).startswith(state["install"]):
        return f"{version}, installed before; a newer one is downloaded if {wanted} is newer"
    return f"{version}, which is there: {executable}"


def _compile_flags() -> list[str]:
    """Return the flags juliacall will start Julia with that compiled packages depend on.

    Julia compiles packages again if they were compiled at a lower optimization level or with
    other bounds checks or inlining (`jl_match_cache_flags` in its `staticdata_utils.c`).
    """
    flags = []
    for name in ("OPTIMIZE", "CHECK_BOUNDS", "INLINE"):
        variable = f"PYTHON_JULIACALL_{name}"
        if value := julia_project.option(variable) or OPTIONS.get(variable):
            flags.append(f"--{name.lower().replace('_', '-')}={value}")
    return flags


def _precompile(executable: str, project: Path, flags: list[str], *, offline: bool) -> None:
    print("\nCompiling the packages, so that the first fit starts soon", flush=True)
    # As juliapkg does: PythonCall must take this Python and not look for one of its own.
    environment = {"JULIA_PYTHONCALL_EXE": sys.executable} | dict(os.environ)
    script = "using Pkg; Pkg.precompile()"
    if offline:  # Pkg asks for the registry even then; what is loaded is compiled as well
        environment["JULIA_PKG_OFFLINE"] = "true"
        names = julia_project.wanted()
        gone = julia_project.absent(project, names)
        script = "; ".join(f"import {name}" for name in names if name not in gone)
    command = [executable, *flags, f"--project={project}", "--startup-file=no"]
    subprocess.run([*command, "-e", script], check=True, env=environment)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn what juliapkg, Julia and the network raise into one sentence."""
    again = "run `pycellbox julia install` again to go on: what was downloaded is kept"
    try:
        yield
    except subprocess.CalledProcessError as error:
        raise BackendError(f"Julia ended with an error, which stands above; {again}.") from error
    except OSError as error:
        raise BackendError(
            f"the installation stopped: {error}; {again}, or {julia_project.INSTALL_HINT}."
        ) from error
    except Exception as error:  # juliapkg raises plain exceptions
        raise BackendError(f"the installation stopped: {error}.") from error


def _status() -> int:
    """Print what is ready and what is missing."""
    state = julia_project.readiness()
    lacking = [] if state.ready else [state.missing]
    versions = [f"{name} {files.python_version(name)}" for name in ("juliacall", "juliapkg")]
    lines = [("Python", ", ".join(versions))]
    if state.executable is None:
        lines.append(("Julia", "none yet"))
    else:
        version = julia_project.julia_version(state.executable)
        lines.append(("Julia", f"{version or 'no version'}, {state.executable}"))
        if state.ready and not version:
            lacking.append(f"{state.executable} is not a Julia: it does not say its version")
    if state.project is not None:
        project = Path(state.project)
        lines.append(("project", f"{project} ({files.size(project)})"))
        absent = julia_project.absent(project, julia_project.wanted())
        lines += _packages(project, absent)
    for depot in julia_project.depots():
        sizes = [f"{name} {files.size(depot / name)}" for name in ("packages", "compiled")]
        lines.append(("shared", f"{depot} ({', '.join(sizes)}), for all Julia projects"))
    if given := [name for name in julia_project.GIVEN if julia_project.option(name)]:
        lines.append(("given by", f"{' and '.join(given)}; {_BY_HAND}"))
    auto = "numpy" if lacking else "julia"
    lines += [("auto", f'backend="auto" takes {auto}'), ("ready", "no" if lacking else "yes")]
    lines += [("missing", text) for text in lacking]
    print("\n".join(f"{name:<12}{text}" for name, text in lines))
    if lacking:
        print(f"\nTo use Julia, {julia_project.INSTALL_HINT}.")
    return 1 if lacking else 0


def _packages(project: Path, absent: list[str]) -> list[tuple[str, str]]:
    """Describe the packages that are there and those that are not."""
    found = julia_project.manifest(project)
    texts = [
        f"{name} {found[name].get('version', '')}".strip()
        + (f", from {found[name]['path']}" if "path" in found[name] else "")
        for name in julia_project.wanted()
        if name not in absent
    ]
    lines = [("" if i else "packages", text) for i, text in enumerate(texts)]
    optional = [name for name in absent if name not in julia_project.ALWAYS]
    if texts and optional:
        lines.append(("absent", f"{', '.join(optional)}: what needs them does not work"))
    return lines


def _remove(*, yes: bool) -> int:
    if given := [
        n for n in (*julia_project.GIVEN, "PYTHON_JULIAPKG_PROJECT") if julia_project.option(n)
    ]:
        raise BackendError(
            f"nothing was removed: the Julia project is given by {' and '.join(given)}, and "
            "pycellbox deletes only one of its own; unset this to do so."
        )
    _, state = _juliapkg()
    project, own = Path(state["project"]), Path(state["prefix"])
    # Not own/juliapkg.json, in which users keep wishes of their own.
    candidates = [Path(state["install"]), Path(state["meta"]), project / "Project.toml"]
    candidates += [*sorted(project.glob("Manifest*.toml")), project / "lock.pid"]
    there = [path for path in candidates if path.exists()]
    if not there:
        print(f"Nothing to remove: {project} has no Julia installed by pycellbox.")
        return 0
    print("\n".join(["This is removed:", *(f"  {path} ({files.size(path)})" for path in there)]))
    print("Other Python packages that use Julia in this environment install it again when used.")
    if not yes:
        if not sys.stdin.isatty():
            raise BackendError("nothing was removed; add --yes to remove without being asked.")
        if input("Remove it? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was removed.")
            return 1
    try:
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise BackendError(f"cannot remove {error.filename}: {error.strerror}.") from error
    for folder in (own, project):
        with contextlib.suppress(OSError):  # something of the user's is in it
            folder.rmdir()
    print(
        f"Removed. The packages' files in {julia_project.depots()[0]} are shared by all Julia\n"
        "projects and stay; `using Pkg; Pkg.gc()` in Julia clears what no project uses. If there\n"
        "is no other, the folders packages, compiled and artifacts there can be deleted."
    )
    return 0


def _juliapkg() -> tuple[Any, dict[str, Any]]:
    try:
        from juliapkg import deps, state
    except ImportError as error:
        raise BackendError(
            "the Python package juliapkg is not installed; `pip install juliacall` brings it."
        ) from error
    return deps, state.STATE
