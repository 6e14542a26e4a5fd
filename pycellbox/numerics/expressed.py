"""Equations that are expressions, as fields: values and all products with derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.models import ODE
from pycellbox.models.declared import starts_of
from pycellbox.models.formulas import INPUTS
from pycellbox.models.structure import Structure
from pycellbox.numerics import replayed
from pycellbox.numerics.equations import INPUT, Equations, Field, Scripts
from pycellbox.numerics.formula_programs import MOST_OPERATIONS, programs_of
from pycellbox.numerics.programs import Plan
from pycellbox.numerics.scripts import FAULTS
from pycellbox.numerics.shares import Shares
from pycellbox.problem import Array, Parameters, Problem

_HUGE = 1e100


@dataclass(frozen=True)
class Given:
    """What enters the equations of conditions.

    Attributes
    ----------
    inputs : ndarray, (c, inputs)
    members : ndarray, (c, dims)
        Numbers of what each condition is a member of, where parameters differ by that.
    initial : ndarray, (c, n)
        Zeros: where states start depends on the parameters, and the field has it.
    """

    inputs: Array
    members: Array
    initial: Array

    def rows(self, index: Array | slice) -> Given:
        """Return that of some of the conditions."""
        return Given(self.inputs[index], self.members[index], self.initial[index])


class Expressed(Equations):
    """The equations of an `ODE` over the nodes of data."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        model: ODE = structure.model
        place = {node: i for i, node in enumerate(structure.nodes)}
        self.states = np.array([place[state] for state in model.states], np.intp)
        self.observed = np.array([place[name] for name in model.observe], np.intp)
        self.inputs = np.array([place[node] for node in model.inputs.values()], np.intp)
        self.shares = Shares(structure)
        shapes = [(f".{name}", one.shape) for name, one in model.parameters.items()]
        self.formulas, self.shapes = model.rates, ((INPUTS, (len(model.inputs),)), *shapes)
        own = frozenset(f".{name}" for name in self.shares.along)
        self.programs = programs_of(self.formulas, self.shapes, own)

    def drive(self, perturbation: Array) -> Given:
        """See `Equations.drive`."""
        members = self.shares.members(perturbation)
        return Given(perturbation[:, self.inputs], members, 0 * perturbation)

    def field(self, parameters: Parameters, drive: Given) -> ExpressedField:
        """See `Equations.field`."""
        return ExpressedField(self, parameters, drive)

    def fields(self, parameters: Parameters, drives: Sequence[Given]) -> list[Field]:
        """See `Equations.fields`."""
        if len(drives) < 2:
            return [ExpressedField(self, parameters, drive) for drive in drives]
        plans, repeats = dict[str, Plan](), dict[int, dict[str, Plan]]()
        return [ExpressedField(self, parameters, drive, plans, repeats) for drive in drives]

    @property
    def key(self) -> Any:
        """See `Equations.key`: where parameters start, and their bounds, make no other program."""
        places = (self.states, self.observed, self.inputs)
        formulas = self.formulas.rates, self.formulas.observed
        shared = sorted(self.shares.along.items()), self.structure.members
        return formulas, self.shapes, [place.tolist() for place in places], shared

    own_start = True

    def rate(self, space: Any, x: Any, drive: Any, parameters: Mapping[str, Any]) -> Any:
        """See `Equations.rate`."""
        return replayed.rate(self, space, x, drive, parameters)

    def observe(self, space: Any, states: Any, drive: Any, parameters: Mapping[str, Any]) -> Any:
        """See `Equations.observe`."""
        return replayed.observe(self, space, states, drive, parameters)

    def start(self, problem: Problem, settings: Any, rng: np.random.Generator) -> Parameters:
        """See `Equations.start`; what is to be drawn is drawn."""
        layout, declared = self.structure.layout, self.structure.model.parameters
        return {n: starts_of(one, rng, layout[n].shape) for n, one in declared.items()}


