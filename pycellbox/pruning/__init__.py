"""Pruning: fewer interactions, refitted, and as many of them as unseen conditions ask for."""

from __future__ import annotations

from pycellbox.pruning.api import Pruned, prune

__all__ = ["Pruned", "prune"]
