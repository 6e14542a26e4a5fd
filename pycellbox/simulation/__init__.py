"""Experiments made by computer: perturb a known network, solve it, measure it with error."""

from __future__ import annotations

from pycellbox.simulation.courses import courses
from pycellbox.simulation.design import perturbations
from pycellbox.simulation.environments import environment
from pycellbox.simulation.experiment import simulate
from pycellbox.simulation.truth import true_model, truth

__all__ = ["courses", "environment", "perturbations", "simulate", "true_model", "truth"]
