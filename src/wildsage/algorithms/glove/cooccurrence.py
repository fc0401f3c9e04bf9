"""The matrix of counts: which words stand near which, counted in bounded memory and kept on disk, shuffled.

Source: Pennington, Socher and Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014, sections 3 and 4.2.
"""

from __future__ import annotations

import errno
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.blazingtext.features import check, run_all
from wildsage.algorithms.glove.kernels.counting import (
    BLOCKS,
    CELLS,
    NON_ZEROS,
    PAIRS,
    POSITION,
    SIDE,
    SIDE_BITS,
    UNIT_BITS,
    add_up,
    list_corner,
    list_pairs,
    merge_runs,
    sort_pairs,
)
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from threading import Event

    from numpy.typing import NDArray

LARGEST_CORNER = 1 << 17  # cells, 1 MiB: what a second cache holds; from the next one, counting took twice as long
LARGEST_LIST = 1 << 22  # pairs sorted at a time, 32 MiB: more would gain little
SMALLEST_SHARE = 16 << 20  # bytes that a thread counts in, at least
KEY_BITS = 63
MOST_DIGIT_BITS = 11  # more, and a counting sort's places are no longer in the first cache
PIECE = 1 << 22  # words counted between two looks at the stop flag
ROOM = 2 * CELLS  # cells merged before they are written
MERGED_BLOCKS = 1 << 14


