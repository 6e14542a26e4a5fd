"""The common problem: one network, one set of perturbations, the same numbers for everybody."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

HORIZON = 10.0
# Spectral radius of W∘(ε/α): below one the network at rest settles.
RADIUS = 0.5


@dataclass(frozen=True)
class Case:
    """dx/dt = ε∘tanh(Wx + u) − α∘x from x(0) = 0; the loss is the mean of (x(horizon) − y)².

    Attributes
    ----------
    W : ndarray, (n, n)
    alpha, epsilon : ndarray, (n,)
    u, y : ndarray, (c, n)
    steps : int
        Of Heun's method.
    horizon, rtol, atol : float
        The tolerances are those of the adaptive solvers.
    """

    W: Array
    alpha: Array
    epsilon: Array
    u: Array
    y: Array
    steps: int
    horizon: float = HORIZON
    rtol: float = 1e-3
    atol: float = 1e-6

    @property
    def nodes(self) -> int:
        return int(self.u.shape[1])

    @property
    def conditions(self) -> int:
        return int(self.u.shape[0])

    @property
    def dt(self) -> float:
        return self.horizon / self.steps

    @property
    def parameters(self) -> dict[str, Array]:
        return {"W": self.W, "alpha": self.alpha, "epsilon": self.epsilon}

    def astype(self, dtype: str) -> Case:
        names = ("W", "alpha", "epsilon", "u", "y")
        return replace(self, **{k: getattr(self, k).astype(dtype) for k in names})

    def save(self, path: Path) -> None:
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path | str) -> Case:
        with np.load(path) as stored:
            values: dict[str, Any] = {k: stored[k] for k in stored.files}
        return cls(**{k: v if v.ndim else v.item() for k, v in values.items()})


def draw(nodes: int, conditions: int, steps: int, seed: int = 0, **options: float) -> Case:
    """Draw a dense network that settles; each condition perturbs one to three nodes.

    Weights and doses are normal, rates uniform in [0.5, 1.5]. The response is noise: what is
    fitted does not change the work.
    """
    rng = np.random.default_rng(seed)
    alpha, epsilon = rng.uniform(0.5, 1.5, (2, nodes))
    W = rng.normal(0, 1, (nodes, nodes))
    np.fill_diagonal(W, 0)
    W *= RADIUS / np.abs(np.linalg.eigvals(W * (epsilon / alpha)[:, None])).max()
    u = np.zeros((conditions, nodes))
    for row in u:
        hit = rng.choice(nodes, size=rng.integers(1, min(3, nodes) + 1), replace=False)
        row[hit] = rng.normal(0, 1, hit.size)
    y = rng.normal(0, 0.3, (conditions, nodes))
    return Case(W, alpha, epsilon, u, y, steps, **options)


def parse(text: str) -> tuple[int, int, int]:
    """Nodes, conditions and steps of "99x89/400"; 100 steps where none are given."""
    size, _, steps = text.partition("/")
    nodes, _, conditions = size.partition("x")
    return int(nodes), int(conditions), int(steps or 100)
