"""Which backends there are, and which one ``"auto"`` means."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable
from importlib import metadata, util
from typing import Literal, NamedTuple, TypeAlias, cast

from pycellbox.backends import forks
from pycellbox.backends.protocol import Backend
from pycellbox.common.options import Value, checked, choice
from pycellbox.errors import BackendError, BackendWarning, OptionError, warn
from pycellbox.models import ODE, CellBox, Model

BackendName: TypeAlias = Literal["auto", "numpy", "julia", "jax"]
OLDEST_JAX = "0.6.2"
"""As in the extra "jax" of pyproject.toml."""

log = logging.getLogger("pycellbox")


def _numpy() -> Backend:
    from pycellbox.backends.numpy import NumpyBackend

    return NumpyBackend()


def _julia() -> Backend:
    from pycellbox.backends.julia import JuliaBackend

    return JuliaBackend()


def _jax() -> Backend:
    forks.refuse_after_fork("JAX")
    if why := _jax_missing():
        raise BackendError(f"{why}.")
    try:
        from pycellbox.backends.jax import JaxBackend
    except (ImportError, RuntimeError) as error:  # RuntimeError: of a jaxlib of another time
        raise BackendError(_NEEDS_JAX.format(f"it does not load ({error})") + ".") from error
    return JaxBackend()


def _julia_missing() -> str:
    from pycellbox.backends.julia.project import NOT_READY, readiness

    missing = readiness().missing
    return NOT_READY.format(missing) if missing else ""


_NEEDS_JAX = 'the jax backend needs JAX, and {}; get it with pip install "pycellbox[jax]"'


def _jax_missing() -> str:
    for name in ("jax", "jaxlib"):
        spec = util.find_spec(name)
        if spec is None or spec.loader is None:  # nothing, or a folder that has its name
            return _NEEDS_JAX.format(f"{name} is not installed")
    try:
        found = metadata.version("jax")
    except metadata.PackageNotFoundError:  # a checkout of its source
        return ""
    numbers, oldest = ([int(n) for n in re.findall(r"\d+", v)[:3]] for v in (found, OLDEST_JAX))
    return _NEEDS_JAX.format(f"{found} is older than {OLDEST_JAX}") if numbers < oldest else ""


class _Entry(NamedTuple):
    """How to make a backend, and what it needs.

    Attributes
    ----------
    make : callable
        Imports and makes it, or raises BackendError.
    missing : callable
        Says from files alone what is missing; empty if nothing.
    runtime : str
        What runs threads of its own, and reports to `pycellbox.backends.forks`.
    """

    make: Callable[[], Backend]
    missing: Callable[[], str] = lambda: ""
    runtime: str = ""


# A backend is added here, and its name to `BackendName`.
_BACKENDS = {
    "numpy": _Entry(_numpy),
    "julia": _Entry(_julia, _julia_missing, "Julia"),
    "jax": _Entry(_jax, _jax_missing, "JAX"),
}
_AUTO: tuple[str, ...] = ("julia",)  # in order of preference, before numpy

BACKEND = Value(
    lambda given: choice("auto", *_BACKENDS).read(given), choice("auto", *_BACKENDS).needs
)


def available_backends() -> dict[str, str]:
    """Say which backends there are, and why one cannot be used now.

    Nothing is imported or started for that, and files alone are read: what shows only when a
    backend starts is an error of the fit that asks for it.

    Returns
    -------
    dict of str to str
        Names that ``backend=`` takes besides ``"auto"``, each with an empty text, or with what is
        missing and how to get it.

    Examples
    --------
    >>> [name for name, why in pcb.available_backends().items() if not why]  # doctest: +SKIP
    ['numpy']
    """
    return {name: _missing(entry) for name, entry in _BACKENDS.items()}


def _missing(entry: _Entry) -> str:
    if forks.running(entry.runtime):
        return ""
    return forks.refusal(entry.runtime) or entry.missing()


@checked(name=BACKEND)
def get_backend(
    name: BackendName = "auto", own: str | None = None, model: Model | None = None
) -> Backend:
    """Return a backend by name, or the best that is ready for ``"auto"``.

    Parameters
    ----------
    name : str
        "numpy", "julia", "jax", or "auto": Julia where it and its packages are installed, NumPy
        otherwise. Nothing is ever downloaded. The choice is logged once, to the logger
        ``pycellbox``.
    own : str, optional
        The backend of a fit, which "auto" means wherever it is ready.
    model : Model, optional
        The equation. "auto" means NumPy where it is neither a ``CellBox`` nor an ``ODE``, which
        Julia has alone.

    Raises
    ------
    OptionError
        The name is unknown.
    BackendError
        The backend is not ready.

    Warns
    -----
    BackendWarning
        ``own`` is not ready, and "auto" has taken another.
    """
    if name == "auto" and own is not None:
        try:
            return get_backend(cast(BackendName, own))
        except (BackendError, OptionError) as error:  # not ready, or known elsewhere alone
            chosen = get_backend("auto", None, model)
            warn(
                f"the fit was computed by the {own} backend and this is computed by {chosen.name}: "
                f"{error}",
                BackendWarning,
            )
            return chosen
    if name == "auto":
        return _choose(os.getpid()) if isinstance(model, CellBox | ODE | None) else _numpy()
    return _BACKENDS[name].make()


@functools.cache
def _choose(process: int) -> Backend:  # anew in a forked one, where Julia cannot be used
    for name in _AUTO:
        ready = not (why := _BACKENDS[name].missing())
        if ready:
            try:
                backend = _BACKENDS[name].make()
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
