"""The words after a command: what is not known among them, and what is missing, at once."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from gettext import gettext
from typing import Any, NoReturn

from pycellbox.common.options import did_you_mean, nearest

_OPTION = re.compile(r"--?[A-Za-z]\S*")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that names every problem and the command's help.

    Attributes
    ----------
    wants_data : bool
        Whether the command needs data: two tables, ``--data`` or ``--dataset``.
    instead : mapping
        Options that stand for data and all others, with those that go with each.
    """

    wants_data = False
    instead: Mapping[str, frozenset[str]] = {}
    _problems: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """End the program as the command line ends with an error."""
        required = gettext("the following arguments are required: %s") % ""
        problems = [*self._problems]
        if not (problems and message.startswith(required)):  # they name all that is missing
            problems.append(message)
        told = "; ".join(filter(None, problems))
        print(f"pycellbox: error: {told} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse as argparse does, after a look at all words."""
        words = sys.argv[1:] if args is None else list(args)
        self._problems = tuple(self._look_at(words))
        if self._problems and self._subparsers is not None:
            self.error("")
        found, left = super().parse_known_args(words, namespace)
        if self._problems:
            self.error("")
        if left:
            self.error(f"unexpected words: {' '.join(left)}")
        return found, left

    def _look_at(self, words: Sequence[str]) -> Iterator[str]:
        """Yield what is wrong with the words."""
        given, unknown, free = self._sorted_out(words)
        if given & {"help", "version"}:
            return
        options = self._option_string_actions
        before = "" if self._subparsers is None else " before the command"
        for word in unknown:
            yield f"there is no option {word}{before}{did_you_mean(word, options)}"
            if meant := nearest(word, options):
                given.add(options[meant].dest)
        commands: Iterable[str] = self._positional[0].choices or () if self._positional else ()
        if commands and free and free[0] not in commands and not unknown:
            hint = did_you_mean(free[0], commands)
            yield f"invalid choice: {free[0]!r}{hint}; choose one of {', '.join(commands)}"
        for name, along in self.instead.items():
            too_many = [self._option(dest) for dest in self._dests() if dest in given - along]
            if name in given and too_many:
                yield (
                    f"{self._option(name)} goes on with a fit as it was begun, from its own data "
                    f"and options: leave {', '.join(too_many)} out"
                )
        if missing := self._missing(given, len(free)):
            yield f"missing: {', '.join(missing)}"

    @property
    def _positional(self) -> list[argparse.Action]:
        return [action for action in self._actions if not action.option_strings]

    def _sorted_out(self, words: Sequence[str]) -> tuple[set[str], list[str], list[str]]:
        """Return names of the options given, options that are not known, and all other words.

        After the name of a command come its own words.
        """
        given: set[str] = set()
        unknown: list[str] = []
        free: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return given, unknown, free + rest
            if not _OPTION.fullmatch(word):
                free.append(word)
                if self._subparsers is not None:
                    break
                continue
            name, equals, _ = word.partition("=")
            action = self._named(name)
            if action is None:
                unknown.append(name)
                continue
            given.add(action.dest)
            if action.nargs is None and not equals and name in action.option_strings and rest:
                rest.pop(0)
        return given, unknown, free

    def _dests(self) -> list[str]:
        return [action.dest for action in self._actions]

    def _option(self, dest: str) -> str:
        return next(a.option_strings[-1] for a in self._actions if a.dest == dest)

    def _named(self, name: str) -> argparse.Action | None:
        """Find an option as argparse does: by its name, its beginning, or its value attached."""
        known = self._option_string_actions
        if name in known:
            return known[name]
        for text, action in known.items():
            if text.startswith(name) if name.startswith("--") else name.startswith(text):
                return action
        return None

    def _missing(self, given: set[str], free: int) -> list[str]:
        missing = [
            str(a.metavar or a.dest) + (f" ({', '.join(map(str, a.choices))})" if a.choices else "")
            for a in self._positional[free:]
            if a.required
        ]
        # Of those that exclude each other, the first stands for all.
        groups = {
            group._group_actions[0]: [a.option_strings[-1] for a in group._group_actions[1:]]
            for group in self._mutually_exclusive_groups
            if group.required and not given & {a.dest for a in group._group_actions}
        }
        missing += [
            a.option_strings[-1] + (f" (or {', '.join(groups[a])})" if a in groups else "")
            for a in self._actions
            if a in groups or (a.required and a.option_strings and a.dest not in given)
        ]
        if self.wants_data and not given & {"data", "dataset", "courses", *self.instead}:
            tables = [f"--{name}" for name in ("perturbation", "response") if name not in given]
            both = [" and ".join(tables) + " (or --data, --courses, or --dataset)"]
            missing += both if len(tables) == 2 else tables
        return missing
