"""``pycellbox julia``, with a juliapkg that downloads nothing and a program that plays Julia."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pycellbox.backends import get_backend, registry
from pycellbox.backends.julia import project as julia_project
from pycellbox.backends.julia import runtime as julia_runtime
from pycellbox.backends.julia.calls import translate
from pycellbox.cli import julia as command
from pycellbox.cli import main
from pycellbox.errors import BackendError, BackendWarning, DivergenceError

deps = pytest.importorskip("juliapkg.deps")
find_julia = pytest.importorskip("juliapkg.find_julia")
STATE = pytest.importorskip("juliapkg.state").STATE

# As the package has it; conftest empties it.
AUTO_ORDER = ("julia",)
ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="the program that plays Julia is a shell script")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with an empty project folder and depot, and no Julia."""
    for name in list(os.environ):
        if name.startswith(("PYTHON_JULIA", "JULIA")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "_xoptions", {})
    depot, project = tmp_path / "depot", tmp_path / "venv" / "julia_env"
    monkeypatch.setenv("JULIA_DEPOT_PATH", str(depot))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    own = project / "pyjuliapkg"
    changes = {
        "override_executable": None,
        "depot": str(depot),
        "project": str(project),
        "project_is_shared": False,
        "prefix": str(own),
        "deps": str(own / "juliapkg.json"),
        "meta": str(own / "meta.json"),
        "install": str(own / "install"),
        "offline": False,
        "resolved": False,
    }
    for key, value in changes.items():
        monkeypatch.setitem(STATE, key, value)
    monkeypatch.setattr(deps, "resolve", lambda **_: pytest.fail("juliapkg was asked to install"))
    return SimpleNamespace(depot=depot, project=project, own=own, calls=tmp_path / "calls")


def fake_julia(path: Path, calls: Path, *, code: int = 0) -> Path:
    """Write a program that tells its version and otherwise writes down how it was called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo "julia version 1.11.3"; exit 0; }\n'
        f'echo "offline=$JULIA_PKG_OFFLINE python=$JULIA_PYTHONCALL_EXE $*" >> "{calls}"\n'
        f"exit {code}\n"
    )
    path.chmod(0o755)
    return path


def fill(project: Path, depot: Path, *, without: tuple[str, ...] = ()) -> None:
    """Write what Julia's Pkg leaves behind."""
    project.mkdir(parents=True, exist_ok=True)
    names = [name for name in julia_project.wanted() if name not in without]
    (project / "Project.toml").write_text("[deps]\n" + "".join(f'{n} = "0"\n' for n in names))
    source = project.parent / "source"
    source.mkdir(exist_ok=True)
    (source / "Project.toml").write_text('name = "PycellboxCore"\n')
    text = 'julia_version = "1.11.3"\nmanifest_format = "2.0"\n'
    versions = {"PycellboxCore": "0.1.0", "PythonCall": metadata.version("juliacall")}
    for name in names:
        text += f'\n[[deps.{name}]]\ndeps = ["Random"]\n'
        text += 'path = "../source"\n' if name == "PycellboxCore" else ""
        text += "" if name == "PycellboxCore" else f'git-tree-sha1 = "{"0" * 40}"\n'
        text += f'version = "{versions.get(name, "2.1.3")}"\nweakdeps = ["X"]\n'
        text += f'\n    [deps.{name}.extensions]\n    version = "no"\n'
        (depot / "packages" / name / "abcde").mkdir(parents=True, exist_ok=True)
    text += '\n[[deps.Random]]\nuuid = "9a3f8284-a2c9-5f02-9a11-845980a1fd5c"\n'
    (project / "Manifest.toml").write_text(text)
    (depot / "compiled").mkdir(exist_ok=True)
    (depot / "compiled" / "x.so").write_bytes(bytes(2_500_000))


