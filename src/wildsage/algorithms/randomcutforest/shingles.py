"""Shingles: windows of consecutive rows of a series, each seen as one long row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shingled(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Each `size` consecutive rows, the oldest first: (n, d) to (n - size + 1, size * d), of fewer rows none."""
    count, width = rows.shape
    if size == 1:
        return np.ascontiguousarray(rows)
    if count < size:
        return np.zeros((0, size * width), rows.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(rows, size, axis=0)  # (n - size + 1, d, size)
    return np.ascontiguousarray(windows.transpose(0, 2, 1)).reshape(count - size + 1, size * width)


class Shingler:
    """Makes shingles of a series that comes in parts. tail: the last rows, up to size - 1, that the next ones need."""

    def __init__(self, size: int, width: int) -> None:
        self.size = size
        self.tail = np.zeros((0, width), np.float32)

    def take(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The shingles that end in these rows."""
        joined = np.concatenate([self.tail, rows])
        self.tail = joined[max(0, len(joined) - self.size + 1) :].copy()
        return shingled(joined, self.size)
