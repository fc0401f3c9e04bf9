"""The rows that are nearest to a few queries by cosine: exact, each row read once."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import WIDTH, fma, load, splat, total

QUERIES = 4  # that share a row's load


@kernel
def invert_norms(row_bytes, dim, begin, end, inverses):
    """inverses[i] = 1 / the norm of row i, 0 for a row of zeros. row_bytes: see scan. inverses: float32 (V,)."""
    rows = row_bytes.view(np.float32)
    whole = dim // WIDTH * WIDTH
    for i in range(begin, end):
        at = i * dim
        squares = splat(np.float32(0))
        for d in range(0, whole, WIDTH):
            row = load(rows, at + d)
            squares = fma(row, row, squares)
        square = total(squares)
        for d in range(whole, dim):
            square += rows[at + d] * rows[at + d]
        inverses[i] = np.float32(1) / np.sqrt(square) if square > 0 else np.float32(0)


@kernel
def keep(ids, scores, id_, score):
    """Put a row among the best, which are in order, if it is better than the last; ties stay as they came."""
    place = scores.size - 1
    while place > 0 and score > scores[place - 1]:
        ids[place], scores[place] = ids[place - 1], scores[place - 1]
        place -= 1
    ids[place], scores[place] = id_, score


@kernel
def scan(row_bytes, inverses, queries, width, dim, begin, end, ids, scores):
    """Find the rows of begin..end with the highest cosine to each query.

    row_bytes: uint8, flat, float32 rows of `dim` columns at any address. inverses: float32 (V,), of their norms.
    queries: float32, flat, each of norm 1 and padded with zeros to `width`, a multiple of WIDTH.
    ids: int64 (Q, k), scores: float32 (Q, k), updated; at first -1 and -inf.
    Bound by memory where the rows are larger than the caches and queries are few: 4 * dim bytes a row.
    """
    rows = row_bytes.view(np.float32)
    whole = dim // WIDTH * WIDTH
    count, last = ids.shape
    last -= 1
    zero = splat(np.float32(0))
    for i in range(begin, end):
        at = i * dim
        inverse = inverses[i]
        q = 0
        while q + QUERIES <= count:
            a = b = c = e = zero
            first = q * width
            for d in range(0, whole, WIDTH):
                row = load(rows, at + d)
                a = fma(row, load(queries, first + d), a)
                b = fma(row, load(queries, first + width + d), b)
                c = fma(row, load(queries, first + 2 * width + d), c)
                e = fma(row, load(queries, first + 3 * width + d), e)
            x, y, z, w = total(a), total(b), total(c), total(e)
            for d in range(whole, dim):
                value = rows[at + d]
                x += value * queries[first + d]
                y += value * queries[first + width + d]
                z += value * queries[first + 2 * width + d]
                w += value * queries[first + 3 * width + d]
            x, y, z, w = x * inverse, y * inverse, z * inverse, w * inverse
            if x > scores[q, last]:
                keep(ids[q], scores[q], i, x)
            if y > scores[q + 1, last]:
                keep(ids[q + 1], scores[q + 1], i, y)
            if z > scores[q + 2, last]:
                keep(ids[q + 2], scores[q + 2], i, z)
            if w > scores[q + 3, last]:
                keep(ids[q + 3], scores[q + 3], i, w)
            q += QUERIES
        while q < count:
            a = zero
            first = q * width
            for d in range(0, whole, WIDTH):
                a = fma(load(rows, at + d), load(queries, first + d), a)
            x = total(a)
            for d in range(whole, dim):
                x += rows[at + d] * queries[first + d]
            x *= inverse
            if x > scores[q, last]:
                keep(ids[q], scores[q], i, x)
            q += 1
