"""Which backends there are, and which one ``"auto"`` means."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable

from pycellbox.backends.forks import refuse_after_fork
from pycellbox.backends.protocol import Backend
from pycellbox.common.options import choice
from pycellbox.errors import BackendError, BackendWarning, warn

log = logging.getLogger("pycellbox")


def _numpy() -> Backend:
    from pycellbox.backends.numpy import NumpyBackend

    return NumpyBackend()


def _julia() -> Backend:
    from pycellbox.backends.julia import JuliaBackend

    return JuliaBackend()


def _jax() -> Backend:
    refuse_after_fork("JAX")
    try:
        from pycellbox.backends.jax import JaxBackend
    except ImportError as error:
        raise BackendError(
            f"the jax backend needs JAX and it does not load ({error}); get it with "
            'pip install "pycellbox[jax]".'
        ) from error
    return JaxBackend()


def _julia_missing() -> str:
    from pycellbox.backends.julia.project import readiness

    return readiness().missing


# A backend is added here: a name, and a function that imports and makes it, or raises BackendError.
_BACKENDS: dict[str, Callable[[], Backend]] = {"numpy": _numpy, "julia": _julia, "jax": _jax}
# In order of preference, each with a look at files that says what is missing to start it; numpy
# needs nothing.
_AUTO: tuple[tuple[str, Callable[[], str]], ...] = (("julia", _julia_missing),)


def available_backends() -> tuple[str, ...]:
    """Name the backends that there are.

    Returns
    -------
    tuple of str
        What ``backend=`` takes besides ``"auto"``.
    """
    return tuple(_BACKENDS)


def get_backend(name: str = "auto", own: str | None = None) -> Backend:
    """Return a backend by name, or the best that is ready for ``"auto"``.

    Parameters
    ----------
    name : str
        "numpy", "julia", "jax", or "auto": Julia where it and its packages are installed, NumPy
        otherwise. Nothing is ever downloaded. The choice is logged once, to the logger
        ``pycellbox``.
    own : str, optional
        The backend of a fit, which "auto" means wherever it is ready.

    Raises
    ------
    BackendError
        The name is unknown, or the backend is not ready.

    Warns
    -----
    BackendWarning
        ``own`` is not ready, and "auto" has taken another.
    """
    name = choice("backend", name, ("auto", *_BACKENDS), error=BackendError)
    if name == "auto" and own is not None:
        try:
            return get_backend(own)
        except BackendError as error:
            chosen = get_backend()
            warn(
                f"the fit was computed by the {own} backend and this is computed by {chosen.name}: "
                f"{error}",
                BackendWarning,
            )
            return chosen
    if name == "auto":
        return _choose(os.getpid())
    return _BACKENDS[name]()


@functools.cache
def _choose(process: int) -> Backend:  # anew in a forked one, where Julia cannot be used
    for name, missing in _AUTO:
        ready = not (why := missing())
        if ready:
            try:
                backend = _BACKENDS[name]()
            except BackendError as error:
                why = str(error)
            else:
                log.info("backend: %s (%s)", name, backend.version())
                return backend
        # Who names a Julia, or has one installed, wants it used.
        if ready or _named(name):
            warn(f"backend='auto' takes numpy: {name} cannot be used: {why}", BackendWarning)
        log.info("backend: numpy; %s: %s", name, why)
    return _numpy()


def _named(name: str) -> bool:
    """Whether the user has said which installation of a backend to take."""
    from pycellbox.backends.julia.project import GIVEN, option

    return name == "julia" and any(option(variable) for variable in GIVEN)
