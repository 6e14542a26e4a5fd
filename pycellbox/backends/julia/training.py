"""Training in Julia, many iterations a call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.backends.julia.calls import address, call, call_locked, located, row_numbers
from pycellbox.backends.protocol import Advance, Batch, Iteration, TrainingPlan
from pycellbox.numerics.parametrization import NetworkParametrization
from pycellbox.problem import Array

if TYPE_CHECKING:
    from pycellbox.backends.julia.session import JuliaSession

# A call returns this often, so that Ctrl-C and the progress bar do not wait.
_CALL_SECONDS = 0.1
# The state of a run, in the order in which Julia has it.
_VECTORS = ("raw", "mean", "square", "previous", "best_raw")
_NUMBERS = ("best", "since", "count", "shrink", "retried")
_COUNTS = {"since", "count", "retried"}


class JuliaTrainingRun:
    """AdamW in Julia (Optimisers.jl), as many iterations a call as fit into a fraction of a second.

    The counterpart of `pycellbox.fitting.adamw.AdamWRun`: same batches, same arithmetic, same
    judgement of the best parameters.
    """

    def __init__(self, session: JuliaSession, plan: TrainingPlan) -> None:
        self.retried, self.chunk = 0, 1
        self._session, self._core, dtype = session, session._core, session._dtype
        self._layout, pair = plan.parametrization.layout, plan.parametrization
        assert isinstance(pair, NetworkParametrization)
        self.best_raw = plan.raw.copy()
        self._judged = plan.full_batch or plan.validation.size > 0
        vectors = (plan.raw, plan.learning_rates, plan.l1, plan.l2)
        sets = [self._layout.split(np.ascontiguousarray(v, dtype=dtype)) for v in vectors]
        held = None if pair.held is None else np.ascontiguousarray(pair.held, dtype=dtype)
        train, validation = row_numbers(plan.train), row_numbers(plan.validation)
        self._run = call_locked(
            self._core.python_training,
            session._session,
            session._structure,
            dtype.name,
            pair.shared,
            0 if held is None else address(held),
            (plan.beta1, plan.beta2, plan.epsilon, plan.weight_decay, plan.clip_norm),
            tuple(sets[0]),
            tuple(tuple(address(part[k]) for part in sets) for k in sets[0]),
            located(train),
            located(validation),
            plan.patience,
            plan.full_batch,
        )

    def advance(self, batches: list[Batch]) -> Advance:
        """See `pycellbox.backends.protocol.TrainingRun.advance`."""
        count = len(batches)
        records = np.empty((4, count))
        rows = np.concatenate([b.rows for b in batches]).astype(np.int64)
        ends = np.cumsum([b.rows.size for b in batches], dtype=np.int64)
        prefixes = np.array([b.prefix or 0 for b in batches], dtype=np.int64)
        epochs = np.array([b.closes_epoch for b in batches], dtype=np.uint8)
        factors = np.array([b.factor for b in batches], dtype=np.float64)
        began = time.perf_counter()
        done, stop, message = call(
            self._core.python_advance, self._run, count, address(records), address(rows),
            address(ends), address(prefixes), address(epochs), address(factors),
        )  # fmt: skip
        seconds = time.perf_counter() - began
        self.chunk = max(1, min(1000, int(count * _CALL_SECONDS / max(seconds, 1e-6))))
        self.retried = int(call_locked(lambda: self._run.retried))
        self._read()
        iterations = [Iteration(*map(float, column)) for column in records.T[: int(done)]]
        return Advance(iterations, bool(stop), str(message))

    def finish(self) -> None:
        """See `pycellbox.backends.protocol.TrainingRun.finish`."""
        call(getattr(self._core, "finish!"), self._run)
        self._read()

    def state(self) -> dict[str, Array]:
        """See `pycellbox.backends.protocol.TrainingRun.state`."""
        vectors, numbers = np.empty((len(_VECTORS), self.best_raw.size)), np.empty(len(_NUMBERS))
        self._exchange(vectors, numbers, restoring=False)
        found = dict(zip(_VECTORS, vectors, strict=True))
        found |= {k: np.array(v) for k, v in zip(_NUMBERS, numbers, strict=True)}
        return {k: v.astype(np.int64) if k in _COUNTS else v for k, v in found.items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """See `pycellbox.backends.protocol.TrainingRun.restore`."""
        vectors = np.array([state[k] for k in _VECTORS], np.float64)
        numbers = np.array([state[k] for k in _NUMBERS], np.float64)
        self._exchange(vectors, numbers, restoring=True)
        self.retried = int(state["retried"])
        self._read()

    def _exchange(self, vectors: Array, numbers: Array, *, restoring: bool) -> None:
        names, places = (
            tuple(self._layout.split(self.best_raw)),
            (address(vectors), address(numbers)),
        )
        call_locked(self._core.python_state, self._run, names, *places, restoring)

    def _read(self) -> None:
        best = np.empty_like(self.best_raw)
        parts = self._layout.split(best)
        addresses = tuple(address(part) for part in parts.values())
        call_locked(self._core.python_read, self._run, tuple(parts), addresses, self._judged)
        self.best_raw = best
