"""Schedules: optimizers and the stages of a fit, as declarations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pycellbox import views
from pycellbox.common.frozen import Frozen
from pycellbox.common.options import (
    NAMED,
    by_name,
    checked,
    choice,
    instance,
    integer,
    listed,
    number,
    optional,
    settle,
    shown,
)
from pycellbox.errors import OptionError
from pycellbox.objective import EDGE_GROUPS, PENALTY, SHIFT_GROUPS, Penalty

MOST_ITERATIONS = 1_000_000_000
RATE_GROUPS = (*EDGE_GROUPS, "rates", *SHIFT_GROUPS)
"""Keys of a learning rate by group: the edge groups, and ``rates`` for α, ε, ψ."""


@checked(
    beta1=number(0, 1),
    beta2=number(0, 1),
    epsilon=number(0, above=True),
    weight_decay=number(0),
    clip_norm=optional(number(0, above=True)),
)
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


@checked(memory=integer(1, 1000), tolerance=number(0))
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


@checked(tolerance=number(1e-15))
@dataclass(frozen=True)
class LM:
    """Levenberg–Marquardt on the residuals, by SciPy's ``least_squares``, for full batches.

    With up to a hundred parameters it needs far fewer iterations than methods that see the gradient
    alone. It minimizes the losses "mse" and "huber" with penalties l2; bounds hold as with every
    optimizer.

    Parameters
    ----------
    tolerance : float
        Stop when a step changes the objective, or the parameters, by less than this share, or no
        entry of the scaled gradient exceeds it.

    Notes
    -----
    The trust region of Branch, Coleman and Li (SIAM J. Sci. Comput. 21:1, 1999). The Jacobian is
    exact for equations of one's own: derivatives go forward through the very steps of the solver.
    """

    tolerance: float = 1e-8


Optimizer = AdamW | LBFGS | LM
OPTIMIZER = instance(Optimizer, "pcb.AdamW(), pcb.LBFGS() or pcb.LM()")


@checked(
    iterations=integer(1, MOST_ITERATIONS),
    learning_rate=by_name(number(0), RATE_GROUPS),
    horizon=optional(number(0, above=True)),
    fade=optional(number(0, above=True)),
    segments=optional(listed(number(0, above=True), most=10_000)),
    penalty=optional(PENALTY),
    patience=optional(integer()),
    batch_size=optional(integer()),
    prefix=optional(integer()),
    decay=choice("constant", "cosine"),
    warmup=integer(0),
    optimizer=OPTIMIZER,
)
@dataclass(frozen=True)
class Stage:
    """One stage of a fit.

    Parameters
    ----------
    iterations : int
        At most this many updates.
    learning_rate : float or mapping
        One for all, or by group: ``drug_to_node``, ``drug_shared``, ``node_to_node``,
        ``node_to_phenotype`` (edges), ``rates`` (α, ε, ψ), ``operating_point`` and
        ``common_effect``; a group left out does not move, except that ``drug_shared`` follows
        ``drug_to_node`` and the last two follow ``rates``. Unused by LBFGS and LM.
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
    optimizer : AdamW, LBFGS or LM
        Which method, with its options.
    fade : float, optional
        With a ``horizon``, of time courses: squared residuals beyond it count too, with weights
        that fall as exp(−(time − horizon)/fade), up to five times this; None: not at all.
    segments : sequence of float, optional
        Times at which segments begin that are fitted by multiple shooting, with `LM`, a sixth of
        the iterations for each weight of the gaps and for the end; see `Shooting`, which makes such
        stages. None: courses are one trajectory each.
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
    optimizer: Optimizer = field(default_factory=AdamW)
    fade: float | None = None
    segments: Sequence[float] | None = None
    _rates: Frozen[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        name = "L-BFGS" if isinstance(self.optimizer, LBFGS) else type(self.optimizer).__name__
        if not isinstance(self.optimizer, AdamW) and self.batch_size is not None:
            raise OptionError(f"{name} needs the full batch; leave batch_size out or use AdamW.")
        if not isinstance(self.optimizer, AdamW) and self.prefix is not None:
            raise OptionError(f"{name} needs all times; leave prefix out or use AdamW.")
        if self.fade is not None and self.horizon is None:
            raise OptionError("Stage: fade is beyond a horizon; give that too.")
        if self.segments is not None:
            if not isinstance(self.optimizer, LM):
                raise OptionError(f"{name} takes no segments, whose gaps are residuals: use LM.")
            if list(self.segments) != sorted(set(self.segments)):
                raise OptionError(f"Stage: segments={shown(list(self.segments))} do not increase.")
        settle(self, "_rates", Frozen(_every_rate(self.learning_rate)))

    def rates(self) -> dict[str, float]:
        """Learning rate of every group.

        Returns
        -------
        dict of str to float
            By group, all of them.
        """
        return dict(self._rates)

    @checked(iteration=integer(0))
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
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        return views.options("Stage", options, _UNSET)

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
            if f.init
            and f.name not in ("penalty", "optimizer", "learning_rate", "fade", "segments")
        }
        if self.fade is not None:
            options["fade"] = self.fade  # which older readers do not know
        if self.segments is not None:
            options["segments"] = list(self.segments)
        rates = self.rates()
        options["learning_rate"] = {
            # What follows is not said: files of older versions have it not.
            g: rate
            for g, rate in rates.items()
            if g not in SHIFT_GROUPS or rate != rates["rates"]
        }
        options["penalty"] = None if self.penalty is None else self.penalty.to_dict()
        options["optimizer"] = {
            "name": type(self.optimizer).__name__,
            **dataclasses.asdict(self.optimizer),
        }
        return options


_OPTIMIZERS: dict[str, type[Optimizer]] = {"AdamW": AdamW, "LBFGS": LBFGS, "LM": LM}
_UNSET = {
    "horizon": "the fit's",
    "fade": "nothing beyond the horizon",
    "segments": "courses are not cut",
    "penalty": "the fit's",
    "patience": "never stops early",
    "batch_size": "all conditions",
    "prefix": "all times",
}


def stage_from_dict(options: Mapping[str, Any]) -> Stage:
    """Rebuild a stage from what `Stage.to_dict` made."""
    given = NAMED("Stage", options)
    if given.get("penalty") is not None:
        given["penalty"] = Penalty(**NAMED("penalty", given["penalty"]))
    if "optimizer" in given:
        optimizer = NAMED("optimizer", given["optimizer"])
        kind = choice(*_OPTIMIZERS)("optimizer", optimizer.pop("name", None))
        given["optimizer"] = _OPTIMIZERS[kind](**optimizer)
    return Stage(**given)


def _every_rate(given: float | Mapping[str, float]) -> dict[str, float]:
    """Spread a learning rate, or complete a mapping, over the groups."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(RATE_GROUPS, given)
    full = dict.fromkeys((*EDGE_GROUPS, "rates"), 0.0) | dict(given)
    if "drug_shared" not in given:
        full["drug_shared"] = full["drug_to_node"]
    return dict.fromkeys(SHIFT_GROUPS, full["rates"]) | full
