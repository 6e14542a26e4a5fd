"""The package as it is imported."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pycellbox as pcb
from pycellbox import errors

ROOT = Path(__file__).parents[1]
# What numpy and xarray do not already bring, and what only some uses need.
HEAVY = {
    "scipy",
    "sklearn",
    "matplotlib",
    "h5py",
    "h5netcdf",
    "tqdm",
    "threadpoolctl",
    "juliacall",
    "jax",
    "torch",
}


def test_import_brings_nothing_heavy():
    """Start-up: modules are counted, not seconds, because seconds depend on the machine."""
    code = (
        "import sys, json, numpy, xarray; before = set(sys.modules); import pycellbox;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    new = json.loads(out.stdout)
    ours = [name for name in new if name.split(".")[0] == "pycellbox"]
    assert not {name.split(".")[0] for name in new} & HEAVY
    assert len(new) - len(ours) < 60, sorted(set(new) - set(ours))


def test_everything_public_exists_and_is_documented():
    for name in pcb.__all__:
        thing = getattr(pcb, name)
        assert name == "__version__" or thing.__doc__, name


def test_completion_shows_the_public_names_alone():
    assert set(dir(pcb)) == set(pcb.__all__)
    assert {"Split", "Evaluation", "Network", "Pruned"} <= set(dir(pcb))


def test_package_faces_only_hand_names_on():
    faces = [p for p in (ROOT / "pycellbox").rglob("__init__.py") if p.parent.name != "pycellbox"]
    for face in faces:
        for node in ast.parse(face.read_text()).body:
            assigned = [t.id for t in node.targets] if isinstance(node, ast.Assign) else []
            harmless = isinstance(node, ast.ImportFrom | ast.Expr) or assigned == ["__all__"]
            assert harmless, f"{face}:{node.lineno}"


def test_no_backend_imports_another():
    rooms = [p for p in (ROOT / "pycellbox/backends").iterdir() if (p / "__init__.py").exists()]
    for room in rooms:
        others = tuple(f"pycellbox.backends.{other.name}" for other in rooms if other != room)
        for source in room.rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    assert not node.module.startswith(others), f"{source}:{node.lineno}"


def test_version_stands_once():
    assert f'version = "{pcb.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"version: {pcb.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_warnings_are_one_family_that_points_at_the_users_line():
    with pytest.warns(pcb.PycellboxWarning, match="look") as caught:
        errors.warn("look here", pcb.DataWarning)
    assert caught[0].filename == __file__
    kinds = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Warning)}
    assert all(issubclass(k, pcb.PycellboxWarning) and hasattr(pcb, k.__name__) for k in kinds)