class ExpressedField(Field):
    """dx/dt of an `ODE` at given parameters; nodes that are no states stay where they are.

    Parameters
    ----------
    equations : Expressed
    parameters : dict of ndarray
    drive : Given
    plans : dict, optional
        Where fields of the same parameters and conditions share what they evaluate with: their
        inputs move.
    repeats : dict, optional
        The same of fields that are repeated, by how often.
    """

    def __init__(
        self,
        equations: Expressed,
        parameters: Parameters,
        drive: Given,
        plans: dict[str, Plan] | None = None,
        repeats: dict[int, dict[str, Plan]] | None = None,
    ) -> None:
        self._equations, self._programs = equations, equations.programs
        self._parameters, self._drive = parameters, drive
        self._shape, self._dtype = drive.initial.shape, drive.initial.dtype
        self._given = {name: parameters[name[1:]] for name in self._programs.names}
        self._given[INPUTS] = drive.inputs
        self._numbers: dict[str, Array] = {}
        if equations.shares.along:
            self._numbers = equations.shares.numbers(drive.members)
            for name, numbers in self._numbers.items():
                self._given[f".{name}"] = parameters[name][numbers]
        self._moving = {} if plans is None else {INPUTS: drive.inputs}
        self._plans: dict[str, Plan] = {} if plans is None else plans
        self._repeats: dict[int, dict[str, Plan]] = {} if repeats is None else repeats
        self.faults: dict[int, str] = {}

    @cached_property
    def initial(self) -> Array:  # type: ignore[override]
        """See `Field`."""
        (start,) = self._run("start")
        if not np.isfinite(start).all():
            self._say_which(np.zeros_like(start), start, "start")
        return self._spread(start, np.zeros(self._shape, self._dtype))

    def _run(self, program: str, **moving: Array) -> list[Array]:
        moving |= self._moving
        if program not in self._plans:
            made = getattr(self._programs, program)
            self._plans[program] = made.plan(self._shape[0], self._dtype, self._given, moving)
        return self._plans[program].run(**moving)

    def _spread(self, states: Array, over: Array) -> Array:
        spread = np.zeros_like(over)
        spread[:, self._equations.states] = states
        return spread

    def _at(self, x: Array) -> Array:
        states: Array = x[:, self._equations.states]
        return states

    def value(self, x: Array) -> Array:
        """See `Field.value`."""
        (rates,) = self._run("value", x=self._at(x))
        if not np.isfinite(rates).all():
            self._say_which(self._at(x), rates)
        return self._spread(rates, x)

    def pull_back(self, x: Array, adjoint: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.pull_back`."""
        of_x, *others = self._run("pull_back", x=self._at(x), adjoint=self._at(adjoint))
        self._add(others, gradient)
        return self._spread(of_x, x)

    def transposed(self, x: Array, vector: Array) -> Array:
        """See `Field.transposed`."""
        (of_x,) = self._run("transposed", x=self._at(x), adjoint=self._at(vector))
        return self._spread(of_x, x)

    def jacobian(self, x: Array) -> Array:
        """See `Field.jacobian`."""
        J, states = np.zeros((*x.shape, x.shape[1]), x.dtype), self._equations.states
        J[:, states[:, None], states] = self._run("jacobian", x=self._at(x))[0]
        return J

    def rows(self, index: Array) -> ExpressedField:
        """See `Field.rows`."""
        return self._equations.field(self._parameters, self._drive.rows(index))

    def repeated(self, times: int) -> ExpressedField:
        """See `Field.repeated`."""
        drive = self._drive.rows(np.tile(np.arange(self._shape[0]), times))
        plans = self._repeats.setdefault(times, {}) if self._moving else None
        return ExpressedField(self._equations, self._parameters, drive, plans, self._repeats)

    def scripts(self) -> Scripts | None:
        """See `Field.scripts`."""
        found, c = self._programs.scripts, self._shape[0]
        if found is None or found[2] * c > MOST_OPERATIONS or self._dtype != np.float64:
            return None
        own = [INPUTS, *(f".{name}" for name in self._numbers)]
        given = [self._given | {name: self._given[name][i] for name in own} for i in range(c)]
        try:
            rates, jacobians = ([script.bind(one) for one in given] for script in found[:2])
        except FAULTS:
            return None
        return Scripts(self._equations.states, rates, jacobians)

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """See `Field.slopes`."""
        states, (c, n) = self._equations.states, x.shape
        (found,) = self._run("slopes", x=self._at(x))
        of_states = np.zeros((c, n, n), x.dtype)
        of_states[:, states[:, None], states] = found[:, :, : states.size]
        found = self._whole(found[:, :, states.size :])
        of_parameters = np.zeros((c, n, found.shape[2]), x.dtype)
        of_parameters[:, states] = found
        return of_states, of_parameters

    @cached_property
    def _index(self) -> Array:
        """Where the parameters of each condition are among all."""
        return self._equations.shares.index(self._drive.members)

    def _whole(self, slopes: Array) -> Array:
        """Return derivatives by the parameters of each condition as those by all, (c, n, θ)."""
        if not self._numbers:
            return slopes
        size = self._equations.shares.layout.size
        whole = np.zeros((*slopes.shape[:2], size), slopes.dtype)
        np.put_along_axis(whole, np.broadcast_to(self._index[:, None], slopes.shape), slopes, 2)
        return whole

    def start_slopes(self) -> Array:
        """See `Field.start_slopes`."""
        found = self._whole(self._run("start_slopes")[0])
        whole = np.zeros((*self._shape, found.shape[2]), self._dtype)
        whole[:, self._equations.states] = found
        return whole

    def observe_slopes(self, x: Array, of_states: Array) -> Array:
        """See `Field.observe_slopes`."""
        states, where = self._equations.states, self._equations.observed
        if where.size:
            (found,) = self._run("observed_slopes", x=self._at(x))
            of_states = of_states.copy()
            through = found[:, :, : states.size] @ of_states[:, states]
            of_states[:, where] = through + self._whole(found[:, :, states.size :])
        return of_states

    def start_gradient(self, adjoint: Array, gradient: dict[str, Array]) -> None:
        """See `Field.start_gradient`."""
        self._add(self._run("start_back", adjoint=self._at(adjoint)), gradient)

    def observe(self, states: Array) -> None:
        """See `Field.observe`."""
        where = self._equations.observed
        if where.size:
            for k in range(states.shape[1]):
                x = self._at(states[:, k])
                states[:, k, where] = found = self._run("observed", x=x)[0]
                if not np.isfinite(found).all():
                    self._say_which(x, found, "observable")

    def observe_back(self, states: Array, seeds: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.observe_back`."""
        where = self._equations.observed
        if not where.size:
            return seeds
        seeds = seeds.copy()
        for k in range(states.shape[1]):
            due = seeds[:, k, where]
            seeds[:, k, where] = 0
            if due.any():
                of_x, *others = self._run("observed_back", x=self._at(states[:, k]), adjoint=due)
                seeds[:, k, self._equations.states] += of_x
                self._add(others, gradient)
        return seeds

    def _say_which(self, states: Array, values: Array, kind: str = "equation") -> None:
        """Keep what of a condition had no value at finite states, the last time."""
        bad = np.logical_not(np.isfinite(values))
        # What is infinite at huge states has grown there.
        fine = np.asarray(np.abs(states).max(axis=1, initial=0.0) < _HUGE)
        for row in np.flatnonzero(bad.any(axis=1) & fine):
            one = int(bad[row].argmax())
            self.faults[int(row)] = self._fault(kind, one, states[row], "value")

    def breaks(self, x: Array) -> dict[int, str]:
        """See `Field.breaks`."""
        states = self._at(x)
        found = self._breaking("equation", self._run("slopes", x=states)[0], states)
        if self._equations.observed.size:
            slopes = self._run("observed_slopes", x=states)[0]
            found = self._breaking("observable", slopes, states) | found
        return found

    def start_breaks(self) -> dict[int, str]:
        """See `Field.start_breaks`."""
        slopes = self._run("start_slopes")[0]
        return self._breaking("start", slopes, self._at(self.initial))

    def _breaking(self, kind: str, slopes: Array, states: Array) -> dict[int, str]:
        fine = np.asarray(np.isfinite(states).all(axis=1))[:, None]
        bad = np.asarray(fine & np.logical_not(np.isfinite(slopes).all(axis=2)))
        return {
            int(row): self._fault(kind, int(bad[row].argmax()), states[row], "derivative")
            for row in np.flatnonzero(bad.any(axis=1))
        }

    def _fault(self, kind: str, number: int, state: Array, what: str) -> str:
        model = self._equations.structure.model
        names, values = list(model.states), state
        of = list(model.observe if kind == "observable" else names)[number]
        if kind == "start":
            given = {n: v for n, v in self._parameters.items() if np.ndim(v) == 0}
            names, values = list(given), np.array(list(given.values()))
        at = ", ".join(f"{n} = {v:.4g}" for n, v in zip(names[:8], values, strict=False))
        return (
            f"the {kind} of {of} has no {what} at {at}: look for powers, roots and logarithms of "
            "what is not positive there, and for divisions by 0; keep it positive with "
            "pcb.maximum, or bound the parameters."
        )

    def _add(self, found: list[Array], gradient: dict[str, Array]) -> None:
        """Add derivatives with respect to the inputs and the parameters."""
        of_inputs, *of_parameters = found
        if self._equations.inputs.size:
            spread = np.zeros(self._shape, self._dtype)
            np.add.at(spread, (slice(None), self._equations.inputs), of_inputs)  # type: ignore[arg-type]
            gradient[INPUT] = gradient[INPUT] + spread
        for name, value in zip(self._programs.names, of_parameters, strict=True):
            p = self._equations.shares.layout[name[1:]]
            if p.along:
                part = np.zeros(p.shape, value.dtype)
                np.add.at(part, self._numbers[p.name], value)
                value = part
            part = value if p.fixed is None else np.where(p.fixed, 0, value)
            gradient[p.name] = gradient[p.name] + part
