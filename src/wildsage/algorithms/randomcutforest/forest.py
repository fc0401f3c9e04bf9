"""A random cut forest in memory: samples of rows, a tree over each, and what the trees say of other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.randomcutforest.kernels import explaining, sampling, scoring, tree
from wildsage.algorithms.streaming import Workers
from wildsage.data.batch import SparseRows
from wildsage.kernels.vector import WIDTH, aligned, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Single = NDArray[np.float32]

BLOCK_BYTES = 4 << 20  # of rows that are scored together: enough to make up for a tree that is fetched
LARGEST_BLOCK = 4096  # rows
LARGEST_VALUE = np.float32(1e30)  # larger ones count as this, so that no sum of distances is infinite
EXPLAINED_ROWS = 4  # fewer for each thread are not worth waking one up


class Forest:
    """`count` trees over samples of `samples` rows each, of `dim` features.

    Which rows a tree keeps depends on `seed` and the rows' numbers alone; sample(), stream() and merge() agree on it.
    points: float32 (count, samples, dim), keys: float64 (count, samples), filled: int32 (count,) are all that a forest
    knows; the trees can be grown from them at any time.
    """

    def __init__(self, count: int, samples: int, dim: int, *, seed: int = 0, decay: float = 0.0) -> None:
        self.count, self.samples, self.dim, self.seed, self.decay = count, samples, dim, seed, float(decay)
        self.width = padded(2 * dim)
        self.points = np.zeros((count, samples, dim), np.float32)
        self.keys = np.full((count, samples), np.inf)
        self.filled = np.zeros(count, np.int32)
        self._seeds = np.random.default_rng([seed, 0]).integers(0, 2**64, count, np.uint64, endpoint=False)
        whole = np.arange(samples + 2, dtype=np.float64)
        inverse = np.divide(1.0, whole, out=np.ones(samples + 2), where=whole > 0)
        self._tables = np.concatenate([inverse, np.log2(whole + 1)]).astype(np.float32)
        self._trees: tree.Trees | None = None
        self._slot_rows = np.empty(0, np.int32)

    def sample(self, rows: Single | SparseRows, first: int, time: int, workers: Workers) -> None:
        """Offer rows, (n, dim), numbered from `first` and as old as `time`, to the samples. Trees are not kept up."""
        self._trees = None
        if not len(self._slot_rows):
            self._slot_rows = np.empty(self.count * self.samples, np.int32)
        slots, keys = self._slot_rows, self.keys.reshape(-1)

        def job(_: int, begin: int, end: int) -> None:
            if not sampling.choose(
                len(rows), first, time, self.decay, self.samples, self._seeds, keys, self.filled, slots, begin, end
            ):
                return
            begin, end, points = begin * self.samples, end * self.samples, self.points.reshape(-1)
            if isinstance(rows, SparseRows):
                sampling.take_sparse(rows.starts, rows.columns, rows.values, self.dim, slots, points, begin, end)
            else:
                sampling.take_dense(rows.reshape(-1), self.dim, slots, points, begin, end)

        workers.split(self.count, job, least=1)

    def grow(self, workers: Workers) -> None:
        """Grow the trees from the samples, if they are not there; of equal samples they are equal, in any order."""
        if self._trees is not None:
            return
        # Rows that were merged, or streamed, lie in another order than those that came one by one.
        order = np.argsort(self.keys, axis=1)
        self.keys = np.take_along_axis(self.keys, order, 1)
        self.points = np.take_along_axis(self.points, order[:, :, None], 1)
        np.clip(self.points, -LARGEST_VALUE, LARGEST_VALUE, out=self.points)
        trees = self._empty_trees()
        rows = [aligned(self.width) for _ in range(workers.threads)]

        def job(thread: int, begin: int, end: int) -> None:
            tree.clear(trees, self.samples, begin, end)
            tree.grow(
                trees,
                self.points.reshape(-1),
                self.filled,
                self.dim,
                self.width,
                self.samples,
                rows[thread],
                begin,
                end,
            )

        workers.split(self.count, job, least=1)
        self._trees = trees

    def _empty_trees(self) -> tree.Trees:
        nodes = self.count * 2 * self.samples
        return tree.Trees(
            box=aligned(nodes * self.width + WIDTH),
            span=aligned(nodes),
            cut=aligned(nodes),
            axis=aligned(nodes, np.int32),
            children=aligned(2 * nodes, np.int32),
            parent=aligned(nodes, np.int32),
            mass=aligned(nodes, np.int32),
            free=aligned(self.count * 2 * (self.samples + 1), np.int32),
            slot_leaf=aligned(self.count * self.samples, np.int32),
            root=aligned(self.count, np.int32),
            mask=(np.arange(WIDTH) < WIDTH // 2).astype(np.float32),
            state=np.random.default_rng([self.seed, 1]).integers(0, 2**64, self.count, np.uint64, endpoint=False),
        )

    @property
    def trees(self) -> tree.Trees:
        if self._trees is None:
            raise ValueError("the trees have not been grown")
        return self._trees

    @property
    def block_rows(self) -> int:
        """How many rows are worth scoring at a time."""
        return max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * self.width)))

    def score(self, rows: Single | SparseRows, workers: Workers) -> NDArray[np.float64]:
        """The scores of rows, (n, dim), float64 (n,)."""
        scores = np.zeros(len(rows))
        for begin in range(0, len(rows), self.block_rows):
            end = min(begin + self.block_rows, len(rows))
            laid = self._laid_out(_part(rows, begin, end))
            scores[begin:end] = self._score(laid, end - begin, workers)
        return scores

    def _score(self, laid: Single, count: int, workers: Workers) -> NDArray[np.float64]:
        by_tree = aligned(self.count * count, zero=False)
        scratch = self._scratch(workers)

        def job(thread: int, begin: int, end: int) -> None:
            scoring.score(
                self.trees, laid, count, self.width, self.samples, self._tables, scratch[thread], by_tree,
                begin, end,
            )  # fmt: skip

        workers.split(self.count, job, least=1)
        return np.asarray(by_tree.reshape(self.count, count).mean(axis=0, dtype=np.float64))

    def stream(
        self, rows: Single | SparseRows, first: int, time: int, workers: Workers, asked: Single | None = None
    ) -> NDArray[np.float64]:
        """Score each row, then learn it, row by row; float64 (n,). The samples are those that sample() would keep.

        asked: the rows as they are to be scored, if otherwise than they are to be learnt.
        """
        self.grow(workers)
        scores = np.zeros(len(rows))
        for begin in range(0, len(rows), self.block_rows):
            end = min(begin + self.block_rows, len(rows))
            laid = self._laid_out(_part(rows, begin, end))
            told = laid if asked is None else self._laid_out(asked[begin:end])
            scores[begin:end] = self._stream(told, laid, end - begin, first + begin, time + begin, workers)
        return scores

    def _stream(
        self, asked: Single, laid: Single, count: int, first: int, time: int, workers: Workers
    ) -> NDArray[np.float64]:
        by_tree = aligned(self.count * count, zero=False)
        scratch = self._scratch(workers)

        def job(thread: int, begin: int, end: int) -> None:
            scoring.stream(
                self.trees, asked, laid, count, first, time, self.decay, self.dim, self.width, self.samples,
                self._seeds, self.keys.reshape(-1), self.filled, self.points.reshape(-1), self._tables,
                scratch[thread], by_tree, begin, end,
            )  # fmt: skip

        workers.split(self.count, job, least=1)
        return np.asarray(by_tree.reshape(self.count, count).mean(axis=0, dtype=np.float64))

    def attribute(self, rows: Single | SparseRows, workers: Workers) -> Single:
        """What each feature adds to the score of rows: float32 (n, dim), rows of which add up to the scores."""
        shares = np.zeros((len(rows), self.dim), np.float32)
        laid = self._laid_out(rows)
        paths = [aligned(self.samples + 1, np.int32) for _ in range(workers.threads)]
        parts = [aligned(2 * (self.samples + 1)) for _ in range(workers.threads)]

        def job(thread: int, begin: int, end: int) -> None:
            explaining.attribute(
                self.trees, self.count, laid, self.dim, self.width, self.samples, self._tables, paths[thread],
                parts[thread], shares.reshape(-1), begin, end,
            )  # fmt: skip

        workers.split(len(rows), job, least=EXPLAINED_ROWS)
        return shares

    def impute(self, rows: Single, workers: Workers) -> Single:
        """Rows, (n, dim), with each NaN replaced: float32 (n, dim).

        By the median over the trees of what the row of each sample has there that is most like the known features.
        """
        missing = np.isnan(rows)
        filled = np.where(missing, np.float32(0), rows).astype(np.float32)
        if not missing.any():
            return filled
        laid, known = self._laid_out(filled), np.ascontiguousarray(~missing).reshape(-1)
        leaves = np.zeros((len(rows), self.count), np.int32)
        stacks = [aligned(self.samples + 1, np.int32) for _ in range(workers.threads)]

        def job(thread: int, begin: int, end: int) -> None:
            explaining.most_alike(
                self.trees, self.count, laid, known, self.dim, self.width, self.samples, stacks[thread],
                leaves.reshape(-1), begin, end,
            )  # fmt: skip

        workers.split(len(rows), job, least=EXPLAINED_ROWS)
        box = self._boxes()
        for row in np.flatnonzero(missing.any(axis=1)):
            found, columns = leaves[row], np.flatnonzero(missing[row])
            there = np.flatnonzero(found >= 0)
            if len(there):
                filled[row, columns] = np.median(box[there[:, None], found[there, None], columns], axis=0)
        return filled

    def merge(self, other: Forest) -> None:
        """Take in the samples of another forest of the same shape; of both, those of the least keys stay."""
        keys = np.concatenate([self.keys, other.keys], axis=1)
        order = np.argsort(keys, axis=1, kind="stable")[:, : self.samples]
        points = np.concatenate([self.points, other.points], axis=1)
        self.keys = np.take_along_axis(keys, order, 1)
        self.points = np.take_along_axis(points, order[:, :, None], 1)
        self.filled = np.minimum(self.filled + other.filled, self.samples).astype(np.int32)
        self._trees = None

    def _boxes(self) -> Single:
        return self.trees.box[:-WIDTH].reshape(self.count, 2 * self.samples, self.width)

    def constants(self) -> tuple[NDArray[np.int64], Single]:
        """Columns that have one value in all samples, and these values. Of grown trees."""
        roots = self.trees.root[: self.count]
        if not len(roots) or roots.min() < 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        box, half = self._boxes()[np.arange(self.count), roots], self.width // 2
        lows, highs = box[:, : self.dim].min(axis=0), -box[:, half : half + self.dim].min(axis=0)
        columns = np.flatnonzero(lows == highs)
        return columns, lows[columns]

    def _laid_out(self, rows: Single | SparseRows) -> Single:
        """Rows as the kernels want them, float32 (n * width,)."""
        dense = rows.dense() if isinstance(rows, SparseRows) else np.ascontiguousarray(rows, np.float32)
        dense = np.clip(dense, -LARGEST_VALUE, LARGEST_VALUE)
        laid = aligned(len(dense) * self.width, zero=False)
        tree.lay_out_rows(dense.reshape(-1), len(dense), laid, self.dim, self.width)
        return laid

    def _scratch(self, workers: Workers) -> list[NDArray[np.int32]]:
        return [aligned(scoring.scratch_size(self.samples), np.int32) for _ in range(workers.threads)]


def _part(rows: Single | SparseRows, begin: int, end: int) -> Single | SparseRows:
    return rows.part(begin, end) if isinstance(rows, SparseRows) else rows[begin:end]
