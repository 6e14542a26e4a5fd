"""Equations as declarations: which terms, which parameters, laid over which nodes."""

from __future__ import annotations

from pycellbox.models.cellbox import (
    ENVELOPES,
    FORMS,
    CellBox,
    Envelope,
    Form,
    check_network,
    prior_mask,
)
from pycellbox.models.layout import Layout, Parameter
from pycellbox.models.model import MODEL, Model, model_from_dict, model_to_dict
from pycellbox.models.neural import NeuralODE
from pycellbox.models.ode import ODE
from pycellbox.models.structure import Structure

__all__ = [
    "ENVELOPES",
    "FORMS",
    "MODEL",
    "ODE",
    "CellBox",
    "Envelope",
    "Form",
    "Layout",
    "Model",
    "NeuralODE",
    "Parameter",
    "Structure",
    "check_network",
    "model_from_dict",
    "model_to_dict",
    "prior_mask",
]
