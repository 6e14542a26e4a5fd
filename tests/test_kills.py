"""A sample of the programs that kill and interrupt; the whole is in tests/programs."""

from __future__ import annotations

import pytest

from tests.programs import killed_fits
from tests.programs.kills import SCENES, trial


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
def test_nothing_finished_is_lost_at_a_random_moment():
    chosen = [scene for scene in SCENES if scene.name == "run over a finished one"]
    ends = trial(kills=2, interrupts=1, scenes=chosen)
    assert sum(ends.values()) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_killed_fit_is_resumed_to_the_same_bits():
    counts = killed_fits.trial(kills=1, kinds=["batches"])
    assert counts["resumed to the same bits"] == 1
