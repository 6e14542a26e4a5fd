"""How well predictions agree with measurements, and fitted networks with true ones.

Arrays are matched by label, never by position.
"""

from __future__ import annotations

from pycellbox.metrics.agreement import By, compare, mae, mse, pearson, unexplained
from pycellbox.metrics.differences import over_splits, paired_by_condition
from pycellbox.metrics.edges import rate_recovery, recovery
from pycellbox.metrics.tables import format_table, html_table

__all__ = [
    "By",
    "compare",
    "format_table",
    "html_table",
    "mae",
    "mse",
    "over_splits",
    "paired_by_condition",
    "pearson",
    "rate_recovery",
    "recovery",
    "unexplained",
]
