"""What a backend must offer. Arrays in, arrays out; no labels here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Gradient, Solver, SteadyState


class Session(Protocol):
    """One problem held by a backend, so that its buffers are made once and used many times.

    A session may also have ``training_run(plan: TrainingPlan) -> TrainingRun``; without it the
    training loop runs AdamW itself, one `value_and_gradient` an iteration. A session of
    `SteadyState` has ``settled``, bool (c,): which conditions did in the last evaluation.
    """

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """Loss and its derivative with respect to the effective parameters.

        Parameters
        ----------
        parameters : dict of ndarray
            ``W`` (n, n) and the model's rates (n,).
        rows : sequence of int, optional
            The conditions to use; all by default.
        prefix : int, optional
            Use only the first ``prefix`` of the problem's times; all by default.

        Returns
        -------
        value : float
            The loss, a mean over the measured entries of these rows and times.
        gradient : dict of ndarray
            Like ``parameters``; zero where the mask forbids an edge. New arrays, the caller's own.

        Raises
        ------
        DivergenceError
            The trajectory or its derivative is not finite.
        """
        ...

    def value(self, parameters: Parameters, rows: Sequence[int] | Array | None = None) -> float:
        """Loss alone; arguments and errors as in `value_and_gradient`."""
        ...


@dataclass(frozen=True)
class Batch:
    """The conditions of one training iteration and its learning rate.

    Attributes
    ----------
    rows : ndarray of int
    closes_epoch : bool
        Whether the parameters at its start are judged.
    factor : float
        Learning rate relative to its nominal value.
    prefix : int or None
        Number of first times to use; None for all.
    """

    rows: Array
    closes_epoch: bool
    factor: float
    prefix: int | None = None


@dataclass(frozen=True)
class Iteration:
    """What one training iteration saw at the parameters it started from."""

    objective: float
    loss: float
    validation_loss: float
    gradient_norm: float


@dataclass(frozen=True)
class Advance:
    """What came of some iterations.

    Attributes
    ----------
    iterations : list of Iteration
    stop : bool
        Whether patience has run out.
    failure : str
        Why there were no more, where a blow-up could not be averted; else empty.
    """

    iterations: list[Iteration]
    stop: bool = False
    failure: str = ""


@dataclass(frozen=True)
class TrainingPlan:
    """A stage of AdamW as plain arrays, for a backend that runs many iterations in one call.

    Attributes
    ----------
    raw, learning_rates, l1, l2 : dict of ndarray
        Start, nominal learning rate and scaled penalties of every raw parameter: ``W`` (n, n), with
        shared drug columns ``b0`` (n,), and the rates (n,) before softplus. ``l1`` and ``l2`` have
        ``W`` and ``b0`` alone.
    shared : bool
        Whether W[:, drug j] = b0 + raw W[:, j].
    held : ndarray or None
        Response range of each node, (n,), where ε = held∘α.
    beta1, beta2, epsilon, weight_decay, clip_norm : float
        Of AdamW; infinite ``clip_norm`` for none.
    train, validation : ndarray of int
    patience : int
        0 for never.
    full_batch : bool
    """

    raw: Parameters
    learning_rates: Parameters
    l1: Parameters
    l2: Parameters
    shared: bool
    held: Array | None
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip_norm: float
    train: Array
    validation: Array
    patience: int
    full_batch: bool


class TrainingRun(Protocol):
    """AdamW over one stage."""

    chunk: int
    """Iterations that `advance` should be given at a time."""
    retried: int
    """Steps that were taken back because of a blow-up."""

    def advance(self, batches: list[Batch]) -> Advance:
        """Make an update on each batch."""
        ...

    def finish(self) -> None:
        """Have the parameters after the last update judged."""
        ...

    @property
    def best_raw(self) -> Parameters:
        """The best raw parameters so far, the current ones where nothing judges.

        Arrays that are not written to again: they are kept while the training goes on.
        """
        ...


@dataclass(frozen=True)
class SteadyStates:
    """Steady states of a network.

    Attributes
    ----------
    states : ndarray, (c, n)
        Where not settled, the states at the horizon.
    residual : ndarray, (c,)
        Largest change over the nodes that the fixed-point map makes to the state.
    settled : ndarray of bool, (c,)
        Whether the state is proven to be the steady state that the trajectory from x(0) reaches.
    """

    states: Array
    residual: Array
    settled: Array


class Backend(Protocol):
    """A provider of numerics."""

    @property
    def name(self) -> str:
        """What the user writes in ``backend=``."""
        ...

    @property
    def finds_steady_states(self) -> bool:
        """Whether it has the solver `SteadyState`."""
        ...

    def version(self) -> str:
        """Version of the library that does the work, for provenance."""
        ...

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
    ) -> Array:
        """Integrate all conditions together from t = 0.

        Parameters
        ----------
        structure, solver, parameters
            The network and how to integrate it.
        perturbation : ndarray, (c, n)
        times : ndarray, (t,)
            Strictly increasing, ≥ 0.

        Returns
        -------
        ndarray, (c, t, n)

        Raises
        ------
        DivergenceError
            The trajectory is not finite.
        """
        ...

    def steady_states(
        self,
        structure: Structure,
        solver: SteadyState,
        parameters: Parameters,
        perturbation: Array,
        horizon: float,
    ) -> SteadyStates:
        """Find the steady state of every condition of ``perturbation``, (c, n).

        Conditions that do not settle are integrated to ``horizon``.
        """
        ...

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> Session:
        """Hold ``problem`` for repeated evaluation.

        ``gradient`` None is the backend's default for the solver.

        Raises
        ------
        BackendError
            This backend has no such solver or gradient.
        """
        ...
