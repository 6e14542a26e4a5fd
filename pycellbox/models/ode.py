"""Equations of the user's own, written as text or as a callable, and small neural networks."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pycellbox.common.files import PATH
from pycellbox.common.frozen import Frozen
from pycellbox.common.options import (
    NAMED,
    Value,
    checked,
    did_you_mean,
    instance,
    settle,
    shown,
)
from pycellbox.common.plain import several
from pycellbox.errors import ModelError, OptionError
from pycellbox.graph import from_lists, to_lists
from pycellbox.models import declared, layout
from pycellbox.models.declared import PARAMETER
from pycellbox.models.driven import driven
from pycellbox.models.formulas import Formulas, check_formulas, formulas_of
from pycellbox.models.model import Model
from pycellbox.models.structure import LEVEL, LEVEL_OF
from pycellbox.models.switches import switches
from pycellbox.models.toml import read_toml

_TAKEN = (
    "condition",
    "subject",
    "node",
    "node_kind",
    "time",
    "target",
    "source",
    "mask",
    LEVEL,
    LEVEL_OF,
)


_EQUATIONS = instance(
    Mapping | Callable | Formulas,  # type: ignore[arg-type]
    "equations by the names of states, {'S': '-beta*S*I'}, or a callable of x and p",
)


def _read_names(given: object) -> tuple[str, ...]:
    names = tuple(several(given))
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    return tuple(map(str, names))


def _read_inputs(given: object) -> Frozen[str]:
    if not isinstance(given, Mapping):
        given = {name: name for name in (_read_names(given) if several(given) else ())}
    if not all(isinstance(one, str) and one for pair in given.items() for one in pair):
        raise ValueError
    return Frozen(given)


NAMES = Value(_read_names, "a list of different names")
INPUT_NAMES = Value(
    _read_inputs, "names of nodes, or a mapping to them from the names that equations use"
)


@checked(
    rates=_EQUATIONS,
    states=Value(lambda given: None if given is None else NAMES.read(given), NAMES.needs),
    parameters=NAMED,
    observe=NAMED,
    initial=NAMED,
    inputs=INPUT_NAMES,
)
@dataclass(frozen=True, repr=False)
class ODE(Model):
    """Differential equations of one's own, dx/dt = f(x, p, u).

    Parameters
    ----------
    rates : mapping of str to str, or callable
        The equations. A text for each state, in the names of states, parameters and inputs: an
        expression of Python with ``+ - * / ** @``, comparisons, indices and functions such as
        ``exp``, ``log``, ``tanh``, ``where(S > 1, S, 0)``. It is parsed, never evaluated. Or a
        callable of the states x, a vector, of the parameters, ``p.k``, and with ``inputs`` of
        these, u, a vector; it returns dx/dt, a vector or a list. It is called once, with symbols
        in place of numbers.
    states : sequence of str, optional
        Names of the states, needed with a callable. States that the data do not have are hidden
        nodes of the fit.
    parameters : mapping of str to Parameter or number
        What the equations may name, each a `pycellbox.Parameter` or the number from which one
        starts.
    observe : mapping of str to str or callable
        Nodes of the data that are no states but follow from them: an expression each, in the same
        names, or a callable like that of the equations, which returns a scalar.
    initial : mapping of str to number, str or Parameter
        Where states start: a number, an expression of parameters and inputs, or a
        `pycellbox.Parameter`, which is fitted under the name ``<state>_0``. States that are not
        named start at 0, and wherever the data have an ``initial_state``, there.
    inputs : sequence of str, or mapping of str to str
        What enters the equations: nodes, by their perturbation, and signals of ``drive``, see
        `pycellbox.drive`. Under their own names, or under those that a mapping has as its keys:
        ``{"dose": "drug A"}``.

    Attributes
    ----------
    states : tuple of str

    Raises
    ------
    OptionError, ModelError
        An option is not what is needed; an expression cannot be read, names what is not there, or
        has another shape.

    Notes
    -----
    Equations are kept as a graph of operations: files keep that, and reading them runs none of the
    user's code. Time does not enter equations; a state with the equation ``"1"`` is time. Gradients
    are exact, in every backend; Julia compiles the equations, and takes the least time by far.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> pcb.ODE(
    ...     {"S": "-beta*S*I/N", "I": "beta*S*I/N - gamma*I"},
    ...     parameters={
    ...         "N": pcb.Parameter(763, fixed=True),
    ...         "beta": pcb.Parameter(positive=True),
    ...         "gamma": pcb.Parameter(positive=True),
    ...     },
    ...     observe={"cases": "I"},
    ...     initial={"S": "N - 1", "I": 1},
    ... )
    <pycellbox.ODE: dS/dt = -beta*S*I/N, dI/dt = beta*S*I/N - gamma*I>
    """

    rates: Any
    states: Any = None
    parameters: Any = field(default_factory=dict)
    observe: Any = field(default_factory=dict)
    initial: Any = field(default_factory=dict)
    inputs: Any = ()

    log_ratios = False

    def __post_init__(self) -> None:
        settle(self, "inputs", INPUT_NAMES("ODE: inputs", self.inputs))
        self._settle_states()
        entries = {
            name: PARAMETER(f"ODE: parameters[{name!r}]", one)
            for name, one in self.parameters.items()
        }
        starts = dict(self.initial)
        self._known("initial", starts, self.states)
        for state, given in starts.items():
            if isinstance(given, declared.Parameter):
                if given.shape:
                    raise ModelError(
                        f"initial[{state!r}] has the shape {given.shape}; it is one number."
                    )
                if f"{state}_0" in entries:
                    raise ModelError(
                        f"initial[{state!r}] is fitted as {state}_0, and parameters has that too: "
                        f"leave it out there, or write initial={{{state!r}: '{state}_0'}}."
                    )
                entries[f"{state}_0"] = given
        settle(self, "parameters", Frozen(entries))
        self._check_names()
        if not isinstance(self.rates, Formulas):
            made = formulas_of(
                self.rates, self.states, self.parameters, self.observe, starts, list(self.inputs)
            )
            settle(self, "rates", made)
        settle(
            self,
            "initial",
            Frozen({s: g if isinstance(g, str) else None for s, g in starts.items()}),
        )
        settle(self, "own_nodes", (*self.states, *self.observe))
        settle(
            self,
            "observe",
            Frozen({n: g if isinstance(g, str) else "" for n, g in self.observe.items()}),
        )

    def _settle_states(self) -> None:
        if isinstance(self.rates, Mapping):
            given = NAMES("ODE: the states in equations", list(self.rates))
            if self.states is not None and set(self.states) != set(given):
                raise ModelError(
                    f"states={shown(list(self.states))}, and there are equations of "
                    f"{', '.join(given)}: each state needs one."
                )
            settle(self, "states", self.states or given)
        elif self.states is None:
            raise OptionError(
                "ODE: a callable needs states=, the names of the entries of x in order."
            )

    def _check_names(self) -> None:
        for name in self.parameters:
            if not name.isidentifier() or keyword.iskeyword(name) or name in _TAKEN:
                raise ModelError(
                    f"a parameter cannot have the name {shown(name)}: it needs letters, digits "
                    f"and _, and to be no word of Python and none of {', '.join(_TAKEN)}."
                )
            for dim in _dims(name, self.parameters[name].shape):
                if dim in self.parameters:
                    raise ModelError(
                        f"the parameter {dim!r} has the name of a dimension of {name!r}."
                    )
        lists = {"states": self.states, "observe": self.observe}
        written = [*self.observe.values(), *self.initial.values()]
        if isinstance(self.rates, Mapping) or (
            callable(self.rates) and any(isinstance(one, str) for one in written)
        ):  # a text names them all alike
            lists |= {"parameters": self.parameters, "inputs": self.inputs}
        places: dict[str, str] = {}
        for place, names in lists.items():
            for name in names:
                if name in places:
                    hint = ""
                    if place == "inputs":
                        hint = f"; name it otherwise: inputs={{'u_{name}': {name!r}}}"
                    raise ModelError(f"{name!r} is in {places[name]} and in {place}{hint}.")
                places[name] = place

    def _known(self, where: str, given: Iterable[str], names: Iterable[str]) -> None:
        for name in given:
            if name not in names:
                hint = did_you_mean(name, names)
                raise ModelError(f"{where} has {shown(name)}, which is no state{hint}.")

    def check(self, structure: Any) -> None:
        """Refuse a fit of what only decides when something happens, beside what no model can fit.

        Raises
        ------
        ModelError
        """
        super().check(structure)
        measured = {n for n, k in zip(structure.nodes, structure.node_kind, strict=True)
                    if k != "hidden"}  # fmt: skip
        places = [
            [i for i, name in enumerate(names) if name in measured]
            for names in (self.states, self.observe)
        ]
        for symbol, entry in switches(self.rates, *places):
            name = symbol[1:]
            one = self.parameters[name]
            if one.held.ravel()[entry]:
                continue
            at = [str(i) for i in np.unravel_index(entry, one.shape)]
            which = f"{name}[{', '.join(at)}]" if at else name
            raise ModelError(
                f"{which} is in comparisons alone (where, >, sign): it decides when something "
                "happens, its derivative is zero, and a fit would leave it where it starts. "
                f"Write a smooth step, such as expit((t - {which})/width) in place of "
                f"t > {which}, or fix it: pcb.Parameter({one.middle if not at else '...'}, "
                "fixed=True)."
            )

    @property
    def equation(self) -> str:
        """The equations, in one line; without them where they were traced."""
        texts = self.rates.texts
        if texts:
            return ", ".join(f"d{s}/dt = {t}" for s, t in zip(self.states, texts, strict=True))
        return f"dx/dt = f(x; {', '.join(self.parameters)}), x = {', '.join(self.states)}"

    def declare(
        self, nodes: Sequence[str], node_kind: Sequence[str]
    ) -> tuple[layout.Parameter, ...]:
        """Return the parameters, and refuse nodes that the equations do not have."""
        known = set(self.own_nodes) | set(self.inputs.values())
        for node in nodes:
            if node not in known:
                raise ModelError(
                    f"the data have the node {node!r}, and the equations have none of that name"
                    f"{did_you_mean(node, known)}: add a state, an observable or an input, or "
                    "leave the node out of the data."
                )
        lacking = [node for node in known if node not in nodes]
        if lacking:
            hint = ""
            if set(lacking) <= set(self.inputs.values()):
                hint = " Inputs are nodes with a perturbation, or driving signals: see pcb.drive."
            raise ModelError(
                f"the data lack the node(s) {', '.join(sorted(lacking))} of the equations.{hint}"
            )
        return tuple(self._declared(name, one) for name, one in self.parameters.items())

    def driven(self, signals: Sequence[str], *, linear: bool) -> tuple[Model, tuple[str, ...]]:
        """Return the model under driving signals, and nodes that it has for them.

        Parameters
        ----------
        signals : sequence of str
            Their labels.
        linear : bool
            Whether they are lines; time is one more state then.

        Returns
        -------
        model : ODE
        nodes : tuple of str
            Those whose perturbation is the values; of lines then those of the slopes, and time.

        Raises
        ------
        ModelError
            The equations have no such input.
        """
        formulas, nodes = driven(self, signals, linear=linear)
        if not linear:
            return self, tuple(nodes)
        made: ODE = object.__new__(ODE)  # of neural ones too
        slopes = {name: name for name in nodes[len(signals) : -1]}
        ODE.__init__(
            made, formulas, (*self.states, nodes[-1]), self.parameters, self.observe,
            self.initial, {**self.inputs, **slopes},
        )  # fmt: skip
        return made, tuple(nodes)

    def _declared(self, name: str, one: declared.Parameter) -> layout.Parameter:
        labels = tuple(
            self.states if size == len(self.states) else tuple(map(str, range(size)))
            for size in one.shape
        )
        (lower, upper), held = one.bounds, one.held
        return layout.Parameter(
            name, _dims(name, one.shape), one.shape, "rates", lower, upper,
            held if held.any() else None, declared.starts_of(one), labels=labels, scale=one.scale,
            prior=one.prior,
            along=one.dims or "",
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: the graph of the equations, and what they are of.

        Returns
        -------
        dict
            By name.
        """
        formulas = self.rates
        return {
            "states": list(self.states),
            "parameters": {name: one.to_dict() for name, one in self.parameters.items()},
            "inputs": dict(self.inputs),
            "observe": dict(self.observe),
            "initial": dict(self.initial),
            "texts": list(formulas.texts),
            "graph": to_lists((formulas.rates, formulas.start, formulas.observed)),
        }

    @classmethod
    @checked(path=PATH)
    def from_toml(cls, path: str | Path) -> ODE:
        """Read equations from a TOML file, which is parsed and never evaluated.

        Parameters
        ----------
        path : str or Path
            With a table ``[equations]``, an expression in quotes for each state; and, where there
            are any, ``[parameters]``, ``[observe]``, ``[initial]`` and ``[inputs]``, as the
            arguments of the same names are. A parameter is the number from which it starts, or a
            table with the options of `pycellbox.Parameter`; a start or prior may be a
            distribution, ``{ uniform = [0, 1] }``.

        Returns
        -------
        ODE

        Raises
        ------
        ModelError
            There is no file, or it is no such model: with the file, the table and the option.

        Examples
        --------
        A file with these lines is read by ``pcb.ODE.from_toml("sir.toml")``::

            [equations]
            S = "-beta*S*I/N"
            I = "beta*S*I/N - gamma*I"

            [parameters]
            N = { start = 763, fixed = true }

            [parameters.beta]
            start = { loguniform = [0.1, 10] }
            scale = "log"

            [parameters.gamma]
            positive = true

            [observe]
            cases = "I"

            [initial]
            S = "N - 1"
            I = 1
        """
        return read_toml(ODE, Path(path))

    @classmethod
    @checked()
    def from_dict(cls, options: Mapping[str, Any], mask: Any = None) -> Any:
        """Rebuild a model from `to_dict`; nothing in it is evaluated.

        Parameters
        ----------
        options : mapping
            As `to_dict` made them.
        mask : None
            Of other models; there is none here.

        Returns
        -------
        ODE
            An equal one.

        Raises
        ------
        OptionError
            It is no stored model.
        """
        given = NAMED("model", options)
        wanted = {"states", "parameters", "inputs", "observe", "initial", "texts", "graph"}
        if set(given) != wanted or mask is not None:
            raise OptionError(f"a stored {cls.__name__} has {', '.join(sorted(wanted))}.")
        outputs, texts = from_lists(given.pop("graph")), given.pop("texts")
        if len(outputs) != 3 or not isinstance(texts, list):
            raise OptionError("a stored model has rates, start and observables, and its equations.")
        parameters = {
            name: declared.Parameter.from_dict(NAMED(f"parameters[{name!r}]", one))
            for name, one in NAMED("parameters", given.pop("parameters")).items()
        }
        made: ODE = object.__new__(cls)
        formulas = Formulas(outputs[0], outputs[1], outputs[2], tuple(map(str, texts)))
        ODE.__init__(made, formulas, parameters=parameters, **given)
        check_formulas(formulas, made.states, parameters, list(made.observe), list(made.inputs))
        return made

    def __repr__(self) -> str:
        return f"<pycellbox.{type(self).__name__}: {self.equation}>"


def _dims(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Dimensions of a parameter in labelled data."""
    ends = ("entry",) if len(shape) == 1 else ("row", "column")
    return tuple(f"{name}_{end}" for end in ends[: len(shape)])
