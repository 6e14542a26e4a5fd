"""The likelihood of a fit's data, with what else the fit was told, as a function of parameters."""

from __future__ import annotations

from pycellbox.posterior.density import Lowest, Posterior
from pycellbox.posterior.entry import Entry, named
from pycellbox.posterior.noise import Noise
from pycellbox.posterior.setting import MOST, Setting, with_own_noise

__all__ = ["MOST", "Entry", "Lowest", "Noise", "Posterior", "Setting", "named", "with_own_noise"]
