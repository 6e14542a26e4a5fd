"""JSON and YAML from anywhere: read with bounds, and nothing in them passed over."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

MAX_CHARACTERS = 1_000_000
MAX_YAML_CHARACTERS = 100_000  # YAML is read slowly
MAX_DEPTH = 30
MAX_DIGITS = 100


def read_json(text: str, *, constants: bool = False) -> Any:
    """Read JSON.

    Parameters
    ----------
    text : str
    constants : bool
        Whether NaN and Infinity, which are no JSON, may stand for numbers.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        It is no JSON, is longer or nested deeper than anything honest, repeats a key, or has a
        number of more than a hundred digits; the message says which, without a full stop.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, and at most {MAX_CHARACTERS} are read")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_repetition,
            parse_int=lambda digits: int(_checked_number(digits)),
            parse_float=lambda digits: float(_checked_number(digits)),
            parse_constant=float if constants else _refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"line {error.lineno}, column {error.colno}: this is no JSON ({error.msg})"
        ) from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    _check_depth(value)
    return value


def read_yaml(text: str) -> Any:
    """Read YAML, with the numbers of YAML 1.2: in 1.1, 1e-8 is a text.

    Parameters
    ----------
    text : str

    Returns
    -------
    object
        Of texts, numbers, booleans, dates, lists and mappings.

    Raises
    ------
    ValueError
        As for `read_json`; or an alias stands for a list or a mapping, which can be made to
        multiply.
    """
    if len(text) > MAX_YAML_CHARACTERS:
        raise ValueError(
            f"it has {len(text)} characters, and at most {MAX_YAML_CHARACTERS} are read"
        )
    import yaml

    try:
        return yaml.load(text, _yaml_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or "damaged"
        raise ValueError(f"{line}this is no YAML ({problem})") from None
    except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
        # Values that are not what their own tags say.
        raise ValueError(f"this is no YAML ({type(error).__name__}: {error})") from None


@cache
def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            line = f"line {self.line + 1}"
            if self.check_event(yaml.AliasEvent):
                name = self.peek_event().anchor  # type: ignore[no-untyped-call]
                if not isinstance(self.anchors.get(name, yaml.ScalarNode("", "")), yaml.ScalarNode):
                    raise ValueError(f"{line}: *{name} repeats a list or a mapping; write it out")
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ValueError(f"{line}: it is nested more than {MAX_DEPTH} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_scalar(self, node: Any) -> Any:
            if node.tag.endswith((":int", ":float")):
                _checked_number(node.value)
            return super().construct_scalar(node)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in seen:
                    raise ValueError(f"line {key.start_mark.line + 1}: {_repeated(key.value)}")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )
    return Loader


def _checked_number(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise ValueError(
            f"the number {digits[:20]}… has {len(digits)} characters; at most {MAX_DIGITS} are read"
        )
    return digits


def _repeated(key: str) -> str:
    return f"the key {key[:60]!r} is given more than once; keep one"


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(_repeated(key))
        found[key] = value
    return found


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON; write a finite number, or null")


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
