"""Every baseline, under its name."""

from __future__ import annotations

from pycellbox.baselines.baseline import Baseline
from pycellbox.baselines.plain import AdditiveEffects, MeanResponse, NoChange
from pycellbox.baselines.ridge import SATURATIONS, Ridge


def all_baselines() -> dict[str, Baseline]:
    """Make every baseline, unfitted, under the name that tables show.

    Returns
    -------
    dict of str to Baseline
        "no change", "mean response", "additive effects", and ridges: "ridge" and "ridge with
        intercept" with one strength for all outputs, the same "per output"; "ridge with common
        effect", "ridge with shared column", "ridge on saturated doses" and "robust ridge".
    """
    return {
        "no change": NoChange(),
        "mean response": MeanResponse(),
        "additive effects": AdditiveEffects(),
        "ridge": Ridge(),
        "ridge with intercept": Ridge(fit_intercept=True),
        "ridge per output": Ridge(per_output=True),
        "ridge with intercept per output": Ridge(fit_intercept=True, per_output=True),
        "ridge with common effect": Ridge(common_effect=True),
        "ridge with shared column": Ridge(shared_column=True),
        "ridge on saturated doses": Ridge(saturations=SATURATIONS),
        "robust ridge": Ridge(huber=2.0),
    }
