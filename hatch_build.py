"""Puts the Julia sources into wheels, but not into editable ones, which use those of the checkout.

With hatchling's own ``force-include`` editable wheels get a copy too: juliapkg then finds two
paths for PycellboxCore and stops with an error.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# juliapkg looks in the folders of sys.path and one below; "path" in its file is relative to it.
SHIPPED = ("juliapkg.json", "julia/Project.toml", "julia/src", "julia/ext")


class JuliaSources(BuildHookInterface):  # type: ignore[type-arg]
    """Adds what is not Python to the package of a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling's interface of build hooks."""
        if version == "standard":
            build_data["force_include"] |= {name: f"pycellbox/{name}" for name in SHIPPED}
