"""The Julia backend, through juliacall. Nothing of Julia is loaded before it is asked for."""

from pycellbox.backends.julia.backend import JuliaBackend

__all__ = ["JuliaBackend"]
