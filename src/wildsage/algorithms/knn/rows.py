"""A table of rows that grows, in memory that faiss can use as it is."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRONT = 64  # bytes before the first row: faiss's header of an index file goes there
STEP = 64 << 20  # bytes that it grows by, at least; what is not written to takes no memory


class Rows:
    """float32 rows of `width` columns, one after the other.

    The memory is a mapping of its own, which grows by turning over pages: nothing is copied, and the peak is that of
    the rows. What `used` and `front` return must be gone by the next change of size.
    """

    def __init__(self, width: int) -> None:
        self.width, self.count = width, 0
        self._map = _new(mmap.PAGESIZE)

    @property
    def used(self) -> NDArray[np.float32]:
        """The rows, (count, width), in place."""
        found: NDArray[np.float32] = np.frombuffer(self._map, np.float32, self.count * self.width, FRONT)
        return found.reshape(-1, self.width)

    def front(self, size: int) -> NDArray[np.uint8]:
        """The last `size` bytes before the rows, and the rows."""
        return np.frombuffer(self._map, np.uint8, size + 4 * self.count * self.width, FRONT - size)

    def extend(self, count: int, most: int) -> NDArray[np.float32]:
        """Room for `count` more rows, which are to be filled. most: rows that there will ever be."""
        need = FRONT + 4 * (self.count + count) * self.width
        if need > len(self._map):
            self._resize(max(need, min(need + max(STEP, need), FRONT + 4 * most * self.width)))
        self.count += count
        return self.used[self.count - count :]

    def cut(self, count: int) -> None:
        """Keep the first rows alone, and give the memory of the others back."""
        self.count = count
        self._resize(FRONT + 4 * count * self.width)

    def _resize(self, size: int) -> None:
        try:
            self._map.resize(size)
        except SystemError:  # a system without mremap
            held, self._map = self._map, _new(size)
            kept = min(size, FRONT + 4 * self.count * self.width)
            self._map[:kept] = held[:kept]


def _new(size: int) -> mmap.mmap:
    # Private: what is shared between processes cannot grow.
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            made.madvise(mmap.MADV_HUGEPAGE)  # a fault for 2 MB instead of one for 4 kB, which cost as much as copying
    return made
