"""Threads that train without a race: the same bytes each time, for a number of threads.

A row that only one thread's lines have is that thread's to change. Of every other, each thread has a copy; after a
round of ROUND_LINES lines a thread, the changes are added up, in the order of threads, and each goes on from the sum.
So a thread sees what others learnt a round late. The lines of a round are fixed, and so are the rows that it touches:
they are listed once.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.kernels import rounds as kernels

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.kernels.supervised import Lines

ROUND_LINES = 128


class Rounds:
    """Rounds of one training: which lines, which rows."""

    def __init__(self, parts: list[Lines], rows: int, base: int) -> None:
        """Give each part copies of the rows that it shares, from row `base` of the table on; the parts are changed."""
        self.parts, self.base = len(parts), base
        owners = np.full(rows, kernels.NOBODY, np.int32)
        for k, part in enumerate(parts):
            kernels.mark_owners(part.rows[: part.starts[-1]], k, owners)
        self.homes = np.flatnonzero(owners == kernels.SEVERAL).astype(np.int32)
        self.copies = self.parts * self.homes.size  # rows that these take
        owners.fill(-1)
        owners[self.homes] = np.arange(self.homes.size, dtype=np.int32)
        entries = 0
        for k, part in enumerate(parts):
            entries += int(kernels.redirect(part.rows[: part.starts[-1]], owners, base + k * self.homes.size))
        lines = [part.starts.size - 1 for part in parts]
        self._longest = int(np.argmax(lines))  # it has a line in each round
        count = -(-max(lines) // ROUND_LINES)
        self.bounds = [[size * k // count for k in range(count + 1)] for size in lines]
        self._touched, self._starts = np.empty(entries, np.int32), [0]
        marked, listed = np.full(self.homes.size, -1, np.int32), 0
        for number in range(count):
            for k, part in enumerate(parts):
                begin, end = (int(part.starts[self.bounds[k][place]]) for place in (number, number + 1))
                first = base + k * self.homes.size
                listed = int(kernels.list_touched(part.rows, begin, end, first, number, marked, self._touched, listed))
            self._starts.append(listed)
        self._touched = self._touched[:listed].copy()

    def after(self, lines: list[int]) -> list[int]:
        """The rounds that are left once so many lines of each part are done."""
        bounds, done = self.bounds[self._longest], lines[self._longest]
        return [number for number in range(len(self._starts) - 1) if bounds[number] >= done]

    def merge(
        self, number: int, table: NDArray[np.float32] | NDArray[np.int16], width: int, noise: NDArray[np.int32],
        pool: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        """Bring the rows of a round together."""
        begin, end = self._starts[number], self._starts[number + 1]
        cuts = [begin + (end - begin) * k // self.parts for k in range(self.parts + 1)]
        jobs = [
            pool.submit(
                kernels.merge_rows, table, width, self.homes, self.base, self.parts, self._touched, first, last, noise,
                number * 7919,
            )
            for first, last in pairwise(cuts)
        ]  # fmt: skip
        for job in jobs:
            job.result()

    def spread(self, table: NDArray[np.float32] | NDArray[np.int16], width: int) -> None:
        """Set all copies to their rows."""
        rows = table.reshape(-1, width)
        for k in range(self.parts):
            first = self.base + k * self.homes.size
            rows[first : first + self.homes.size] = rows[self.homes]
