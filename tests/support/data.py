"""Data that tests find beside the checkout."""

from __future__ import annotations

from pathlib import Path

# Data too large to carry lie beside the checkout.
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
