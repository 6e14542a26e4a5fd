"""The built wheel and source distribution: what is in them, and that juliapkg finds Julia there."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# What only a checkout has: tests run from an installed package have nothing to build.
pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="needs the project's source"
)

# Asks juliapkg what all packages want, with sys.path as in an environment that has `argv[1]` as
# its site-packages. Started with -S, lest this environment's own pycellbox is found as well.
PROBE = """
import contextlib, io, json, site, sys
site.addsitedir(sys.argv[1])
sys.path += sys.argv[2:]
from juliapkg import deps
with contextlib.redirect_stdout(io.StringIO()):
    compat, packages = deps.find_requirements()
print(json.dumps({
    "files": deps.deps_files(),
    "julia": str(compat),
    "packages": {package.name: package.dict() for package in packages},
}))
"""


def toml(text: str) -> Any:
    return pytest.importorskip("tomlkit").parse(text).unwrap()


UUID = toml((ROOT / "julia" / "Project.toml").read_text(encoding="utf-8"))["uuid"]


def build(target: str, folder: Path) -> Path:
    """Build without the network."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def install(wheel: Path, folder: Path) -> Path:
    pytest.importorskip("pip")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
    return folder


def wishes(site: Path, tmp_path: Path) -> Any:
    """What juliapkg reads where `site` is the site-packages."""
    folders = []
    for name in ("juliapkg", "juliacall", "semver", "filelock", "tomlkit"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            pytest.skip(f"the Python package {name} is not installed")
        folders.append(str(Path(spec.origin).parents[1]))
    out = subprocess.run(
        [sys.executable, "-S", "-c", PROBE, str(site), *dict.fromkeys(folders)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
    )
    return json.loads(out.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("site"))


def test_wheel_has_all_that_is_needed_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pycellbox/py.typed", "pycellbox/juliapkg.json", "pycellbox/cli/julia.py"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pycellbox"}
    for name in names:
        assert not {"tests", "test", "benchmarks", "benchmark"} & set(name.split("/")), name
        assert "Manifest" not in name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_every_julia_source_is_shipped(kind, wheel, sdist):
    sources = [ROOT / "julia" / "Project.toml"]
    sources += [*(ROOT / "julia" / "src").rglob("*.jl"), *(ROOT / "julia" / "ext").rglob("*.jl")]
    relative = {path.relative_to(ROOT).as_posix() for path in sources}
    if kind == "wheel":
        assert {f"pycellbox/{name}" for name in relative} <= set(zipfile.ZipFile(wheel).namelist())
        return
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    wanted = {"juliapkg.json", "LICENSE", "pycellbox/py.typed", "pyproject.toml", "docs/conf.py"}
    assert relative | wanted <= names
    assert not any("Manifest" in name for name in names)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_datasets_are_shipped_with_licence_and_citation(kind, wheel, sdist):
    folder = ROOT / "pycellbox" / "datasets" / "files"
    files = {path.relative_to(ROOT).as_posix(): path for path in folder.rglob("*.*")}
    licences = {path.relative_to(ROOT).as_posix(): path for path in folder.rglob("LICENSE")}
    assert len(licences) == len(list(folder.iterdir()))  # one for each dataset
    assert any("doi.org" in path.read_text(encoding="utf-8") for path in files.values())
    for name, path in (files | licences).items():
        if kind == "wheel":
            shipped = zipfile.ZipFile(wheel).read(name)
        else:
            with tarfile.open(sdist) as archive:
                member = next(m for m in archive.getmembers() if m.name.endswith("/" + name))
                shipped = archive.extractfile(member).read()
        assert shipped == path.read_bytes(), name
    names = zipfile.ZipFile(wheel).namelist()
    assert all(any(n.endswith(f"licenses/{licence}") for n in names) for licence in licences)


@pytest.mark.slow
def test_an_installed_wheel_has_the_melanoma_data(site, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import pycellbox as pcb; "
    code += "print(pcb.__file__, dict(pcb.datasets.melanoma().sizes))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert out.stdout.startswith(str(site))
    assert "{'condition': 89, 'node': 99}" in out.stdout


def test_installed_wheel_resolves_to_its_own_julia(site, tmp_path):
    wanted = wishes(site, tmp_path)
    assert str(site / "pycellbox" / "juliapkg.json") in wanted["files"]
    cellbox = wanted["packages"]["PycellboxCore"]
    assert Path(cellbox["path"]) == site / "pycellbox" / "julia"
    assert cellbox["dev"] is True
    project = toml((Path(cellbox["path"]) / "Project.toml").read_text(encoding="utf-8"))
    assert project["uuid"] == cellbox["uuid"] == UUID
    assert project["name"] == "PycellboxCore"


def test_checkout_on_the_path_resolves_to_its_own_julia(tmp_path):
    wanted = wishes(ROOT, tmp_path)
    assert str(ROOT / "juliapkg.json") in wanted["files"]
    assert Path(wanted["packages"]["PycellboxCore"]["path"]) == ROOT / "julia"
    assert wanted["packages"]["PycellboxCore"]["uuid"] == UUID


@pytest.mark.slow
def test_editable_install_resolves_to_the_checkout(tmp_path):
    editable = build("wheel:editable", tmp_path / "wheel")
    names = zipfile.ZipFile(editable).namelist()
    assert not [name for name in names if name.startswith("pycellbox/")]
    wanted = wishes(install(editable, tmp_path / "site"), tmp_path)
    assert Path(wanted["packages"]["PycellboxCore"]["path"]) == ROOT / "julia"


def test_wishes_agree_with_the_julia_package():
    """Where both name a package, its uuid is the same and some version fits both."""
    compat = pytest.importorskip("juliapkg.compat").Compat
    ours = json.loads((ROOT / "juliapkg.json").read_text(encoding="utf-8"))
    theirs = toml((ROOT / "julia" / "Project.toml").read_text(encoding="utf-8"))
    uuids = {**theirs.get("deps", {}), **theirs.get("weakdeps", {})}
    assert ours["packages"]["PycellboxCore"]["uuid"] == UUID
    assert compat.parse(ours["julia"]) & compat.parse(theirs["compat"]["julia"])
    for name, wish in ours["packages"].items():
        if name in uuids:
            assert wish["uuid"] == uuids[name], name
        if "version" in wish and name in theirs["compat"]:
            both = compat.parse(wish["version"]) & compat.parse(theirs["compat"][name])
            assert both, name
    for name in theirs.get("weakdeps", {}):
        assert name in ours["packages"], f"{name} would never be installed"


def test_julia_tests_find_every_package_that_they_load():
    """`Pkg.test` sees the dependencies and its target alone, by the uuids of the project."""
    project = toml((ROOT / "julia" / "Project.toml").read_text(encoding="utf-8"))
    wished = json.loads((ROOT / "juliapkg.json").read_text(encoding="utf-8"))["packages"]
    known = {**project["deps"], **project["weakdeps"], **project["extras"]}
    target = set(project["targets"]["test"])
    there = {"PycellboxCore", *project["deps"], *target}
    loaded = set()
    for path in (ROOT / "julia" / "test").rglob("*.jl"):
        for line in re.findall(r"^ *(?:using|import) ([\w, ]+)", path.read_text("utf-8"), re.M):
            loaded |= {name.strip() for name in line.split(",")}
    assert "SciMLSensitivity" in loaded
    assert loaded <= there
    # Solvers known by name are loaded by it, wherever they are.
    algorithms = (ROOT / "julia" / "src" / "sciml.jl").read_text(encoding="utf-8")
    assert set(re.findall(r"=> \(:(\w+), (?:true|false)\)", algorithms)) <= target
    assert set(wished) <= there
    assert target <= set(known)
    for name in target & set(wished):
        assert wished[name]["uuid"] == known[name], name
        assert wished[name]["version"] == project["compat"][name], name


def test_the_oldest_versions_tested_are_the_oldest_allowed():
    def version(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.sub(r"(\.0)+$", "", text).split("."))

    project = toml((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    learn = [text for text in extras["quick"] if text.startswith("scikit-learn")]
    brought = (one for name in ("plot", "parallel", "dask") for one in extras[name])
    wanted = (*project["dependencies"], *brought, *learn)
    allowed = dict(re.match(r"([\w-]+)>=([\d.]+)", text).groups() for text in wanted)
    tested = re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "tests/lowest.txt").read_text(), re.M)
    assert {k: version(v) for k, v in tested} == {k: version(v) for k, v in allowed.items()}
