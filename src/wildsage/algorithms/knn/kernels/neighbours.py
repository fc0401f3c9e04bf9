"""What faiss found, put in order, and what the labels of neighbours say."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import WIDTH, fma, load, prefetch, splat, total


@kernel
def rank(queries, base, width, found, kept, is_product, begin, end, k, values, ids):
    """Of the rows found for queries begin to end, write the k nearest: their values and numbers, nearest first.

    queries, base: float32, rows of width. found: int64 (n * kept,), kept >= k; all of them numbers of base's rows.
    values: float32 (n * k,) and ids: int64 (n * k,), the answer.
    A value is the squared distance, the sum of the squared differences, or, with is_product, the product. faiss takes
    products of matrices for it, |x|^2 - 2 x y + |y|^2, which lose digits, and which ones depends on how many queries
    come at once. Equal values go by number. Bound by the fetch of kept rows from memory.
    """
    minus = splat(np.float32(-1))
    for i in range(begin, end):
        query, first, out = i * width, i * kept, i * k
        for c in range(kept):
            number = found[first + c]
            if c + 1 < kept:
                ahead = found[first + c + 1] * width
                for j in range(ahead, ahead + min(width, 4 * WIDTH), WIDTH):
                    prefetch(base, j)
            at = number * width
            sums, j = splat(np.float32(0)), 0
            if is_product:
                while j + WIDTH <= width:
                    sums = fma(load(queries, query + j), load(base, at + j), sums)
                    j += WIDTH
                value = total(sums)
                while j < width:
                    value += queries[query + j] * base[at + j]
                    j += 1
            else:
                while j + WIDTH <= width:
                    difference = fma(load(base, at + j), minus, load(queries, query + j))
                    sums = fma(difference, difference, sums)
                    j += WIDTH
                value = total(sums)
                while j < width:
                    gap = queries[query + j] - base[at + j]
                    value += gap * gap
                    j += 1
            place = min(c, k)
            while place > 0:
                other, its = values[out + place - 1], ids[out + place - 1]
                closer = value > other if is_product else value < other
                if not (closer or (value == other and number < its)):
                    break
                if place < k:
                    values[out + place], ids[out + place] = other, its
                place -= 1
            if place < k:
                values[out + place], ids[out + place] = value, number


@kernel
def vote(labels, k, votes, seen, out):
    """Write the label that most of each k neighbours have; of those that equally many have, the nearest one's.

    labels: float32 (n * k,), nearest first. votes: int64 (k,), seen: float32 (k,): scratch. out: float32 (n,).
    """
    for i in range(out.shape[0]):
        different = 0
        for c in range(k):
            label, known = labels[i * k + c], 0
            while known < different and seen[known] != label:
                known += 1
            if known == different:
                seen[known], votes[known] = label, 0
                different += 1
            votes[known] += 1
        best = 0
        for known in range(1, different):
            if votes[known] > votes[best]:
                best = known
        out[i] = seen[best]
