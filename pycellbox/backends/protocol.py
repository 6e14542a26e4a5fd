"""What a backend must offer. Arrays in, arrays out; no labels here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pycellbox.models import Structure
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver
from pycellbox.treatment import Treatment


class Session(Protocol):
    """One problem held by a backend, so that its buffers are made once and used many times."""

    def solution(self, parameters: Parameters) -> Solution:
        """States of the problem's conditions at its times, and how each condition ended."""
        ...

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """Loss alone; arguments and errors as in `loss_and_gradient`."""
        ...

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """Loss and its derivative with respect to the effective parameters.

        Parameters
        ----------
        parameters : dict of ndarray
            Effective ones, such as ``W`` (n, n) and the rates (n,).
        rows : sequence of int, optional
            The conditions to use; all by default.
        prefix : int, optional
            Use only the first ``prefix`` of the problem's times; all by default.
        inputs : bool
            Also with respect to the perturbation and the initial state.

        Returns
        -------
        loss : float
            A mean over the measured entries of these rows and times.
        gradient : dict of ndarray
            Like ``parameters``; zero where an entry is fixed. New arrays, the caller's own. With
            ``inputs`` also ``perturbation`` and ``initial_state``, each (rows, n); with a treatment
            the former is (rows, s, n), and there is ``pretreatment``, (rows, n), where some of the
            conditions are pre-treated.

        Raises
        ------
        DivergenceError
            The trajectory or its derivative is not finite.
        """
        ...

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """Residuals (x − y)/sigma of the measured entries, (m,), and their derivative.

        Returns
        -------
        residuals : ndarray, (m,)
            In the order of the response's array, (c, t, n).
        jacobian : ndarray, (m, θ)
            With respect to the effective parameters that are not fixed, in the layout's order.

        Raises
        ------
        DivergenceError
            As `loss_and_gradient`.
        """
        ...

    @property
    def settled(self) -> Array | None:
        """Which conditions settled in the last evaluation, bool (c,); None for trajectories."""
        ...

    def warm(self) -> Parameters:
        """Return what evaluations have left for the next, where that decides its last bits."""
        ...

    def warm_up(self, state: Parameters) -> None:
        """Take up what `warm` returned, so that the next evaluation has the same bits."""
        ...

    def training_run(self, plan: TrainingPlan) -> TrainingRun | None:
        """Return AdamW over one stage, many iterations a call.

        None: the training loop runs it itself, one `loss_and_gradient` an iteration.
        """
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
    parametrization : Parametrization
    raw, learning_rates, l1, l2 : ndarray, (θ,)
        Start, nominal learning rate and scaled penalties of every entry of θ.
    beta1, beta2, epsilon, weight_decay, clip_norm : float
        Of AdamW; infinite ``clip_norm`` for none.
    train, validation : ndarray of int
    patience : int
        0 for never.
    full_batch : bool
    """

    parametrization: Parametrization
    raw: Array
    learning_rates: Array
    l1: Array
    l2: Array
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

    def state(self) -> dict[str, Array]:
        """Everything on which the next iterations depend, as arrays of the caller's own.

        ``raw``, ``mean``, ``square``, ``previous``, ``best_raw``: vectors θ; ``best``, ``since``,
        ``count``, ``shrink``, ``retried``: numbers, ().
        """
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` returned, to the same bits."""
        ...

    @property
    def best_raw(self) -> Array:
        """The best θ so far, the current one where nothing judges.

        An array that is not written to again: it is kept while the training goes on.
        """
        ...


class Backend(Protocol):
    """A provider of numerics."""

    @property
    def name(self) -> str:
        """What the user writes in ``backend=``."""
        ...

    def supports(
        self,
        solver: Solver,
        gradient: Gradient | None = None,
        inputs: bool = False,
        treated: bool = False,
    ) -> str:
        """Why something cannot be done here, and what can; empty if it can.

        Parameters
        ----------
        solver : Solver
        gradient : str, optional
            None is the backend's default for the solver.
        inputs : bool
            With respect to the perturbation and the initial state too.
        treated : bool
            For a problem with a treatment.
        """
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
        treatment: Treatment | None = None,
    ) -> Solution:
        """Solve all conditions together from t = 0, or from the first segment of a treatment.

        Parameters
        ----------
        structure, solver, parameters
            The network and how to solve it.
        perturbation : ndarray, (c, n)
        times : ndarray, (t,)
            Strictly increasing, ≥ 0; for steady states the horizon to which conditions are
            integrated that do not settle.
        treatment : Treatment, optional
            Phases, held nodes and initial states; ``perturbation`` is then that of the last
            segment.

        Raises
        ------
        DivergenceError
            No condition can be solved: the step of all of them vanished.
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
