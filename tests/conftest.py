from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pycellbox.backends import registry
from pycellbox.datasets.shipped import FILES

# A background job inherits Ctrl-C as ignored, and Python leaves it so: the tests, and the processes
# that they start, mean to have it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, none kept between runs, none judged by the clock. Many more, other
# ones each time: `python -m pytest --hypothesis-profile search`.
settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile(
    "search", settings.get_profile("repeatable"), derandomize=False, max_examples=1000
)
settings.load_profile("repeatable")

# "auto" means NumPy in tests, whatever is installed: Julia has tests of its own.
registry._AUTO = ()


@pytest.fixture(scope="session")
def melanoma_dir() -> Path:
    """Folder with expr.csv, pert.csv and node_Index.csv of the melanoma data."""
    return FILES / "melanoma"
