"""Which blocks of a model the data support: fitted without each, on folds inside the fit's rows."""

from __future__ import annotations

from pycellbox.support.api import supported

__all__ = ["supported"]
