"""Configurations of CellBox, small ones of our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

N_PROTEINS, N_ACTIVITY, N_X = 3, 4, 7  # three proteins, a phenotype, three drugs


DOSES = (-0.5, -1.0)


Write = Callable[..., Path]


def tables() -> tuple[np.ndarray, np.ndarray]:
    """Perturbation and response of six single and twelve paired conditions."""
    rng = np.random.default_rng(5)
    rows = [{d: dose} for d in range(3) for dose in DOSES]
    rows += [{a: i, b: j} for a, b in ((0, 1), (0, 2), (1, 2)) for i in DOSES for j in DOSES]
    pert = np.zeros((len(rows), N_X))
    for row, doses in zip(pert, rows, strict=True):
        for drug, dose in doses.items():
            row[N_ACTIVITY + drug] = dose
    effect = rng.normal(0, 0.4, (N_X, N_X))
    return pert, np.tanh(pert @ effect) + rng.normal(0, 0.02, pert.shape)


SETTINGS: dict[str, Any] = {
    "experiment_id": "tiny",
    "model": "CellBox",
    "pert_file": "data/pert.csv",
    "expr_file": "data/expr.csv",
    "node_index_file": "data/nodes.csv",
    "n_x": N_X,
    "n_protein_nodes": N_PROTEINS,
    "n_activity_nodes": N_ACTIVITY,
    "batchsize": 4,
    "n_epoch": 3,
    "n_iter": 100,
    "stages": [
        {"nT": 10, "sub_stages": [{"lr_val": 0.1, "l1lambda": 0.01}, {"lr_val": 0.01}]},
        {"nT": 20, "sub_stages": [{"lr_val": 0.01, "n_epoch": 2}]},
    ],
}


NODES = ["MEK", "AKT", "mTOR", "viability", "aMEK", "aAKT", "amTOR"]


def configs_in(folder: Path) -> Write:
    """A function that writes a configuration with other or further settings; None takes one away.

    The tables that it names lie beside it, in a folder which is the present one.
    """
    data = folder / "data"
    data.mkdir()
    pert, expr = tables()
    np.savetxt(data / "pert.csv", pert, delimiter=",")
    np.savetxt(data / "expr.csv", expr, delimiter=",")
    (data / "nodes.csv").write_text("\n".join(NODES) + "\n")

    def write(name: str = "tiny.json", **changes: Any) -> Path:
        settings = {k: v for k, v in (SETTINGS | changes).items() if v is not None}
        Path(name).write_text(json.dumps(settings))
        return Path(name)

    return write
