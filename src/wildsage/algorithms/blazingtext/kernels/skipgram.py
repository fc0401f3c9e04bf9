"""Skip-gram: each context of a word is trained to tell the word from others, one window of contexts at a time.

Rows are float32, flat, each padded with zeros to D, a multiple of 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.kernels.random import GROUP, pattern_signs
from wildsage.algorithms.kernel import kernel
from wildsage.algorithms.vector import WIDTH, divide, fma, greatest, least, load, prefetch, splat, store, totals

if TYPE_CHECKING:
    from numpy.typing import NDArray

AHEAD = 16  # words between the fetch of their rows and their use
LINE = 16  # floats of a cache line
PATTERNS = pattern_signs()
HIGHEST_SCORE = 9.94  # beyond, the step is the one there: 5e-5 of the rate


@kernel
def steps(scores, signs, rate):
    """-rate * sign * sigmoid(sign * score), of sixteen scores at once; exact to 1e-6.

    sigmoid(2x) = (1 + tanh x) / 2, and tanh by Lambert's continued fraction, which needs no table and no exp.
    """
    zero = splat(np.float32(0))
    x = fma(fma(splat(np.float32(0.5)), signs, zero), scores, zero)
    x = greatest(splat(np.float32(-HIGHEST_SCORE / 2)), least(splat(np.float32(HIGHEST_SCORE / 2)), x))
    y = fma(x, x, zero)
    p = fma(y, splat(np.float32(1)), splat(np.float32(378)))
    p = fma(y, p, splat(np.float32(17325)))
    p = fma(y, p, splat(np.float32(135135)))
    p = fma(x, p, zero)
    q = fma(y, splat(np.float32(28)), splat(np.float32(3150)))
    q = fma(y, q, splat(np.float32(62370)))
    q = fma(y, q, splat(np.float32(135135)))
    half = splat(np.float32(-0.5) * rate)
    return fma(fma(signs, half, zero), fma(splat(np.float32(1)), divide(p, q), splat(np.float32(1))), zero)


@kernel
def train_group(rows, contexts, n, outputs, targets, pattern, width, rate, errors):
    """Train n contexts, rows at places contexts[:n] of `rows`, on one group of output rows.

    contexts: int64, places in floats, with one spare row behind the last. errors: float32, scratch, (8 * n + 16,).
    Two contexts a pass: that halves the loads of output rows. All scores come first, from the rows as they were;
    then inputs and outputs are updated pair by pair.
    """
    o0, o1, o2 = np.int64(targets[0]) * width, np.int64(targets[1]) * width, np.int64(targets[2]) * width
    o3, o4, o5 = np.int64(targets[3]) * width, np.int64(targets[4]) * width, np.int64(targets[5]) * width
    zero = splat(np.float32(0))
    signs = load(PATTERNS, pattern * 16)
    for c in range(0, n, 2):
        a, b = contexts[c], contexts[c + 1]
        s0 = s1 = s2 = s3 = s4 = s5 = t0 = t1 = t2 = t3 = t4 = t5 = zero
        for d in range(0, width, WIDTH):
            x, y = load(rows, a + d), load(rows, b + d)
            p = load(outputs, o0 + d)
            s0, t0 = fma(x, p, s0), fma(y, p, t0)
            p = load(outputs, o1 + d)
            s1, t1 = fma(x, p, s1), fma(y, p, t1)
            p = load(outputs, o2 + d)
            s2, t2 = fma(x, p, s2), fma(y, p, t2)
            p = load(outputs, o3 + d)
            s3, t3 = fma(x, p, s3), fma(y, p, t3)
            p = load(outputs, o4 + d)
            s4, t4 = fma(x, p, s4), fma(y, p, t4)
            p = load(outputs, o5 + d)
            s5, t5 = fma(x, p, s5), fma(y, p, t5)
        scores = totals(s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, t4, t5, zero, zero, zero, zero)
        store(errors, 8 * c, steps(scores, signs, rate))
    if n % 2:
        for k in range(GROUP):
            errors[8 * (n - 1) + GROUP + k] = np.float32(0)
    for c in range(0, n, 2):
        a, b, j = contexts[c], contexts[c + 1], 8 * c
        e0, e1, e2 = splat(errors[j]), splat(errors[j + 1]), splat(errors[j + 2])
        e3, e4, e5 = splat(errors[j + 3]), splat(errors[j + 4]), splat(errors[j + 5])
        h0, h1, h2 = splat(errors[j + 6]), splat(errors[j + 7]), splat(errors[j + 8])
        h3, h4, h5 = splat(errors[j + 9]), splat(errors[j + 10]), splat(errors[j + 11])
        for d in range(0, width, WIDTH):
            x, y = load(rows, a + d), load(rows, b + d)
            p = load(outputs, o0 + d)
            v, w = fma(e0, p, x), fma(h0, p, y)
            store(outputs, o0 + d, fma(e0, x, fma(h0, y, p)))
            p = load(outputs, o1 + d)
            v, w = fma(e1, p, v), fma(h1, p, w)
            store(outputs, o1 + d, fma(e1, x, fma(h1, y, p)))
            p = load(outputs, o2 + d)
            v, w = fma(e2, p, v), fma(h2, p, w)
            store(outputs, o2 + d, fma(e2, x, fma(h2, y, p)))
            p = load(outputs, o3 + d)
            v, w = fma(e3, p, v), fma(h3, p, w)
            store(outputs, o3 + d, fma(e3, x, fma(h3, y, p)))
            p = load(outputs, o4 + d)
            v, w = fma(e4, p, v), fma(h4, p, w)
            store(outputs, o4 + d, fma(e4, x, fma(h4, y, p)))
            p = load(outputs, o5 + d)
            v, w = fma(e5, p, v), fma(h5, p, w)
            store(outputs, o5 + d, fma(e5, x, fma(h5, y, p)))
            store(rows, a + d, v)
            store(rows, b + d, w)


@kernel
def fetch(rows, place, width):
    """Ask for the cache lines of one row."""
    for d in range(0, width, LINE):
        prefetch(rows, place + d)


@kernel
def train_batch(batch, n, share, inputs, outputs, odd, width, rate, contexts, errors):
    for i in range(-AHEAD, n):
        later = i + AHEAD
        if later < n:
            fetch(inputs, np.int64(batch.words[later]) * width, width)
            for k in range(GROUP * batch.firsts[later], GROUP * batch.firsts[later + 1]):
                fetch(outputs, np.int64(batch.targets[k]) * width, width)
        if i < 0:
            continue
        first, left, right = batch.firsts[i], batch.lefts[i], batch.rights[i]
        count = right - left - 1
        if count < 1:
            continue
        groups = (batch.firsts[i + 1] - first) // ((count + share - 1) // share)
        j = left
        while j < right:
            m = 0
            while m < share and j < right:
                if j != i:
                    contexts[m] = np.int64(batch.words[j]) * width
                    m += 1
                j += 1
            if m == 0:
                break
            contexts[m] = odd
            for g in range(first, first + groups):
                train_group(
                    inputs, contexts, m, outputs, batch.targets[GROUP * g : GROUP * g + GROUP], batch.patterns[g],
                    width, rate, errors,
                )
            first += groups
