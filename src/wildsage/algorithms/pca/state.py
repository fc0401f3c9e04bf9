"""What PCA keeps between batches: sums of rows, and of products of rows or of a sketch of them.

Rows are shifted by the mean of the first ones, so that a large mean costs no digits of a small variance: a value minus
one near it is exact, and what the shift leaves of the mean is taken out in float64 at the end. The same shift makes
states that began with different batches mergeable.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.pca import kernels
from wildsage.algorithms.pca.leading import leading
from wildsage.algorithms.streaming import State
from wildsage.data.batch import SparseRows
from wildsage.kernels.vector import WIDTH, aligned, padded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wildsage.algorithms.streaming import Workers
    from wildsage.data.batch import Batch

SMALL_DIM = 256  # up to which products of all columns stay in the second cache, a copy a thread
SHIFT_ROWS = 1024  # whose mean is the shift: near enough, and a mean in float64 takes as long as the products
SPARSE_DENSITY = 0.1  # from which on sparse rows are faster as dense ones
LEAST_SHARE = 1e-7  # of the largest eigenvalue, below which a sketch in float32 knows nothing


@dataclass(frozen=True)
class Components:
    """Principal components, in ascending order of their variance, the largest last.

    mean: float64 (d,), zeros where none was subtracted. vectors: float64 (d, k), orthonormal columns; of the entries of
    each, the largest in magnitude is positive. scatter: float64 (k,), sums of squares along each. total: of all.
    """

    rows: int
    mean: NDArray[np.float64]
    vectors: NDArray[np.float64]
    scatter: NDArray[np.float64]
    total: float


class Moments(State):
    """What both kinds of state have in common.

    dim: features; count: rows seen; shift: float32 (d,), near the mean; sums: float64 (d,), of the shifted rows.
    """

    kind: str

    def __init__(self, dim: int, workers: Workers) -> None:
        self.dim, self.workers = dim, workers
        self.count = 0
        self.shift = np.zeros(dim, np.float32)
        self.sums = np.zeros(dim)
        self._tile = np.empty(0, np.float32)

    def update(self, batch: Batch) -> None:
        if not len(batch):
            return
        features = batch.features
        if isinstance(features, SparseRows):
            dense = features.values.size > SPARSE_DENSITY * len(features) * self.dim
            if self.shift.any() or dense:
                self._take_dense(batch, features.dense())
            else:
                features = without_repeats(features)
                squares = np.zeros(self.dim)
                kernels.add_sparse_sums(features.starts, features.columns, features.values, self.sums, squares)
                self._take_sparse(features, squares)
        else:
            self._take_dense(batch, features)
        self.count += len(batch)

    def _take_dense(self, batch: Batch, rows: NDArray[np.float32]) -> None:
        if not self.count:
            with np.errstate(over="ignore"):
                self.shift[:] = rows[:SHIFT_ROWS].mean(axis=0, dtype=np.float64)
        self._take_rows(np.ascontiguousarray(rows))
        if not self._is_finite():
            row, column = np.unravel_index(int(np.abs(rows).argmax()), rows.shape)
            value = rows[row, column]
            raise batch.error(
                int(row), f"value {value:g} is too large: its square does not fit float32", column=int(column) + 1
            )

    def merge(self, other: Self) -> None:
        if type(other) is not type(self) or other.dim != self.dim:
            raise ValueError("the states are not of the same kind and size")
        if not self.count:
            self.restore(other.arrays())
        elif other.count:
            self._take_in(other, other.shift.astype(np.float64) - self.shift)
            self.count += other.count

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"count": np.array([self.count]), "shift": self.shift, "sums": self.sums}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        shift, sums = _array(arrays, "shift", (self.dim,)), _array(arrays, "sums", (self.dim,))
        self.count = int(_array(arrays, "count", (1,))[0])
        self.shift, self.sums = shift.astype(np.float32), sums.astype(np.float64)

    def mean(self) -> NDArray[np.float64]:
        """Of all rows, float64 (d,)."""
        return self.shift + self.sums / max(1, self.count)

    @abstractmethod
    def components(self, count: int, *, subtract_mean: bool) -> Components:
        """The components with the largest variance, or without subtract_mean, mean square."""

    @abstractmethod
    def _take_rows(self, rows: NDArray[np.float32]) -> None:
        """Add dense rows, float32 (n, d), not yet shifted."""

    @abstractmethod
    def _take_sparse(self, rows: SparseRows, squares: NDArray[np.float64]) -> None:
        """Add sparse rows, whose shift is zero, and which are among the sums already. squares: of their columns."""

    @abstractmethod
    def _is_finite(self) -> bool:
        """Whether no product was too large for float32."""

    @abstractmethod
    def _take_in(self, other: Self, offset: NDArray[np.float64]) -> None:
        """Add the sums of another state, whose shift is this one's plus the offset."""

    def _shifted(self, rows: NDArray[np.float32], squares: NDArray[np.float64]) -> NDArray[np.float32]:
        """Dense rows minus the shift, in memory that the next batch takes over; adds to sums and squares."""
        count, dim = rows.shape
        width = padded(dim)
        if self._tile.size < count * width:
            self._tile = aligned(count * width, zero=False)
        tile, flat = self._tile[: count * width], rows.reshape(-1)
        less, ones = self._turned_shift()
        sums = np.zeros((self.workers.threads, dim))
        parts = np.zeros((self.workers.threads, squares.size))

        def shift(thread: int, begin: int, end: int) -> None:
            lanes, out = aligned(2 * WIDTH), tile[begin * width :]
            kernels.shift_rows(flat, begin, end, dim, less, ones, width, lanes, out, sums[thread], parts[thread])

        self.workers.split(count, shift)
        self.sums += sums.sum(axis=0)
        squares += parts.sum(axis=0)
        return tile.reshape(count, width)[:, :dim]

    def _turned_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is added to a row, and ones where a feature is: both as wide as whole vectors."""
        less, ones = aligned(padded(self.dim)), aligned(padded(self.dim))
        less[: self.dim], ones[: self.dim] = -self.shift, 1
        return less, ones


@dataclass(frozen=True)
class _Thread:
    """What a thread works in; see kernels.add_products."""

    tile: NDArray[np.float32]
    block: NDArray[np.float32]
    sums: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def of(cls, dim: int, products: NDArray[np.float64]) -> Self:
        panels = -(-dim // kernels.PANEL)
        tile = aligned(kernels.TILE_ROWS * panels * kernels.PANEL)
        return cls(tile, aligned(kernels.BLOCK), aligned(dim, np.float64), products)


class Covariance(Moments):
    """Exact: the products of all pairs of columns. products: float64 (d, d), of which the upper triangle is meant.

    Up to SMALL_DIM columns, threads share rows and each has a copy of the products; beyond, they share the products.
    """

    kind = "regular"

    def __init__(self, dim: int, workers: Workers) -> None:
        super().__init__(dim, workers)
        self.products = np.zeros((dim, dim))
        self._threads: list[_Thread] = []

    def _take_rows(self, rows: NDArray[np.float32]) -> None:
        dim, width, flat, workers = self.dim, padded(self.dim), rows.reshape(-1), self.workers
        shares_rows = dim <= SMALL_DIM
        if not self._threads:
            copies = workers.threads if shares_rows else 1
            products = [aligned(width * width, np.float64) for _ in range(copies)]
            self._threads = [_Thread.of(dim, products[k % copies]) for k in range(workers.threads)]
        less, ones = self._turned_shift()
        for thread in self._threads:
            thread.sums[:], thread.products[:] = 0, 0

        def add(number: int, begin: int, end: int, part: int, parts: int) -> None:
            own = self._threads[number]
            given = (flat, begin, end, dim, less, ones, own.tile, own.block, part, parts)
            kernels.add_products(*given, own.sums, own.products)

        if shares_rows:
            workers.split(len(rows), lambda k, begin, end: add(k, begin, end, 0, 1))
            for thread in self._threads:
                self.sums += thread.sums
                self.products += thread.products.reshape(width, width)[:dim, :dim]
        else:
            workers.each(workers.threads, lambda k: add(k, 0, len(rows), k, workers.threads))
            self.sums += self._threads[0].sums
            self.products += self._threads[0].products.reshape(width, width)[:dim, :dim]

    def _take_sparse(self, rows: SparseRows, squares: NDArray[np.float64]) -> None:
        flat, threads = self.products.reshape(-1), self.workers.threads

        def add(thread: int) -> None:
            kernels.add_sparse_products(rows.starts, rows.columns, rows.values, self.dim, thread, threads, flat)

        self.workers.each(threads, add)

    def _is_finite(self) -> bool:
        return bool(np.isfinite(self.products.diagonal()).all())

    def _take_in(self, other: Self, offset: NDArray[np.float64]) -> None:
        crossed = np.outer(offset, other.sums)
        self.products += other.products + crossed + crossed.T + other.count * np.outer(offset, offset)
        self.sums += other.sums + other.count * offset

    def arrays(self) -> dict[str, NDArray[Any]]:
        return super().arrays() | {"products": self.products}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        products = _array(arrays, "products", (self.dim, self.dim)).astype(np.float64)
        super().restore(arrays)
        self.products = products

    def components(self, count: int, *, subtract_mean: bool) -> Components:
        scatter = np.triu(self.products)
        scatter += np.triu(scatter, 1).T
        if subtract_mean:
            mean = self.mean()
            scatter -= np.outer(self.sums, self.sums / self.count)
        else:
            mean, shift = np.zeros(self.dim), self.shift.astype(np.float64)
            crossed = np.outer(shift, self.sums)
            scatter += crossed + crossed.T + self.count * np.outer(shift, shift)
        total = float(scatter.trace())
        found = leading(scatter, count)
        values, vectors = np.linalg.eigh(scatter) if found is None else found
        vectors = _with_signs(vectors[:, -count:])
        return Components(self.count, mean, vectors, np.maximum(values[-count:], 0), total)


class Sketch(Moments):
    """Approximate: what a few random directions become when the scatter matrix is applied to them.

    basis: float32 (d, w), the directions, orthonormal but for rounding; the seed gives the first ones. sketch: float64
    (d, w), the sum of z (z' basis) over the shifted rows z. squares: float64 (d,), of the shifted rows.
    Source: Tropp, Yurtsever, Udell and Cevher, "Fixed-Rank Approximation of a Positive-Semidefinite Matrix from
    Streaming Data", NIPS 2017 (Nyström's approximation of one pass); `sharpen` is a step of subspace iteration, Halko,
    Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 2011, section 4.5.
    """

    kind = "randomized"

    def __init__(self, dim: int, workers: Workers, width: int, seed: int) -> None:
        super().__init__(dim, workers)
        self.width = width
        draws = np.random.default_rng(seed).standard_normal((dim, width))
        self.basis = np.linalg.qr(draws)[0].astype(np.float32)
        self.sketch = np.zeros((dim, width))
        self.squares = np.zeros(dim)

    def _take_rows(self, rows: NDArray[np.float32]) -> None:
        tile = self._shifted(rows, self.squares)
        projected = np.empty((len(rows), self.width), np.float32)

        def project(_: int, begin: int, end: int) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told afterwards
                np.matmul(tile[begin:end], self.basis, out=projected[begin:end])

        def add(_: int, begin: int, end: int) -> None:
            with np.errstate(over="ignore", invalid="ignore"):
                self.sketch[begin:end] += tile[:, begin:end].T @ projected

        self.workers.split(len(rows), project)
        self.workers.split(self.dim, add)

    def _take_sparse(self, rows: SparseRows, squares: NDArray[np.float64]) -> None:
        self.squares += squares
        width, threads = padded(self.width), self.workers.threads
        basis = np.zeros((self.dim, width), np.float32)
        basis[:, : self.width] = self.basis
        projected, sketch = np.empty(len(rows) * width, np.float32), np.zeros((self.dim, width))

        def project(_: int, begin: int, end: int) -> None:
            given = (rows.starts, rows.columns, rows.values)
            kernels.project_sparse(*given, begin, end, basis.reshape(-1), width, projected)

        def add(thread: int) -> None:
            given = (rows.starts, rows.columns, rows.values, projected)
            kernels.add_sparse_back(*given, width, thread, threads, sketch.reshape(-1))

        self.workers.split(len(rows), project)
        self.workers.each(threads, add)
        self.sketch += sketch[:, : self.width]

    def _is_finite(self) -> bool:
        return bool(np.isfinite(self.sketch).all())

    def _take_in(self, other: Self, offset: NDArray[np.float64]) -> None:
        if not np.array_equal(self.basis, other.basis):
            raise ValueError("the sketches are of different directions")
        turned, count = offset @ self.basis, other.count
        self.sketch += other.sketch + np.outer(offset, other.sums @ self.basis) + np.outer(other.sums, turned)
        self.sketch += count * np.outer(offset, turned)
        self.squares += other.squares + offset * (2 * other.sums + count * offset)
        self.sums += other.sums + count * offset

    def arrays(self) -> dict[str, NDArray[Any]]:
        return super().arrays() | {"basis": self.basis, "sketch": self.sketch, "squares": self.squares}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        shape = (self.dim, self.width)
        basis, sketch = _array(arrays, "basis", shape), _array(arrays, "sketch", shape)
        squares = _array(arrays, "squares", (self.dim,))
        super().restore(arrays)
        self.basis, self.sketch = basis.astype(np.float32), sketch.astype(np.float64)
        self.squares = squares.astype(np.float64)

    def sharpen(self, *, subtract_mean: bool) -> None:
        """Take what the directions have become for the new ones, and begin to count anew: before another epoch."""
        self.basis = np.linalg.qr(self._applied(subtract_mean))[0].astype(np.float32)
        self.count, self.sums, self.squares = 0, np.zeros(self.dim), np.zeros(self.dim)
        self.sketch = np.zeros((self.dim, self.width))

    def _applied(self, subtract_mean: bool) -> NDArray[np.float64]:
        """The scatter matrix times the basis, float64 (d, w)."""
        if subtract_mean:
            return self.sketch - np.outer(self.sums, (self.sums / self.count) @ self.basis)
        shift = self.shift.astype(np.float64)
        turned = shift @ self.basis
        applied: NDArray[np.float64] = self.sketch + np.outer(shift, self.sums @ self.basis + self.count * turned)
        return applied + np.outer(self.sums, turned)

    def components(self, count: int, *, subtract_mean: bool) -> Components:
        if subtract_mean:
            mean = self.mean()
            total = self.squares.sum() - (self.sums**2).sum() / self.count
        else:
            mean, shift = np.zeros(self.dim), self.shift.astype(np.float64)
            total = self.squares.sum() + 2 * shift @ self.sums + self.count * (shift @ shift)
        applied = self._applied(subtract_mean)
        inner = self.basis.T @ applied
        values, turns = np.linalg.eigh((inner + inner.T) / 2)
        kept = values > LEAST_SHARE * max(values[-1], 0)
        # As many rows of a matrix as there are directions with variance; the others are filled up from the basis.
        half = applied @ (turns[:, kept] / np.sqrt(values[kept]))
        vectors, roots, _ = np.linalg.svd(half, full_matrices=False)
        if vectors.shape[1] < count:
            vectors = np.linalg.qr(np.hstack([vectors, self.basis.astype(np.float64)]))[0]
        scatter = np.zeros(max(count, len(roots)))
        scatter[: len(roots)] = roots**2
        order = np.arange(count)[::-1]
        return Components(self.count, mean, _with_signs(vectors[:, order]), scatter[order], float(total))


def without_repeats(rows: SparseRows) -> SparseRows:
    """The same rows, of a column that a row has twice only the last: what the dense form has."""
    if not kernels.has_repeats(rows.starts, rows.columns, np.zeros(rows.width, np.int64)):
        return rows
    numbers = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    places = numbers * rows.width + rows.columns
    kept = places.size - 1 - np.unique(places[::-1], return_index=True)[1]
    starts = np.concatenate([[0], np.cumsum(np.bincount(numbers[kept], minlength=len(rows)))])
    return SparseRows(starts.astype(np.int64), rows.columns[kept], rows.values[kept], rows.width)


def _with_signs(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns whose largest entry in magnitude is positive: which of the two a solver finds is chance."""
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return np.ascontiguousarray(vectors * signs)


def _array(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    found = arrays[name]
    if found.shape != shape:
        raise ValueError(f"{name} is of shape {found.shape}, where {shape} is wanted")
    return found
