"""Regimens in a line: pre-treatments, pulses, washouts, knock-outs, laid over a dataset.

`regimen` takes a dataset, or a table of doses, and instructions: what is said of a node holds in
the conditions in which the data perturb it, at the dose that they give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from pycellbox.common.labels import label_text
from pycellbox.common.options import Value, checked, flag, instance, number, optional, shown
from pycellbox.common.plain import several
from pycellbox.data.designs import DESIGN, as_design
from pycellbox.data.drafts import Draft
from pycellbox.data.units import read_time
from pycellbox.errors import DataError, OptionError

Time: TypeAlias = float | str
Labels: TypeAlias = str | Sequence[str]


@dataclass(frozen=True, repr=False)
class Instruction:
    """What `regimen` lays over a dataset; made by `pretreat`, `pulse`, `knockout` and the like."""

    words: str
    apply: Callable[[Draft], None]

    def __repr__(self) -> str:
        return f"<{self.words}>"


INSTRUCTION = instance(
    Instruction,
    "an instruction: pcb.pretreat(...), pcb.pulse(...), pcb.washout(...), pcb.step(...), "
    "pcb.knockout(...) or the like",
)


def _read_labels(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    labels = several(given)
    if not labels or not all(isinstance(label, str | int | np.integer) for label in labels):
        raise ValueError
    return tuple(map(label_text, labels))


def _read_time(given: Any) -> Any:
    read_time("time", given, "min")
    return given


_NODES = Value(_read_labels, "the label of a node, or a list of labels")
CONDITIONS = optional(Value(_read_labels, "the label of a condition, or a list of labels"))
TIME = Value(_read_time, "a time: a number in the data's unit, or a text such as '10 min'")
_DOSE = optional(number())


@checked(data=DESIGN)
def regimen(data: xr.Dataset | xr.DataArray, *instructions: Instruction) -> xr.Dataset:
    """Lay pre-treatments, pulses, washouts, knock-outs and the like over a dataset.

    Parameters
    ----------
    data : Dataset or DataArray (condition, node)
        A dataset, whose perturbation may have phases already; or doses alone, as for a simulation.
    *instructions : Instruction
        `pretreat`, `pulse`, `step`, `washout`, `knockout`, `knockdown`, `overexpression`, `drive`
        and `start_as_measured`, in the order in which they are carried out.

    Returns
    -------
    Dataset
        The data with phases, held nodes and initial states, as `pycellbox.validate` describes
        them; without a response if none was given, for simulations and predictions. All
        conditions have the same phases, unless there are initial states: then each its own.

    Raises
    ------
    DataError
        A label is unknown; or the data perturb a node nowhere, and no dose is given.
    OptionError
        A time cannot be read: of data whose time has no unit, give plain numbers.

    Notes
    -----
    Where ``conditions`` are not named, an instruction is for those in which the data perturb the
    node in any phase; if they perturb it nowhere, for all. A dose that is not given is the one
    that the data have there, the largest of all phases.

    Examples
    --------
    An inhibitor an hour before the stimulus, which is taken away after ten minutes, in cells
    without ERK:

    >>> data = pcb.regimen(  # doctest: +SKIP
    ...     data,
    ...     pcb.pretreat("aMEK", before="1 h"),
    ...     pcb.pulse("EGF", "0 min", "10 min"),
    ...     pcb.knockout("ERK"),
    ... )
    """
    for instruction in instructions:
        INSTRUCTION("regimen", instruction)
    draft = Draft(as_design(data))
    for instruction in instructions:
        instruction.apply(draft)
    return as_design(draft.dataset())


@checked(nodes=_NODES, before=optional(TIME), dose=_DOSE, conditions=CONDITIONS)
def pretreat(
    nodes: Labels,
    before: Time | None = None,
    *,
    dose: float | None = None,
    conditions: Labels | None = None,
) -> Instruction:
    """Give a node its dose before time 0 already, as an inhibitor before the stimulus.

    Parameters
    ----------
    nodes : str or sequence of str
        What is given earlier; all else of the data starts at 0 as before.
    before : number or str, optional
        How long before time 0, such as ``"1 h"``; the integration then starts there. By default so
        long that the state has settled: the state at 0 is the steady state of the pre-treatment.
    dose : float, optional
        By default that of the data. Where the data give none at 0 it goes on after 0, until a
        `washout`.
    conditions : str or sequence of str, optional
        Labels; see `regimen` for the default.

    Returns
    -------
    Instruction
        For `regimen`.
    """

    def apply(draft: Draft) -> None:
        start = -np.inf
        if before is not None:
            start = -draft.time("pretreat: before", before)
            if not start < 0:
                raise OptionError(f"pretreat: before={shown(before)}; it needs a time above 0.")
        for line, node in draft.lines(nodes, conditions, dose):
            now = line.dose_at(0.0, node)
            given = line.dose(node, dose)
            line.give(node, given, start, 0.0 if now else None)

    return Instruction(f"pretreat {_said(nodes)}", apply)


@checked(nodes=_NODES, start=TIME, end=optional(TIME), dose=_DOSE, conditions=CONDITIONS)
def pulse(
    nodes: Labels,
    start: Time,
    end: Time | None = None,
    *,
    dose: float | None = None,
    conditions: Labels | None = None,
) -> Instruction:
    """Give a node its dose from a time on until another.

    Parameters
    ----------
    nodes : str or sequence of str
        What is given in a pulse.
    start, end : number or str
        When, such as ``"0 min"``, ``"10 min"``; without an end it goes on. A constant dose of the
        data becomes the pulse; to one that changes already, or a pulse, this one is added.
    dose, conditions : optional
        As for `pretreat`.

    Returns
    -------
    Instruction
        For `regimen`.
    """

    def apply(draft: Draft) -> None:
        first = draft.time("pulse: start", start)
        last = None if end is None else draft.time("pulse: end", end)
        if last is not None and not first < last:
            raise OptionError(f"pulse: start={shown(start)}, end={shown(end)}; it ends before.")
        for line, node in draft.lines(nodes, conditions, dose):
            given = line.dose(node, dose)
            if line.is_constant(node):
                line.give(node, 0.0, 0.0)
            line.give(node, given, first, last)

    return Instruction(f"pulse of {_said(nodes)}", apply)


@checked(nodes=_NODES, at=TIME, dose=number(), conditions=CONDITIONS)
def step(nodes: Labels, at: Time, dose: float, *, conditions: Labels | None = None) -> Instruction:
    """Change the dose of a node at a time.

    Parameters
    ----------
    nodes : str or sequence of str
        What is given differently.
    at : number or str
        When, such as ``"2 h"``.
    dose : float
        From then on.
    conditions : str or sequence of str, optional
        As for `pretreat`.

    Returns
    -------
    Instruction
        For `regimen`.
    """

    def apply(draft: Draft) -> None:
        time = draft.time("step: at", at)
        for line, node in draft.lines(nodes, conditions, dose):
            line.give(node, dose, time)

    return Instruction(f"step of {_said(nodes)}", apply)


@checked(nodes=_NODES, at=TIME, conditions=CONDITIONS)
def washout(nodes: Labels, at: Time, *, conditions: Labels | None = None) -> Instruction:
    """Take a node's dose away at a time.

    Parameters
    ----------
    nodes : str or sequence of str
        What is taken away.
    at : number or str
        When, such as ``"2 h"``; ``0`` ends a pre-treatment.
    conditions : str or sequence of str, optional
        As for `pretreat`.

    Returns
    -------
    Instruction
        For `regimen`.
    """

    def apply(draft: Draft) -> None:
        time = draft.time("washout: at", at)
        for line, node in draft.lines(nodes, conditions, None):
            line.give(node, 0.0, time)

    return Instruction(f"washout of {_said(nodes)}", apply)


@checked(nodes=_NODES, level=number(), conditions=CONDITIONS)
def knockout(
    nodes: Labels, *, level: float = -4.0, conditions: Labels | None = None
) -> Instruction:
    """Hold a node low for all time: its gene is not there.

    Parameters
    ----------
    nodes : str or sequence of str
        What is not there.
    level : float
        Where it is held, as log-ratio to the control. Nothing left is no number; the default
        leaves 6 % for a log2-ratio and 2 % for a natural one, about the least that assays tell
        from nothing, and saturates what the node acts on.
    conditions : str or sequence of str, optional
        As for `pretreat`.

    Returns
    -------
    Instruction
        For `regimen`.
    """
    return _hold("knock-out", nodes, level, False, conditions)


@checked(nodes=_NODES, level=number(), fitted=flag(), conditions=CONDITIONS)
def knockdown(
    nodes: Labels,
    fitted: bool = True,
    *,
    level: float = -1.0,
    conditions: Labels | None = None,
) -> Instruction:
    """Hold a node at a lowered level for all time, by default one that is fitted.

    Parameters
    ----------
    nodes : str or sequence of str
        Of which there is less.
    fitted : bool
        Whether the level is fitted, one for all conditions of a node that start from the same.
    level : float
        Where it is held, as log-ratio to the control, or where its fit starts: by default half of
        the control for a log2-ratio.
    conditions : str or sequence of str, optional
        As for `pretreat`.

    Returns
    -------
    Instruction
        For `regimen`.
    """
    return _hold("knock-down", nodes, level, fitted, conditions)


@checked(nodes=_NODES, level=number(), fitted=flag(), conditions=CONDITIONS)
def overexpression(
    nodes: Labels,
    *,
    level: float = 2.0,
    fitted: bool = False,
    conditions: Labels | None = None,
) -> Instruction:
    """Hold a node high for all time: overexpression, or a mutant that is always active.

    Parameters
    ----------
    nodes : str or sequence of str
        Of which there is more.
    level : float
        Where it is held, as log-ratio to the control: by default the fourfold of the control for
        a log2-ratio.
    fitted : bool
        Whether the level is fitted, from there on.
    conditions : str or sequence of str, optional
        As for `pretreat`.

    Returns
    -------
    Instruction
        For `regimen`.
    """
    return _hold("overexpression", nodes, level, fitted, conditions)


@checked(nodes=optional(_NODES), fitted=flag(), conditions=CONDITIONS)
def start_as_measured(
    nodes: Labels | None = None, *, fitted: bool = False, conditions: Labels | None = None
) -> Instruction:
    """Let conditions start from what was measured at time 0 instead of the model's own state.

    Parameters
    ----------
    nodes : str or sequence of str, optional
        By default all; those that were not measured at 0 keep the model's own start.
    fitted : bool
        Whether these states are fitted, from what was measured on.
    conditions : str or sequence of str, optional
        By default all.

    Returns
    -------
    Instruction
        For `regimen`.
    """

    def apply(draft: Draft) -> None:
        design = draft.design
        if "response" not in design or "time" not in design["response"].dims:
            raise DataError("start_as_measured is for time courses, with responses at time 0.")
        if design["time"].values[0] != 0:
            raise DataError(
                "start_as_measured: nothing was measured at time 0; the first time is "
                f"{design['time'].values[0]:g}. Count time from there, or give initial_state."
            )
        rows = draft.conditions(conditions)
        columns = draft.nodes(design["node"].values.tolist() if nodes is None else nodes)
        where = np.ix_(rows, columns)
        state = design["response"].values[:, 0][where]
        draft.initial[where] = np.where(np.isnan(state), draft.initial[where], state)
        draft.initial_fitted[where] = fitted & ~np.isnan(state)

    return Instruction("start as measured", apply)


def _hold(
    what: str, nodes: Labels, level: float, fitted: bool, conditions: Labels | None
) -> Instruction:
    def apply(draft: Draft) -> None:
        for node in draft.nodes(nodes):
            rows = draft.where(node, conditions)
            draft.held[rows, node] = level
            draft.held_fitted[rows, node] = fitted

    return Instruction(f"{what} of {_said(nodes)}", apply)


def _said(nodes: Labels) -> str:
    return nodes if isinstance(nodes, str) else ", ".join(nodes)
