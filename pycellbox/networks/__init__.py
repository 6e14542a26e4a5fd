"""Networks with known interactions: published topologies, random ones, a readable demonstration.

Signs follow the data of Korkut et al. (eLife 2015): an inhibitor has a negative dose, so that its
drug node goes negative, and a positive weight on its target carries the inhibition on.
"""

from __future__ import annotations

from pycellbox.networks.generators import (
    acyclic,
    bifurcating,
    cyclic,
    erdos_renyi,
    oscillating,
    symmetric,
)
from pycellbox.networks.network import Network
from pycellbox.networks.screens import demo_network, random_network
from pycellbox.networks.topologies import BEELINE, beeline

__all__ = [
    "BEELINE",
    "Network",
    "acyclic",
    "beeline",
    "bifurcating",
    "cyclic",
    "demo_network",
    "erdos_renyi",
    "oscillating",
    "random_network",
    "symmetric",
]
