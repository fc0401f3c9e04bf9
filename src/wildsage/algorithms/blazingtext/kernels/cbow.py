"""CBOW: the mean of a word's contexts is trained to tell the word from others; each context takes the whole gradient.

That is word2vec's and fastText's form. Dividing the gradient by the number of contexts instead makes it the gradient of
what is computed (Irsoy et al., "Corrected CBOW Performs as well as Skip-gram", arXiv 2012.15332).
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.kernels.random import GROUP
from wildsage.algorithms.blazingtext.kernels.skipgram import PATTERNS, steps
from wildsage.kernels.kernel import kernel_part
from wildsage.kernels.vector import WIDTH, fma, load, splat, store, totals


@kernel_part
def train_mean(
    rows, contexts, weights, n, outputs, targets, first, last, patterns, width, rate, share, hidden, gradient, errors
):
    """Train the weighted mean of n contexts, at places contexts[:n] of `rows`, on the groups first..last.

    weights: float32, that add up to 1. share: of the gradient, that each context takes. hidden, gradient: float32
    (width,), scratch. errors: float32 (16 * groups,), out: the steps taken, 6 a group, then what means nothing.
    Bound by the contexts' rows, which come from the first-level cache, and by how they got there.
    """
    zero = splat(np.float32(0))
    for d in range(0, width, WIDTH):
        v = zero
        for c in range(n):
            v = fma(splat(weights[c]), load(rows, contexts[c] + d), v)
        store(hidden, d, v)
        store(gradient, d, zero)
    for g in range(first, last):
        o0, o1 = np.int64(targets[GROUP * g]) * width, np.int64(targets[GROUP * g + 1]) * width
        o2, o3 = np.int64(targets[GROUP * g + 2]) * width, np.int64(targets[GROUP * g + 3]) * width
        o4, o5 = np.int64(targets[GROUP * g + 4]) * width, np.int64(targets[GROUP * g + 5]) * width
        s0 = s1 = s2 = s3 = s4 = s5 = zero
        for d in range(0, width, WIDTH):
            x = load(hidden, d)
            s0 = fma(x, load(outputs, o0 + d), s0)
            s1 = fma(x, load(outputs, o1 + d), s1)
            s2 = fma(x, load(outputs, o2 + d), s2)
            s3 = fma(x, load(outputs, o3 + d), s3)
            s4 = fma(x, load(outputs, o4 + d), s4)
            s5 = fma(x, load(outputs, o5 + d), s5)
        scores = totals(s0, s1, s2, s3, s4, s5, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
        j = 16 * (g - first)
        store(errors, j, steps(scores, load(PATTERNS, np.int64(patterns[g]) * 16), rate))
        e0, e1, e2 = splat(errors[j]), splat(errors[j + 1]), splat(errors[j + 2])
        e3, e4, e5 = splat(errors[j + 3]), splat(errors[j + 4]), splat(errors[j + 5])
        for d in range(0, width, WIDTH):
            x = load(hidden, d)
            p = load(outputs, o0 + d)
            v = fma(e0, p, load(gradient, d))
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
            store(gradient, d, v)
    part = splat(share)
    for d in range(0, width, WIDTH):
        v = load(gradient, d)
        for c in range(n):
            store(rows, contexts[c] + d, fma(part, v, load(rows, contexts[c] + d)))
