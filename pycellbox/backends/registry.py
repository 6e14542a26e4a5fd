"""Which backends there are, and which one ``"auto"`` means."""

from __future__ import annotations

from collections.abc import Callable

from pycellbox.backends.protocol import Backend
from pycellbox.errors import BackendError


def _numpy() -> Backend:
    from pycellbox.backends.numpy import NumpyBackend

    return NumpyBackend()


# A backend is added here: a name, and a function that imports and makes it.
_BACKENDS: dict[str, Callable[[], Backend]] = {"numpy": _numpy}
# In order of preference; a backend that is not ready raises BackendError and the next is taken.
_AUTO: tuple[str, ...] = ("numpy",)


def available_backends() -> tuple[str, ...]:
    """Names that ``backend=`` takes besides ``"auto"``."""
    return tuple(_BACKENDS)


def get_backend(name: str = "auto") -> Backend:
    """Return a backend by name, or the best that is ready for ``"auto"``.

    Raises
    ------
    BackendError
        The name is unknown, or the backend is not ready.
    """
    if name == "auto":
        for candidate in _AUTO[:-1]:
            try:
                return _BACKENDS[candidate]()
            except BackendError:
                continue
        return _BACKENDS[_AUTO[-1]]()
    if name not in _BACKENDS:
        raise BackendError(
            f"backend={name!r} is unknown; choose 'auto' or one of {', '.join(_BACKENDS)}."
        )
    return _BACKENDS[name]()