@dataclass(frozen=True)
class Counting:
    """What is counted. words: how many there are; window: how far apart two may be."""

    words: int
    window: int
    symmetric: bool
    x_max: float
    alpha: float
    seed: int

    def __post_init__(self) -> None:
        if self.block_bits * 2 + 2 * SIDE_BITS + self.distance_bits > KEY_BITS:
            raise ClientError(
                f"{self.words:,} words with window_size = {self.window} are too many to be counted: "
                "raise min_count, or lower window_size"
            )

    @property
    def stripes(self) -> int:
        """Rows of blocks, and columns."""
        return -(-self.words // SIDE)

    @property
    def block_bits(self) -> int:
        return max(1, (self.stripes - 1).bit_length())

    @property
    def distance_bits(self) -> int:
        return (self.window - 1).bit_length()

    @property
    def shares(self) -> NDArray[np.int64]:
        """int64 (window + 1,): 1 / distance in units."""
        return np.rint((1 << UNIT_BITS) / np.maximum(1, np.arange(self.window + 1))).astype(np.int64)


@dataclass(frozen=True)
class Corner:
    """The cells that are counted in an array: those whose ranks' product is up to `limit`."""

    limit: int
    firsts: NDArray[np.int64]  # entry of cell (low, high): firsts[low] + high
    size: int  # with both halves, if counts are not symmetric

    @classmethod
    def of(cls, counting: Counting, most: int) -> Self:
        """The largest corner of up to `most` cells."""

        def sizes(limit: int) -> NDArray[np.int64]:
            lows = np.arange(min(counting.words, int(np.sqrt(limit))))
            return np.minimum(counting.words, limit // (lows + 1)) - lows  # those from the diagonal on

        most //= 1 if counting.symmetric else 2
        low, high = 0, counting.words**2
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if int(sizes(middle).sum()) <= most else (low, middle - 1)
        lengths = sizes(low)
        firsts = np.cumsum(lengths) - lengths - np.arange(lengths.size)
        return cls(low, firsts, int(lengths.sum()) * (1 if counting.symmetric else 2))


class Runs:
    """Cells and their counts, in sorted runs in two files."""

    def __init__(self, folder: Path) -> None:
        self._keys, self._units = Appended(folder, np.int64), Appended(folder, np.int64)
        self._lock = Lock()
        self.bounds: list[tuple[int, int]] = []

    def add(self, keys: NDArray[np.int64], units: NDArray[np.int64]) -> None:
        if keys.size:
            with self._lock:
                self._keys.add(keys)
                begin = self._units.add(units)
                self.bounds.append((begin, begin + keys.size))

    def mapped(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._keys.mapped(), self._units.mapped()

    def close(self) -> None:
        self._keys.close()
        self._units.close()


class Appended:
    """A file of numbers that grows. It has no name, so that it is gone with the process, however that ends."""

    def __init__(self, folder: Path, dtype: Any) -> None:
        self.folder, self.dtype, self.size = folder, np.dtype(dtype), 0
        with self._space():
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (it lives as long as this)

    def add(self, numbers: NDArray[Any]) -> int:
        """Write numbers behind the others; returns where they begin. Raises ClientError if the disk is full."""
        with self._space():
            numbers.tofile(self._file)
        begin = self.size
        self.size += numbers.size
        return begin

    def mapped(self) -> NDArray[Any]:
        """What was written."""
        if not self.size:
            return np.empty(0, self.dtype)
        return np.asarray(np.memmap(self._file, self.dtype, "r+", shape=self.size))

    def close(self) -> None:
        """Add nothing more. The disk space goes with the last array that is a part of it."""
        self._file.close()

    @contextmanager
    def _space(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None):
                raise
            raise ClientError(
                f"no space is left in {self.folder} for the counts of words: set TMPDIR to a folder with more, "
                "raise min_count, or lower window_size"
            ) from error


@dataclass(frozen=True)
class Matrix:
    """The non-zeros of the matrix of counts, by block, at random within each; in mapped files.

    Of symmetric counts only the blocks on the diagonal and to its right are here, each of which stands for two.
    """

    counting: Counting
    blocks: NDArray[np.int64]  # (B, 4): row, column, first non-zero, how many; in order
    cells: NDArray[np.int32]  # (N,), row * SIDE + column within the block
    values: NDArray[np.float32]  # (N, 2), log x and f(x), the weight of its error

    @property
    def non_zeros(self) -> int:
        """How many non-zeros the matrix has, both halves of a symmetric one."""
        twice = self.blocks[:, 3] * (self.blocks[:, 0] != self.blocks[:, 1]) if self.counting.symmetric else 0
        return int(np.sum(self.blocks[:, 3] + twice))


def count(
    stream: NDArray[np.int32], counting: Counting, folder: Path, threads: int, memory: int, pool: ThreadPoolExecutor,
    stop: Event, tell: Callable[[int], None] = lambda words: None,
) -> Matrix:  # fmt: skip
    """Count a text, within `memory` bytes beside it. The result is the same for any number of threads and any memory.

    stream: int32, words by rank, negative where a line ends. tell: called with the words counted since the last call.
    Raises StoppedEarlyError once `stop` is set, ClientError if the folder's disk is full.
    """
    threads = max(1, min(threads, memory // SMALLEST_SHARE))
    with closing(Runs(folder)) as runs:
        _write_runs(runs, stream, counting, threads, memory // threads, pool, stop, tell)
        with closing(Appended(folder, np.int32)) as cells, closing(Appended(folder, np.float32)) as values:
            return _merge(runs, cells, values, counting, threads, pool, stop)


def _write_runs(
    runs: Runs, stream: NDArray[np.int32], counting: Counting, threads: int, memory: int, pool: ThreadPoolExecutor,
    stop: Event, tell: Callable[[int], None],
) -> None:  # fmt: skip
    lock = Lock()
    item = np.dtype(np.int64).itemsize
    corner = Corner.of(counting, min(LARGEST_CORNER, memory // 4 // item))
    room = max(counting.window + 1, min(LARGEST_LIST, (memory - corner.size * item) // (2 * item)))
    bounds = [*range(0, stream.size, PIECE), stream.size]
    pieces = iter(pairwise(bounds))
    shares = counting.shares
    bits = 2 * (counting.block_bits + SIDE_BITS)
    passes = 4 if bits <= 4 * MOST_DIGIT_BITS else 6
    digit_bits = -(-bits // passes)

    def next_piece() -> tuple[int, int] | None:
        with lock:
            return next(pieces, None)

    def work() -> None:
        pairs, units = np.empty(room, np.int64), np.empty(room, np.int64)
        counts, state = np.zeros(corner.size + 1, np.int64), np.zeros(2, np.int64)
        digits = np.empty((1 << digit_bits) + 1, np.int64)

        def flush() -> None:
            size = int(state[PAIRS])
            sort_pairs(pairs, size, counting.distance_bits, digit_bits, passes, units, digits)
            cells = add_up(pairs, size, shares, counting.distance_bits, units)
            runs.add(pairs[:cells], units[:cells])
            state[PAIRS] = 0

        while (piece := next_piece()) is not None:
            state[POSITION], end = piece
            while state[POSITION] < end:
                check(stop)
                list_pairs(
                    stream, end, shares, counting.symmetric, corner.limit, corner.firsts, counts, counting.block_bits,
                    counting.distance_bits, pairs, state,
                )  # fmt: skip
                if state[POSITION] < end:
                    flush()
            tell(piece[1] - piece[0])
        flush()
        keys, units = np.empty(corner.size, np.int64), np.empty(corner.size, np.int64)
        cells = list_corner(
            counting.words, counting.symmetric, corner.limit, corner.firsts, counts, counting.block_bits, keys, units
        )
        runs.add(keys[:cells], units[:cells])

    run_all(pool, [(work, ())] * threads)


def _merge(
    runs: Runs, cells_file: Appended, values_file: Appended, counting: Counting, threads: int,
    pool: ThreadPoolExecutor, stop: Event,
) -> Matrix:  # fmt: skip
    """Add up the runs, a row of blocks at a time in each thread."""
    keys, units = runs.mapped()
    ends = np.array(runs.bounds, np.int64).reshape(-1, 2)
    row_shift = 2 * SIDE_BITS + counting.block_bits
    marks = np.arange(counting.stripes + 1, dtype=np.int64) << row_shift
    cuts = np.array([begin + np.searchsorted(keys[begin:end], marks) for begin, end in ends], np.int64)
    cuts = cuts.reshape(-1, marks.size)
    lock, stripes = Lock(), iter(range(counting.stripes))
    found: list[NDArray[np.int64]] = []

    def next_stripe() -> int | None:
        with lock:
            return next(stripes, None)

    def work() -> None:
        square, codes, scratch = np.zeros(CELLS, np.int64), np.empty(CELLS, np.int64), np.empty(CELLS, np.int64)
        counts, blocks = np.empty(SIDE + 1, np.int64), np.empty((MERGED_BLOCKS, 4), np.int64)
        cells, totals = np.empty(ROOM, np.int32), np.empty(ROOM, np.float64)
        values, state = np.empty((ROOM, 2), np.float32), np.zeros(2, np.int64)
        while (stripe := next_stripe()) is not None:
            check(stop)
            cursors, done = cuts[:, stripe].copy(), False
            while not done:
                done = merge_runs(
                    keys, units, cursors, cuts[:, stripe + 1].copy(), counting.symmetric, counting.block_bits,
                    counting.seed, square, codes, scratch, counts, blocks.reshape(-1), cells, totals, state,
                )  # fmt: skip
                made, size = int(state[BLOCKS]), int(state[NON_ZEROS])
                logs = np.log(totals[:size], out=totals[:size])
                values[:size, 0] = logs
                weights = np.exp(np.minimum(0, counting.alpha * (logs - np.log(counting.x_max))).astype(np.float32))
                values[:size, 1] = weights
                with lock:
                    first = cells_file.add(cells[:size])
                    values_file.add(values[:size])
                    found.append(blocks[:made] + np.array([0, 0, first, 0]))

    run_all(pool, [(work, ())] * threads)
    blocks = np.concatenate(found) if found else np.empty((0, 4), np.int64)
    order = np.lexsort((blocks[:, 1], blocks[:, 0]))
    return Matrix(counting, blocks[order], cells_file.mapped(), values_file.mapped().reshape(-1, 2))
