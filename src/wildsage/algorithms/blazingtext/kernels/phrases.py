"""Pairs of words in a row: counted in bounded memory, and joined.

Most pairs are rare and can be no phrase, so they are first counted roughly, in an array of counters that several pairs
may share (Park, Chen, Yu, "An Effective Hash-Based Algorithm for Mining Association Rules", SIGMOD 1995); only those
whose counter reaches what a phrase needs are then counted one by one, in a hash table.

`numbers` turns a part's tokens to words; counts are float64 (V,), infinite for words that are never joined. A pair is a
phrase if it is seen more than `discount + scale * counts[a] * counts[b]` times. Its key is a * V + b + 1; 0 is none.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SLACK = 1 - 1e-9  # of what is needed, so that rounding excludes none here


@kernel_part
def place_of(key, size):
    """Where a key belongs in an array of `size`, a power of two."""
    mixed = (key ^ (key >> np.uint64(29))) * MULTIPLIER
    return (mixed >> np.uint64(32)) & np.uint64(size - 1)


@kernel_part
def needed(a, b, counts, scale, discount):
    """How often a pair must be seen; infinite if it cannot be, as it is no more frequent than its rarer word."""
    need = (discount + scale * counts[a] * counts[b]) * SLACK
    return need if need < min(counts[a], counts[b]) else np.inf


@kernel
def sketch_pairs(tokens, numbers, counts, scale, discount, sketch):
    """Count pairs in `sketch`, uint32, a power of two of counters. Bound by the latency of counters."""
    for k in range(tokens.size - 1):
        a, b = np.int64(numbers[tokens[k]]), np.int64(numbers[tokens[k + 1]])
        if needed(a, b, counts, scale, discount) < np.inf:
            sketch[place_of(np.uint64(a * counts.size + b + 1), sketch.size)] += np.uint32(1)


@kernel
def count_pairs(tokens, begin, numbers, counts, scale, discount, sketch, keys, tallies, size):
    """Count the pairs from token `begin` on that may be phrases by `sketch`, until half of the table is full.

    keys: uint64, a power of two, and tallies, int64: the table. size: int64 (1,), keys in it. Returns where it stopped.
    """
    k = begin
    while k < tokens.size - 1 and 2 * size[0] < keys.size:
        a, b = np.int64(numbers[tokens[k]]), np.int64(numbers[tokens[k + 1]])
        k += 1
        key = np.uint64(a * counts.size + b + 1)
        need = needed(a, b, counts, scale, discount)
        if need < np.inf and sketch[place_of(key, sketch.size)] > need:
            slot = place_of(key, keys.size)
            while keys[slot] != key and keys[slot]:
                slot = (slot + np.uint64(1)) & np.uint64(keys.size - 1)
            if not keys[slot]:
                keys[slot] = key
                size[0] += 1
            tallies[slot] += 1
    return k


@kernel
def enter_keys(given, values, keys, tallies):
    """Enter keys with their values in a table that has room for them."""
    for k in range(given.size):
        slot = place_of(given[k], keys.size)
        while keys[slot]:
            slot = (slot + np.uint64(1)) & np.uint64(keys.size - 1)
        keys[slot] = given[k]
        tallies[slot] = values[k]


@kernel
def join_pairs(tokens, starts, numbers, words, keys, tallies, out, out_starts):
    """Write tokens as words to `out`, pairs in the table as their value, from left to right; returns how many.

    starts: int64, tokens before each line; out_starts likewise, of what is written. words: V, of the keys.
    """
    at = 0
    for line in range(starts.size - 1):
        k, end = starts[line], starts[line + 1]
        while k < end:
            word, joined = np.int64(numbers[tokens[k]]), np.int64(-1)
            if k + 1 < end:
                key = np.uint64(word * words + np.int64(numbers[tokens[k + 1]]) + 1)
                slot = place_of(key, keys.size)
                while keys[slot] != key and keys[slot]:
                    slot = (slot + np.uint64(1)) & np.uint64(keys.size - 1)
                if keys[slot]:
                    joined = tallies[slot]
            out[at] = word if joined < 0 else joined
            at += 1
            k += 1 if joined < 0 else 2
        out_starts[line + 1] = at
    return at
