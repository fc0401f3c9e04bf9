"""Sums of products of rows, and projections of rows. Matrices are flat; features are shifted before they are used.

A dense row is shifted in float32, which is exact for values near the shift (Sterbenz), products are summed in float32
over TILE_ROWS rows, and these sums in float64. What sparse rows add is float64 throughout, since they have no shift.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import WIDTH, fma, load, splat, store

TILE_ROWS = 128
PANEL = 2 * WIDTH  # columns of a tile that lie together
BLOCK_ROWS = 8
BLOCK = BLOCK_ROWS * PANEL  # floats of scratch for a block of products


@kernel
def shift_rows(rows, begin, end, dim, less, ones, panel, lanes, out, sums, squares):
    """Row r and `less`, the shift with its sign turned, added, to row r - begin of `out`, padded with zeros.

    rows: float32 (n * dim,). less, ones: float32 (width,), zeros behind the features, where `ones` has ones; width: a
    multiple of 16. lanes: float32 (2 * WIDTH,), scratch. out: float32, panels of `panel` columns, each with a row after
    the other; one panel of all columns is a plain matrix. sums, squares: float64 (dim,), added to; squares may be
    empty. Bound by memory.
    """
    one, whole, width = splat(np.float32(1)), dim // WIDTH * WIDTH, less.size
    inside = (rows.size - width) // dim  # the last row whose last vector ends within the array
    for first in range(begin, end, TILE_ROWS):
        last = min(first + TILE_ROWS, end)
        for j in range(0, width, WIDTH):
            mask, turned = load(ones, j), load(less, j)
            place = j // panel * panel * (end - begin) + j % panel
            total = square = splat(np.float32(0))
            for r in range(first, last):
                to = (r - begin) * panel + place
                if j < whole or r <= inside:
                    z = fma(mask, load(rows, r * dim + j), turned)
                    store(out, to, z)
                else:
                    for f in range(WIDTH):
                        out[to + f] = rows[r * dim + j + f] + less[j + f] if j + f < dim else np.float32(0)
                    z = load(out, to)
                total = fma(one, z, total)
                square = fma(z, z, square)
            store(lanes, 0, total)
            store(lanes, WIDTH, square)
            for f in range(min(WIDTH, dim - j)):
                sums[j + f] += np.float64(lanes[f])
            if squares.size:
                for f in range(min(WIDTH, dim - j)):
                    squares[j + f] += np.float64(lanes[WIDTH + f])


@kernel_part
def _wide_block(tile, rows, i, j, block):
    """Products of columns i to i + 8 with the panel at j, summed over the rows of a tile; both are places in it."""
    nothing = splat(np.float32(0))
    a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = e0 = e1 = f0 = f1 = g0 = g1 = h0 = h1 = nothing
    for r in range(rows):
        at = r * PANEL
        row = np.uint64(at + i)
        u, v = load(tile, at + j), load(tile, at + j + WIDTH)
        x = splat(tile[row])
        a0, a1 = fma(x, u, a0), fma(x, v, a1)
        x = splat(tile[row + np.uint64(1)])
        b0, b1 = fma(x, u, b0), fma(x, v, b1)
        x = splat(tile[row + np.uint64(2)])
        c0, c1 = fma(x, u, c0), fma(x, v, c1)
        x = splat(tile[row + np.uint64(3)])
        d0, d1 = fma(x, u, d0), fma(x, v, d1)
        x = splat(tile[row + np.uint64(4)])
        e0, e1 = fma(x, u, e0), fma(x, v, e1)
        x = splat(tile[row + np.uint64(5)])
        f0, f1 = fma(x, u, f0), fma(x, v, f1)
        x = splat(tile[row + np.uint64(6)])
        g0, g1 = fma(x, u, g0), fma(x, v, g1)
        x = splat(tile[row + np.uint64(7)])
        h0, h1 = fma(x, u, h0), fma(x, v, h1)
    store(block, 0, a0)
    store(block, 16, a1)
    store(block, 32, b0)
    store(block, 48, b1)
    store(block, 64, c0)
    store(block, 80, c1)
    store(block, 96, d0)
    store(block, 112, d1)
    store(block, 128, e0)
    store(block, 144, e1)
    store(block, 160, f0)
    store(block, 176, f1)
    store(block, 192, g0)
    store(block, 208, g1)
    store(block, 224, h0)
    store(block, 240, h1)


@kernel_part
def _narrow_block(tile, rows, i, j, block):
    """As _wide_block, with half a panel; the other half of each row of `block` stays as it is."""
    nothing = splat(np.float32(0))
    a = b = c = d = e = f = g = h = nothing
    for r in range(rows):
        at = r * PANEL
        row = np.uint64(at + i)
        u = load(tile, at + j)
        a = fma(splat(tile[row]), u, a)
        b = fma(splat(tile[row + np.uint64(1)]), u, b)
        c = fma(splat(tile[row + np.uint64(2)]), u, c)
        d = fma(splat(tile[row + np.uint64(3)]), u, d)
        e = fma(splat(tile[row + np.uint64(4)]), u, e)
        f = fma(splat(tile[row + np.uint64(5)]), u, f)
        g = fma(splat(tile[row + np.uint64(6)]), u, g)
        h = fma(splat(tile[row + np.uint64(7)]), u, h)
    store(block, 0, a)
    store(block, 32, b)
    store(block, 64, c)
    store(block, 96, d)
    store(block, 128, e)
    store(block, 160, f)
    store(block, 192, g)
    store(block, 224, h)


@kernel
def add_products(rows, begin, end, dim, less, ones, tile, block, part, parts, sums, products):
    """Add z z' to `products` and z to `sums` for each row's z = row - shift, rows begin..end.

    Of the products, blocks `part`, + parts, … of BLOCK_ROWS rows; of the sums, all. less, ones: as for shift_rows.
    tile: float32 (TILE_ROWS * width rounded up to panels,), block: float32 (BLOCK,), scratch. sums: float64 (dim,).
    products: float64 (width * width,), of which the upper triangle is meant.
    Bound by arithmetic, dim^2 / 2 fused operations a row.
    """
    width, nothing = less.size, sums[:0]
    for first in range(begin, end, TILE_ROWS):
        count = min(TILE_ROWS, end - first)
        shift_rows(rows, first, first + count, dim, less, ones, PANEL, block, tile, sums, nothing)
        for i in range(part * BLOCK_ROWS, dim, parts * BLOCK_ROWS):
            place = i // PANEL * PANEL * count + i % PANEL
            for j in range(i // PANEL * PANEL, width, PANEL):
                columns = min(PANEL, width - j)
                if columns == PANEL:
                    _wide_block(tile, count, place, j * count, block)
                else:
                    _narrow_block(tile, count, place, j * count, block)
                for k in range(BLOCK_ROWS):
                    to, at = np.uint64((i + k) * width + j), np.uint64(k * PANEL)
                    for c in range(np.uint64(columns)):
                        products[to + c] += np.float64(block[at + c])


@kernel
def add_sparse_sums(starts, columns, values, sums, squares):
    """Add the values of sparse rows to sums, and their squares to squares: float64 (dim,)."""
    for p in range(starts[0], starts[starts.size - 1]):
        value = np.float64(values[p])
        sums[columns[p]] += value
        squares[columns[p]] += value * value


@kernel
def add_sparse_products(starts, columns, values, dim, part, parts, products):
    """Add x x' of sparse rows to the upper triangle of products, float64 (dim * dim,): its rows `part`, + parts, …

    Bound by latency of scattered additions, a half of the square of a row's values.
    """
    for r in range(starts.size - 1):
        for p in range(starts[r], starts[r + 1]):
            column = np.int64(columns[p])
            if column % parts == part:
                value, to = np.float64(values[p]), column * dim
                for q in range(starts[r], starts[r + 1]):
                    if columns[q] >= column:
                        products[to + columns[q]] += value * np.float64(values[q])


@kernel
def add_sparse_back(starts, columns, values, sketches, width, part, parts, out):
    """out[c] += x[c] * sketch for each row x and its sketch, columns c with c % parts == part.

    sketches: float32 (n * width,). out: float64 (dim * width,).
    """
    for r in range(starts.size - 1):
        at = r * width
        for p in range(starts[r], starts[r + 1]):
            if columns[p] % parts == part:
                value, to = np.float64(values[p]), np.int64(columns[p]) * width
                for k in range(width):
                    out[to + k] += value * np.float64(sketches[at + k])


@kernel
def project_rows(rows, begin, end, dim, shift, matrix, width, out):
    """out[r] = (row r - shift) times the matrix, for r in begin..end. A row's result does not depend on the others.

    rows: float32 (n * dim,). matrix: float32 (dim * width,), out: float32 (n * width,); width: a multiple of 16.
    Bound by reading the matrix from the second cache, once for four rows.
    """
    r = begin
    while r + 4 <= end:
        at = r * dim
        for j in range(0, width, WIDTH):
            a = b = c = d = splat(np.float32(0))
            for f in range(dim):
                v, s = load(matrix, f * width + j), shift[f]
                a = fma(splat(rows[at + f] - s), v, a)
                b = fma(splat(rows[at + dim + f] - s), v, b)
                c = fma(splat(rows[at + 2 * dim + f] - s), v, c)
                d = fma(splat(rows[at + 3 * dim + f] - s), v, d)
            store(out, r * width + j, a)
            store(out, (r + 1) * width + j, b)
            store(out, (r + 2) * width + j, c)
            store(out, (r + 3) * width + j, d)
        r += 4
    while r < end:
        at = r * dim
        for j in range(0, width, WIDTH):
            a = splat(np.float32(0))
            for f in range(dim):
                a = fma(splat(rows[at + f] - shift[f]), load(matrix, f * width + j), a)
            store(out, r * width + j, a)
        r += 1


@kernel
def project_sparse(starts, columns, values, begin, end, matrix, width, out):
    """As project_rows, for sparse rows, without a shift."""
    for r in range(begin, end):
        for j in range(0, width, WIDTH):
            a = splat(np.float32(0))
            for p in range(starts[r], starts[r + 1]):
                a = fma(splat(values[p]), load(matrix, np.int64(columns[p]) * width + j), a)
            store(out, r * width + j, a)


@kernel
def has_repeats(starts, columns, seen):
    """Whether a row of sparse rows has a column twice. seen: int64 (dim,), zeros, scratch."""
    for r in range(starts.size - 1):
        for p in range(starts[r], starts[r + 1]):
            if seen[columns[p]] == r + 1:
                return True
            seen[columns[p]] = r + 1
    return False
