"""The experiments of Ji et al. (arXiv 2104.06467): simulated, fitted, held to the truth."""

from __future__ import annotations

from pycellbox.ji.experiment import JI_MODEL, TIMES, ji_experiment
from pycellbox.ji.recovery import Recovery, ji_fit, recover_beeline, score

__all__ = ["JI_MODEL", "TIMES", "Recovery", "ji_experiment", "ji_fit", "recover_beeline", "score"]
