"""A sample of the program that kills and interrupts; the whole is tests/programs/kills.py."""

from __future__ import annotations

import pytest

from tests.programs.kills import SCENES, trial


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
def test_nothing_finished_is_lost_at_a_random_moment():
    chosen = [scene for scene in SCENES if scene.name == "run over a finished one"]
    ends = trial(kills=2, interrupts=1, scenes=chosen)
    assert sum(ends.values()) == 3
