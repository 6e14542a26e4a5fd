"""Equations of one's own in a TOML file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycellbox.common.options import did_you_mean, shown
from pycellbox.common.plain import as_number
from pycellbox.errors import ModelError, OptionError
from pycellbox.models.declared import Parameter
from pycellbox.models.draws import DRAWS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE

_TABLES = ("equations", "parameters", "observe", "initial", "inputs", "at_rest")
_OPTIONS = tuple(option.name for option in fields(Parameter))


def read_toml(kind: type[ODE], path: Path) -> ODE:
    """Read equations from a file; see `pycellbox.ODE.from_toml`.

    Raises
    ------
    ModelError
        With the file, and the table in it.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path} is no TOML: {error}.") from error
    _known(path, "it", tables, _TABLES, "tables")
    equations = _table(path, tables, "equations")
    if not equations:
        raise ModelError(f"{path} has no [equations]; each state needs one: S = '-beta*S*I'.")
    written = {
        name: {key: _expression(path, name, key, one) for key, one in of.items()}
        for name, of in (("equations", equations), ("observe", _table(path, tables, "observe")))
    }
    parameters = {
        name: _parameter(f"{path}, [parameters.{name}]", one)
        for name, one in _table(path, tables, "parameters").items()
    }
    initial: Any = tables.get("initial", {})
    if isinstance(initial, Mapping):
        initial = {
            name: _parameter(f"{path}, [initial.{name}]", one) if isinstance(one, Mapping) else one
            for name, one in initial.items()
        }
    try:
        return kind(
            written["equations"], parameters=parameters, observe=written["observe"],
            initial=initial, inputs=tables.get("inputs", ()),
            at_rest=tables.get("at_rest", False),
        )  # fmt: skip
    except (ModelError, OptionError) as error:
        raise ModelError(f"{path}: {error}") from error


def _table(path: Path, tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, Mapping):
        raise ModelError(f"{path}: {name} is {shown(found)}; it needs to be a table, [{name}].")
    return found


def _known(
    path: object, what: str, given: Iterable[str], names: tuple[str, ...], kind: str
) -> None:
    for name in given:
        if name not in names:
            raise ModelError(
                f"{path}: {what} has {name!r}, and knows none of that name"
                f"{did_you_mean(name, names)}; its {kind} are {', '.join(names)}."
            )


def _expression(path: Path, table: str, name: str, given: Any) -> str:
    if as_number(given) is not None:
        return repr(given)
    if not isinstance(given, str):
        raise ModelError(
            f"{path}, [{table}]: {name} is {shown(given)}; it needs an expression in quotes."
        )
    return given


def _parameter(where: str, given: Any) -> Parameter:
    options = given if isinstance(given, Mapping) else {"start": given}
    _known(where, "it", options, _OPTIONS, "options")
    found = {
        name: _draw(where, name, one) if isinstance(one, Mapping) else one
        for name, one in options.items()
    }
    try:
        return Parameter(**found)
    except OptionError as error:
        raise ModelError(f"{where}: {error}") from error


def _draw(where: str, name: str, given: Mapping[str, Any]) -> Any:
    """Read a distribution such as { uniform = [0, 1] }."""
    kind, numbers = next(iter(given.items()), ("", None))
    if len(given) != 1 or kind not in DRAWS or not isinstance(numbers, list) or len(numbers) != 2:
        raise ModelError(
            f"{where}: {name} is {shown(dict(given))}; a distribution has one of "
            f"{', '.join(DRAWS)}, and two numbers: {name} = {{ uniform = [0, 1] }}."
        )
    try:
        return DRAWS[kind](*numbers)
    except OptionError as error:
        raise ModelError(f"{where}: {name}: {error}") from error
