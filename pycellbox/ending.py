"""How a fit ended."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Ending(Enum):
    """How a fit ended; `Fit.status` says it in words.

    Attributes
    ----------
    COMPLETED
        All stages came to their end, by their iterations or by patience.
    INTERRUPTED
        By Ctrl-C; the fit has the best parameters so far.
    DIVERGED
        By a blow-up that no smaller step could avert; the fit has the best parameters so far.
    """

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


class Ended(NamedTuple):
    """An ending, and where and why in words."""

    ending: Ending
    message: str

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to go on with."""
        return self.ending is not Ending.INTERRUPTED

    def to_dict(self) -> dict[str, str]:
        """Return plain values, for provenance."""
        return {"ending": self.ending.value, "status": self.message}


COMPLETED = Ended(Ending.COMPLETED, "completed")


def interrupted(where: str) -> Ended:
    """Return the ending of what was interrupted there."""
    return Ended(Ending.INTERRUPTED, f"interrupted {where}")
