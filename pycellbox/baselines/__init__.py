"""Simple predictors that a network model has to beat.

Each is a map from doses, in every phase, and held levels to responses, most of them linear, fitted
to a dataset and applied to perturbations: ``baseline.fit(data).predict(perturbation)``. Predictions
are labelled like the responses. Nodes never perturbed in training have no effect on a prediction,
but through what drugs share, and a node never measured in training is predicted 0, no change from
the control. A node with gaps is learned from the conditions it was measured in. Measurement errors
(``sigma``) are not used.
"""

from __future__ import annotations

from pycellbox.baselines.all import all_baselines
from pycellbox.baselines.baseline import Baseline
from pycellbox.baselines.plain import AdditiveEffects, MeanResponse, NoChange
from pycellbox.baselines.ridge import ALPHAS, SATURATIONS, Ridge

__all__ = [
    "ALPHAS",
    "SATURATIONS",
    "AdditiveEffects",
    "Baseline",
    "MeanResponse",
    "NoChange",
    "Ridge",
    "all_baselines",
]
