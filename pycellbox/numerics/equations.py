"""What solvers may ask of an equation, and what stands in where an equation does not say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pycellbox.models import Structure
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.numerics.scripts import Scalars
from pycellbox.problem import Array, Parameters, Problem

INPUT, START, PRETREATMENT = "perturbation", "initial_state", "pretreatment"
"""Keys under which a gradient has ∂L/∂u and ∂L/∂x(0), (c, n) each, beside the parameters'.

With a treatment the first is (c, s, n), and the third has the input before the first segment.
"""


class Drive(Protocol):
    """What an equation makes of a perturbation, once for many evaluations."""

    @property
    def initial(self) -> Array:
        """State at time 0, (c, n)."""
        ...

    def rows(self, index: Array | slice) -> Any:
        """Return that of some of the conditions."""
        ...


@dataclass(frozen=True)
class Scripts:
    """A field as functions of floats, which raise where NumPy has infinities or NaN.

    Attributes
    ----------
    places : ndarray of int, (k,)
        Nodes that are states; the others stay where they are.
    rates, jacobians : list of callable
        For each condition: dx/dt, and its Jacobian row by row, of the states.
    """

    places: Array
    rates: list[Scalars]
    jacobians: list[Scalars]


class Field(ABC):
    """dx/dt of some conditions at given parameters.

    What is not abstract is optional: what stands in for it is said there.

    Attributes
    ----------
    initial : ndarray, (c, n)
        State at time 0.
    """

    initial: Array
    faults: Mapping[int, str] = {}
    """By the number of a condition, which equation, observable or start had no value, and where."""

    @abstractmethod
    def value(self, x: Array) -> Array:
        """dx/dt at states (c, n)."""

    @abstractmethod
    def pull_back(self, x: Array, adjoint: Array, gradient: dict[str, Array]) -> Array:
        """Products of an adjoint, (c, n), with the derivatives of dx/dt at states (c, n).

        Adds those with respect to the parameters, summed over the conditions, to ``gradient`` under
        their names, and that with respect to the perturbation, (c, n), under ``"perturbation"``;
        returns that with respect to the state, (c, n).
        """

    def start_gradient(self, adjoint: Array, gradient: dict[str, Array]) -> None:
        """Add what the initial state passes on of its derivative, (c, n); by default nothing."""
        return None

    def transposed(self, x: Array, vector: Array) -> Array:
        """Product of a vector, (c, n), with ∂f/∂x at states (c, n), by default from `pull_back`."""
        return self.pull_back(x, vector, Gradients())

    def slopes(self, x: Array) -> tuple[Array, Array] | None:
        """∂f/∂x, (c, n, n), and ∂f/∂θ by the entries of all parameters, (c, n, θ).

        None by default: Jacobians of trajectories are then made row by row from `pull_back`.
        """
        return None

    def start_slopes(self) -> Array | None:
        """Return ∂x(0)/∂θ by the entries of all parameters, (c, n, θ); None where not known."""
        return None

    def observe_slopes(self, x: Array, of_states: Array) -> Array:
        """Return what `observe` makes of derivatives, (c, n, θ), at states; by default those."""
        return of_states

    def breaks(self, x: Array) -> dict[int, str]:
        """Say, by the number of a condition, what has no derivative at states (c, n)."""
        return {}

    def start_breaks(self) -> dict[int, str]:
        """Say, by the number of a condition, which start has no derivative."""
        return {}

    def observe(self, states: Array) -> None:
        """Write nodes that are no states, but follow from them, into (c, t, n); by default none."""
        return None

    def observe_back(self, states: Array, seeds: Array, gradient: dict[str, Array]) -> Array:
        """Return what seeds, (c, t, n), are of the states alone, which `observe` has seen.

        Adds to ``gradient`` as `pull_back` does.
        """
        return seeds

    def jacobian(self, x: Array) -> Array:
        """∂f/∂x at states (c, n): (c, n, n); by default row by row from `pull_back`."""
        rows = []
        for i in range(x.shape[1]):
            unit = np.zeros_like(x)
            unit[:, i] = 1
            rows.append(self.pull_back(x, unit, Gradients()))
        return np.stack(rows, axis=1)

    def rows(self, index: Array) -> Field:
        """Return it for some of the conditions; by default all are evaluated for them."""
        return Part(self, index)

    def repeated(self, times: int) -> Field | None:
        """Return it with all its conditions so many times one after the other.

        None by default: what could be asked for many states at once is then asked one by one.
        """
        return None

    def scripts(self) -> Scripts | None:
        """Return it as functions of floats; None by default, and where calls of NumPy are faster.

        It is never faster for systems that are large, or for many conditions.
        """
        return None

    def step_bound(self) -> tuple[float, float] | None:
        """Longest step of Tsit5 that is stable for every state, and a bound of |λ|.

        None by default: the bound is then estimated anew along the trajectory, from the spectral
        norm of the Jacobian at its states.
        """
        return None

    def slowest_rate(self) -> float | None:
        """Rate at which the slowest node settles, in 1/time.

        None by default: a steady state is then held to an integration up to the horizon, and looked
        for at times in units of the fastest change.
        """
        return None


class Part(Field):
    """Some conditions of a field that knows itself only for all of them."""

    def __init__(self, whole: Field, index: Array) -> None:
        self._whole, self._index, self.initial = whole, index, whole.initial[index]

    @property
    def faults(self) -> Mapping[int, str]:  # type: ignore[override]
        """See `Field.faults`."""
        known = self._whole.faults
        return {i: known[int(j)] for i, j in enumerate(self._index) if int(j) in known}

    def _spread(self, part: Array, over: Array | float = 0.0) -> Array:
        shape = (len(self._whole.initial), *part.shape[1:])
        whole = np.array(np.broadcast_to(over, shape), part.dtype)
        whole[self._index] = part
        return whole

    def _states(self, x: Array) -> Array:
        initial = self._whole.initial
        return self._spread(x, initial if x.ndim == 2 else initial[:, None])

    def _collect(self, part: dict[str, Any], gradient: dict[str, Array]) -> None:
        if INPUT in part:
            part[INPUT] = part[INPUT][self._index]
        for name, array in part.items():
            gradient[name] = gradient[name] + array

    def value(self, x: Array) -> Array:
        """See `Field.value`."""
        return self._whole.value(self._states(x))[self._index]

    def pull_back(self, x: Array, adjoint: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.pull_back`."""
        part = Gradients()
        found = self._whole.pull_back(self._states(x), self._spread(adjoint), part)
        self._collect(part, gradient)
        return found[self._index]

    def start_gradient(self, adjoint: Array, gradient: dict[str, Array]) -> None:
        """See `Field.start_gradient`."""
        part = Gradients()
        self._whole.start_gradient(self._spread(adjoint), part)
        self._collect(part, gradient)

    def observe(self, states: Array) -> None:
        """See `Field.observe`."""
        whole = self._states(states)
        self._whole.observe(whole)
        states[...] = whole[self._index]

    def observe_back(self, states: Array, seeds: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.observe_back`."""
        part = Gradients()
        found = self._whole.observe_back(self._states(states), self._spread(seeds), part)
        self._collect(part, gradient)
        return found[self._index]

    def jacobian(self, x: Array) -> Array:
        """See `Field.jacobian`."""
        return self._whole.jacobian(self._states(x))[self._index]

    def step_bound(self) -> tuple[float, float] | None:
        """See `Field.step_bound`."""
        return self._whole.step_bound()

    def slowest_rate(self) -> float | None:
        """See `Field.slowest_rate`."""
        return self._whole.slowest_rate()


class Gradients(dict[str, Any]):
    """Gradients by name, each of which begins as nothing."""

    def __missing__(self, name: str) -> Any:
        return 0.0


class Equations(ABC):
    """A structure's equations, without numbers: makes fields, starts and parametrizations."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    @property
    def set_by_dose(self) -> Array | None:
        """Which states are the dose itself, and change with it; bool (n,). By default none."""
        return None

    @abstractmethod
    def drive(self, perturbation: Array) -> Any:
        """Make the `Drive` of a perturbation, (c, n), in its dtype."""

    @abstractmethod
    def field(self, parameters: Parameters, drive: Any) -> Field:
        """Return dx/dt at effective parameters."""

    def fields(self, parameters: Parameters, drives: Sequence[Any]) -> list[Field]:
        """Return dx/dt under several drives of the same conditions, with what they share."""
        return [self.field(parameters, drive) for drive in drives]

    @property
    def key(self) -> Any:
        """All that programs made of `rate` and `observe` depend on beside arrays and the drive."""
        s = self.structure
        return s.model, s.nodes, s.node_kind, s.layout.parameters

    own_start = False
    """Whether x(0) depends on parameters: fields have it then, and the drive has not."""

    def rate(self, space: Any, x: Any, drive: Any, parameters: Mapping[str, Any]) -> Any:
        """dx/dt at states (c, n) in the functions of an array library.

        Nothing else is needed for JAX, which compiles it once for equal structures and shapes: no
        branches that depend on values, nothing written in place.

        Parameters
        ----------
        space : module
            ``numpy``, or what has the functions of ``jax.numpy``, which differentiates it; or takes
            derivatives as the equations know them, ``space.derived(function, back, along)``: the
            products of an adjoint with those of a function of a mapping of arrays, as a mapping,
            and the product with such a mapping of tangents.
        x : array, (c, n)
        drive : Drive
            Like that of `drive`, with the library's arrays in place of its own: a dataclass, named
            tuple or plain object, whose tuples, lists, mappings and objects may hold arrays too.
            What it has beside arrays stays as it is. For gradients of the inputs, `drive` itself
            is called with an array of the library.
        parameters : mapping of str to array
            Effective ones, in the shapes that the model declares.

        Returns
        -------
        array, (c, n)

        Raises
        ------
        NotImplementedError
            The equations are for the NumPy backend alone, as by default.
        """
        raise NotImplementedError

    def observe(self, space: Any, states: Any, drive: Any, parameters: Mapping[str, Any]) -> Any:
        """Return states (c, n) with the nodes that are none, but follow from them.

        By default there are none. Arguments as of `rate`.
        """
        return states

    def start(self, problem: Problem, settings: Any, rng: np.random.Generator) -> Parameters:
        """Effective parameters at which a fit of ``problem`` starts, float64.

        By default those that the parameters declare.
        """
        layout = self.structure.layout
        return {p.name: np.full(p.shape, p.start, dtype=np.float64) for p in layout.parameters}

    def parametrization(self, start: Parameters, problem: Problem) -> Parametrization:
        """Return how training sees the parameters; positive ones through softplus by default."""
        return Parametrization(self.structure)
