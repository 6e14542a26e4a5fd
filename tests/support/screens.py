"""Drug screens drawn from the model that estimates are of."""

from __future__ import annotations

import numpy as np
import xarray as xr

import pycellbox as pcb


def screen(rng, conditions=30, drugs=4, nodes=6, noise=0.2):
    """Doses and responses of nodes that saturate: from the model, noise included."""
    doses = np.zeros((conditions, drugs))
    for row in doses:
        which = rng.choice(drugs, 1 if rng.random() < 0.3 else 2, replace=False)
        row[which] = rng.choice([0.5, 1.0, 2.0], which.size)
    effects, b = rng.normal(0, 1, (nodes, drugs)), rng.normal(0, 0.3, nodes)
    x = 2 * (np.tanh(doses @ effects.T / 2 + b) - np.tanh(b))
    return doses, x + rng.normal(0, noise, x.shape)


def dataset(doses, responses, kinds=None):
    nodes = [f"p{i}" for i in range(responses.shape[1])]
    drugs = [f"D{k}" for k in range(doses.shape[1])]
    u = np.concatenate([np.zeros_like(responses), doses], axis=1)
    y = np.concatenate([responses, np.full_like(doses, np.nan)], axis=1)
    kinds = [*(kinds or ["protein"] * len(nodes)), *["drug"] * len(drugs)]
    dims = ("condition", "node")
    return pcb.validate(
        xr.Dataset(
            {"perturbation": (dims, u), "response": (dims, y)},
            {
                "condition": [f"c{i}" for i in range(len(doses))],
                "node": [*nodes, *drugs],
                "node_kind": ("node", kinds),
            },
        )
    )
