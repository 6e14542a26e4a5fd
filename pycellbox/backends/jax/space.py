"""The functions of JAX, with derivatives that equations know themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


class Space:
    """``jax.numpy``, for one direction in which derivatives are taken.

    A function with derivatives of its own has them in one of both: JAX would make those of the way
    back from those forward, but only of products, and ours leave out what was not selected.

    Parameters
    ----------
    forward : bool
    """

    def __init__(self, *, forward: bool) -> None:
        self._forward = forward

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    def derived(
        self,
        function: Callable[[Any], Any],
        back: Callable[[Any, Any], Any],
        along: Callable[[Any, Any], Any],
    ) -> Callable[[Any], Any]:
        """See `pycellbox.numerics.equations.Equations.rate`."""
        made: Any = jax.custom_jvp(function) if self._forward else jax.custom_vjp(function)
        if self._forward:
            made.defjvp(lambda at, tangents: (function(*at), along(*at, *tangents)))
        else:
            made.defvjp(lambda at: (function(at), at), lambda at, due: (back(at, due),))
        found: Callable[[Any], Any] = made
        return found


BACK, FORWARD = Space(forward=False), Space(forward=True)
