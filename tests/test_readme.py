"""README and documentation as a newcomer reads them.

The README's examples are run, in order, in an empty folder. The cells of the pages in docs/ are run
when these are built; here the rest is checked: commands, names, options, links.

Commands of shell blocks go through a shell, in which programs note what they were called with. A
``pycellbox`` of the README is then run in this process, one of a page is parsed, and of a ``make``
the target is looked up.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.cli.parser import build_parser
from tests.support.processes import need_diffeqpy

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
FENCE = re.compile(r"^(`{3,})(\S*)[^\n]*\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
FENCED = [
    (page, language, code)
    for page, text in PAGES.items()
    for _, language, code in FENCE.findall(text)
]
BLOCKS = [block for block in FENCED if not block[1].startswith("{")]  # others are Sphinx's
PROSE = "\n".join(FENCE.sub("", text) for text in PAGES.values())
SPANS = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", PROSE)]


def test_every_block_is_run():
    assert {language for _, language, _ in BLOCKS} == {"sh", "python"}
    assert sum(text.count("```") for text in PAGES.values()) == 2 * len(FENCED)
    assert {page for page, *_ in BLOCKS} > {"README.md", "docs/install.md"}


def run_python(code: str, names: dict[str, object]) -> None:
    if "diffeqpy" in code:
        need_diffeqpy()
    exec(compile(code, "README.md", "exec"), names)


SHIM = """#!/bin/sh
{ echo "$(basename "$0")"; for word; do echo "$word"; done; echo; } >> "$CALLS"
"""


def commands(code: str, folder: Path) -> list[list[str]]:
    """Let a shell run a block; return what it would have called."""
    calls = folder / ".calls"
    calls.write_text("")
    shims = folder / ".bin"
    shims.mkdir(exist_ok=True)
    for name in ("pycellbox", "make", "pip"):
        (shims / name).write_text(SHIM)
        (shims / name).chmod(0o755)
    environment = {"PATH": f"{shims}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls)}
    subprocess.run(["sh", "-eu", "-c", code], check=True, cwd=folder, env=environment)
    return [call.split("\n") for call in calls.read_text().split("\n\n") if call]


def run_shell(code: str, folder: Path, page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = commands(code, folder)
    assert called
    for target in (word for program, *words in called if program == "make" for word in words):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    ours = [words for program, *words in called if program == "pycellbox"]
    for words in ours:
        build_parser().parse_args(words)
    if page == "README.md":
        for words in ours:
            assert main(words) == 0, words


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, BaseException | None]]:
    """What became of every block: None, or what it raised."""
    if shutil.which("sh") is None:
        pytest.skip("needs a shell")
    folder, names, here = tmp_path_factory.mktemp("newcomer"), {}, Path.cwd()
    outcome: dict[int, BaseException | None] = {}
    os.chdir(folder)
    try:
        for number, (page, language, code) in enumerate(BLOCKS):
            try:
                run_shell(code, folder, page) if language == "sh" else run_python(code, names)
                outcome[number] = None
            except (Exception, pytest.skip.Exception) as error:
                outcome[number] = error
        yield outcome
    finally:
        os.chdir(here)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=[page for page, *_ in BLOCKS])
def test_example_runs(walked, number):
    if walked[number] is not None:
        raise walked[number]


@pytest.mark.slow
def test_both_fits_of_the_melanoma_data_are_one(walked):
    command_line, python = (pcb.load(name).parameters for name in ("melanoma.nc", "fit.nc"))
    for name in command_line:
        np.testing.assert_array_equal(command_line[name], python[name])


@pytest.mark.slow
def test_only_what_needs_julia_is_skipped(walked):
    skipped = [BLOCKS[n][2] for n, e in walked.items() if isinstance(e, pytest.skip.Exception)]
    assert len(skipped) <= 1
    assert all("diffeqpy" in code for code in skipped)


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target


# ---- what stands in the text and in the table


def resolved(path: str) -> object:
    """Find a name: of the package, of one of its public rooms, or with ``pcb.`` before it."""
    thing: object = pcb
    for name in path.removeprefix("pcb.").split("."):
        thing = getattr(thing, name)
    return thing


OPTIONS = PAGES["docs/options.md"].split("| you want | you say |")[1]
TABLE = [
    (row.split("|")[1].strip(), re.findall(r"`([^`]+)`", row.split("|", 2)[2]))
    for row in OPTIONS.split("\n\n")[0].splitlines()[2:]
]


def calls_of(spans: list[str]) -> Iterator[ast.expr]:
    """Parse each span; one that begins with a dot goes on in the room of the one before."""
    room = ""
    for span in spans:
        text = room + span if span.startswith(".") else span
        yield ast.parse(text, mode="eval").body
        room = text.split("(")[0].rpartition(".")[0]


def alternatives(value: ast.expr) -> list[ast.expr]:
    return value.values if isinstance(value, ast.BoolOp) else [value]


def is_open(value: ast.expr) -> bool:
    """Whether a value stands for one of the reader's: ``...`` or a name."""
    return isinstance(value, ast.Name) or (
        isinstance(value, ast.Constant) and value.value is Ellipsis
    )


@pytest.mark.parametrize(("wanted", "spans"), TABLE, ids=[wanted for wanted, _ in TABLE])
def test_what_the_table_says_can_be_said(wanted, spans):
    assert spans
    for said in calls_of(spans):
        if not isinstance(said, ast.Call):
            assert callable(resolved(ast.unparse(said)))
            continue
        function = resolved(ast.unparse(said.func))
        bound = inspect.signature(function).bind_partial(
            *said.args, **{str(k.arg): k.value for k in said.keywords}
        )
        if any(map(is_open, bound.arguments.values())) or not inspect.isclass(function):
            continue
        values = [alternatives(value) for value in bound.arguments.values()]
        for chosen in itertools.product(*values):
            function(**dict(zip(bound.arguments, map(ast.literal_eval, chosen), strict=True)))


@pytest.mark.parametrize("span", sorted({s for s in SPANS if s.startswith("pycellbox ")}))
def test_commands_in_the_text_exist(span):
    build_parser().parse_args(span.split()[1:])


@pytest.mark.parametrize("span", sorted({s for s in SPANS if re.fullmatch(r"pcb\.[\w.]+", s)}))
def test_names_in_the_text_exist(span):
    assert resolved(span) is not None


def test_benchmarks_in_the_text_exist_and_have_the_options_named():
    programs = {name for span in SPANS for name in re.findall(r"\b(\w+\.py)\b", span)}
    assert "melanoma.py" in programs
    for name in programs:
        assert (ROOT / "benchmarks" / name).is_file() or next(ROOT.glob(f"pycellbox/**/{name}"))
    for span in SPANS:
        for program, options in re.findall(r"python (benchmarks/\w+\.py)(.*)", span):
            source = (ROOT / program).read_text(encoding="utf-8")
            for option in re.findall(r"--[\w-]+", options):
                assert re.search(rf'\badd(_argument)?\(\s*"{option}"', source), option


@pytest.mark.parametrize("extra", sorted(set(re.findall(r"\[(\w+)\]\"?`", PROSE))))
def test_extras_in_the_text_exist(extra):
    known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf"^{extra} = \[", known.split("[project.optional-dependencies]")[1], re.M)
