"""Nearest rows by cosine, exact, on several threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wildsage.algorithms.blazingtext.kernels.neighbours import invert_norms, scan
from wildsage.kernels.vector import aligned, padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

T = TypeVar("T")

ROWS_PER_THREAD = 1 << 15  # fewer, and a thread is not worth its start


class Neighbours:
    """A table of rows that is searched by cosine. Memory: 4 bytes a row beside the rows, which are not copied."""

    def __init__(self, rows: NDArray[np.float32], threads: int | None = None) -> None:
        """rows: float32 (V, d), C order, at any address. threads: all the process may use if left out."""
        self.count, self.dim = rows.shape
        self._bytes = rows.reshape(-1).view(np.uint8)
        self._bytes.flags.writeable = False
        self._threads = threads or _processors()
        self._inverses = np.empty(self.count, np.float32)
        self._in_parts(lambda begin, end: invert_norms(self._bytes, self.dim, begin, end, self._inverses))

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k best rows for each query, best first: ids int64 (Q, k), cosines float32 (Q, k).

        queries: float32 (Q, d), of any length but zero. Of equal cosines the lower id is first. Where there are fewer
        than k rows, id is -1 and cosine -inf.
        """
        asked, width, k = queries.shape[0], padded(self.dim), max(1, k)
        table = aligned(asked * width)
        norms = np.linalg.norm(queries, axis=1, keepdims=True)
        table.reshape(asked, width)[:, : self.dim] = queries / np.where(norms > 0, norms, 1)

        def search(begin: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            ids, scores = np.full((asked, k), -1, np.int64), np.full((asked, k), -np.inf, np.float32)
            scan(self._bytes, self._inverses, table, width, self.dim, begin, end, ids, scores)
            return ids, scores

        found = self._in_parts(search)
        ids = np.concatenate([part[0] for part in found], axis=1)
        scores = np.concatenate([part[1] for part in found], axis=1)
        # Parts are in order of id, so a stable sort keeps that order among equals.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def _in_parts(self, work: Callable[[int, int], T]) -> list[T]:
        threads = max(1, min(self._threads, self.count // ROWS_PER_THREAD))
        bounds = [self.count * part // threads for part in range(threads + 1)]
        if threads == 1:
            return [work(0, self.count)]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, bounds[:-1], bounds[1:]))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
