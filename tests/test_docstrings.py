"""Docstrings name what there is: parameters, options, solvers."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycellbox as pcb
from pycellbox.solvers import GRADIENTS, SOLVERS

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"^(Parameters|Attributes)\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", re.M | re.S)
NOT_HERE = ("pycellbox.__main__", "pycellbox.backends.jax", "pycellbox.backends.julia")


def modules() -> Iterator[types.ModuleType]:
    for found in pkgutil.walk_packages(pcb.__path__, "pycellbox."):
        if not found.name.startswith(NOT_HERE):
            yield importlib.import_module(found.name)


def documented() -> dict[str, Any]:
    """Every function, class and method whose docstring has a section of parameters."""
    found: dict[str, Any] = {}
    for module in modules():
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            parts = {name: thing}
            if inspect.isclass(thing):
                parts |= {f"{name}.{k}": v for k, v in vars(thing).items() if k[0] != "_"}
            for label, part in parts.items():
                part = getattr(part, "__func__", part)  # of class methods
                described = "Parameters\n" in (inspect.getdoc(part) or "")
                if described and (inspect.isclass(part) or inspect.isfunction(part)):
                    found[f"{module.__name__}.{label}"] = part
    return found


DOCUMENTED = documented()


def parameters(thing: Any) -> dict[str, str]:
    """The parameters of a docstring, and the line that says of which type."""
    sections = dict(SECTION.findall(inspect.getdoc(thing)))
    heads = re.findall(r"^(\S.*)$", sections["Parameters"], re.M)
    split = (head.partition(" : ")[::2] for head in heads)
    return {name.strip(" *"): kind for names, kind in split for name in names.split(",")}


def signature(thing: Any) -> dict[str, inspect.Parameter]:
    given = dict(inspect.signature(thing).parameters)
    given.pop("self", None)
    given.pop("cls", None)
    return {name: p for name, p in given.items() if name[0] != "_"}


def test_the_public_surface_is_among_what_is_held_to_its_signature():
    assert {"fit", "solve", "prune", "refine", "simulate"} <= {
        name.split(".")[-1] for name in DOCUMENTED
    }


def test_every_parameter_is_described_and_exists():
    broken = {
        name: set(parameters(thing)) ^ set(signature(thing)) for name, thing in DOCUMENTED.items()
    }
    assert {name: names for name, names in broken.items() if names} == {}


def choices(hint: Any) -> set[object]:
    if typing.get_origin(hint) is typing.Literal:
        return set(typing.get_args(hint))
    inner = typing.get_args(hint) if isinstance(hint, types.UnionType) else ()
    return {choice for part in inner for choice in choices(part)}


def test_every_choice_is_named():
    held = []
    for name, thing in DOCUMENTED.items():
        annotations = {k: p.annotation for k, p in signature(thing).items()}
        for parameter, kind in parameters(thing).items():
            try:
                hint = eval(str(annotations[parameter]), vars(sys.modules[thing.__module__]))
            except NameError:  # imported for type checkers alone
                continue
            options = {c for c in choices(hint) if isinstance(c, str)}
            braced = re.search(r"\{(.*)\}", kind)
            if options and braced:
                assert set(re.findall(r'"([^"]+)"', braced[1])) == options, (name, parameter)
                held.append(parameter)
    assert {"envelope", "drugs", "scale", "decay"} <= set(held)


def test_solvers_and_gradients_are_all_named():
    users: list[Callable[..., Any]] = [pcb.fit, pcb.solve]
    for thing in users:
        kind = parameters(thing)["solver"]
        assert [name for name in SOLVERS if name not in kind] == [], thing
    text = inspect.getdoc(pcb.value_and_gradient)
    assert [name for name in GRADIENTS if f'"{name}"' not in text] == []


def test_nothing_that_is_named_is_missing():
    """References such as `pycellbox.simulation.simulate` lead somewhere."""
    broken = []
    for module in modules():
        for reference in re.findall(r"`(pycellbox\.[\w.]+)`", inspect.getsource(module)):
            try:
                pkgutil.resolve_name(reference)
            except (ImportError, AttributeError):
                broken.append((module.__name__, reference))
    assert broken == []


_WITH_DOCSTRINGS = (types.FunctionType, classmethod, property, functools.cached_property)


def public() -> Iterator[tuple[str, Any]]:
    """Every public name, of the package and of its public rooms, and what it stands for."""
    for name in set(pcb.__all__) - {"__version__"}:
        thing = getattr(pcb, name)
        if isinstance(thing, types.ModuleType):
            yield from ((f"{name}.{inner}", getattr(thing, inner)) for inner in thing.__all__)
        else:
            yield name, thing


def listed() -> Iterator[str]:
    """Full names of what the pages of the reference list."""
    for page in sorted((ROOT / "docs" / "api").glob("*.rst")):
        room = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if found := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
                room = found[1]
            found = re.fullmatch(
                r"(?:   |\.\. (?:autoclass|autoexception|data):: )([\w.]+)(?:\(\))?", line
            )
            if found and room:
                yield f"{room}.{found[1]}"


def test_every_public_name_has_a_place_in_the_reference():
    placed = [id(pkgutil.resolve_name(name)) for name in listed()]
    assert [name for name, thing in public() if id(thing) not in placed] == []


def test_names_in_the_reference_are_links():
    """What stands between single backticks is in the reference, as Sphinx looks for it.

    What stands between bars, |w|, would be looked for as well: double backticks make it code.
    """
    texts: dict[str, str] = {}
    rooms = {name: name.rpartition(".")[0] for name in listed()}
    for name in listed():
        thing = pkgutil.resolve_name(name)
        texts[name] = inspect.getdoc(thing) or ""
        for inner, part in vars(thing).items() if inspect.isclass(thing) else ():
            if inner[0] != "_" and isinstance(part, _WITH_DOCSTRINGS):
                rooms[f"{name}.{inner}"] = rooms[name]
                texts[f"{name}.{inner}"] = inspect.getdoc(part) or ""
    known = texts.keys() | set(rooms.values())
    broken = []
    for name, text in texts.items():
        around = ("", f"{name}.", f"{name.rpartition('.')[0]}.", f"{rooms[name]}.")
        for link in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
            if not known & {before + link.removesuffix("()") for before in around}:
                broken.append((name, link))
        broken += [
            (name, bars) for bars in re.findall(r"\|\S[^|\n]*\|", re.sub("``.*?``", "", text))
        ]
    assert broken == []
