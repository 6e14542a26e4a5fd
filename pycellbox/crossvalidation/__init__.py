"""Cross-validation: conditions predicted by fits that have not seen them."""

from __future__ import annotations

from pycellbox.crossvalidation.api import cross_validate
from pycellbox.crossvalidation.result import CrossValidation

__all__ = ["CrossValidation", "cross_validate"]
