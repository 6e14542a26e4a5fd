"""Public measurements that come with the package: nothing is downloaded."""

from __future__ import annotations

from pycellbox.datasets.shipped import melanoma

__all__ = ["melanoma"]
