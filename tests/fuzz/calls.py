"""What a call is: a function and its arguments by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Call: TypeAlias = tuple[Callable[..., Any], dict[str, Any]]
