"""What is evaluated of the formulas of a model: values, products with derivatives, Jacobians."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any, TypeAlias

from pycellbox.graph import derivatives, symbol
from pycellbox.models.formulas import INPUTS, STATE, Formulas
from pycellbox.numerics.programs import Program
from pycellbox.numerics.replayed import ADJOINT, tangent
from pycellbox.numerics.scripts import Script, operations

Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]

# A step on floats: stages that it has, about, and operations, with those for all conditions, up to
# which it is faster than one of NumPy, which takes about 200 calls.
_STAGES, MOST_OPERATIONS, _MOST_STATES = 6, 6000, 30


class FormulaPrograms:
    """The programs of formulas, each made when it is asked for.

    Parameters
    ----------
    formulas : Formulas
    shapes : tuple of (str, tuple of int)
        Of the inputs and parameters.
    own : frozenset of str
        Parameters of which each condition has its own.
    """

    def __init__(self, formulas: Formulas, shapes: Shapes, own: frozenset[str]) -> None:
        self._formulas, self._own = formulas, own
        n = formulas.rates.size
        inputs = dict(shapes)[INPUTS]
        self.names = [name for name, _ in shapes if name != INPUTS]
        self._x, self._u = symbol(STATE, (n,)), symbol(INPUTS, inputs)
        self._parameters = [symbol(name, shape) for name, shape in shapes if name != INPUTS]

    def _program(self, outputs: Any, summed: Any = False) -> Program:
        moving = (STATE, INPUTS, ADJOINT)
        own = (*moving, *self._own)
        return Program(outputs, (*own, *map(tangent, own)), summed)

    def _back(self, node: Any, *, states: bool) -> Program:
        """Products with an adjoint: of states, inputs and parameters, of shared ones the sum."""
        wanted = [*([self._x] if states else []), self._u, *self._parameters]
        found = derivatives.reverse([node], [symbol(ADJOINT, node.shape)], wanted)
        shared = [name not in self._own for name in self.names]
        return self._program(found, [False] * (1 + states) + shared)

    def _along(self, node: Any) -> Program:
        """Product with tangents of states, inputs and parameters."""
        moving = [self._x, self._u, *self._parameters]
        tangents = {one: symbol(tangent(one.data[0]), one.shape) for one in moving}
        return self._program(derivatives.forward([node], tangents))

    @cached_property
    def value(self) -> Program:
        """dx/dt."""
        return self._program([self._formulas.rates])

    @cached_property
    def value_along(self) -> Program:
        """Product of dx/dt with tangents."""
        return self._along(self._formulas.rates)

    @cached_property
    def pull_back(self) -> Program:
        """Products of an adjoint of dx/dt."""
        return self._back(self._formulas.rates, states=True)

    @cached_property
    def transposed(self) -> Program:
        """Product of an adjoint of dx/dt by the states."""
        node = self._formulas.rates
        adjoint = symbol(ADJOINT, node.shape)
        return self._program(derivatives.reverse([node], [adjoint], [self._x]))

    @cached_property
    def jacobian(self) -> Program:
        """Derivative of dx/dt by the states, (c, n, n)."""
        return self._program([derivatives.jacobian(self._formulas.rates, [self._x])])

    @cached_property
    def scripts(self) -> tuple[Script, Script, int] | None:
        """The rates and their Jacobian for floats, and the operations of both; None of many."""
        rates, n = self._formulas.rates, self._x.size
        if n > _MOST_STATES or operations(rates, self._x) > MOST_OPERATIONS:
            return None
        jacobian = derivatives.jacobian(rates, [self._x])
        count = _STAGES * operations(rates, self._x) + operations(jacobian, self._x)
        count += n * (_STAGES**2 + 3 * n)  # weighted sums of stages, and the bound of the step
        if count > MOST_OPERATIONS:
            return None
        return Script(rates, self._x), Script(jacobian, self._x), count

    @cached_property
    def slopes(self) -> Program:
        """Derivatives by states and parameters, (c, n, n + parameters)."""
        wanted = [self._x, *self._parameters]
        return self._program([derivatives.jacobian(self._formulas.rates, wanted)])

    @cached_property
    def start_slopes(self) -> Program:
        """Derivative of the start by the parameters."""
        return self._program([derivatives.jacobian(self._formulas.start, self._parameters)])

    @cached_property
    def observed_slopes(self) -> Program:
        """Derivative of observables by states and parameters."""
        wanted = [self._x, *self._parameters]
        return self._program([derivatives.jacobian(self._formulas.observed, wanted)])

    @cached_property
    def start(self) -> Program:
        """Where states start."""
        return self._program([self._formulas.start])

    @cached_property
    def start_back(self) -> Program:
        """Products of an adjoint of the start."""
        return self._back(self._formulas.start, states=False)

    @cached_property
    def observed(self) -> Program:
        """Observables."""
        return self._program([self._formulas.observed])

    @cached_property
    def observed_back(self) -> Program:
        """Products of an adjoint of observables."""
        return self._back(self._formulas.observed, states=True)

    @cached_property
    def observed_along(self) -> Program:
        """Product of observables with tangents."""
        return self._along(self._formulas.observed)


@lru_cache(maxsize=16)
def programs_of(formulas: Formulas, shapes: Shapes, own: frozenset[str]) -> FormulaPrograms:
    """Return the programs of formulas, those of equal ones once."""
    return FormulaPrograms(formulas, shapes, own)
