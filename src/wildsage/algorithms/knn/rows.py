"""A table of rows that grows, in memory that faiss can use as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRONT = 64  # bytes before the first row: faiss's header of an index file goes there
STEP, SHARE = 8 << 20, 8  # it grows by so many bytes, or by this part of itself


class Rows:
    """float32 rows of `width` columns, one after the other.

    Memory is moved by realloc, which for large blocks turns pages over and copies nothing, so that the peak is never
    twice the rows. What `used` and `front` return holds until the next change of size.
    """

    def __init__(self, width: int) -> None:
        self.width, self.count = width, 0
        self._bytes: NDArray[np.uint8] = np.zeros(FRONT, np.uint8)

    @property
    def used(self) -> NDArray[np.float32]:
        """The rows, (count, width), in place."""
        return self._bytes[FRONT : FRONT + 4 * self.count * self.width].view(np.float32).reshape(-1, self.width)

    def front(self, size: int) -> NDArray[np.uint8]:
        """The last `size` bytes before the rows, and the rows."""
        return self._bytes[FRONT - size : FRONT + 4 * self.count * self.width]

    def extend(self, count: int, most: int) -> NDArray[np.float32]:
        """Room for `count` more rows, which are to be filled. most: rows that there will ever be."""
        need = FRONT + 4 * (self.count + count) * self.width
        if need > self._bytes.size:
            ample = need + max(STEP, need // SHARE)
            self._bytes.resize(max(need, min(ample, FRONT + 4 * most * self.width)), refcheck=False)
        self.count += count
        return self.used[self.count - count :]

    def cut(self, count: int) -> None:
        """Keep the first rows alone, and give the memory of the others back."""
        self.count = count
        self._bytes.resize(FRONT + 4 * count * self.width, refcheck=False)
