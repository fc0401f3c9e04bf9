"""Which rows a tree keeps: a reservoir whose keys depend on the tree and the number of the row alone.

A key is log(-log(1 - v)) - decay * time, v uniform; the rows of the smallest keys are kept. That is a sample without
replacement in which a row of time t weighs exp(decay * t). Source: Efraimidis and Spirakis, "Weighted random sampling
with a reservoir", Information Processing Letters 97 (2006), in logarithms, so that no weight grows out of range.

v is a hash, not the next number of a generator: whoever meets a row, and when, gives it the same keys, so two samples
that took in two halves of the rows become that of all of them when they are merged.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import number_bits

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
CHUNK = 64  # rows whose hashes are looked at together
MARGIN = 1.0001  # for rounding, in what is let through to the exact test


@kernel_part
def mixed(seed, number):
    """The hash of a number, 64 bits: that which splitmix64 has as its number-th output."""
    z = seed + np.uint64(number) * GAMMA
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


@kernel_part
def uniform(hashed):
    """A number above 0 and below 1 from a hash."""
    return (np.float64(hashed >> np.uint64(12)) + 0.5) * 2.0**-52


@kernel_part
def key_of(seed, number, time, decay):
    """The key of a row in a tree."""
    return np.log(-np.log1p(-uniform(mixed(seed, number)))) - decay * time


@kernel_part
def next_kept(seed, first, time, i, count, decay, worst):
    """The next of the rows i to count whose key is below `worst`, and its key; count if there is none.

    first, time: number and time of row 0. -log(1 - v) is at least v, so a row whose v is above
    exp(worst + decay * time) is out without a logarithm: the first that is not is looked for by vectors of hashes.
    """
    while i < count:
        end = min(i + CHUNK, count)
        share = min(1.0, np.exp(worst + decay * (time + end)) * MARGIN)
        limit = np.uint64(share * 2.0**63)
        found = np.int64(end)
        for k in range(i, end):
            found = min(found, np.int64(k) if mixed(seed, first + k) >> np.uint64(1) <= limit else np.int64(end))
        i = found
        if found < end:
            key = key_of(seed, first + found, time + found, decay)
            if key < worst:
                return found, key
            i += 1
    return np.int64(count), worst


@kernel_part
def ordered(x):
    """An int64 that is as large among others as the float64 x: of their maximum, not of floats', LLVM makes vectors."""
    bits = number_bits(x)
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@kernel_part
def worst_of(keys, base, count):
    """The place, from base, of the largest key."""
    most, place = np.int64(-(2**63)), np.int64(-1)
    for k in range(count):
        most = max(most, ordered(keys[base + k]))
    for k in range(count):
        place = max(place, k if ordered(keys[base + k]) == most else -1)
    return place


@kernel
def choose(count, first, time, decay, samples, seeds, keys, filled, slot_rows, begin, end):
    """Offer `count` rows, numbered from `first`, to the trees begin to end.

    keys: float64 (T * samples,), filled: int32 (T,). slot_rows: int32 (T * samples,), set to the row that a place of a
    sample has been given to, -1 if to none. Returns whether any has.
    Bound by hashing, two multiplications of 64 bits a tree and row.
    """
    changed = False
    for t in range(begin, end):
        base, i = t * samples, 0
        for k in range(base, base + samples):
            slot_rows[k] = -1
        while filled[t] < samples and i < count:
            k = base + filled[t]
            keys[k], slot_rows[k] = key_of(seeds[t], first + i, time + i, decay), i
            filled[t] += 1
            i += 1
            changed = True
        if i == count:
            continue
        place = base + worst_of(keys, base, samples)
        i, key = next_kept(seeds[t], first, time, i, count, decay, keys[place])
        while i < count:
            keys[place], slot_rows[place] = key, i
            changed = True
            place = base + worst_of(keys, base, samples)
            i, key = next_kept(seeds[t], first, time, i + 1, count, decay, keys[place])
    return changed


@kernel
def take_dense(rows, width, slot_rows, points, begin, end):
    """Copy rows, float32 (n * width,), to the places that were given to them: points, float32 (places, width)."""
    for k in range(begin, end):
        if slot_rows[k] >= 0:
            source, target = np.int64(slot_rows[k]) * width, np.int64(k) * width
            for f in range(width):
                points[target + f] = rows[source + f]


@kernel
def take_sparse(starts, columns, values, width, slot_rows, points, begin, end):
    """As take_dense, of compressed rows."""
    for k in range(begin, end):
        if slot_rows[k] >= 0:
            row, target = slot_rows[k], np.int64(k) * width
            for f in range(width):
                points[target + f] = 0
            for at in range(starts[row], starts[row + 1]):
                points[target + columns[at]] = values[at]
