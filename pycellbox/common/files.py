"""Files, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pycellbox.common.options import Value
from pycellbox.errors import ResultFileError

# A part file of another machine, or of a process whose number was given anew, is removed when it
# is older than any writing takes, in seconds.
_ABANDONED = 24 * 3600.0


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file beside its target, then move it there: whole or not at all.

    It lies beside the target because only within one file system is the move a single step; it
    reaches the disk before it is moved. After an error nothing is left of it, and the target is as
    it was. What a killed process left beside the same target is removed.

    Parameters
    ----------
    path : str or path-like
        The file to make or replace. Through a symbolic link its target is replaced, not the link;
        a file that is there keeps its mode.
    content : bytes or str
        All of it; text is written as UTF-8.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ResultFileError
        The folder is missing, the target is a folder or write-protected, or the disk is full.
    """
    target = _target(path)
    data = content.encode() if isinstance(content, str) else content
    part = _part(target)
    try:
        _remove_abandoned(target)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        try:
            with part.open("xb") as file:
                if mode is not None:
                    os.chmod(part, mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise ResultFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    return Path(path)


def check_writable(path: str | os.PathLike[str], endings: Sequence[str] = ()) -> None:
    """Raise if `write_whole` could not write a file, before the work that fills it.

    Parameters
    ----------
    path : str or path-like
        The file to make or replace.
    endings : sequence of str, optional
        What the name needs to end in, in small or capital letters.

    Raises
    ------
    ResultFileError
        The name has another ending, or nothing can be written there; the message says why.
    """
    check_ending(path, endings)
    part = _part(_target(path))
    try:
        part.touch(exist_ok=False)  # the only sure way to know
        part.unlink()
    except OSError as error:
        raise ResultFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error


def check_ending(path: str | os.PathLike[str], endings: Sequence[str]) -> None:
    """Raise a `ResultFileError` unless a name ends in one of ``endings``, or is of a folder."""
    name = PATH("path", path)
    if endings and not os.path.isdir(name) and name.suffix.lower() not in endings:
        raise ResultFileError(
            f"cannot write {str(path)!r}: the name needs to end in {', '.join(endings)}."
        )


def _read_path(given: object) -> Path:
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else ""
    if isinstance(text, bytes) or not text:
        raise ValueError
    if "\0" in text or not _encodes(text):
        raise ValueError("that cannot be one")
    return Path(text)


PATH = Value(_read_path, "the name of a file, a text or a Path")


def _encodes(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path | str | None]) -> None:
    """Raise a `ResultFileError` if a file to write is one that is read, by whatever name."""
    there = [Path(source) for source in inputs if source is not None and os.path.exists(source)]
    for output in outputs:
        for source in there:
            if os.path.exists(output) and os.path.samefile(output, source):
                raise ResultFileError(
                    f"cannot write {str(output)!r}: it is the input {str(source)!r}, which would "
                    "be lost; give another name."
                )


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path leads to, if it is one that may be written."""
    check_ending(path, ())
    why = ""
    try:
        target = Path(os.path.realpath(path))
        if not os.path.isdir(target.parent):
            why = f"there is no folder {str(target.parent)!r}; make it first"
        elif os.path.isdir(target):
            why = "it is a folder; give a file name"
        elif target.is_symlink():
            why = "it is a symbolic link that leads nowhere; remove it"
        elif here := _status(target):
            if not stat.S_ISREG(here.st_mode):
                why = "it is no ordinary file; give another name"
            elif not here.st_mode & 0o222 or not os.access(target, os.W_OK):
                why = "it is write-protected; allow writing (chmod u+w) or give another name"
    except (OSError, ValueError) as error:  # too long; with a NUL
        why = getattr(error, "strerror", None) or str(error)
    if why:
        raise ResultFileError(f"cannot write {str(path)!r}: {why}.")
    return target


def _status(target: Path) -> os.stat_result | None:
    try:
        return os.stat(target)
    except FileNotFoundError:  # and no other: a name may be too long
        return None


def _part(target: Path) -> Path:
    """Name the part file of this process: of which target, on which machine, by which process."""
    owner = f"{_machine()}-{os.getpid()}-{_birth(os.getpid())}-{time.monotonic_ns():x}"
    return target.with_name(f"{_prefix(target)}{owner}.part")


def _prefix(target: Path) -> str:
    # Names may have 255 bytes, so the target's own may not fit.
    return f".pycellbox-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _machine() -> str:
    """Say where process numbers mean what they mean here: host, and container."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:12]


def _birth(process: int) -> str:
    """When a process began, as the system counts; "0" if that cannot be had, "" if it is gone."""
    if sys.platform == "win32":
        return "0"
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        fields = status.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "0"


def _remove_abandoned(target: Path) -> None:
    prefix, machine = _prefix(target), _machine()
    names: list[str] = []
    with suppress(OSError):  # a folder that may be written and not read
        names = os.listdir(target.parent)
    for name in names:
        if not (name.startswith(prefix) and name.endswith(".part")):
            continue
        words = name[len(prefix) :].split("-")
        part = target.with_name(name)
        with suppress(OSError, ValueError):  # somebody else was quicker, or it is none of ours
            gone = words[0] == machine and _birth(int(words[1])) != words[2]
            if gone or time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()


def _sync_folder(folder: Path) -> None:
    """Let the move itself reach the disk, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
