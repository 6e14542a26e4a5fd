"""Heaps of texts in HDF5 files, which the library walks without end where they are damaged.

A heap is ``GCOL``, a version, 3 empty bytes and its size, 8 bytes; then entries, each a number (2
bytes), a count (2), 4 empty bytes, a size (8) and its content, filled up to 8 bytes. The entry
numbered 0 is the room that is left, and its size counts its head too: with a size of 0 it leads
to itself (HDF5 File Format Specification, section III.E).
"""

from __future__ import annotations

import re
from mmap import mmap

_BEGINS = re.compile(rb"GCOL\x01\0\0\0")
_HEAD = 16  # bytes before the entries, and before the content of each


def broken_heap(image: bytes | mmap) -> int | None:
    """Return where in a file a heap begins whose entries lead nowhere; None if none does."""
    for found in _BEGINS.finditer(image):
        begin = found.start()
        size = _number(image, begin + 8)
        at, end = begin + _HEAD, begin + size
        while at + _HEAD <= min(end, len(image)):
            held = _number(image, at + 8)
            free = image[at : at + 2] == b"\0\0"
            step = held if free else _HEAD + -(-held // 8) * 8
            if step < _HEAD or at + step > end:
                return begin
            at += step
    return None


def _number(image: bytes | mmap, at: int) -> int:
    return int.from_bytes(image[at : at + 8], "little")
