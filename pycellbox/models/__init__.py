"""Equations as declarations: which terms, which edges, which parametrization."""

from __future__ import annotations

from pycellbox.models.cellbox import ENVELOPES, FORMS, CellBox, Envelope, Form

__all__ = ["ENVELOPES", "FORMS", "CellBox", "Envelope", "Form"]
