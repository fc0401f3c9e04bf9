"""Rows on their way into a training table, within it, and out of it.

A table is flat: rows of float32, or of halves as int16, each padded with zeros to `width`, a multiple of 16. Outside,
rows are float32, `dim` wide. Places are rows of the table, int32; a negative one is none.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import CACHE_LINE, WIDTH, fma, load, prefetch, splat, store

AHEAD = 16  # rows that are fetched beforehand; bound by their latency


@kernel
def place_rows(table, width, places, dim, begin, end, scratch, given):
    """table[places[k]] = given[k] for k in begin..end. given: float32 (n * dim,). scratch: float32 (width,), zeros."""
    for k in range(begin, end):
        if places[k] >= 0:
            at = np.int64(places[k]) * width
            for d in range(dim):
                scratch[d] = given[k * dim + d]
            for d in range(0, width, WIDTH):
                store(table, at + d, load(scratch, d))


@kernel
def collect_rows(table, width, places, scales, dim, begin, end, scratch, out):
    """out[k] = table[places[k]] * scales[k] for k in begin..end. out: float32 (n * dim,). scratch: float32 (width,)."""
    for k in range(begin, end):
        later = np.int64(places[min(k + AHEAD, end - 1)]) * width
        if later >= 0:
            for d in range(0, width, CACHE_LINE // table.itemsize):
                prefetch(table, later + d)
        if places[k] < 0:
            for d in range(dim):
                out[k * dim + d] = np.float32(0)
        else:
            at, scale = np.int64(places[k]) * width, splat(scales[k])
            for d in range(0, width, WIDTH):
                store(scratch, d, fma(scale, load(table, at + d), splat(np.float32(0))))
            for d in range(dim):
                out[k * dim + d] = scratch[d]


@kernel
def scale_rows(table, width, sources, targets, scales, begin, end):
    """table[targets[k]] = table[sources[k]] * scales[k] for k in begin..end where sources[k] >= 0."""
    for k in range(begin, end):
        if sources[k] >= 0:
            at, to, scale = np.int64(sources[k]) * width, np.int64(targets[k]) * width, splat(scales[k])
            for d in range(0, width, WIDTH):
                store(table, to + d, fma(scale, load(table, at + d), splat(np.float32(0))))


@kernel
def spread_rows(table, width, places, numbers, begin, end, dim, out):
    """Write rows numbers[begin]..numbers[end - 1] to `out`, one after the other; those not among `numbers` are zeros.

    numbers: int64, ascending; number k has the row at places[k] of the table. out: float32, with room for 16 floats
    more than these rows.
    """
    to = 0
    for k in range(begin, end):
        later = np.int64(places[min(k + AHEAD, places.size - 1)]) * width
        for d in range(0, width, CACHE_LINE // table.itemsize):
            prefetch(table, later + d)
        start = (numbers[k] - numbers[begin]) * dim
        while to < start:
            out[to] = np.float32(0)
            to += 1
        at = np.int64(places[k]) * width
        for d in range(0, width, WIDTH):  # what this writes behind its row, the next one writes over
            store(out, start + d, load(table, at + d))
        to = start + dim
