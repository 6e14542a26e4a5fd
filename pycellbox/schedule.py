"""Schedules: optimizers and the stages of a fit, as declarations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pycellbox import views
from pycellbox.common.frozen import Frozen
from pycellbox.common.options import choice, did_you_mean, integer, number, settle, shown
from pycellbox.common.rebuilding import entries, rebuild
from pycellbox.errors import ModelError
from pycellbox.objective import EDGE_GROUPS, Penalty

MOST_ITERATIONS = 1_000_000_000
RATE_GROUPS = (*EDGE_GROUPS, "rates")
"""Keys of a learning rate by group: the edge groups, and ``rates`` for α, ε, ψ."""


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).

    Parameters
    ----------
    beta1, beta2 : float
        Decay of the running mean of the gradient and of its square.
    epsilon : float
        Added to the root of the running square.
    weight_decay : float
        Share of W that is taken away per iteration and unit of learning rate; α, ε and ψ do not
        decay.
    clip_norm : float, optional
        Longest gradient: beyond it, the gradient is shortened to this Euclidean norm.
    """

    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            settle(self, name, number(f"AdamW {name}", getattr(self, name), 0, 1))
        settle(self, "epsilon", number("AdamW epsilon", self.epsilon, above=True))
        settle(self, "weight_decay", number("AdamW weight_decay", self.weight_decay))
        if self.clip_norm is not None:
            settle(self, "clip_norm", number("AdamW clip_norm", self.clip_norm, above=True))


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS of SciPy, for full batches and smooth objectives.

    Parameters
    ----------
    memory : int
        Number of past steps that form the curvature.
    tolerance : float
        Stop when no entry of the gradient exceeds this.
    """

    memory: int = 20
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        settle(self, "memory", integer("LBFGS memory", self.memory, 1, 1000))
        settle(self, "tolerance", number("LBFGS tolerance", self.tolerance))


@dataclass(frozen=True)
class Stage:
    """One stage of a fit.

    Parameters
    ----------
    iterations : int
        At most this many updates.
    learning_rate : float or mapping
        One for all, or by group: ``drug_to_node``, ``drug_shared``, ``node_to_node``,
        ``node_to_phenotype`` (edges) and ``rates`` (α, ε, ψ); a group left out does not move,
        except that ``drug_shared`` follows ``drug_to_node``. Unused by L-BFGS.
    horizon : float, optional
        End of the integration in this stage, instead of the fit's. For time courses only the
        measured times up to it are used.
    penalty : Penalty, optional
        Instead of the fit's.
    patience : int, optional
        Stop the stage after this many evaluations without a better one; None: never.
    batch_size : int, optional
        Conditions per update; None: all of them.
    prefix : int, optional
        Each update sees the time courses only up to a time drawn at random, but at least the
        first ``prefix`` measured times (Ji et al., arXiv 2104.06467); None: always all of them.
    decay : {"constant", "cosine"}
        Course of the learning rate; "cosine" falls to zero over the stage.
    warmup : int
        Iterations over which the learning rate rises linearly at the start.
    optimizer : AdamW or LBFGS
        Which method, with its options.
    """

    iterations: int
    learning_rate: float | Mapping[str, float] = field(default=0.01, compare=False)
    horizon: float | None = None
    penalty: Penalty | None = None
    patience: int | None = None
    batch_size: int | None = None
    prefix: int | None = None
    decay: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    optimizer: AdamW | LBFGS = field(default_factory=AdamW)
    _rates: Frozen[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        settle(self, "iterations", integer("iterations", self.iterations, 1, MOST_ITERATIONS))
        for name in ("patience", "batch_size", "prefix"):
            if getattr(self, name) is not None:
                settle(self, name, integer(name, getattr(self, name)))
        settle(self, "warmup", integer("warmup", self.warmup, 0))
        if self.horizon is not None:
            settle(self, "horizon", number("horizon", self.horizon, above=True))
        settle(self, "decay", choice("decay", self.decay, ("constant", "cosine")))
        if self.penalty is not None and not isinstance(self.penalty, Penalty):
            raise ModelError(f"penalty={shown(self.penalty)}; make one with pcb.Penalty(...).")
        if not isinstance(self.optimizer, AdamW | LBFGS):
            raise ModelError(f"optimizer={shown(self.optimizer)}; use pcb.AdamW() or pcb.LBFGS().")
        if isinstance(self.optimizer, LBFGS) and self.batch_size is not None:
            raise ModelError("L-BFGS needs the full batch; leave batch_size out or use AdamW.")
        if isinstance(self.optimizer, LBFGS) and self.prefix is not None:
            raise ModelError("L-BFGS needs all times; leave prefix out or use AdamW.")
        if isinstance(self.learning_rate, Mapping):  # the caller's own, which may change
            settle(self, "learning_rate", Frozen(self.learning_rate))
        settle(self, "_rates", Frozen(_every_rate(self.learning_rate)))

    def rates(self) -> dict[str, float]:
        """Learning rate of every group.

        Returns
        -------
        dict of str to float
            By group, all of them.
        """
        return dict(self._rates)

    def factor(self, iteration: int) -> float:
        """Learning rate at an iteration, relative to its nominal value.

        Parameters
        ----------
        iteration : int
            Counted from 0 within the stage.

        Returns
        -------
        float
            At most 1: warmup and decay together.
        """
        rise = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "constant":
            return rise
        return rise * 0.5 * (1 + math.cos(math.pi * iteration / self.iterations))

    def _repr_html_(self) -> str:
        rows = [
            (f.name.replace("_", " "), _in_words(f.name, getattr(self, f.name)))
            for f in dataclasses.fields(self)
            if f.init
        ]
        return views.card("Stage", rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for provenance.

        Returns
        -------
        dict
            By name.
        """
        options = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.init and f.name not in ("penalty", "optimizer", "learning_rate")
        }
        options["learning_rate"] = self.rates()
        options["penalty"] = None if self.penalty is None else self.penalty.to_dict()
        options["optimizer"] = {
            "name": type(self.optimizer).__name__,
            **dataclasses.asdict(self.optimizer),
        }
        return options

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Stage:
        """Rebuild a stage from what `to_dict` made.

        Parameters
        ----------
        options : mapping
            By name.

        Returns
        -------
        Stage
            An equal one.

        Raises
        ------
        ModelError
            An option is unknown or cannot be.
        """
        given = entries("Stage", options)
        if given.get("penalty") is not None:
            given["penalty"] = rebuild(Penalty, given["penalty"])
        if "optimizer" in given:
            optimizer = entries("optimizer", given["optimizer"])
            name = choice("optimizer", optimizer.pop("name", None), tuple(_OPTIMIZERS))
            given["optimizer"] = rebuild(_OPTIMIZERS[name], optimizer)
        return rebuild(cls, given)