def installed(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Path:
    """Bring the machine into the state after an installation by juliapkg."""
    executable = fake_julia(machine.own / "install" / "bin" / "julia", machine.calls)
    fill(machine.project, machine.depot, **how)
    (machine.own / "meta.json").write_text("{}")
    monkeypatch.setattr(deps, "can_skip_resolve", lambda: {"executable": str(executable)})
    return executable


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["julia", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def files_of(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*")}


# ---- readiness


def given(machine, monkeypatch, **how: Any) -> Path:
    """Name a Julia and a project made by hand."""
    executable = fake_julia(machine.own / "julia", machine.calls)
    fill(machine.project, machine.depot, **how)
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(executable))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(machine.project))
    return executable


@posix
@pytest.mark.parametrize("how", ["not in the manifest", "without its files", "in a table"])
def test_a_dependency_of_a_dependency_that_is_missing_is_named(machine, monkeypatch, capsys, how):
    given(machine, monkeypatch)
    manifest = machine.project / "Manifest.toml"
    text = manifest.read_text() + '\n[[deps.Near]]\ndeps = ["Random", "Far"]\n'
    if how == "without its files":
        text += f'\n[[deps.Far]]\ngit-tree-sha1 = "{"0" * 40}"\n'
    if how == "in a table":
        text = text.replace('deps = ["Random", "Far"]', '[deps.Near.deps]\n    Far = "0"')
    manifest.write_text(
        text.replace("[[deps.PycellboxCore]]\ndeps = [", '[[deps.PycellboxCore]]\ndeps = ["Near", ')
    )
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert "lacks the package(s) 'Far', which others in it need" in out
    assert "ready       no" in out
    with pytest.raises(BackendError, match="Far"):
        get_backend("julia")


@posix
@pytest.mark.parametrize("answer", ["", "Python 3.11.7", "julia versions 1.10 and 1.11"])
def test_a_program_that_is_no_julia_is_named(machine, monkeypatch, capsys, answer):
    executable = given(machine, monkeypatch)
    executable.write_text(f'#!/bin/sh\necho "{answer}"\n')
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert f"{executable} is not a Julia" in out
    monkeypatch.delitem(sys.modules, "juliacall", raising=False)
    with pytest.raises(BackendError, match="is not a Julia"):
        get_backend("julia")


@posix
def test_an_empty_depot_is_said_to_take_its_time(machine, monkeypatch, caplog):
    given(machine, monkeypatch)
    julia_runtime._check(julia_project.readiness())
    assert "compiles PycellboxCore and the packages that it needs" in caplog.text
    assert "minute" in caplog.text
    caplog.clear()
    compiled = machine.depot / "compiled" / "v1.11" / "PycellboxCore"
    compiled.mkdir(parents=True)
    (compiled / "abc.ji").touch()
    julia_runtime._check(julia_project.readiness())
    assert not caplog.text


@posix
def test_status_says_what_a_project_made_by_hand_needs(machine, monkeypatch, capsys):
    given(machine, monkeypatch)
    _, out, _ = run(capsys, "status")
    for word in ("CondaPkg", "JULIA_CONDAPKG_BACKEND=Null", "colon", "JULIA_PKG_OFFLINE"):
        assert word in out


def rename_to_former(project: Path) -> None:
    """Make of a project one that an earlier pycellbox was installed into."""
    text = (project / "Manifest.toml").read_text()
    text = text.replace("PycellboxCore", "CellBox")
    entry = '[[deps.CellBox]]\nuuid = "d18f08a0-de83-4bfb-bf96-f2ecfb276284"\n'
    (project / "Manifest.toml").write_text(text.replace("[[deps.CellBox]]\n", entry))


@posix
def test_a_project_of_an_earlier_pycellbox_is_said_how_to_renew(machine, monkeypatch, capsys):
    given(machine, monkeypatch)
    rename_to_former(machine.project)
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert (
        "has the Julia package CellBox of an earlier pycellbox, which is PycellboxCore now" in out
    )
    assert f'Pkg.rm("CellBox"); Pkg.develop(path="{ROOT.as_posix()}/julia")' in out
    # Somebody else's package of that name is left alone.
    manifest = machine.project / "Manifest.toml"
    manifest.write_text(manifest.read_text().replace("d18f08a0", "11111111"))
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert "does not have the package PycellboxCore" in out
    assert "Pkg.rm" not in out


@posix
def test_install_renews_a_project_of_ours_and_asks_the_user_to_renew_theirs(
    machine, monkeypatch, capsys
):
    installed(machine, monkeypatch)
    rename_to_former(machine.project)
    monkeypatch.setattr(deps, "can_skip_resolve", lambda: False)
    assert "was installed for another pycellbox" in run(capsys, "status")[1]
    monkeypatch.setitem(STATE, "project_is_shared", True)
    code, _, err = run(capsys, "install")  # juliapkg is not asked
    assert code == 2
    assert 'Pkg.rm("CellBox"); then run `pycellbox julia install` again' in err
    monkeypatch.setitem(STATE, "project_is_shared", False)
    monkeypatch.setattr(deps, "resolve", lambda julia_args: bool(installed(machine, monkeypatch)))
    monkeypatch.setitem(STATE, "executable", str(machine.own / "install" / "bin" / "julia"))
    assert run(capsys, "install")[0] == 0


def test_auto_says_why_the_julia_that_the_user_named_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_AUTO", AUTO_ORDER)
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(tmp_path / "julia"))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    registry._choose.cache_clear()
    with pytest.warns(BackendWarning, match="takes numpy: julia cannot be used: .*executable"):
        assert get_backend("auto").name == "numpy"
    registry._choose.cache_clear()


