"""Rows to fewer numbers, and to unit length. A row's result never depends on the rows beside it, to the bit."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import WIDTH, fma, load, splat, store, total

LANES = 16  # rows that go through the transform side by side


@kernel
def project(rows, dim, signs, padded, target, begin, end, out, width, scratch):
    """Write rows begin to end times a matrix of +1 and -1, divided by sqrt(target), into the first columns of out.

    rows: float32 (n * dim,). signs: float32 (dim * padded,), padded a multiple of 32 that is at least target; what is
    beyond target is of no matter. out: float32 (n * width,). scratch: float32 (32,).
    Achlioptas, "Database-friendly random projections", JCSS 2003. Bound by multiply-adds, dim * padded a row; a tile
    of four rows and two vectors has eight sums in registers.
    """
    scale = np.float32(1 / np.sqrt(np.float64(target)))
    for i in range(begin, end, 4):
        last = end - 1
        a, b = i * dim, min(i + 1, last) * dim
        c, d = min(i + 2, last) * dim, min(i + 3, last) * dim
        for t in range(0, target, 2 * WIDTH):
            zero = splat(np.float32(0))
            a0, a1, b0, b1, c0, c1, d0, d1 = zero, zero, zero, zero, zero, zero, zero, zero
            at = t
            for j in range(dim):
                s0, s1 = load(signs, at), load(signs, at + WIDTH)
                x = splat(rows[a + j])
                a0, a1 = fma(x, s0, a0), fma(x, s1, a1)
                x = splat(rows[b + j])
                b0, b1 = fma(x, s0, b0), fma(x, s1, b1)
                x = splat(rows[c + j])
                c0, c1 = fma(x, s0, c0), fma(x, s1, c1)
                x = splat(rows[d + j])
                d0, d1 = fma(x, s0, d0), fma(x, s1, d1)
                at += padded
            columns = min(2 * WIDTH, target - t)
            for r in range(min(4, end - i)):
                first, second = a0, a1
                if r == 1:
                    first, second = b0, b1
                elif r == 2:
                    first, second = c0, c1
                elif r == 3:
                    first, second = d0, d1
                store(scratch, 0, first)
                store(scratch, WIDTH, second)
                for j in range(columns):
                    out[(i + r) * width + t + j] = scratch[j] * scale


@kernel
def transform(rows, dim, signs, length, chosen, begin, end, out, width, scratch):
    """Write some entries of the Walsh-Hadamard transform of each row, its signs changed at random before.

    rows: float32 (n * dim,). signs: float32 (dim,). length: a power of two, dim or more: rows are thought to end in
    zeros. chosen: int32 (t,), the entries. out: float32 (n * width,). scratch: float32 (length * LANES,).
    Scaled so that lengths are kept on average: by sqrt(length / t) beside the transform's own 1 / sqrt(length).
    Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", SIAM J. Comput. 2009, with entries drawn without
    replacement in the place of their sparse matrix (Tropp, "Improved analysis of the subsampled randomized Hadamard
    transform", 2011). Sixteen rows lie side by side, so every addition is one of whole vectors: length * log2(length)
    of them for sixteen rows. Bound by the second-level cache when length * 64 bytes leave the first.
    """
    target = chosen.shape[0]
    scale = np.float32(1 / np.sqrt(np.float64(target)))
    one, minus = splat(np.float32(1)), splat(np.float32(-1))
    for i in range(begin, end, LANES):
        lanes = min(LANES, end - i)
        for j in range(dim * LANES, length * LANES):
            scratch[j] = np.float32(0)
        for j in range(dim):
            for lane in range(lanes):
                scratch[j * LANES + lane] = rows[(i + lane) * dim + j] * signs[j]
            for lane in range(lanes, LANES):
                scratch[j * LANES + lane] = np.float32(0)
        half = LANES
        while half < length * LANES:
            for block in range(0, length * LANES, 2 * half):
                for j in range(block, block + half, WIDTH):
                    u, v = load(scratch, j), load(scratch, j + half)
                    store(scratch, j, fma(u, one, v))
                    store(scratch, j + half, fma(v, minus, u))
            half *= 2
        for t in range(target):
            source = np.int64(chosen[t]) * LANES
            for lane in range(lanes):
                out[(i + lane) * width + t] = scratch[source + lane] * scale


@kernel
def to_unit_length(rows, width, begin, end):
    """Divide rows begin to end, float32 (n * width,), by their lengths, in place; a row of zeros stays one."""
    for i in range(begin, end):
        at, stop = i * width, (i + 1) * width
        sums = splat(np.float32(0))
        while at + WIDTH <= stop:
            x = load(rows, at)
            sums = fma(x, x, sums)
            at += WIDTH
        square = np.float64(total(sums))
        while at < stop:
            square += np.float64(rows[at]) * np.float64(rows[at])
            at += 1
        # Where squares vanish, or nearly, their sum has no digits left.
        if square < 1e-30 and square >= 0:
            square = np.float64(0)
            for j in range(i * width, stop):
                square += np.float64(rows[j]) * np.float64(rows[j])
        if square > 0:
            scale = 1 / np.sqrt(square)
            for j in range(i * width, stop):
                rows[j] = np.float32(np.float64(rows[j]) * scale)
