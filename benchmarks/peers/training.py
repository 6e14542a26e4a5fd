"""CellBox's own training in plain PyTorch, written anew from its published description and code.

Sources: Yuan et al., Cell Systems 12:128 (2021); the configuration for random partitions in
sanderlab/CellBox. Adam on batches of four conditions; after every update the loss of a batch of
the validation conditions enters a running mean, and a substage ends when that mean has not fallen
for a number of updates. Substages change the learning rate and the L1 penalty, stages the number of
Heun steps. The only liberty is a limit on the seconds: see `train`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.case import Array
from peers.pytorch import import_torch

DT = 0.1
BATCH = 4
RUNNING = 50
MOST = 10_000
L2 = 1e-4


@dataclass(frozen=True)
class Substage:
    """Heun steps, learning rate, L1 strength, and updates without a better running mean."""

    steps: int
    learning_rate: float
    l1: float
    patience: int = 100


SCHEDULE = (
    Substage(100, 0.1, 1e-2, 1000),
    Substage(100, 0.01, 1e-2),
    Substage(100, 0.01, 1e-4),
    Substage(100, 0.001, 1e-5),
    Substage(200, 0.001, 1e-4),
    Substage(400, 0.001, 1e-4),
)


@dataclass(frozen=True)
class Point:
    """Where the training stands.

    Attributes
    ----------
    seconds : float
        Spent on training, without what was done between points.
    updates, substage : int
    horizon : float
    current, kept : dict of ndarray
        Effective parameters: the last ones, and those of the lowest running mean.
    """

    seconds: float
    updates: int
    substage: int
    horizon: float
    current: dict[str, Array]
    kept: dict[str, Array]


def train(
    train_set: tuple[Array, Array],
    validation_set: tuple[Array, Array],
    mask: Array,
    seed: int,
    seconds: float,
    every: int = 50,
    schedule: tuple[Substage, ...] = SCHEDULE,
) -> Iterator[Point]:
    """Train and yield a point every so many updates.

    Parameters
    ----------
    train_set, validation_set : tuple of ndarray
        Perturbation and response, each (c, n).
    mask : ndarray of bool, (n, n)
    seconds : float
        Shared out among the substages: each may use its part of what is left, so that the schedule
        comes to its end. Without a limit it would take ten thousand updates a substage at most.
    """
    torch = import_torch()
    generator = torch.Generator().manual_seed(seed)
    n = mask.shape[0]
    u, y = (torch.tensor(a, dtype=torch.float32) for a in train_set)
    u_valid, y_valid = (torch.tensor(a, dtype=torch.float32) for a in validation_set)
    allowed = torch.tensor(mask, dtype=torch.float32)
    raw = {
        "W": torch.normal(0.01, 1.0, (n, n), generator=generator),
        "alpha": torch.ones(n),
        "epsilon": torch.ones(n),
    }
    for leaf in raw.values():
        leaf.requires_grad_()
    optimizer = torch.optim.Adam(list(raw.values()))

    def effective() -> tuple[Any, Any, Any]:
        positive = torch.nn.functional.softplus
        return raw["W"] * allowed, positive(raw["alpha"]), positive(raw["epsilon"])

    def objective(u: Any, y: Any, stage: Substage) -> Any:
        W, alpha, epsilon = effective()
        x = torch.zeros_like(u)
        for _ in range(stage.steps):
            first = epsilon * torch.tanh(torch.addmm(u, x, W.t())) - alpha * x
            ahead = x + DT * first
            second = epsilon * torch.tanh(torch.addmm(u, ahead, W.t())) - alpha * ahead
            x = x + (0.5 * DT) * (first + second)
        return ((x - y) ** 2).mean() + stage.l1 * W.abs().sum() + L2 * (W**2).sum()

    def arrays() -> dict[str, Array]:
        with torch.no_grad():
            found = [np.array(v, dtype=np.float64) for v in effective()]
        return dict(zip(raw, found, strict=True))

    spent, updates = 0.0, 0
    for number, stage in enumerate(schedule):
        end = spent + (seconds - spent) / (len(schedule) - number)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate
        # The mean starts from a loss that is too large to be true, as in the original.
        recent, best, waited = deque([1000.0], maxlen=RUNNING), 1000.0, 0
        in_stage, kept = 0, arrays()
        training, watching = _batches(u, y, generator), _batches(u_valid, y_valid, generator)
        while waited <= stage.patience and in_stage <= MOST and spent < end:
            began = time.perf_counter()
            optimizer.zero_grad()
            objective(*next(training), stage).backward()
            optimizer.step()
            with torch.no_grad():
                recent.append(float(objective(*next(watching), stage)))
            mean = sum(recent) / len(recent)
            waited += 1
            if mean < best:
                best, waited, kept = mean, 0, arrays()
            updates, in_stage = updates + 1, in_stage + 1
            spent += time.perf_counter() - began
            if updates % every == 0:
                yield Point(spent, updates, number, stage.steps * DT, arrays(), kept)
        yield Point(spent, updates, number, stage.steps * DT, arrays(), kept)


def _batches(u: Any, y: Any, generator: Any) -> Iterator[tuple[Any, Any]]:
    """All conditions in a new order, four at a time, over and over."""
    torch = import_torch()
    while True:
        order = torch.randperm(len(u), generator=generator)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            yield u[rows], y[rows]
