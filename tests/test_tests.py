"""The house of the tests: what they share stands in support/ and programs/, in no test file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def imported_tests(source: str) -> list[str]:
    """Which test files a module imports, or conftest, which is pytest's alone to import."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module or ''}.{alias.name}" for alias in node.names]
    parts = (set(name.split(".")) for name in names)
    return sorted({p for found in parts for p in found if re.fullmatch(r"test_\w+|conftest", p)})


@pytest.mark.parametrize(
    "source",
    [
        "import tests.test_a",
        "import tests.test_a as a",
        "from tests import test_a",
        "from tests.test_a import value",
        "from . import test_a",
        "from .test_a import value",
        "from ..test_a import value",
        "def f():\n    from tests.test_a import value",
    ],
)
def test_an_import_of_a_test_file_is_seen(source):
    assert imported_tests(source) == ["test_a"]


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.py")), ids=lambda p: str(p.relative_to(HERE)))
def test_no_test_file_is_imported(path):
    assert imported_tests(path.read_text(encoding="utf-8")) == []
