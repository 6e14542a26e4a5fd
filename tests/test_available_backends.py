"""Which backends can be used now, and what is said of the others."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

import pycellbox as pcb
from pycellbox.backends import BackendName, forks, get_backend, registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had run yet in this process, nor in the one it was forked from."""
    monkeypatch.setattr(forks, "_running", set())
    monkeypatch.setattr(forks, "_inherited", set())


def test_every_name_has_a_text_that_is_empty_for_numpy() -> None:
    found = pcb.available_backends()
    assert {"auto", *found} == set(get_args(BackendName))
    assert found["numpy"] == ""
    assert all(isinstance(text, str) for text in found.values())
    found["numpy"] = "changed"
    assert pcb.available_backends()["numpy"] == ""


def test_nothing_is_imported_or_started_for_it() -> None:
    code = """
import os, subprocess, sys
def fail(*args, **options): raise AssertionError("was started")
subprocess.Popen = os.posix_spawn = fail
import pycellbox
pycellbox.available_backends()
heavy = {"jax", "jaxlib", "diffrax", "juliacall"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def lacking(name: str) -> object:
    find = util.find_spec
    return lambda asked: None if asked == name else find(asked)


def folder(asked: str) -> object:
    """What Python finds where a folder has the name: a namespace package."""
    return SimpleNamespace(loader=None)


@pytest.mark.parametrize(
    ("find", "version", "words"),
    [
        (lacking("jax"), "9.9", "jax is not installed"),
        (lacking("jaxlib"), "9.9", "jaxlib is not installed"),
        (folder, "9.9", "jax is not installed"),
        (util.find_spec, "0.6.1", "0.6.1 is older than 0.6.2"),
        (util.find_spec, "0.5.3.dev20250401", "is older than 0.6.2"),
    ],
)
def test_a_jax_that_cannot_be_used_is_said_alike_by_all(
    find: object, version: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if words != "jax is not installed":
        pytest.importorskip("jax")
    monkeypatch.setattr(util, "find_spec", find)
    monkeypatch.setattr(metadata, "version", lambda name: version)
    why = pcb.available_backends()["jax"]
    assert words in why
    assert 'pip install "pycellbox[jax]"' in why
    with pytest.raises(pcb.BackendError) as refused:
        get_backend("jax")
    assert str(refused.value) == f"{why}."


@pytest.mark.parametrize("version", [registry.OLDEST_JAX, "0.6.10", "0.10.0", "1.0rc1"])
def test_a_later_jax_is_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: SimpleNamespace(loader=object()))
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert pcb.available_backends()["jax"] == ""


def test_a_checkout_of_jax_without_a_version_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(util, "find_spec", lambda name: SimpleNamespace(loader=object()))
    monkeypatch.setattr(metadata, "version", unknown)
    assert pcb.available_backends()["jax"] == ""


def test_the_oldest_jax_is_the_one_of_the_extra() -> None:
    assert f'jax = ["jax>={registry.OLDEST_JAX}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_a_jax_that_is_there_loads() -> None:
    pytest.importorskip("jax")
    assert pcb.available_backends()["jax"] == ""
    assert get_backend("jax").name == "jax"


def test_a_julia_that_cannot_be_used_is_said_alike_by_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "_xoptions", {})
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(tmp_path / "julia"))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    why = pcb.available_backends()["julia"]
    assert f"{tmp_path / 'julia'} is not an executable" in why
    assert "pycellbox julia install" in why
    from pycellbox.backends.julia import project, runtime

    with pytest.raises(pcb.BackendError) as refused:
        runtime._check(project.readiness())
    assert str(refused.value) == f"{why}."


@pytest.mark.parametrize(("name", "runtime"), [("julia", "Julia"), ("jax", "JAX")])
def test_what_runs_can_be_used_and_not_in_a_forked_process(
    name: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(util, "find_spec", lambda asked: pytest.fail("it runs: why look?"))
    forks.started(runtime)
    monkeypatch.setattr(registry, "_BACKENDS", {name: registry._BACKENDS[name]})
    assert pcb.available_backends() == {name: ""}
    forks._after_fork()
    why = pcb.available_backends()[name]
    assert f"{runtime} does not survive a fork" in why
    assert "get_context('spawn')" in why
    with pytest.raises(pcb.BackendError) as refused:
        get_backend(name)
    assert str(refused.value) == f"{why}."
