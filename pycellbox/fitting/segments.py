"""Courses of a problem cut into segments, each a condition of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pycellbox.data.units import SAME_TIME
from pycellbox.models import Layout, Structure
from pycellbox.models.layout import Parameter
from pycellbox.models.segmented import segmented
from pycellbox.problem import Array, Problem
from pycellbox.treatment import Treatment

_SEGMENT = "segment"


@dataclass(frozen=True)
class Segments:
    """A problem whose conditions are segments of those of another: of each, one after the other.

    Where a segment ends and another follows, every free state counts as measured, with response 0
    and weight 1, so that its residual is the state itself.

    Attributes
    ----------
    problem : Problem
    began : ndarray, (segments,)
        When those of a condition begin.
    owner, at : ndarray of int, (t,)
        Which segment has each time of the courses, and where among the times of the problem.
    names : dict of str to str
        Parameters, (segments of all conditions,), where each begins, by state.
    ends : ndarray of bool, (m,)
        Which of the measured entries are ends of segments.
    row, state : ndarray of int, (ends,)
        Number of the segment that each end is of, and its state among those of ``names``.
    """

    problem: Problem
    began: Array
    owner: Array
    at: Array
    names: dict[str, str]
    ends: Array
    row: Array
    state: Array

    def together(self, states: Array) -> Array:
        """Return states of segments, (segments of all, t', n), at the times of courses."""
        count = self.began.size
        each = states.reshape(-1, count, *states.shape[1:])
        return each[:, self.owner, self.at]


def cut(problem: Problem, begins: Array) -> Segments:
    """Cut the courses of a problem.

    Parameters
    ----------
    problem : Problem
        Of an `ODE`.
    begins : ndarray
        Times where the second and later segments begin, increasing.

    Returns
    -------
    Segments
    """
    treatment, structure, times = problem.treatment, problem.structure, problem.times
    first = 0.0 if treatment is None else float(treatment.starts[0])
    began = np.concatenate([[first], begins[(begins > first) & (begins < times[-1])]])
    count, slack = began.size, SAME_TIME * max(float(times[-1]), abs(first))
    # A time at which a segment begins is its own, and not that of the one before.
    owner = np.searchsorted(began, times + slack, side="right") - 1
    lengths = np.diff(np.append(began, times[-1]))
    local = np.maximum(times - began[owner], 0.0)
    grid = _merged(np.concatenate([local, lengths[:-1]]), slack)
    at, ends = _places(grid, local), _places(grid, lengths[:-1])

    c, _, n = problem.response.shape
    response = np.zeros((c, count, grid.size, n), problem.response.dtype)
    weight = np.zeros_like(response)
    response[:, owner, at], weight[:, owner, at] = problem.response, problem.weight
    cut_treatment = None if treatment is None else _treated(treatment, began, lengths, slack)
    free = [structure.nodes.index(state) for state in structure.model.states]
    held = np.zeros((c * count, n), bool)
    if treatment is not None:
        assert cut_treatment is not None
        if treatment.linear:  # time is known
            time = structure.nodes.index(structure.model.states[-1])
            free.remove(time)
            cut_treatment.initial[:, time] = _elapsed(treatment, began, time).ravel()
        held = np.repeat(treatment.held, count, axis=0)
    last = np.zeros((c, count, grid.size, n), bool)
    for k in range(count - 1):
        last[:, k, ends[k], free] = True
    last &= ~held.reshape(c, count, 1, n)
    response[last], weight[last] = 0, 1

    laid, names = _laid(structure, free, held, count)
    shape = (c * count, grid.size, n)
    measured, ending = weight.reshape(shape) > 0, last.reshape(shape)
    where = np.argwhere(ending)
    more = ((0, 0), (0, 0), (0, 2))
    first_of = np.tile(np.arange(count) == 0, c)
    behind = len(structure.members)
    doses = np.repeat(problem.perturbation, count, axis=0)
    if cut_treatment is not None:
        cut_treatment = _extended(cut_treatment, first_of, behind)
        doses = cut_treatment.perturbation[:, -1].copy()
    else:
        doses = _with_numbers(doses, first_of, behind)
    cut_problem = replace(
        problem,
        structure=laid,
        conditions=tuple(
            f"{name}, from {start:g}" for name in problem.conditions for start in began
        ),
        perturbation=doses,
        response=np.pad(response.reshape(shape), more),
        weight=np.pad(weight.reshape(shape), more),
        times=grid,
        treatment=cut_treatment,
    )
    number = np.full(n, -1)
    number[free] = np.arange(len(free))
    ends_at = ending[measured], where[:, 0], number[where[:, 2]]
    return Segments(cut_problem, began, owner, at, names, *ends_at)


def _merged(times: Array, slack: float) -> Array:
    """Return times in order, those that only rounding parts as one."""
    times = np.sort(times)
    merged: Array = times[np.append(True, np.diff(times) > slack)]
    return merged


def _places(grid: Array, times: Array) -> Array:
    """Return the places of times in a grid that has them, up to rounding."""
    after = np.searchsorted(grid, times).clip(max=grid.size - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(grid[before] - times) < np.abs(grid[after] - times)
    places: Array = np.where(nearer, before, after)
    return places


def _laid(
    structure: Structure, free: list[int], held: Array, count: int
) -> tuple[Structure, dict[str, str]]:
    """Return the structure with what says where segments begin, and the names of that."""
    rows = len(held)
    states = [structure.nodes[i] for i in free]
    model, node, names = segmented(structure.model, states)
    first = np.arange(rows) % count == 0
    begin = [
        Parameter(names[state], (_SEGMENT,), (rows,), fixed=first | held[:, i], along=_SEGMENT)
        for state, i in zip(states, free, strict=True)
    ]
    behind = len(structure.nodes) - len(structure.members)
    nodes, kinds = list(structure.nodes), list(structure.node_kind)
    nodes[behind:behind], kinds[behind:behind] = [node], ["hidden"]
    laid = replace(
        structure,
        model=model,
        nodes=(*nodes, f"number of the {_SEGMENT}"),
        node_kind=(*kinds, "hidden"),
        layout=Layout((*structure.layout.parameters, *begin)),
        internal=structure.internal + 2,
        members=(*structure.members, _SEGMENT),
    )
    return laid, names


def _with_numbers(doses: Array, first: Array, behind: int) -> Array:
    """Add whether a segment is the first, and its number, to doses (rows, ..., n)."""
    lead = doses.shape[:-1]
    each = [
        np.broadcast_to(one.reshape(-1, *[1] * (len(lead) - 1)), lead)[..., None]
        for one in (first.astype(doses.dtype), np.arange(len(first)).astype(doses.dtype))
    ]
    split = doses.shape[-1] - behind
    return np.concatenate([doses[..., :split], each[0], doses[..., split:], each[1]], axis=-1)


def _extended(treatment: Treatment, first: Array, behind: int) -> Treatment:
    """Add the same to a treatment; the two are nodes that begin where the model says."""
    pre = treatment.pretreatment
    split = treatment.initial.shape[-1] - behind

    def padded(array: Array, filler: float) -> Array:
        wide: Array = np.insert(array, split, filler, axis=-1)
        return np.insert(wide, wide.shape[-1], filler, axis=-1)

    return replace(
        treatment,
        perturbation=_with_numbers(treatment.perturbation, first, behind),
        moves=None if treatment.moves is None else padded(treatment.moves, True),
        initial=padded(treatment.initial, np.nan),
        pretreatment=None if pre is None else _with_numbers(pre, first, behind),
        held=padded(treatment.held, False),
        fitted=padded(treatment.fitted, -1),
    )


def _treated(treatment: Treatment, began: Array, lengths: Array, slack: float) -> Treatment:
    """Return what is done in each segment, from its beginning on."""
    count, longest = began.size, float(lengths.max())
    changes = (treatment.starts[None] - began[:, None]).ravel()
    changes = changes[(changes > slack) & (changes < longest - slack)]
    starts = _merged(np.append(changes, 0.0), slack)
    which = np.searchsorted(treatment.starts, began[:, None] + starts + slack, side="right") - 1

    def spread(array: Array) -> Array:
        taken = array[:, which]  # (c, count, starts, n)
        return np.ascontiguousarray(taken.reshape(-1, starts.size, array.shape[-1]))

    def repeated(array: Array) -> Array:
        return np.repeat(array, count, axis=0)

    first = np.tile(np.arange(count) == 0, len(treatment.initial))
    held, initial = repeated(treatment.held), repeated(treatment.initial)
    initial[~first[:, None] & ~held] = np.nan
    pretreated = repeated(treatment.pretreated) & first
    return replace(
        treatment,
        starts=starts,
        perturbation=spread(treatment.perturbation),
        moves=None if treatment.moves is None else spread(treatment.moves),
        initial=initial,
        pretreatment=None if treatment.pretreatment is None else repeated(treatment.pretreatment),
        pretreated=pretreated,
        held=held,
        fitted=repeated(treatment.fitted),
        end=np.inf,
    )


def _elapsed(treatment: Treatment, began: Array, time: int) -> Array:
    """Return how long each condition has gone on where segments begin, (c, segments)."""
    ends = np.append(treatment.starts[1:], np.inf)
    past = np.clip(began[:, None], treatment.starts, ends) - treatment.starts
    c = len(treatment.initial)
    moves = np.ones((c, len(ends))) if treatment.moves is None else treatment.moves[:, :, time]
    elapsed: Array = moves @ past.T
    return elapsed