def test_auto_is_silent_where_nobody_asked_for_julia(monkeypatch, recwarn, caplog):
    monkeypatch.setattr(registry, "_AUTO", AUTO_ORDER)
    registry._choose.cache_clear()
    with caplog.at_level("INFO", "pycellbox"):
        assert get_backend("auto").name == "numpy"
    assert not recwarn
    assert "have not been installed" in caplog.text  # the reason, and not another one
    registry._choose.cache_clear()


ERROR = """LoadError: InitError: could not load library "libX"
Stacktrace:
  [1] error(s::String)
    @ Base ./error.jl:35
caused by: SystemError: opening file "/a/b": No such file or directory
"""


def test_the_useful_lines_of_an_error_of_julia_are_kept():
    text = str(translate(RuntimeError(ERROR)))
    assert "could not load library" in text
    assert "No such file or directory" in text
    assert "Stacktrace" not in text


@pytest.mark.parametrize(
    "text",
    [
        "DivergenceError: too large\nStacktrace:\n",
        "PycellboxCore.DivergenceError: too large",
        "TaskFailedException\n\n    nested task error: DivergenceError: too large\n    Stacktrace",
    ],
)
def test_an_error_of_ours_is_recognized_wherever_it_was_raised(text):
    error = translate(RuntimeError(text))
    assert isinstance(error, DivergenceError)
    assert str(error) == "too large"


# ---- status


def test_status_of_a_bare_machine(machine, tmp_path, capsys):
    code, out, err = run(capsys, "status")
    assert code == 1
    assert err == ""
    assert "Julia       none yet" in out
    assert "have not been installed" in out
    assert 'backend="auto" takes numpy' in out
    assert "pycellbox julia install" in out
    assert "PYTHON_JULIACALL_EXE" in out
    assert not list(tmp_path.iterdir())


@posix
def test_status_of_a_ready_machine_writes_nothing(machine, monkeypatch, tmp_path, capsys):
    executable = installed(machine, monkeypatch)
    before = files_of(tmp_path)
    code, out, _ = run(capsys, "status")
    assert code == 0
    assert f"1.11.3, {executable}" in out
    assert "PycellboxCore 0.1.0, from ../source" in out
    assert "OrdinaryDiffEqTsit5 2.1.3" in out
    assert f"{machine.depot} (packages 0 B, compiled 2 MB)" in out
    assert 'backend="auto" takes julia' in out
    assert "ready       yes" in out
    assert "missing" not in out
    assert files_of(tmp_path) == before


@posix
def test_status_names_what_is_absent(machine, monkeypatch, capsys):
    installed(machine, monkeypatch, without=("Zygote",))
    code, out, _ = run(capsys, "status")
    assert code == 0
    assert "absent      Zygote: what needs" in out
    installed(machine, monkeypatch, without=("PythonCall",))
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert "has no PythonCall" in out
    assert "takes numpy" in out


@posix
def test_status_sees_that_a_listed_package_was_never_downloaded(machine, monkeypatch, capsys):
    installed(machine, monkeypatch)
    (machine.depot / "packages" / "PythonCall" / "abcde").rmdir()
    (machine.depot / "packages" / "PythonCall").rmdir()
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert "lacks the package(s) 'PythonCall'" in out


@posix
def test_status_says_how_to_start_from_a_read_only_project(machine, monkeypatch, capsys):
    executable = installed(machine, monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK)
    code, out, _ = run(capsys, "status")
    assert code == 1
    assert f"PYTHON_JULIACALL_EXE={executable}" in out
    assert f"PYTHON_JULIACALL_PROJECT={machine.project}" in out
    assert out.count("is read-only") == 1
    assert not julia_project.readiness().ready  # so that backend="auto" takes NumPy
    # and with these the same folder will do
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(executable))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(machine.project))
    assert run(capsys, "status")[0] == 0


