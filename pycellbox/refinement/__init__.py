"""Second-order refinement of a fit: Gauss and Newton's steps, and which interactions matter."""

from __future__ import annotations

from pycellbox.refinement.api import refine
from pycellbox.refinement.information import standard_errors

__all__ = ["refine", "standard_errors"]
