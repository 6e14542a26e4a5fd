"""A look over an HDF5 file from anywhere, before a value of it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.data.heaps import broken_heap

if TYPE_CHECKING:
    import h5py

# An honest file unpacks to what it holds, or compresses zeros and gaps to a twentieth. Beyond the
# allowance, in bytes, one that unpacks to more is built to fill memory.
_ALLOWANCE, _RATIO = 128 * 2**20, 20
_OBJECTS, _ATTRIBUTES, _DEPTH = 1000, 500, 4
# deflate, shuffle, fletcher32: every other filter is another library, maybe loaded for the file.
_FILTERS = (1, 2, 3)
# Of variable length: HDF5 believes the length, and makes room for it before it looks for the rest,
# which is the address of a heap and a number there. All may be the same few bytes.
_ENTRY = np.dtype([("length", "<u4"), ("", "V12")])
_TEXT_COST = 64
"""Bytes that Python needs for a text beside its characters."""


class ForeignError(ValueError):
    """A file that no program of good will writes; the message says why, without a full stop."""


def check_content(file: h5py.File, image: bytes | mmap) -> int:
    """Raise unless a file is plain data of a size that fits its own.

    Parameters
    ----------
    file : h5py.File
    image : bytes or mmap
        All of it.

    Returns
    -------
    int
        Bytes of its arrays and texts when they are read.

    Raises
    ------
    ForeignError
        It leads to other files, has loops, more objects or deeper groups than any result,
        filters other than the usual ones, types that no dataset has, or unpacks to far more than
        its own size.
    """
    held = arrays_of(file, image)
    if (place := broken_heap(image)) is not None:
        raise ForeignError(f"its texts are damaged, at byte {place}")
    budget = _Budget(image)
    for item in _objects(file):
        _check_attributes(item, budget)
    return held + budget.spent


def arrays_of(file: h5py.File, image: bytes | mmap) -> int:
    """Check the arrays of a file alone, and return their bytes; as `check_content`."""
    budget = _Budget(image)
    if file.id.get_create_plist().get_sizes() != (8, 8) or file.userblock_size:
        raise ForeignError("it has addresses of another size than 8 bytes")
    for item in _objects(file):
        if hasattr(item, "dtype"):
            _check_array(item, budget)
    return budget.spent


class _Budget:
    def __init__(self, image: bytes | mmap) -> None:
        self.image, self.size, self.spent = image, len(image), 0
        self.limit = _ALLOWANCE + _RATIO * self.size

    def check(self, count: int, what: str) -> None:
        if count > self.limit:
            raise ForeignError(
                f"{what} unpacks to {count / 1e6:.0f} MB, in a file of {self.size / 1e6:.3g} MB; "
                "if it is honest, write it without compression"
            )

    def spend(self, count: int, what: str) -> None:
        self.spent += count
        self.check(self.spent, what)


def _objects(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    """Go through groups and datasets, each once, following no link out of the file."""
    import h5py

    pending: list[tuple[h5py.Group, int]] = [(file, 0)]
    seen = {h5py.h5o.get_info(file.id).addr}
    yield file
    while pending:
        group, depth = pending.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ForeignError(f"{name!r} is a link to another place")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise ForeignError(f"{name!r} is there under two names")
            seen.add(address)
            if len(seen) > _OBJECTS or depth >= _DEPTH:
                raise ForeignError("it has more variables, or deeper groups, than any dataset")
            if isinstance(item, h5py.Group):
                pending.append((item, depth + 1))
            elif not isinstance(item, h5py.Dataset):
                raise ForeignError(f"{name!r} is neither a group nor an array")
            yield item


def _check_attributes(item: h5py.Group | h5py.Dataset, budget: _Budget) -> None:
    import h5py

    if len(item.attrs) > _ATTRIBUTES:
        raise ForeignError(f"{item.name!r} has {len(item.attrs)} attributes")
    for name in item.attrs:
        what = f"the attribute {name!r} of {item.name!r}"
        attribute = item.attrs.get_id(name)
        count = int(attribute.get_space().get_simple_extent_npoints())
        kind = attribute.get_type()
        text = isinstance(kind, h5py.h5t.TypeStringID)
        if not (text or _is_number(attribute.dtype) or name.endswith(("_LIST", "_NCProperties"))):
            raise ForeignError(f"{what} is of a type that no dataset has")
        if isinstance(kind, h5py.h5t.TypeVlenID):
            size = _claimed(name, count, budget.image, what) * kind.get_super().get_size()
        elif text and kind.is_variable_str():
            size = _claimed(name, count, budget.image, what)
        else:
            size = count * kind.get_size()
        budget.check(size, what)
        value = item.attrs[name]
        budget.spend(len(value) + _TEXT_COST if isinstance(value, str) else value.nbytes, what)


def _claimed(name: str, count: int, image: bytes | mmap, what: str) -> int:
    """Add up the lengths that the entries of an attribute claim.

    In the file stand the sizes of its name, its type and its shape, then these three, then its
    entries. Attributes of one name and as many entries are not told apart: the largest counts.
    """
    written = name.encode("utf-8", "surrogateescape") + b"\0"
    claims = [0] if not count else []
    for found in re.finditer(re.escape(written), image):
        for version, before in ((1, 8), (2, 8), (3, 9)):
            head = image[max(found.start() - before, 0) : found.start()]
            sizes = [int.from_bytes(head[i : i + 2], "little") for i in (2, 4, 6)]
            if head[:1] == bytes([version]) and sizes[0] == len(written):
                if version == 1:  # each fills up multiples of 8 bytes
                    sizes = [-(-size // 8) * 8 for size in sizes]
                start = found.start() + sum(sizes)
                fits = start + _ENTRY.itemsize * count <= len(image)
                if fits and _entries(image[start - sizes[2] : start]) == count:
                    entries = np.frombuffer(image, _ENTRY, count, start)
                    claims.append(int(entries["length"].sum(dtype=np.int64)))
    if not claims:
        raise ForeignError(f"{what} has no place in it")
    return max(claims)


def _entries(shape: bytes) -> int:
    """Return how many entries there are in a shape, as it stands in the file."""
    header = 8 if shape[:1] == b"\1" else 4
    sizes = np.frombuffer(shape, "<u8", shape[1], header) if len(shape) > header else [1]
    return math.prod(map(int, sizes))


def _check_array(item: h5py.Dataset, budget: _Budget) -> None:
    import h5py

    what, layout = repr(item.name), item.id.get_create_plist()
    if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
        raise ForeignError(f"{what} takes its values from another file")
    text = h5py.check_string_dtype(item.dtype)
    if text is None and not _is_number(item.dtype):
        raise ForeignError(f"{what} is of a type that no dataset has")
    if item.shape is None:
        raise ForeignError(f"{what} has no shape")
    for number in range(layout.get_nfilters()):
        if layout.get_filter(number)[0] not in _FILTERS:
            raise ForeignError(f"{what} is packed by a filter other than gzip")
    count = math.prod(item.shape)
    if item.chunks is not None:
        budget.check(math.prod(item.chunks) * item.dtype.itemsize, f"a chunk of {what}")
        chunks = math.prod(-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True))
        if chunks > 1000 + budget.size // 16:
            raise ForeignError(f"{what} has {chunks} chunks, more than its file has room for")
    budget.spend(count * (item.dtype.itemsize + (0 if text is None else _TEXT_COST)), what)
    if text is not None and text.length is None and count:
        budget.spend(_characters(item, budget, what), what)


def _characters(item: h5py.Dataset, budget: _Budget, what: str) -> int:
    """Add up the lengths that texts claim."""
    offset = item.id.get_offset()
    count = math.prod(item.shape)
    if offset is None and item.id.get_storage_size():
        raise ForeignError(f"{what} has texts in chunks; write it without compression")
    if offset is None or offset + _ENTRY.itemsize * count > budget.size:
        return 0  # nothing is stored, or HDF5 finds it cut off
    texts = np.frombuffer(budget.image, _ENTRY, count, offset)
    return int(texts["length"].sum(dtype=np.int64))


def _is_number(dtype: object) -> bool:
    kind, size = getattr(dtype, "kind", ""), getattr(dtype, "itemsize", 0)
    # h5py shows an enumeration as an integer, with its names beside it.
    plain = not getattr(dtype, "metadata", None)
    return bool(plain and kind in "iuf" and size <= 8)
