"""The plans of networks and of other equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import generic, kernel, programs
from pycellbox.backends.jax.frames import frozen
from pycellbox.backends.jax.plan import Plan
from pycellbox.errors import BackendError
from pycellbox.models import Structure
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT, START, Equations, Field
from pycellbox.numerics.lowering import Lowering, equations_of
from pycellbox.numerics.steps import check_steps
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep, Solver


class NetworkPlan(Plan):
    """Of a network: by its kernel."""

    equations: Lowering

    def __init__(
        self, equations: Lowering, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        super().__init__(equations, solver, perturbation, times)
        model = equations.structure.model
        self.method = kernel.Method(TABLEAUX[type(solver)], model.envelope, model.order)

    def inputs(self, drive: Drive, perturbation: Array, moves: Array | None) -> kernel.Inputs:
        """See `Plan.inputs`."""
        numbers = None if moves is None else moves.astype(perturbation.dtype)
        return kernel.Inputs(drive.inside, drive.outside, drive.initial, numbers, drive.reach)

    def prepared(self, parameters: Parameters) -> kernel.Network:
        """See `Plan.prepared`."""
        k, dtype = self.equations.coefficients(parameters), self.perturbation.dtype
        arrays = (k.M, k.a, k.b, k.c, k.shifts)
        return kernel.Network(*(v if v is None else v.astype(dtype, copy=False) for v in arrays))

    def of_rows(self, drive: kernel.Inputs, rows: Array | None) -> kernel.Inputs:
        """All: the program takes the rows."""
        return drive

    def gradient(self, slope: kernel.Network, parameters: Parameters) -> Parameters:
        """See `Plan.gradient`."""
        return self.equations.pull_back(Coefficients(*slope), parameters)

    def input_gradient(self, to_drive: kernel.Inputs, perturbation: Array) -> Parameters:
        """See `Plan.input_gradient`."""
        return self.equations.pull_back_drive(Drive(*to_drive[:3]), perturbation)

    def check_inputs(self) -> None:
        """There always is."""

    def check_steps(self, solver: FixedStep, longest: float, prepared: kernel.Network) -> None:
        """See `Plan.check_steps`."""
        check_steps(solver, longest, prepared.c)


class EquationPlan(Plan):
    """Of any other equation: by its `rate`."""

    def __init__(
        self, equations: Equations, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        self._key = frozen(equations.key)
        super().__init__(equations, solver, perturbation, times)
        self.method = generic.Method(TABLEAUX[type(solver)])
        self._check_rate()

    def inputs(self, drive: Any, perturbation: Array, moves: Array | None) -> generic.Given:
        """See `Plan.inputs`."""
        return generic.Given.of(self._key, self.equations, drive, perturbation, moves)

    def prepared(self, parameters: Parameters) -> Parameters:
        """See `Plan.prepared`."""
        return {n: np.asarray(v, self.perturbation.dtype) for n, v in parameters.items()}

    def of_rows(self, drive: generic.Given, rows: Array | None) -> generic.Given:
        """Return the drive of those: how it is taken apart is the equation's own."""
        if rows is None:
            return drive
        return self.inputs(self.drive.rows(rows), self.perturbation[rows], None)

    def gradient(self, slope: Parameters, parameters: Parameters) -> Parameters:
        """See `Plan.gradient`."""
        fixed = {p.name: p.fixed for p in self.equations.structure.layout.parameters}
        return {
            name: array if (held := fixed[name]) is None else np.where(held, 0, array)
            for name, array in slope.items()
        }

    def input_gradient(self, to_drive: Any, perturbation: Array) -> Parameters:
        """See `Plan.input_gradient`."""
        return dict(zip((INPUT, START), to_drive, strict=True))

    def start_slopes(
        self, start: Field | None, shape: tuple[int, ...], own: Array | None
    ) -> Callable[[], Array]:
        """See `Plan.start_slopes`."""

        def slopes() -> Array:
            found = None if start is None else start.start_slopes()
            if found is None:
                found = np.zeros((*shape, self.equations.structure.layout.size))
            return found if own is None else np.where(own[:, :, None], found, 0)

        return slopes

    def check_steps(self, solver: FixedStep, longest: float, prepared: Parameters) -> None:
        """How fast the equation decays is not known."""

    def check_inputs(self) -> None:
        """See `Plan.check_inputs`."""
        with programs.float64():
            start = lambda u: self.equations.drive(u).initial  # noqa: E731
            self._traced("drive", lambda: jax.eval_shape(start, self.perturbation))

    def _check_rate(self) -> None:
        """Raise before any work if JAX cannot take the rate."""
        dtype, structure = self.perturbation.dtype, self.equations.structure
        parameters = {
            p.name: jax.ShapeDtypeStruct(p.shape, dtype) for p in structure.layout.parameters
        }
        with programs.float64():
            rate = self._traced(
                "rate",
                lambda: jax.eval_shape(
                    lambda p, given: given.rate(p, given.drive(), given.initial),
                    parameters,
                    self.arrays,
                ),
            )
        if rate.shape != self.perturbation.shape:
            raise BackendError(
                f"`rate` of {self._name} gives {rate.shape} for states {self.perturbation.shape}: "
                "it needs dx/dt of every condition and node."
            )

    @property
    def _name(self) -> str:
        return f"the equations of {type(self.equations.structure.model).__name__}"

    def _traced(self, what: str, trace: Any) -> Any:
        try:
            return trace()
        except NotImplementedError as error:
            raise BackendError(
                f"{self._name} are for backend='numpy' alone: the jax backend needs their `rate`, "
                "in the functions of an array library, and it is not written."
            ) from error
        except (TypeError, jax.errors.JAXIndexError) as error:
            raise BackendError(
                f"`{what}` of {self._name} does not work on arrays of JAX "
                f"({str(error).splitlines()[0]}): write it in functions that both libraries have, "
                "without branches that depend on values; backend='numpy' takes it as it is."
            ) from error


def plan_of(structure: Structure, solver: Solver, perturbation: Array, times: Array) -> Plan:
    """Make the plan of a structure.

    Raises
    ------
    BackendError
        Its equations cannot be computed with JAX.
    """
    equations = equations_of(structure)
    if isinstance(equations, Lowering):
        return NetworkPlan(equations, solver, perturbation, times)
    return EquationPlan(equations, solver, perturbation, times)
