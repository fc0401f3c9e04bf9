"""Token ids to the features of each line: words and hashed n-grams of words, renumbered to compact rows of a table.

A token's kind: its word's row in fastText's order (0 and above), -1 a word that is not in the vocabulary, -2 a label
that is not, -3 - c the label c. Features are words, 0 to V - 1, then V + bucket, as in fastText's input matrix.

Two exact savings. A feature that a line has m times is one entry of weight m. Features that only one line has all get
the same gradient, each times its m, so they share one row of weight sqrt(sum of m * m); stochastic gradient descent
cannot tell this rotation, and in the end feature = row * m / weight.
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.ngrams import NGRAM_FACTOR
from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import prefetch

UNSEEN, SHARED, OWN = -1, -2, -3  # states of a feature; OWN - i: only line i has it
KEPT = -(2**31)  # not seen yet, and to have a row that is its alone
OUT_OF_VOCABULARY, UNKNOWN_LABEL, LABEL = -1, -2, -3
AHEAD, NEAR = 32, 12  # features whose state, and then what that leads to, is fetched beforehand


@kernel
def count_features(tokens, starts, kinds, ngrams, features, labels):
    """Features and labels of each line. tokens: int32; starts: int64 (lines + 1,); kinds: int32, by word number.

    features: int64 (lines,), labels: int32 (lines,), out.
    """
    for i in range(starts.size - 1):
        known, hashed, named = 0, 0, 0
        for t in range(starts[i], starts[i + 1]):
            kind = kinds[tokens[t]]
            if kind <= UNKNOWN_LABEL:
                named += 1
            else:
                hashed += 1
                known += kind >= 0
        for n in range(1, min(ngrams, hashed)):
            known += hashed - n
        features[i] = known
        labels[i] = named


@kernel
def expand(tokens, starts, kinds, hashes, kept, first, shape, features, feature_starts, labels, label_starts, scratch):
    """Write the features and labels of the lines `kept`; line kept[k] becomes line first + k.

    tokens, starts, kinds: as above; hashes: uint64, fastText's, widened, by word number. kept: int64. shape: int64
    (3,), longest n-gram, buckets, V. features, labels: int32, out, from feature_starts and label_starts (int64) of the
    line; a label that is not known is written as -1. scratch: uint64, as long as the longest line.
    Bound by the division of each hash by the number of buckets.
    """
    ngrams, buckets, words = shape[0], np.uint64(shape[1]), shape[2]
    for k in range(kept.size):
        i = kept[k]
        q = feature_starts[first + k]
        label = label_starts[first + k]
        n = 0
        for t in range(starts[i], starts[i + 1]):
            number = tokens[t]
            kind = kinds[number]
            if kind <= UNKNOWN_LABEL:
                labels[label] = LABEL - kind
                label += 1
            else:
                scratch[n] = hashes[number]
                n += 1
                if kind >= 0:
                    features[q] = kind
                    q += 1
        if ngrams > 1:
            for a in range(n):
                mixed = scratch[a]
                for b in range(a + 1, min(n, a + ngrams)):
                    mixed = mixed * NGRAM_FACTOR + scratch[b]
                    features[q] = words + np.int64(mixed % buckets)
                    q += 1


@kernel
def find_shared(features, starts, begin, end, owner, owners, states):
    """Find out which features are in one line only, looking at lines begin..end.

    features: int32; the first sight of one is marked by writing ~feature. states: int32 (2 * features,), from a cache
    line's start, UNSEEN or KEPT at first; its even places get SHARED or OWN - line.
    `owners` threads, numbered by `owner`, may run this at once: each reads all, and writes the cache lines that are its
    own by their hash. Bound by the latency of `states`, hidden by fetching AHEAD.
    """
    stop = starts[starts.size - 1] - 1
    for i in range(begin, end):
        mine = np.int32(OWN - i)
        for t in range(starts[i], starts[i + 1]):
            later = features[min(t + AHEAD, stop)]
            prefetch(states, 2 * np.int64(later if later >= 0 else ~later))
            x = np.int64(features[t])
            if x < 0:
                x = ~x
            # A product of two uint32 has 64 bits in Numba.
            mixed = np.uint64(np.uint32(np.uint64(x >> 3) * np.uint64(0x9E3779B1)))
            if np.int64((mixed * np.uint64(owners)) >> np.uint64(32)) == owner:
                state = states[2 * x]
                if state == UNSEEN:
                    states[2 * x] = mine
                    features[t] = ~x
                elif state == KEPT:
                    states[2 * x] = SHARED
                    features[t] = ~x
                elif state != mine:
                    states[2 * x] = SHARED


@kernel
def number_rows(features, starts, begin, end, states, own_rows, rows):
    """Number rows by first sight in lines begin..end: the order that is fastest to train, a random one costs 5 to 20 %.

    features: marks of first sight are taken back. states: a shared feature's even place becomes its row. own_rows:
    int32 (lines,), -1 at first, the row of what only that line has. rows: rows so far. Returns rows so far.
    """
    stop = starts[starts.size - 1] - 1
    for i in range(begin, end):
        for t in range(starts[i], starts[i + 1]):
            later = features[min(t + AHEAD, stop)]
            if later < 0:
                prefetch(states, 2 * np.int64(~later))
            if features[t] < 0:
                features[t] = ~features[t]
                x = np.int64(features[t])
                if states[2 * x] <= OWN:
                    if own_rows[i] < 0:
                        own_rows[i] = rows
                        rows += 1
                else:
                    states[2 * x] = rows
                    rows += 1
    return rows


@kernel
def compact(features, starts, first, states, own_rows, own_weights, last, weights, row_starts):
    """Turn features into rows, in place, equal ones of a line added up. The lines are a part, from line `first` of all.

    features: int32, of this part, out: rows. starts: int64 (lines + 1,), into them. states: a shared feature's row,
    else negative; the odd place counts how often its one line has it, less one. own_weights: float32 (all lines,), out.
    last: int32 or int64 (rows,), -1 at first, the thread's own. weights: float32, out. row_starts: int64
    (lines + 1,), out.
    """
    q = 0
    stop = starts[starts.size - 1] - 1
    for i in range(starts.size - 1):
        begin = q
        row_starts[i] = q
        own = -1
        for t in range(starts[i], starts[i + 1]):
            prefetch(states, 2 * np.int64(features[min(t + AHEAD, stop)]))
            soon = states[2 * np.int64(features[min(t + NEAR, stop)])]
            if soon >= 0:
                prefetch(last, np.int64(soon))
            x = 2 * np.int64(features[t])
            row = states[x]
            if row < 0:
                if own < 0:
                    own = q
                    features[q] = own_rows[first + i]
                    weights[q] = 0
                    q += 1
                times = states[x + 1] + 1  # before this one
                weights[own] += 2 * times + 1  # from times squared to the next square
                states[x + 1] = times
            elif last[row] >= begin:
                weights[last[row]] += 1
            else:
                last[row] = q
                features[q] = row
                weights[q] = 1
                q += 1
        if own >= 0:
            weights[own] = np.sqrt(weights[own])
            own_weights[first + i] = weights[own]
    row_starts[starts.size - 1] = q


@kernel
def look_up(features, starts, begin, end, states, own_rows, own_weights, weights, row_starts):
    """Rows and weights of other lines' features, after training's numbering; what training never saw is left out.

    features: int32, in lines begin..end; rows in place. row_starts: int64 (lines + 1,); row_starts[begin] is given.
    """
    q = row_starts[begin]
    stop = starts[starts.size - 1] - 1
    for i in range(begin, end):
        for t in range(starts[i], starts[i + 1]):
            prefetch(states, 2 * np.int64(features[min(t + AHEAD, stop)]))
            x = 2 * np.int64(features[t])
            state = states[x]
            if state <= OWN:
                line = OWN - state
                features[q] = own_rows[line]
                weights[q] = (states[x + 1] + 1) / own_weights[line]
                q += 1
            elif state >= 0:
                features[q] = state
                weights[q] = 1
                q += 1
        row_starts[i + 1] = q


@kernel
def take_lines(features, starts, chosen, states, words, out, out_starts):
    """Copy the features of the lines `chosen`, int64, to out; where `states` is not empty, without words never seen.

    words: features below are words. out_starts: int64 (chosen.size + 1,), out.
    """
    q = 0
    for k in range(chosen.size):
        out_starts[k] = q
        for t in range(starts[chosen[k]], starts[chosen[k] + 1]):
            x = np.int64(features[t])
            if x >= words or states.size == 0 or states[2 * x] != UNSEEN:
                out[q] = x
                q += 1
    out_starts[chosen.size] = q
