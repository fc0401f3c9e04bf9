"""Skip-gram: each context of a word is trained to tell the word from others, one window of contexts at a time.

Rows are float32, flat, each padded with zeros to `width`, a multiple of 16.
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.kernels.random import GROUP, pattern_signs
from wildsage.kernels.kernel import kernel_part
from wildsage.kernels.vector import WIDTH, divide, fma, greatest, least, load, splat, store, totals

PATTERNS = pattern_signs()
HIGHEST_SCORE = 9.94  # beyond, the step is the one there: 5e-5 of the rate


@kernel_part
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


@kernel_part
def train_contexts(rows, contexts, n, outputs, targets, g, pattern, width, rate, errors):
    """Train n contexts, at places contexts[:n] of `rows`, on group g of output rows, as its pattern says.

    contexts: int64, places in floats. errors: float32 (8 * n + 16,), out: the steps taken, 16 for each two contexts: 6,
    6 (zeros, behind an odd one) and 4 that mean nothing.
    Two contexts a pass, which halves the loads of output rows; an odd one comes last, by itself. All scores come first,
    from the rows as they were; then rows are updated pair by pair. Equal output rows are updated one after the other;
    of a word that is its own neighbour in a pair, one step is lost.
    18 * width multiply-adds a context. Where all rows are of 32 words, and so at hand, training takes 0.8 of the time
    at dim 100 and 0.65 at dim 300: the rest is memory. bench/roofline.py has the shares of a core's peaks.
    """
    o0, o1 = np.int64(targets[GROUP * g]) * width, np.int64(targets[GROUP * g + 1]) * width
    o2, o3 = np.int64(targets[GROUP * g + 2]) * width, np.int64(targets[GROUP * g + 3]) * width
    o4, o5 = np.int64(targets[GROUP * g + 4]) * width, np.int64(targets[GROUP * g + 5]) * width
    zero = splat(np.float32(0))
    signs = load(PATTERNS, pattern * 16)
    for c in range(0, n - 1, 2):
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
        a, j = contexts[n - 1], 8 * (n - 1)
        s0 = s1 = s2 = s3 = s4 = s5 = zero
        for d in range(0, width, WIDTH):
            x = load(rows, a + d)
            s0, s1 = fma(x, load(outputs, o0 + d), s0), fma(x, load(outputs, o1 + d), s1)
            s2, s3 = fma(x, load(outputs, o2 + d), s2), fma(x, load(outputs, o3 + d), s3)
            s4, s5 = fma(x, load(outputs, o4 + d), s4), fma(x, load(outputs, o5 + d), s5)
        scores = totals(s0, s1, s2, s3, s4, s5, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
        store(errors, j, steps(scores, signs, rate))
        for k in range(GROUP):
            errors[j + GROUP + k] = np.float32(0)
    for c in range(0, n - 1, 2):
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
            store(rows, b + d, w)
            store(rows, a + d, v)
    if n % 2:
        a, j = contexts[n - 1], 8 * (n - 1)
        e0, e1, e2 = splat(errors[j]), splat(errors[j + 1]), splat(errors[j + 2])
        e3, e4, e5 = splat(errors[j + 3]), splat(errors[j + 4]), splat(errors[j + 5])
        for d in range(0, width, WIDTH):
            x = load(rows, a + d)
            p = load(outputs, o0 + d)
            v = fma(e0, p, x)
            store(outputs, o0 + d, fma(e0, x, p))
            p = load(outputs, o1 + d)
            v = fma(e1, p, v)
            store(outputs, o1 + d, fma(e1, x, p))
            p = load(outputs, o2 + d)
            v = fma(e2, p, v)
            store(outputs, o2 + d, fma(e2, x, p))
            p = load(outputs, o3 + d)
            v = fma(e3, p, v)
            store(outputs, o3 + d, fma(e3, x, p))
            p = load(outputs, o4 + d)
            v = fma(e4, p, v)
            store(outputs, o4 + d, fma(e4, x, p))
            p = load(outputs, o5 + d)
            v = fma(e5, p, v)
            store(outputs, o5 + d, fma(e5, x, p))
            store(rows, a + d, v)
