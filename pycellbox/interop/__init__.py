"""Doors to other people's tools.

``sciml`` hands a network to Julia's solvers; `pycellbox.interop.run.run_config` runs the
configurations of CellBox (JSON) and CellBox.jl (YAML) and is imported when it is asked for.
"""

from __future__ import annotations

from pycellbox.interop.sciml import to_ode_problem

__all__ = ["to_ode_problem"]
