"""Public measurements that come with the package: nothing is downloaded."""

from __future__ import annotations

from pycellbox.datasets.shipped import lynx_hare, melanoma

__all__ = ["lynx_hare", "melanoma"]