def test_the_first_depot_is_the_one_julia_writes_to(monkeypatch, tmp_path):
    usual = Path.home() / ".julia"
    monkeypatch.setenv("JULIA_DEPOT_PATH", os.pathsep.join(["", str(tmp_path)]))
    assert julia_project.depots() == [usual, tmp_path]
    monkeypatch.delenv("JULIA_DEPOT_PATH")
    assert julia_project.depots() == [usual]


# ---- install


@posix
def test_install_says_what_it_does_resolves_compiles_and_ends_with_status(
    machine, monkeypatch, capfd
):
    asked = {}

    def resolve(julia_args: list[str]) -> bool:
        asked["flags"] = julia_args
        print("[juliapkg] Downloading Julia")
        STATE["executable"] = str(installed(machine, monkeypatch))
        return True

    monkeypatch.setattr(deps, "resolve", resolve)
    assert main(["julia", "install"]) == 0
    out = capfd.readouterr().out
    for text in ("is downloaded to", str(machine.own / "install"), "OrdinaryDiffEqTsit5, "):
        assert text in out.split("[juliapkg]")[0]
    assert out.index("This installs") < out.index("[juliapkg]") < out.index("Compiling")
    assert out.index("Compiling") < out.index("ready       yes")
    call = machine.calls.read_text()
    assert "using Pkg; Pkg.precompile()" in call
    assert f"--project={machine.project}" in call
    assert f"offline= python={sys.executable}" in call
    assert asked["flags"] == []


@posix
def test_install_compiles_with_the_flags_of_the_session(machine, monkeypatch, capfd):
    """Packages compiled at less than the level of the session would be compiled again in it."""
    asked = {}

    def resolve(julia_args: list[str]) -> bool:
        asked["flags"] = julia_args
        STATE["executable"] = str(installed(machine, monkeypatch))
        return True

    monkeypatch.setattr(deps, "resolve", resolve)
    monkeypatch.setenv("PYTHON_JULIACALL_OPTIMIZE", "3")
    assert main(["julia", "install"]) == 0
    assert asked["flags"] == ["--optimize=3"]
    assert "--optimize=3" in machine.calls.read_text()


@posix
def test_install_compiles_for_the_options_the_user_has_set(machine, monkeypatch):
    monkeypatch.setenv("PYTHON_JULIACALL_OPTIMIZE", "2")
    monkeypatch.setattr(sys, "_xoptions", {"juliacall-check-bounds": "yes"})
    assert command._compile_flags() == ["--optimize=2", "--check-bounds=yes"]


@posix
@pytest.mark.parametrize("where", ["path", "prefix", "juliaup"])
def test_plan_names_the_julia_that_will_be_used(where, machine, monkeypatch, tmp_path):
    from juliapkg.compat import Compat

    folder = machine.own / "install" / "bin" if where == "prefix" else tmp_path / "bin"
    fake_julia(folder / "julia", machine.calls)
    if where == "juliaup":
        fake_julia(folder / "juliaup", machine.calls)
    text = command._which_julia(Compat.parse("^1.10"), STATE)
    expected = {
        "path": f"1.11.3, which is there: {folder / 'julia'}",
        "prefix": "1.11.3, installed before",
        "juliaup": "by juliaup",
    }
    assert expected[where] in text
    assert "is downloaded to" in command._which_julia(Compat.parse("=1.10.9"), STATE) or (
        where == "juliaup"
    )


def test_install_downloads_nothing_where_julia_is_given(machine, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(tmp_path / "absent"))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    code, out, _ = run(capsys, "install")
    assert code == 1
    assert out.startswith("Nothing is downloaded: the Julia to use is given by PYTHON_JULIACALL_E")
    assert "is not an executable" in out


def test_offline_install_without_packages_asks_juliapkg_for_nothing(machine, monkeypatch, capsys):
    monkeypatch.setitem(STATE, "offline", True)
    code, out, _ = run(capsys, "install")
    assert code == 1
    assert out.startswith("Nothing is downloaded: PYTHON_JULIAPKG_OFFLINE")
    assert "ready       no" in out


