"""Rows to their nearest centres, on several threads, in tiles that stay in the second-level cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.kmeans import kernels
from wildsage.data.batch import SparseRows
from wildsage.kernels.vector import WIDTH, aligned, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.streaming import Workers

    Rows = NDArray[np.float32] | SparseRows

TILE_FLOATS = 160_000  # of a tile and its products: 640 kB of a cache of 1 MB
MOST_TILE_ROWS, LEAST_TILE_ROWS = 2048, 64
LEAST_SHARE = 256  # rows of a thread


class TooLargeError(Exception):
    """A row whose numbers have squares beyond float32, by its place."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class Centres:
    """Up to `count` centres of `features` floats each, less an origin, as the kernels want them: a table and forms."""

    def __init__(self, count: int, features: int) -> None:
        self.count, self.features = count, features
        self.width, self.columns = padded(features + 1), padded(count)
        self.flat = aligned(self.columns * self.width)
        self.flat_forms = aligned(self.columns * self.width)
        self.table = self.flat.reshape(self.columns, self.width)
        self.forms = self.flat_forms.reshape(self.columns, self.width)
        self.forms[:, features] = kernels.NOTHING

    @property
    def values(self) -> NDArray[np.float32]:
        """The centres, float32 (count, features), sharing memory."""
        return self.table[: self.count, : self.features]

    def put(self, places: NDArray[np.int64] | slice, values: NDArray[np.float32] | NDArray[np.float64]) -> None:
        """Set some centres to these values."""
        self.table[places, : self.features] = values
        self.table[places, self.features] = 1
        self.forms[places, : self.features] = values
        squares = np.einsum("kd,kd->k", values, values, dtype=np.float64)
        self.forms[places, self.features] = -squares / 2


class Assignment:
    """Sums and counts of the rows nearest to each of some centres.

    After `run`: loss, squares and places of the rows, and what differs from the centres in sums and counts, until
    `centres` are moved by it.
    """

    def __init__(self, centres: Centres, workers: Workers, origin: NDArray[np.float32] | None = None) -> None:
        """origin: what is taken from dense rows, which keeps float32 exact where all are far from zero."""
        self.centres, self.workers = centres, workers
        threads, width, columns = workers.threads, centres.width, centres.columns
        self.origin = aligned(width)
        if origin is not None:
            self.origin[: centres.features] = origin
        rows = TILE_FLOATS // (width + columns)
        self.tile_rows = max(LEAST_TILE_ROWS, min(MOST_TILE_ROWS, rows // 32 * 32))
        self.tiles = [aligned(self.tile_rows * width) for _ in range(threads)]
        for tile in self.tiles:
            tile.reshape(-1, width)[:, centres.features] = 1
        self.products = [aligned(self.tile_rows * columns) for _ in range(threads)]
        self.lanes = [aligned(WIDTH) for _ in range(threads)]
        self.sums = aligned(threads * columns * width)
        self.counts = aligned(threads * columns, np.int64)
        self.squares = np.zeros(0, np.float32)
        self.places = np.zeros(0, np.int32)
        self._forms = np.zeros(0, np.float32)
        self._biases = np.zeros(0, np.float32)

    def run(self, rows: Rows) -> float:
        """Add rows to the sums of their nearest centres; returns the sum of squared distances.

        Raises TooLargeError; sums and counts are then worth nothing.
        """
        count = len(rows)
        if len(self.squares) < count:
            self.squares, self.places = aligned(count), aligned(count, np.int32)
        losses = np.zeros(self.workers.threads)
        centres, size = self.centres, self.centres.columns * self.centres.width
        sparse = isinstance(rows, SparseRows)
        forms = centres.forms[:, : centres.features]
        # As the kernels read them: a feature a row, of all centres for sparse rows, of sixteen for dense ones.
        panels = forms[None] if sparse else forms.reshape(-1, WIDTH, centres.features)
        self._forms = np.ascontiguousarray(panels.transpose(0, 2, 1)).reshape(-1)
        self._biases = np.ascontiguousarray(centres.forms[:, centres.features])
        flat = None if sparse else np.ascontiguousarray(rows).reshape(-1)

        def work(thread: int, begin: int, end: int) -> None:
            sums = self.sums[thread * size : (thread + 1) * size]
            counts = self.counts[thread * centres.columns : (thread + 1) * centres.columns]
            for at in range(begin, end, self.tile_rows):
                more = min(self.tile_rows, end - at)
                if isinstance(rows, SparseRows):
                    loss = self._sparse(thread, rows, at, more, sums, counts)
                else:
                    loss = self._dense(thread, flat, at, more, sums, counts)
                if loss < 0:
                    raise TooLargeError(at + int(-1 - loss))
                losses[thread] += loss

        self.workers.split(count, work, least=LEAST_SHARE)
        if sparse:
            # Of x until here; what moves centres are differences.
            sums = self.sums.reshape(self.workers.threads, centres.columns, centres.width)
            for thread, counts in enumerate(self.counts.reshape(self.workers.threads, -1)):
                hit = np.flatnonzero(counts)
                sums[thread, hit, : centres.features] -= counts[hit, None] * centres.table[hit, : centres.features]
        return float(losses.sum())

    def _dense(
        self, thread: int, flat: NDArray[np.float32] | None, at: int, more: int, sums: NDArray[np.float32],
        counts: NDArray[np.int64],
    ) -> float:  # fmt: skip
        centres, tile, products = self.centres, self.tiles[thread], self.products[thread]
        width, columns = centres.width, centres.columns
        kernels.fill_tile(flat, at, more, centres.features, self.origin, tile, width)
        kernels.multiply(tile, 0, more, width, centres.features, self._forms, columns, self._biases, products)
        loss: float = kernels.absorb(
            tile, products, products.view(np.int32), more, columns, centres.flat, width, sums, counts, self.squares,
            self.places, at, self.lanes[thread], self.lanes[thread].view(np.int32),
        )  # fmt: skip
        return loss

    def _sparse(
        self, thread: int, rows: SparseRows, at: int, more: int, sums: NDArray[np.float32], counts: NDArray[np.int64]
    ) -> float:
        products, columns = self.products[thread], self.centres.columns
        kernels.multiply_sparse(
            rows.starts, rows.columns, rows.values, at, more, self._forms, columns, self._biases, products
        )
        loss: float = kernels.absorb_sparse(
            rows.starts, rows.columns, rows.values, at, more, products, products.view(np.int32), columns,
            self.centres.width, sums, counts, self.squares, self.places, self.lanes[thread],
            self.lanes[thread].view(np.int32),
        )  # fmt: skip
        return loss

    def move(self, weights: NDArray[np.float64], idle: NDArray[np.int64], decay: float, rows: int) -> None:
        """Move the centres by what the rows since the last move differ from them."""
        centres = self.centres
        kernels.move(
            centres.flat, centres.flat_forms, centres.width, centres.features, weights, idle, self.sums, self.counts,
            self.workers.threads, centres.count, decay, rows,
        )  # fmt: skip

    def clear(self) -> None:
        """Forget sums and counts."""
        self.sums[:] = 0
        self.counts[:] = 0
