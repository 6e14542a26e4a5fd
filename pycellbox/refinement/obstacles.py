"""What stands in the way of a second-order refinement."""

from __future__ import annotations

from pycellbox.errors import ModelError
from pycellbox.models import check_network
from pycellbox.numerics.sensitivity import MOST_ENTRIES
from pycellbox.problem import Problem
from pycellbox.solvers import Solver


def obstacles(problem: Problem, solver: Solver, most: int | None = None) -> list[str]:
    """All that stands in the way of the derivatives of a problem, each with what to do.

    Parameters
    ----------
    problem : Problem
    solver : Solver
    most : int, optional
        How many parameters can be afforded.
    """
    found, structure = [], problem.structure
    check_network(structure.model, "refined")
    model, size = structure.model, structure.layout.free.size
    if model.drug_columns == "shared" and structure.is_drug.any():
        found.append(
            "the drugs share a column, whose entries cannot go one by one: fit with "
            'CellBox(drug_columns="free").'
        )
    if model.response_range == "held":
        found.append('the response range is held: fit with CellBox(response_range="free").')
    if solver.steady:
        found.append(
            "SteadyState has no trajectory: give another solver for the same horizon, "
            f"solver=pcb.Heun({float(problem.times[-1]) / 50:g})."
        )
    if problem.response.size * size > MOST_ENTRIES:
        found.append(
            f"the Jacobian of {problem.response.size} responses with respect to {size} parameters "
            "is too large: fit with fewer nodes or conditions, or allow fewer interactions with "
            "CellBox(mask=...)."
        )
    elif most is not None and size > most:
        found.append(
            f"{size} parameters ({int(structure.mask.sum())} interactions and the rates) are too "
            f"many for second order, which can do with {most}: fit with fewer nodes, or allow "
            "fewer interactions with CellBox(mask=...)."
        )
    return found


def refuse(found: list[str]) -> None:
    """Raise a ModelError that names all obstacles at once, if there are any."""
    if len(found) == 1:
        raise ModelError(found[0])
    if found:
        listed = " ".join(f"({number}) {text}" for number, text in enumerate(found, 1))
        raise ModelError(f"{len(found)} things stand in the way: {listed}")