_OPTIMIZERS: dict[str, type[AdamW | LBFGS]] = {"AdamW": AdamW, "LBFGS": LBFGS}
_UNSET = {
    "horizon": "the fit's",
    "penalty": "the fit's",
    "patience": "never stops early",
    "batch_size": "all conditions",
    "prefix": "all times",
}


def _in_words(name: str, value: object) -> str:
    if value is None:
        return _UNSET[name]
    if isinstance(value, Mapping):
        return ", ".join(f"{group}: {number:g}" for group, number in value.items())
    return str(value)


def _every_rate(given: float | Mapping[str, float]) -> dict[str, float]:
    """Spread a learning rate, or complete a mapping, over the groups."""
    if not isinstance(given, Mapping):
        full = dict.fromkeys(RATE_GROUPS, given)
    else:
        unknown = sorted(map(str, set(given) - set(RATE_GROUPS)))
        if unknown:
            raise ModelError(
                f"learning_rate names unknown group(s) {', '.join(unknown)}"
                f"{did_you_mean(unknown[0], RATE_GROUPS)}; known: {', '.join(RATE_GROUPS)}."
            )
        full = dict.fromkeys(RATE_GROUPS, 0.0) | dict(given)
        if "drug_shared" not in given:
            full["drug_shared"] = full["drug_to_node"]
    return {g: number(f"learning_rate of {g}", rate) for g, rate in full.items()}


def check_schedule(schedule: Stage | Sequence[Stage]) -> tuple[Stage, ...]:
    """Return a non-empty tuple of stages, or say what was given instead."""
    if isinstance(schedule, Stage):
        return (schedule,)
    listed = isinstance(schedule, list | tuple)
    stages = tuple(schedule) if listed else ()  # type: ignore[arg-type]
    if not stages or not all(isinstance(s, Stage) for s in stages):
        raise ModelError(
            f"schedule={shown(schedule)}; it needs a pcb.Stage(...) or a non-empty list of them."
        )
    return stages
