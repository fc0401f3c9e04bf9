"""One step of GloVe for each non-zero of blocks of the matrix.

A row of the table is `width` weights and their `width` rates, side by side. The weights are those of the vector, then
the bias, then 1; in the rows of contexts first 1, then the bias: so a product of rows has both biases in it. Rows of
contexts follow those of words. A rate is 1 / sqrt(G), G being AdaGrad's sum, which begins at 1; of the ones it is 0.
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.glove.kernels.counting import SIDE, SIDE_BITS
from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import WIDTH, fma, least, load, prefetch, splat, store, total

AHEAD = 4  # non-zeros between asking for two rows and their use


@kernel
def train_visits(visits, at, end, most, blocks, cells, values, table, words, width, rate, sums):
    """Train on the blocks visits[at:end], or so many of them that `most` non-zeros are met; returns where to go on.

    visits: int64, 2 * the number of a block, + 1 for the block transposed. blocks: int64 (4 * n,), of each block: its
    row, its column, its first non-zero and how many it has. cells: int32 (N,), row * SIDE + column within the block.
    values: float32 (2 * N,), of each non-zero its logarithm and its weight. table: float32, rows of 2 * width. sums:
    float64 (2,), cost and non-zeros, added to.
    A step is that of the usual C program: with g the gradient times the learning rate, w -= g / sqrt(G), G += g * g.
    Of the new rate, r / sqrt(1 + q) with q = (g * r)^2, three terms of the series are taken, since a root took longer.
    They leave an error below q^3 / 3, and q is small, but for a bias's first steps.
    Bound by multiply-adds, 17 * width of them.
    """
    stride, zero, one = 2 * width, splat(np.float32(0)), splat(np.float32(1))
    half, more = splat(np.float32(-0.5)), splat(np.float32(0.375))
    cost, met = 0.0, 0
    while at < end and met < most:
        block, across = visits[at] >> 1, visits[at] & 1
        row, column = blocks[4 * block], blocks[4 * block + 1]
        first, last = blocks[4 * block + 2], blocks[4 * block + 2] + blocks[4 * block + 3]
        word_shift, context_shift = (0, SIDE_BITS) if across else (SIDE_BITS, 0)
        word_base = (column if across else row) * SIDE * stride
        context_base = (words + (row if across else column) * SIDE) * stride
        for k in range(first, last):
            later = np.int64(cells[min(k + AHEAD, last - 1)])
            a = word_base + (later >> word_shift & (SIDE - 1)) * stride
            b = context_base + (later >> context_shift & (SIDE - 1)) * stride
            for d in range(0, stride, WIDTH):
                prefetch(table, a + d)
                prefetch(table, b + d)
            cell = np.int64(cells[k])
            a = word_base + (cell >> word_shift & (SIDE - 1)) * stride
            b = context_base + (cell >> context_shift & (SIDE - 1)) * stride
            s = zero
            for d in range(0, width, WIDTH):
                s = fma(load(table, a + d), load(table, b + d), s)
            error = total(s) - values[2 * k]
            weighted = error * values[2 * k + 1]
            cost += np.float64(error) * np.float64(weighted)
            step = splat(-rate * weighted)
            for d in range(0, width, WIDTH):
                x, y = load(table, a + d), load(table, b + d)
                p, q = load(table, a + width + d), load(table, b + width + d)
                g, h = fma(fma(step, y, zero), p, zero), fma(fma(step, x, zero), q, zero)
                store(table, a + d, fma(g, one, x))
                store(table, b + d, fma(h, one, y))
                g, h = least(fma(g, g, zero), one), least(fma(h, h, zero), one)
                store(table, a + width + d, fma(fma(g, p, zero), fma(g, more, half), p))
                store(table, b + width + d, fma(fma(h, q, zero), fma(h, more, half), q))
        met += last - first
        at += 1
    sums[0] += 0.5 * cost
    sums[1] += met
    return at
