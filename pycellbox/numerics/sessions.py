"""What sessions have in common that neither settle, nor remember, nor train."""

from __future__ import annotations

from collections.abc import Mapping

from pycellbox.problem import Array, Parameters


class PlainSession:
    """A session whose evaluations are each for itself.

    See `pycellbox.backends.protocol.Session`, of which these are the parts.
    """

    @property
    def settled(self) -> Array | None:
        """None: nothing settles."""
        return None

    def warm(self) -> Parameters:
        """Nothing."""
        return {}

    def warm_up(self, state: Mapping[str, Array]) -> None:
        """Forget the state."""

    def training_run(self, plan: object) -> None:
        """None: the training loop is Python's."""
        return None
