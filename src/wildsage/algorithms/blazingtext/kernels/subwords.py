"""Character n-grams of the vocabulary's words: which rows a word is made of, and how a batch of words trains them.

Buckets that the same words have, as often each, move alike: they start at zero, and every step gives them the same. So
one row stands for them all, with their number as its weight (100,000 rows for 213,000 buckets of 47,000 English words).

A word's vector is the mean of its own row and its n-grams' rows, as in fastText. Each distinct word of a batch is
composed once, trained as a row of its own, and what that has changed by is then added to each of the word's rows. For
a word alone that is fastText's step exactly; what words share reaches the others a batch later. fastText gathers and
scatters for each pair of words: about ten times the rows.
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.ngrams import character_ngrams
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import WIDTH, fma, load, prefetch_far, splat, store

AHEAD = 2  # words between the fetch of their rows and their use; 4 took 1.25 times as long, and none 1.4 times
LINE = 16  # floats of a cache line


@kernel
def list_buckets(text, places, lengths, minn, maxn, bucket, starts, buckets):
    """The n-grams' buckets of each word, in fastText's order, equal ones as often as they come.

    text: uint8, bytes of the words. places, lengths: int64 (V,); a length of 0 is "</s>", which has none.
    starts: int64 (V + 1,), out. buckets: int64, out, with room for all: (length + 2) * (maxn - minn + 1) a word.
    """
    count = 0
    for word in range(places.size):
        starts[word] = count
        if lengths[word] > 0:
            begin, end = places[word], places[word] + lengths[word]
            for first in range(lengths[word] + 2):
                count = character_ngrams(text, begin, end, first, minn, maxn, bucket, buckets, count)
    starts[places.size] = count


@kernel
def number_buckets(buckets, number_of, ids):
    """Replace buckets by their numbers, by first sight; returns how many there are.

    buckets: int64 (n,), changed. number_of: int32 (buckets there may be,), all -1, changed. ids: int64 (n,), out, the
    bucket of each number.
    """
    count = 0
    for k in range(buckets.size):
        bucket = buckets[k]
        if number_of[bucket] < 0:
            number_of[bucket] = count
            ids[count] = bucket
            count += 1
        buckets[k] = number_of[bucket]
    return count


@kernel
def hash_words_of_buckets(starts, numbers, hashes):
    """Hash, for each bucket, which words have it and how often. starts, numbers: of words. hashes: uint64, zeros."""
    for word in range(starts.size - 1):
        # splitmix64's finaliser (Steele et al. 2014); sums of it do not depend on order
        x = np.uint64(word + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        for k in range(starts[word], starts[word + 1]):
            hashes[numbers[k]] += x


@kernel
def list_rows(starts, numbers, row_of, row_starts, rows):
    """List each word's input rows: its own, then those of its buckets that stand for a row.

    starts: int64 (V + 1,), numbers: int64, of each word's buckets. row_of: int32, a row from V on, or -1 for a bucket
    that another stands for. row_starts: int64 (V + 1,), rows: int32, out. Returns how many rows are listed.
    """
    at = 0
    for word in range(starts.size - 1):
        row_starts[word] = at
        rows[at] = word
        at += 1
        for k in range(starts[word], starts[word + 1]):
            if row_of[numbers[k]] >= 0:
                rows[at] = row_of[numbers[k]]
                at += 1
    row_starts[starts.size - 1] = at
    return at


@kernel_part
def fetch_lists(distinct, i, count, inputs, starts, lists, width):
    """Ask for the input rows of word i, if there is one."""
    if i < count:
        for k in range(starts[distinct[i]], starts[distinct[i] + 1]):
            at = np.int64(lists[k]) * width
            for d in range(0, width, LINE):
                prefetch_far(inputs, at + d)


@kernel
def compose_batch(words, n, inputs, starts, lists, weights, sizes, width, batch_rows, slots, distinct, local, kept):
    """Compose each distinct one of words[:n] once; returns how many there are.

    inputs: float32, input rows. starts: int64 (V + 1,), lists: int32, each word's. weights: float32, of each entry of
    lists. sizes: float32 (V,), the sum of each word's. batch_rows: int32 (n,), out, the row of each word in `local`.
    slots: int32 (V,), all -1, changed. distinct: int32 (n,), out, the word of each row. local, kept: float32
    (n * width,), out, the weighted means of the words' input rows.
    Bound by the memory of those: 16 a word in English, with n-grams of 3 to 6 characters. Four vectors a pass.
    """
    count, zero = 0, splat(np.float32(0))
    for i in range(n):
        word = words[i]
        if slots[word] < 0:
            slots[word] = count
            distinct[count] = word
            count += 1
        batch_rows[i] = slots[word]
    for i in range(count):
        fetch_lists(distinct, i + AHEAD, count, inputs, starts, lists, width)
        begin, end = starts[distinct[i]], starts[distinct[i] + 1]
        share = splat(np.float32(1) / sizes[distinct[i]])
        d, to = 0, i * width
        while d + 4 * WIDTH <= width:
            a = b = c = e = zero
            for k in range(begin, end):
                at, weight = np.int64(lists[k]) * width + d, splat(weights[k])
                a, b = fma(load(inputs, at), weight, a), fma(load(inputs, at + WIDTH), weight, b)
                c, e = fma(load(inputs, at + 2 * WIDTH), weight, c), fma(load(inputs, at + 3 * WIDTH), weight, e)
            a, b, c, e = fma(a, share, zero), fma(b, share, zero), fma(c, share, zero), fma(e, share, zero)
            store(local, to + d, a)
            store(kept, to + d, a)
            store(local, to + d + WIDTH, b)
            store(kept, to + d + WIDTH, b)
            store(local, to + d + 2 * WIDTH, c)
            store(kept, to + d + 2 * WIDTH, c)
            store(local, to + d + 3 * WIDTH, e)
            store(kept, to + d + 3 * WIDTH, e)
            d += 4 * WIDTH
        while d < width:
            a = zero
            for k in range(begin, end):
                a = fma(load(inputs, np.int64(lists[k]) * width + d), splat(weights[k]), a)
            a = fma(a, share, zero)
            store(local, to + d, a)
            store(kept, to + d, a)
            d += WIDTH
    return count


@kernel
def scatter_batch(distinct, count, inputs, starts, lists, width, slots, local, kept):
    """Add what each of a batch's rows has changed by, local - kept, to each of its word's input rows; reset slots."""
    one, minus = splat(np.float32(1)), splat(np.float32(-1))
    for i in range(count):
        fetch_lists(distinct, i + AHEAD, count, inputs, starts, lists, width)
        word, origin = distinct[i], i * width
        slots[word] = -1
        d = 0
        while d + 4 * WIDTH <= width:
            a = fma(load(kept, origin + d), minus, load(local, origin + d))
            b = fma(load(kept, origin + d + WIDTH), minus, load(local, origin + d + WIDTH))
            c = fma(load(kept, origin + d + 2 * WIDTH), minus, load(local, origin + d + 2 * WIDTH))
            e = fma(load(kept, origin + d + 3 * WIDTH), minus, load(local, origin + d + 3 * WIDTH))
            for k in range(starts[word], starts[word + 1]):
                at = np.int64(lists[k]) * width + d
                store(inputs, at, fma(a, one, load(inputs, at)))
                store(inputs, at + WIDTH, fma(b, one, load(inputs, at + WIDTH)))
                store(inputs, at + 2 * WIDTH, fma(c, one, load(inputs, at + 2 * WIDTH)))
                store(inputs, at + 3 * WIDTH, fma(e, one, load(inputs, at + 3 * WIDTH)))
            d += 4 * WIDTH
        while d < width:
            a = fma(load(kept, origin + d), minus, load(local, origin + d))
            for k in range(starts[word], starts[word + 1]):
                at = np.int64(lists[k]) * width + d
                store(inputs, at, fma(a, one, load(inputs, at)))
            d += WIDTH
