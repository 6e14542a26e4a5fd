"""Equations of the user's own, written as text or as a callable, and small neural networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycellbox.common.files import PATH
from pycellbox.common.frozen import Frozen
from pycellbox.common.options import (
    Value,
    checked,
    flag,
    settle,
    shown,
)
from pycellbox.errors import ModelError, OptionError
from pycellbox.graph.symbolic import name_of, text_of
from pycellbox.models import layout
from pycellbox.models.driven import driven
from pycellbox.models.formulas import Formulas, check_formulas, formulas_of
from pycellbox.models.kept import plain, unpacked
from pycellbox.models.laying import check_nodes, declared_by
from pycellbox.models.model import Model
from pycellbox.models.naming import (
    EQUATIONS,
    INPUT_NAMES,
    NAMES,
    WRITTEN,
    all_parameters,
    check_names,
)
from pycellbox.models.switches import refuse_switches
from pycellbox.models.toml import read_toml


@checked(
    rates=EQUATIONS,
    states=Value(lambda given: None if given is None else NAMES.read(given), NAMES.needs),
    parameters=WRITTEN,
    observe=WRITTEN,
    initial=WRITTEN,
    inputs=INPUT_NAMES,
    at_rest=flag(),
)
@dataclass(frozen=True, repr=False)
class ODE(Model):
    """Differential equations of one's own, dx/dt = f(x, p, u).

    Parameters
    ----------
    rates : mapping of str to str, or callable
        The equations. A text for each state, in the names of states, parameters and inputs: an
        expression of Python with ``+ - * / ** @``, comparisons, indices and functions such as
        ``exp``, ``log``, ``tanh``, ``where(S > 1, S, 0)``. It is parsed, never evaluated. Or an
        expression of SymPy for each, in symbols that have these names, which may stand for the
        names themselves, here and in what follows; states may be functions of t. Or a
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
    at_rest : bool
        Whether conditions begin in the steady state that they reach from ``initial`` without a
        perturbation; signals of ``drive`` are steps then, and 0 before all begins. What does not
        settle begins where a long integration ends, with a warning.

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
    at_rest: bool = False

    log_ratios = False

    def __post_init__(self) -> None:
        settle(self, "inputs", INPUT_NAMES("ODE: inputs", self.inputs))
        self._settle_states()
        starts = dict(self.initial)
        entries = all_parameters(self.parameters, starts, self.states)
        settle(self, "parameters", Frozen(entries))
        check_names(self)
        if not isinstance(self.rates, Formulas):
            made = formulas_of(
                self.rates, self.states, self.parameters, self.observe, starts, list(self.inputs)
            )
            settle(self, "rates", made)
        settle(
            self,
            "initial",
            Frozen({s: text_of(g) for s, g in starts.items()}),
        )
        settle(self, "own_nodes", (*self.states, *self.observe))
        settle(
            self,
            "observe",
            Frozen({n: text_of(g) or "" for n, g in self.observe.items()}),
        )

    def _settle_states(self) -> None:
        if isinstance(self.rates, Mapping):
            settle(self, "rates", {name_of(key): one for key, one in self.rates.items()})
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

    def check(self, structure: Any) -> None:
        """Refuse a fit of what only decides when something happens, beside what no model can fit.

        Raises
        ------
        ModelError
        """
        super().check(structure)
        refuse_switches(self, structure)

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
        check_nodes(self, nodes)
        return tuple(declared_by(self, name) for name in self.parameters)

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
            With formulas of the signals.
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
            self.initial, {**self.inputs, **slopes}, self.at_rest,
        )  # fmt: skip
        return made, tuple(nodes)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: the graph of the equations, and what they are of.

        Returns
        -------
        dict
            By name.
        """
        return plain(self)

    @classmethod
    @checked(path=PATH)
    def from_toml(cls, path: str | Path) -> ODE:
        """Read equations from a TOML file, which is parsed and never evaluated.

        Parameters
        ----------
        path : str or Path
            With a table ``[equations]``, an expression in quotes for each state; and, where there
            are any, ``[parameters]``, ``[observe]``, ``[initial]`` and ``[inputs]``, and before
            them ``at_rest``, as the arguments of the same names are. A parameter is the number from
            which it starts, or a table with the options of `pycellbox.Parameter`; a start or prior
            may be a distribution, ``{ uniform = [0, 1] }``.

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
        formulas, given = unpacked(cls.__name__, options, mask)
        made: ODE = object.__new__(cls)
        ODE.__init__(made, formulas, **given)
        parameters, observe, inputs = given["parameters"], list(made.observe), list(made.inputs)
        check_formulas(formulas, made.states, parameters, observe, inputs)
        return made

    def __repr__(self) -> str:
        return f"<pycellbox.{type(self).__name__}: {self.equation}>"