@posix
@pytest.mark.parametrize("without", [(), ("Zygote",)])
def test_offline_install_uses_what_is_there(without, machine, monkeypatch, capfd):
    executable = installed(machine, monkeypatch, without=without)
    monkeypatch.setitem(STATE, "offline", True)
    monkeypatch.setitem(STATE, "executable", str(executable))
    monkeypatch.setattr(deps, "resolve", lambda julia_args: True)
    assert main(["julia", "install"]) == 0
    assert "Nothing is downloaded" in capfd.readouterr().out
    # With Pkg, or with an absent package, it would go and ask the registry.
    called = machine.calls.read_text()
    assert "offline=true" in called
    assert "import Optimisers" in called
    assert ("import Zygote" in called) == (not without)
    assert "Pkg" not in called


@posix
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError("Name or service not known"), "Name or service not known; run `pycellbox julia"),
        (PermissionError(13, "Permission denied", "/x"), "Permission denied: '/x'"),
        (Exception("could not find Julia\n^1.10"), "could not find Julia ^1.10"),
    ],
)
def test_a_failed_installation_is_told_in_one_line(failure, said, machine, monkeypatch, capsys):
    def resolve(**_: Any) -> bool:
        raise failure

    monkeypatch.setattr(deps, "resolve", resolve)
    code, _, err = run(capsys, "install")
    assert code == 2
    assert err.startswith("pycellbox: error: the installation stopped: ")
    assert said in err
    assert err.count("\n") == 1


@posix
def test_packages_that_do_not_compile_are_told_in_one_line(machine, monkeypatch, capsys):
    executable = fake_julia(machine.own / "julia", machine.calls, code=3)
    monkeypatch.setattr(deps, "resolve", lambda julia_args: True)
    monkeypatch.setitem(STATE, "executable", str(executable))
    code, _, err = run(capsys, "install")
    assert code == 2
    assert "Julia ended with an error, which stands above; run `pycellbox julia install`" in err
    assert err.count("\n") == 1


# ---- remove


@posix
def test_remove_deletes_what_was_installed_and_leaves_the_depot(machine, monkeypatch, capsys):
    installed(machine, monkeypatch)
    depot = files_of(machine.depot)
    code, out, _ = run(capsys, "remove", "--yes")
    assert code == 0
    assert not machine.project.exists()
    assert files_of(machine.depot) == depot
    assert str(machine.depot) in out
    assert "Pkg.gc()" in out
    code, out, _ = run(capsys, "remove")
    assert code == 0
    assert out.startswith("Nothing to remove")


@posix
def test_remove_keeps_what_others_put_there(machine, monkeypatch, capsys):
    installed(machine, monkeypatch)
    kept = {machine.own / "juliapkg.json", machine.project / "notes.txt"}
    for path in kept:
        path.write_text("{}")
    assert run(capsys, "remove", "--yes")[0] == 0
    assert {path for path in machine.project.rglob("*") if path.is_file()} == kept


@posix
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("no", 1), ("", 1)])
def test_remove_asks_on_a_terminal(answer, code, machine, monkeypatch, capsys):
    installed(machine, monkeypatch)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert run(capsys, "remove")[0] == code
    assert machine.project.exists() == bool(code)


@posix
def test_remove_does_not_delete_unasked(machine, monkeypatch, capsys):
    installed(machine, monkeypatch)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    code, _, err = run(capsys, "remove")
    assert code == 2
    assert "--yes" in err
    assert machine.project.exists()


@posix
@pytest.mark.parametrize(
    "variable",
    ["PYTHON_JULIAPKG_PROJECT", "PYTHON_JULIACALL_PROJECT", "PYTHON_JULIACALL_EXE"],
)
def test_remove_leaves_a_given_project_alone(variable, machine, monkeypatch, capsys):
    installed(machine, monkeypatch)
    before = files_of(machine.project)
    monkeypatch.setenv(variable, str(machine.project))
    code, _, err = run(capsys, "remove", "--yes")
    assert code == 2
    assert variable in err
    assert files_of(machine.project) == before


# ---- help


@pytest.mark.parametrize("words", [["--help"], ["install", "--help"], ["remove", "--help"]])
def test_help(words, capsys):
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "Julia" in out


def test_an_action_is_needed(capsys):
    code, _, err = run(capsys)
    assert code == 2
    assert err.count("\n") == 1


def test_julia_stands_in_the_help_of_the_program(capsys):
    assert main(["--help"]) == 0
    assert "install Julia" in capsys.readouterr().out
